// The tree of a run, its images and what is chosen among them: shared by disk.js, outline.js and chosen.js.
"use strict";
window.hierarchy = (() => {
  const holder = document.getElementById("hierarchy-data");
  if (!holder) return null;
  const { proxies, levels, kinds, thumbs, bare, samples, nodes } = JSON.parse(holder.textContent);
  const without = new Set(bare);
  const codesOf = new Map(kinds.flatMap(({ codes, rows }) => rows.map((row) => [row, codes])));
  const state = { level: 0, chosen: null }; // chosen: null, { image: number } or { node: number }
  const told = { level: [], chosen: [] };

  const below = nodes.name.map(() => []);
  nodes.parent.forEach((parent, n) => {
    if (parent !== null) below[parent].push(n);
  });
  below.forEach((children) => children.sort((a, b) => nodes.count[b] - nodes.count[a] || a - b));

  // What an image is at each level, finest first, as positions in the levels' names.
  function codes(row) {
    return codesOf.get(row);
  }

  // A level above the class is a path, which holds the levels above it.
  function title(row) {
    const names = levels.slice(0, 2).map((level, at) => level.names[codes(row)[at]]);
    return names.join(" in ");
  }

  function share(value) {
    return `${Math.round(100 * value)} %`;
  }

  function count(n) {
    const images = nodes.count[n];
    return `${images.toLocaleString("en")} ${images === 1 ? "image" : "images"}`;
  }

  // The most frequent name below a node at a level.
  function label(n, level) {
    return levels[level].names[nodes.label[level][n]];
  }

  // Coarsest level first, as one reads a path.
  function purity(n) {
    const parts = levels.map((level, at) => `${level.title} ${label(n, at)} ${share(nodes.purity[at][n])}`);
    return parts.reverse().join(", ");
  }

  function mark(level, code) {
    return code < levels[level].coloured ? code : 6;
  }

  // A node and those above it, upwards.
  function upwards(n) {
    const found = [];
    for (let at = n; at !== null && at !== undefined; at = nodes.parent[at]) found.push(at);
    return found;
  }

  function subtree(n) {
    const found = new Set([n]);
    for (const each of found) below[each].forEach((child) => found.add(child));
    return found;
  }

  // The photo, or its name where the report holds no thumbnail of it.
  function photo(row, alt) {
    if (without.has(row)) {
      const text = document.createElement("span");
      text.className = "none";
      text.textContent = title(row);
      return text;
    }
    const image = document.createElement("img");
    image.src = `${thumbs}${row}.webp`;
    image.alt = alt;
    return image;
  }

  // Photos of images below a node, each with its class.
  function photos(n, most) {
    const list = document.createElement("ul");
    list.className = "thumbs";
    for (const row of nodes.rows[n].slice(0, most)) {
      const item = document.createElement("li");
      const name = document.createElement("span");
      name.textContent = levels[0].names[codes(row)[0]];
      name.setAttribute("aria-hidden", "true");
      item.title = title(row);
      item.append(photo(row, title(row)));
      if (!without.has(row)) item.append(name);
      list.append(item);
    }
    return list;
  }

  function set(what, value) {
    state[what] = value;
    told[what].forEach((tell) => tell(value));
  }

  return {
    proxies, levels, samples, nodes, below, state,
    codes, title, share, count, label, purity, mark, upwards, subtree, photo, photos,
    choose: (target) => set("chosen", target),
    colourBy: (level) => set("level", level),
    on: (what, tell) => told[what].push(tell),
  };
})();
