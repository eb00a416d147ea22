// What is chosen on the disk or in the outline: its photos, what is above it and below it.
"use strict";
(() => {
  const tree = window.hierarchy;
  const panel = document.querySelector("[data-chosen]");
  if (!tree || !panel) return;
  const { nodes, samples, below } = tree;
  const nothing = [...panel.childNodes];

  function element(kind, ...content) {
    const found = document.createElement(kind);
    found.append(...content);
    return found;
  }

  function button(text, act) {
    const found = element("button", text);
    found.type = "button";
    found.addEventListener("click", act);
    return found;
  }

  function others(title, numbers) {
    if (!numbers.length) return [];
    const buttons = numbers.map((n) => button(`${nodes.name[n]} (${nodes.count[n].toLocaleString("en")})`, () => choose({ node: n })));
    return [element("p", `${title} `, ...buttons.flatMap((each) => [each, " "]))];
  }

  // The buttons are made anew, so that the focus would be lost.
  function choose(target) {
    tree.choose(target);
    panel.querySelector("h3")?.focus();
  }

  function heading(text) {
    const found = element("h3", text);
    found.tabIndex = -1;
    return found;
  }

  function ofNode(n) {
    const rows = nodes.rows[n].length;
    const above = nodes.parent[n];
    return [
      heading(nodes.name[n]),
      element("p", `${tree.count(n)}, depth ${nodes.depth[n]}. Most frequent below it: ${tree.purity(n)}.`),
      ...others("Above:", above === null ? [] : [above]),
      ...others("Below:", below[n]),
      tree.photos(n),
      element("p", rows < nodes.count[n] ? `${rows} of its ${tree.count(n)}, spread over the classes.` : "All of its images."),
    ];
  }

  function ofImage(image) {
    const row = samples.row[image];
    const large = element("div", tree.photo(row, tree.title(row)));
    large.className = "large";
    return [heading(tree.title(row)), large, ...others("Above, from near to far:", tree.upwards(samples.parent[image]))];
  }

  function show(target) {
    if (!target) return panel.replaceChildren(...nothing);
    const parts = target.node === undefined ? ofImage(target.image) : ofNode(target.node);
    return panel.replaceChildren(...parts, button("Let go", () => tree.choose(null)));
  }

  panel.hidden = false;
  tree.on("chosen", show);
})();
