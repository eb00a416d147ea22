// Sorts tables by a column and shows a part of the large one. Without it, they are whole and in order.
"use strict";
(() => {
  function valueOf(cell, kind) {
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (kind !== "number") return text;
    return text === "" || text === "–" ? NaN : Number(text);
  }

  function compare(a, b, kind) {
    if (kind !== "number") return a.localeCompare(b, "en", { numeric: true });
    return a - b;
  }

  // From the first press on: largest first (of words: A first), the other way round, as it was.
  function sortable(table) {
    const body = table.tBodies[0];
    const asItWas = [...body.rows];
    const heads = [...table.tHead.rows].at(-1).cells;
    for (const head of heads) {
      const kind = head.dataset.sort;
      if (!kind) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      const first = kind === "number" ? "descending" : "ascending";
      const second = kind === "number" ? "ascending" : "descending";
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const order = before === first ? second : before === second ? null : first;
        for (const other of heads) other.removeAttribute("aria-sort");
        if (order) head.setAttribute("aria-sort", order);
        body.append(...(order ? sorted(asItWas, head.cellIndex, kind, order) : asItWas));
      });
    }
  }

  function sorted(rows, column, kind, order) {
    const sign = order === "ascending" ? 1 : -1;
    const keyed = rows.map((row) => [valueOf(row.cells[column], kind), row]);
    const missing = ([value]) => kind === "number" && Number.isNaN(value);
    const there = keyed.filter((pair) => !missing(pair));
    there.sort(([a], [b]) => sign * compare(a, b, kind));
    return [...there, ...keyed.filter(missing)].map(([, row]) => row); // what has no figure comes last
  }

  function filters(form) {
    const table = document.getElementById(form.getAttribute("data-filters"));
    const said = form.querySelector("output");
    const rows = [...table.tBodies[0].rows];

    function show() {
      const { dataset, backbone, method } = form.elements;
      for (const cell of table.querySelectorAll("[data-dataset]")) {
        cell.hidden = dataset.value !== "" && cell.dataset.dataset !== dataset.value;
      }
      for (const row of rows) {
        row.hidden =
          (backbone.value !== "" && row.dataset.backbone !== backbone.value) ||
          (method.value !== "" && row.dataset.method !== method.value);
      }
      const shown = rows.filter((row) => !row.hidden).length;
      said.textContent = `${shown} of ${rows.length} rows`;
    }

    form.hidden = false;
    form.addEventListener("change", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(show));
    show();
  }

  document.querySelectorAll("table[data-sortable]").forEach(sortable);
  document.querySelectorAll("form[data-filters]").forEach(filters);
})();
