// Shows some of the queries: where the runs of a dataset differ, or the runs of one setting.
"use strict";
(() => {
  const form = document.querySelector("[data-compared]");
  if (!form) return;
  const { which, group } = form.elements;
  const said = form.querySelector("output");
  const queries = [...document.querySelectorAll("[data-right]")];
  const answers = [...document.querySelectorAll("[data-run]")];

  // `right` has for each run 1 (right), 0 (wrong) or - (not there).
  function matches(right) {
    const runs = group?.value ? group.value.split(" ").map(Number) : [...right].map((_, run) => run);
    const seen = runs.map((run) => right[run]);
    if (which.value === "") return true;
    if (which.value === "differ") return seen.includes("1") && seen.includes("0");
    if (which.value === "wrong") return !seen.includes("1");
    const [one, other] = which.value.split(" ");
    return right[one] === "1" && right[other] === "0";
  }

  function show() {
    for (const query of queries) query.hidden = !matches(query.dataset.right);
    const runs = group?.value ? group.value.split(" ") : null;
    for (const answer of answers) answer.hidden = runs !== null && !runs.includes(answer.dataset.run);
    said.textContent = `${queries.filter((query) => !query.hidden).length} of ${queries.length} queries`;
  }

  form.hidden = false;
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  show();
})();
