// The outline follows the disk and shows photos where it is opened. Without it, it opens and closes.
"use strict";
(() => {
  const tree = window.hierarchy;
  const outline = document.querySelector("[data-outline]");
  if (!tree || !outline) return;
  const { nodes } = tree;
  const items = new Map([...outline.querySelectorAll("li[data-n]")].map((item) => [Number(item.dataset.n), item]));
  const part = (item, selector) => item.firstElementChild.querySelector(`:scope > ${selector}`);

  function colour(level) { // of the bars
    for (const [n, item] of items) {
      const bar = part(item, "summary").querySelector("i");
      bar.className = `k${tree.mark(level, nodes.label[level][n])}`;
      bar.style.setProperty("--p", nodes.purity[level][n]);
    }
  }

  function addPhotos(n) {
    const item = items.get(n);
    if (!part(item, ".thumbs")) part(item, "summary").after(tree.photos(n, 12));
  }

  outline.addEventListener("click", (event) => {
    const summary = event.target.closest("summary");
    if (!summary || summary.parentElement.open) return; // it is about to close
    const n = Number(summary.closest("li").dataset.n);
    addPhotos(n);
    tree.choose({ node: n });
  });

  tree.on("level", colour);
  tree.on("chosen", (target) => {
    outline.querySelector("[aria-current]")?.removeAttribute("aria-current");
    if (target?.node === undefined) return;
    const item = items.get(target.node);
    part(item, "summary").setAttribute("aria-current", "true");
    for (const n of tree.upwards(nodes.parent[target.node])) items.get(n).firstElementChild.open = true;
  });

  const buttons = document.querySelector("[data-outline-buttons]");
  if (buttons) {
    buttons.hidden = false;
    buttons.addEventListener("click", (event) => {
      const { open } = event.target.dataset;
      if (open) outline.querySelectorAll("details").forEach((details) => (details.open = open === "all"));
    });
  }
})();
