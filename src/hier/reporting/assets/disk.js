// The disk can be coloured, searched, pointed at and enlarged, by pointer and by keyboard.
"use strict";
(() => {
  const tree = window.hierarchy;
  const picture = window.picture;
  const form = document.querySelector("[data-disk-controls]");
  if (!picture || !form) return;

  const { samples, nodes, levels } = tree;
  const { stage, svg, view, images, circles, twigs, branches } = picture;
  const { level: chooseLevel, only: chooseName } = form.elements;
  const isNode = (target) => target.node !== undefined;

  // --- colours --------------------------------------------------------------------------------

  const legend = document.createElement("ul");
  legend.className = "legend";
  legend.setAttribute("aria-label", "What the marks mean");
  stage.after(legend);

  function entry(text, className, draw) {
    const item = d3.create("li");
    const key = item.append("svg").attr("viewBox", "-22 -22 44 44").attr("width", 16).attr("height", 16).attr("aria-hidden", "true");
    draw(key.append("g").attr("class", className));
    item.node().append(text);
    return item.node();
  }

  function mark(shape, text) {
    return entry(text, "images", (key) => key.append("path").attr("class", `c${shape}`).attr("d", picture.shape(shape)));
  }

  function colour(level) {
    const { names, coloured, others } = levels[level];
    const shapes = samples.row.map((row) => tree.mark(level, tree.codes(row)[level]));
    images.attr("class", (_, i) => `c${shapes[i]}`).attr("d", (_, i) => picture.shape(shapes[i]));
    circles.attr("class", (n) => `c${tree.mark(level, nodes.label[level][n])}`).attr("fill-opacity", (n) => nodes.purity[level][n]);
    const noun = tree.proxies ? "proxy" : "cluster";
    legend.replaceChildren(
      ...names.slice(0, coloured).map((name, shape) => mark(shape, name)),
      ...(others ? [mark(6, `others (${others})`)] : []),
      entry(`${noun}: the larger, the more images; the fuller, the purer`, "nodes", (key) => key.append("circle").attr("class", "c6").attr("r", 18).attr("fill-opacity", 0.5)),
    );
    const there = [...new Set(samples.row.map((row) => tree.codes(row)[level]))];
    const options = there.map((code) => new Option(names[code], code));
    options.sort((a, b) => a.text.localeCompare(b.text, "en", { numeric: true }));
    chooseName.replaceChildren(new Option("all", ""), ...options);
    emphasise();
  }

  // --- what stands out: what is chosen, of one name -------------------------------------------

  function emphasise() {
    const { level, chosen } = tree.state;
    const name = chooseName.value === "" ? null : Number(chooseName.value);
    const part = chosen && (isNode(chosen) ? tree.subtree(chosen.node) : new Set(tree.upwards(samples.parent[chosen.image])));
    const ofPart = (image) => !part || (isNode(chosen) ? part.has(samples.parent[image]) : image === chosen.image);
    const inImage = samples.row.map((row, i) => ofPart(i) && (name === null || tree.codes(row)[level] === name));
    const inNode = (n) => (!part || part.has(n)) && (name === null || nodes.label[level][n] === name);
    const partial = part !== null || name !== null;
    svg.classed("partial", partial);
    images.classed("in", (_, i) => inImage[i]);
    circles.classed("in", inNode);
    picture.keptTwigs.attr("d", partial ? twigs.filter((_, i) => inImage[i]).join("") : "");
    picture.kept.attr("d", partial ? branches.filter((edge, n) => edge && inNode(n)).join("") : "");
  }

  // --- pointing -------------------------------------------------------------------------------

  const targets = [
    ...samples.place.map(([x, y], image) => ({ image, x, y, r: 14 })),
    ...circles.data().map((node) => ({ node, x: nodes.place[node][0], y: nodes.place[node][1], r: nodes.size[node] })),
  ];
  const places = d3.Delaunay.from(targets, (target) => target.x, (target) => target.y);
  let current = null;

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const said = document.createElement("p");
  said.className = "said";
  said.setAttribute("role", "status");
  stage.append(tip, said);

  function words(target) {
    if (isNode(target)) return [nodes.name[target.node], tree.count(target.node), tree.purity(target.node)];
    const above = samples.parent[target.image];
    return [tree.title(samples.row[target.image]), ...(above === null ? [] : [`${nodes.name[above]} above it: ${tree.purity(above)}`])];
  }

  function point(target, aloud = false) {
    current = target;
    tip.hidden = target === null;
    picture.ring.attr("r", target ? target.r + 8 : 0);
    picture.way.attr("d", target ? way(target) : "");
    if (!target) return;
    picture.ring.attr("cx", target.x).attr("cy", target.y);
    const row = isNode(target) ? nodes.rows[target.node][0] : samples.row[target.image];
    const [title, ...rest] = words(target);
    const text = d3.create("div");
    text.append("strong").text(title);
    text.selectAll("p").data(rest).join("p").text((each) => each);
    tip.replaceChildren(...(row === undefined ? [] : [tree.photo(row, tree.title(row))]), text.node());
    put(target);
    if (aloud) said.textContent = [title, ...rest].join("; ");
  }

  function way(target) {
    const nodesAbove = tree.upwards(isNode(target) ? target.node : samples.parent[target.image]);
    return (isNode(target) ? "" : twigs[target.image]) + nodesAbove.map((n) => branches[n] ?? "").join("");
  }

  // Beside the target where there is more room, inside the stage.
  function put(target) {
    const { a, d, e, f } = view.node().getScreenCTM();
    const room = stage.getBoundingClientRect();
    const [x, y] = [a * target.x + e - room.left, d * target.y + f - room.top];
    const left = x > room.width / 2 ? x - tip.offsetWidth - 16 : x + 16;
    const within = (value, most) => `${Math.max(0, Math.min(value, most))}px`;
    tip.style.left = within(left, room.width - tip.offsetWidth);
    tip.style.top = within(y - tip.offsetHeight / 2, room.height - tip.offsetHeight);
  }

  function nearest(event) {
    const { n } = event.target.dataset;
    if (n !== undefined) return targets.find((target) => target.node === Number(n));
    const [x, y] = d3.pointer(event, view.node());
    const target = targets[places.find(x, y)];
    const reach = event.pointerType === "touch" ? 28 : 16; // pixels
    return target && Math.hypot(target.x - x, target.y - y) * view.node().getScreenCTM().a <= reach ? target : null;
  }

  svg.on("pointermove", (event) => {
    const target = nearest(event);
    if (target !== current) point(target);
  });
  svg.on("pointerleave", () => point(null));
  svg.on("click", (event) => {
    point(nearest(event));
    tree.choose(current);
  });

  // --- keyboard -------------------------------------------------------------------------------

  const clockwise = (a, b) => Math.atan2(a.y, a.x) - Math.atan2(b.y, b.x);
  const imagesAround = targets.filter((target) => !isNode(target)).sort(clockwise);
  const nodesAround = targets.filter(isNode).sort(clockwise);
  const top = d3.greatest(nodesAround, (target) => nodes.count[target.node]) ?? imagesAround[0];
  const nodeTarget = (n) => nodesAround.find((target) => target.node === n);

  function step(by) {
    const all = isNode(current) ? nodesAround : imagesAround;
    return all.at((all.indexOf(current) + by) % all.length);
  }

  function above() {
    return nodeTarget(picture.drawn(isNode(current) ? nodes.parent[current.node] : samples.parent[current.image])) ?? current;
  }

  function below() {
    if (!isNode(current)) return current;
    const children = tree.below[current.node].map(nodeTarget).filter(Boolean);
    return children[0] ?? imagesAround.find((target) => samples.parent[target.image] === current.node) ?? current;
  }

  const go = (where) => point(current ? where() : top, true);
  const keys = {
    ArrowLeft: () => go(() => step(-1)),
    ArrowRight: () => go(() => step(1)),
    ArrowUp: () => go(above),
    ArrowDown: () => go(below),
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
  if (top) {
    svg.on("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    svg.on("focus", () => svg.node().matches(":focus-visible") && point(current ?? top, true));
    svg.on("blur", () => point(null));
  }

  // --- zoom: by button, key, pinch, or Ctrl and wheel, so that the page still scrolls over the disk ---

  const box = [[-1050, -1050], [1050, 1050]];
  const zoom = d3.zoom().scaleExtent([1, 12]).extent(box).translateExtent(box)
    .filter((event) => {
      if (event.type === "wheel") return event.ctrlKey;
      if (event.touches) return event.touches.length > 1;
      return !event.button && d3.zoomTransform(svg.node()).k > 1;
    })
    .on("zoom", ({ transform }) => {
      view.attr("transform", transform);
      svg.style("--k", transform.k ** -0.75); // marks grow more slowly than the room between them
      svg.classed("zoomed", transform.k > 1);
      if (current) put(current);
    });
  svg.call(zoom).on("dblclick.zoom", null);

  function scale(by) {
    if (!by) return svg.call(zoom.transform, d3.zoomIdentity);
    const about = current && d3.zoomTransform(svg.node()).apply([current.x, current.y]);
    return svg.call(zoom.scaleBy, by, about ?? [0, 0]);
  }

  // --- controls -------------------------------------------------------------------------------

  svg.attr("role", "application").attr("tabindex", 0).attr("aria-describedby", "how-disk");
  form.hidden = false;
  document.getElementById("how-disk").hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  chooseLevel.addEventListener("change", () => tree.colourBy(Number(chooseLevel.value)));
  chooseName.addEventListener("change", emphasise);
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (button) scale(Number(button.dataset.zoom));
  });
  tree.on("level", colour);
  tree.on("chosen", emphasise);
  tree.colourBy(Number(chooseLevel.value));
})();
