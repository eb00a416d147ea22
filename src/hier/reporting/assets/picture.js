// Draws the disk in place of the figure that stands there without scripts. What can be done with it is in disk.js.
"use strict";
window.picture = (() => {
  const tree = window.hierarchy;
  const stage = document.querySelector("[data-stage]");
  if (!tree || !stage || !window.d3) return null;
  const { samples, nodes } = tree;
  const shapes = [d3.symbolCircle, d3.symbolSquare, d3.symbolTriangle, d3.symbolDiamond, d3.symbolCross, d3.symbolTriangle];
  const shape = (mark) => `${d3.symbol(shapes[mark] ?? d3.symbolCircle, mark === 6 ? 220 : 560)()}`;

  // The arc of the circle through both points that meets the rim at right angles, as in arcs.py.
  function geodesic([ax, ay], [bx, by]) {
    const across = ax * by - ay * bx;
    const line = `M${ax} ${ay}`;
    if (Math.abs(across) < 1) return `${line}L${bx} ${by}`; // in line with the centre
    const one = ax * ax + ay * ay + 1e6;
    const other = bx * bx + by * by + 1e6;
    const x = (by * one - ay * other) / (2 * across);
    const y = (ax * other - bx * one) / (2 * across);
    const turn = (ax - x) * (by - y) - (ay - y) * (bx - x) > 0 ? 1 : 0;
    const radius = Math.hypot(ax - x, ay - y).toFixed(1);
    return `${line}A${radius} ${radius} 0 0 ${turn} ${bx} ${by}`;
  }

  // The lowest node from here upwards that is drawn.
  function drawn(n) {
    return tree.upwards(n).find((each) => nodes.place[each]);
  }

  const placeAbove = (parent) => nodes.place[drawn(parent)] ?? [0, 0];
  const twigs = samples.place.map((place, i) => geodesic(place, placeAbove(samples.parent[i])));
  const branches = nodes.place.map((place, n) => place && geodesic(place, placeAbove(nodes.parent[n])));

  const figure = stage.querySelector("img");
  const svg = d3.create("svg").attr("viewBox", "-1050 -1050 2100 2100").attr("aria-label", figure.alt);
  const view = svg.append("g").attr("class", tree.proxies ? "proxies" : "clusters");
  view.append("circle").attr("class", "rim").attr("r", 1000);
  view.append("path").attr("class", "twigs").attr("d", twigs.join(""));
  view.append("path").attr("class", "branches").attr("d", branches.filter(Boolean).join(""));
  const keptTwigs = view.append("path").attr("class", "kept-twigs"); // of what is chosen or shown alone
  const kept = view.append("path").attr("class", "kept");
  view.append("path").attr("class", "centre").attr("d", "M-16 0H16M0-16V16");
  const images = view.append("g").attr("class", "images").selectAll("g").data(samples.place).join("g")
    .attr("transform", ([x, y]) => `translate(${x} ${y})`)
    .append("path");
  const order = d3.range(nodes.place.length).filter((n) => nodes.place[n]).sort((a, b) => nodes.size[b] - nodes.size[a]);
  const circles = view.append("g").attr("class", "nodes").selectAll("circle").data(order).join("circle")
    .attr("data-n", (n) => n)
    .attr("cx", (n) => nodes.place[n][0])
    .attr("cy", (n) => nodes.place[n][1])
    .attr("r", (n) => nodes.size[n]);
  const way = view.append("path").attr("class", "way"); // from what is pointed at to the centre
  const ring = view.append("circle").attr("class", "ring");
  figure.replaceWith(svg.node());

  return { stage, svg, view, images, circles, twigs, branches, kept, keptTwigs, way, ring, shape, drawn };
})();
