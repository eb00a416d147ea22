// The disk: point at images and nodes, colour them by a level, show a part, zoom. Without it, the picture stands still.
"use strict";
(() => {
  const tree = window.hierarchy;
  const svg = document.querySelector("[data-disk]");
  const form = document.querySelector("[data-disk-controls]");
  if (!tree || !svg || !form || !window.d3) return;

  const { samples, nodes, levels } = tree;
  const stage = document.querySelector("[data-stage]");
  const view = svg.querySelector("[data-view]");
  const images = [...svg.querySelectorAll(".images use")];
  const circles = new Map([...svg.querySelectorAll(".nodes circle")].map((circle) => [Number(circle.dataset.n), circle]));
  const branches = new Map([...svg.querySelectorAll(".branches path")].map((path) => [Number(path.dataset.n), path.getAttribute("d")]));
  const twigs = eachTwig();
  const keptTwigs = drawnPath("kept-twigs"); // of what is chosen or shown alone
  const kept = drawnPath("kept");
  const way = drawnPath("way"); // from what is pointed at to the centre
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("class", "ring");
  view.append(ring);

  const number = (element, name) => Number(element.getAttribute(name));
  const targets = [
    ...images.map((use, image) => ({ image, x: number(use, "x"), y: number(use, "y"), r: 14 })),
    ...[...circles].map(([node, circle]) => ({ node, x: number(circle, "cx"), y: number(circle, "cy"), r: number(circle, "r") })),
  ];
  const around = (a, b) => Math.atan2(a.y, a.x) - Math.atan2(b.y, b.x);
  const circle = {
    image: targets.filter((target) => target.image !== undefined).sort(around),
    node: targets.filter((target) => target.node !== undefined).sort(around),
  };
  const places = d3.Delaunay.from(targets, (target) => target.x, (target) => target.y);

  function drawnPath(name) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    svg.querySelector(".images").before(path);
    return path;
  }

  // The edge of each image: those of one node are in one path, in the order of the images.
  function eachTwig() {
    const parts = new Map([...svg.querySelectorAll(".twigs path")].map((path) => [Number(path.dataset.n), path.getAttribute("d").split("M").slice(1)]));
    return samples.parent.map((parent) => `M${parts.get(parent ?? -1).shift()}`);
  }

  // --- colours --------------------------------------------------------------------------------

  function legendEntry(shape, text) {
    const item = document.createElement("li");
    const key = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of Object.entries({ viewBox: "-20 -20 40 40", width: 16, height: 16, "aria-hidden": "true" })) key.setAttribute(name, value);
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#m${shape}`);
    key.append(use);
    item.append(key, text);
    return item;
  }

  function colour(level) {
    const { names, coloured, others } = levels[level];
    images.forEach((use, i) => use.setAttribute("href", `#m${tree.mark(level, tree.codes(samples.row[i])[level])}`));
    for (const [n, each] of circles) {
      each.setAttribute("class", `n${tree.mark(level, nodes.label[level][n])}`);
      each.setAttribute("fill-opacity", nodes.purity[level][n]);
    }
    const entries = names.slice(0, coloured).map((name, code) => legendEntry(code, name));
    if (others) entries.push(legendEntry(6, `others (${others})`));
    document.querySelector("[data-legend]").replaceChildren(...entries);
    const drawn = new Set(samples.row.map((row) => tree.codes(row)[level]));
    const options = [...drawn].map((code) => new Option(names[code], code));
    options.sort((a, b) => a.text.localeCompare(b.text, "en", { numeric: true }));
    form.elements.only.replaceChildren(new Option("all", ""), ...options);
    emphasise();
  }

  // --- what stands out ------------------------------------------------------------------------

  function emphasise() {
    const { level, chosen } = tree.state;
    const only = form.elements.only.value === "" ? null : Number(form.elements.only.value);
    const part = chosen?.node !== undefined ? tree.subtree(chosen.node) : null;
    const above = chosen?.image !== undefined ? new Set(tree.upwards(samples.parent[chosen.image])) : null;
    const inside = (node) => (!part || part.has(node)) && (!above || above.has(node)) && (only === null || nodes.label[level][node] === only);
    const shown = (image) =>
      (!part || part.has(samples.parent[image])) && (!above || image === chosen.image) &&
      (only === null || tree.codes(samples.row[image])[level] === only);
    const partial = part !== null || above !== null || only !== null;
    svg.classList.toggle("partial", partial);
    images.forEach((use, i) => use.classList.toggle("in", shown(i)));
    for (const [n, each] of circles) each.classList.toggle("in", inside(n));
    keptTwigs.setAttribute("d", partial ? twigs.filter((_, i) => shown(i)).join("") : "");
    kept.setAttribute("d", partial ? [...branches].filter(([n]) => inside(n)).map(([, edge]) => edge).join("") : "");
  }

  // --- pointing -------------------------------------------------------------------------------

  let current = null;
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const said = document.createElement("p");
  said.className = "said";
  said.setAttribute("role", "status");
  stage.append(tip, said);

  function line(text, kind = "p") {
    const element = document.createElement(kind);
    element.textContent = text;
    return element;
  }

  function words(target) {
    if (target.node !== undefined) return [nodes.name[target.node], tree.count(target.node), tree.purity(target.node)];
    const [parent] = tree.upwards(samples.parent[target.image]);
    const above = parent === undefined ? [] : [`${nodes.name[parent]} above it: ${tree.purity(parent)}`];
    return [tree.title(samples.row[target.image]), ...above];
  }

  function point(target, aloud = false) {
    current = target;
    tip.hidden = target === null;
    way.setAttribute("d", target ? wayOf(target) : "");
    ring.setAttribute("r", target ? target.r + 8 : 0);
    if (!target) return;
    ring.setAttribute("cx", target.x);
    ring.setAttribute("cy", target.y);
    const [title, ...rest] = words(target);
    const row = target.node === undefined ? samples.row[target.image] : nodes.rows[target.node][0];
    const text = document.createElement("div");
    text.append(line(title, "strong"), ...rest.map((each) => line(each)));
    tip.replaceChildren(...(row === undefined ? [] : [tree.photo(row, tree.title(row))]), text);
    put(tip, target);
    if (aloud) said.textContent = [title, ...rest].join("; ");
  }

  function wayOf(target) {
    const start = target.node ?? samples.parent[target.image];
    const edges = tree.upwards(start).map((n) => branches.get(n) ?? "");
    return (target.node === undefined ? twigs[target.image] : "") + edges.join("");
  }

  // On the side of the target where there is more room, inside the stage.
  function put(element, target) {
    const m = view.getScreenCTM();
    const box = stage.getBoundingClientRect();
    const x = m.a * target.x + m.e - box.left;
    const y = m.d * target.y + m.f - box.top;
    const left = x > box.width / 2 ? x - element.offsetWidth - 16 : x + 16;
    element.style.left = `${Math.max(0, Math.min(left, box.width - element.offsetWidth))}px`;
    element.style.top = `${Math.max(0, Math.min(y - element.offsetHeight / 2, box.height - element.offsetHeight))}px`;
  }

  function nearest(event) {
    const node = event.target.closest?.(".nodes circle");
    if (node) return targets.find((target) => target.node === Number(node.dataset.n));
    const [x, y] = d3.pointer(event, view);
    const target = targets[places.find(x, y)];
    const reach = event.pointerType === "touch" ? 28 : 16; // pixels
    return target && Math.hypot(target.x - x, target.y - y) * view.getScreenCTM().a <= reach ? target : null;
  }

  svg.addEventListener("pointermove", (event) => {
    const target = nearest(event);
    if (target !== current) point(target);
  });
  svg.addEventListener("pointerleave", () => point(null));
  svg.addEventListener("click", (event) => {
    const target = nearest(event);
    point(target);
    tree.choose(target);
  });

  // --- keyboard -------------------------------------------------------------------------------

  function step(by) {
    const here = current ?? largest();
    const all = circle[here.node === undefined ? "image" : "node"];
    return all[(all.indexOf(here) + by + all.length) % all.length];
  }

  function largest() {
    return circle.node.reduce((a, b) => (nodes.count[b.node] > nodes.count[a.node] ? b : a), circle.node[0] ?? circle.image[0]);
  }

  function up() {
    const start = current.node === undefined ? samples.parent[current.image] : nodes.parent[current.node];
    const drawn = tree.upwards(start).find((n) => circles.has(n));
    return circle.node.find((target) => target.node === drawn) ?? current;
  }

  function down() {
    if (current.node === undefined) return current;
    const child = tree.below[current.node].find((n) => circles.has(n));
    return circle.node.find((target) => child !== undefined && target.node === child)
      ?? circle.image.find((target) => samples.parent[target.image] === current.node) ?? current;
  }

  const keys = {
    ArrowLeft: () => point(step(-1), true),
    ArrowRight: () => point(step(1), true),
    ArrowUp: () => point(current ? up() : largest(), true),
    ArrowDown: () => point(current ? down() : largest(), true),
    Enter: () => tree.choose(current),
    " ": () => tree.choose(current),
    Escape: () => {
      point(null);
      tree.choose(null);
    },
    "+": () => scale(2),
    "-": () => scale(0.5),
    0: () => scale(0),
  };
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key] || !targets.length) return;
    event.preventDefault();
    keys[event.key]();
  });
  svg.addEventListener("focus", () => {
    if (svg.matches(":focus-visible") && targets.length) point(current ?? largest(), true);
  });
  svg.addEventListener("blur", () => point(null));

  // --- zoom: by button, by key, by pinching or Ctrl and the wheel; so that the page can be scrolled over the disk ---

  const zoom = d3.zoom()
    .scaleExtent([1, 12])
    .extent([[-1050, -1050], [1050, 1050]])
    .translateExtent([[-1050, -1050], [1050, 1050]])
    .filter((event) => {
      if (event.type === "wheel") return event.ctrlKey;
      if (event.touches) return event.touches.length > 1;
      return !event.button && d3.zoomTransform(svg).k > 1;
    })
    .on("zoom", ({ transform }) => {
      view.setAttribute("transform", transform);
      svg.style.setProperty("--k", transform.k ** -0.75); // marks grow more slowly than what is between them
      svg.classList.toggle("zoomed", transform.k > 1);
      if (current) put(tip, current);
    });
  d3.select(svg).call(zoom).on("dblclick.zoom", null);

  function scale(by) {
    const selection = d3.select(svg);
    if (!by) return selection.call(zoom.transform, d3.zoomIdentity);
    const focus = current && d3.zoomTransform(svg).apply([current.x, current.y]);
    return selection.call(zoom.scaleBy, by, focus ?? [0, 0]);
  }

  // --- controls -------------------------------------------------------------------------------

  form.hidden = false;
  document.querySelector("[data-keys]").hidden = false;
  svg.setAttribute("role", "application");
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("aria-describedby", "how-disk");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.level.addEventListener("change", () => tree.colourBy(Number(form.elements.level.value)));
  form.elements.only.addEventListener("change", emphasise);
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (button) scale(Number(button.dataset.zoom));
  });
  tree.on("level", colour);
  tree.on("chosen", emphasise);
  tree.colourBy(Number(form.elements.level.value));
})();
