// Shows some of the queries: right or wrong ones of a run, or where the runs of a dataset differ.
"use strict";
(() => {
  function filter(form, queries, isShown) {
    const said = form.querySelector("output");
    function show() {
      let shown = 0;
      for (const query of queries) {
        query.hidden = !isShown(query.dataset.right, form.elements);
        shown += !query.hidden;
      }
      said.textContent = `${shown} of ${queries.length} queries`;
    }
    form.hidden = false;
    form.addEventListener("change", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(show));
    show();
    return show;
  }

  for (const form of document.querySelectorAll("[data-queries]")) {
    const queries = [...document.getElementById(form.getAttribute("data-queries")).children];
    filter(form, queries, (right, { which }) => which.value === "" || which.value === right);
  }

  // `right` has for each run 1 (right), 0 (wrong) or - (not there).
  function matches(right, { which, group }) {
    const runs = group?.value ? group.value.split(" ").map(Number) : [...right].map((_, run) => run);
    const seen = runs.map((run) => right[run]);
    if (which.value === "differ") return seen.includes("1") && seen.includes("0");
    if (which.value === "wrong") return !seen.includes("1");
    if (which.value === "") return true;
    const [one, other] = which.value.split(" ").map(Number);
    return right[one] === "1" && right[other] === "0";
  }

  const compared = document.querySelector("[data-compared]");
  if (compared) {
    filter(compared, [...document.querySelectorAll(".asked-of-all")], matches);
    const showRuns = () => {
      const group = compared.elements.group?.value.split(" ");
      for (const answer of document.querySelectorAll(".answer")) {
        answer.hidden = Boolean(group?.[0]) && !group.includes(answer.dataset.run);
      }
    };
    compared.addEventListener("change", showRuns);
    compared.addEventListener("reset", () => setTimeout(showRuns));
  }
})();
