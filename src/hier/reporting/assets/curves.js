// The curves of a run to be read off point by point, in place of the picture that stands there without scripts.
"use strict";
(() => {
  const figure = document.querySelector("[data-curves]");
  const data = document.getElementById("curves");
  if (!figure || !data || !window.Plot) return;
  const panels = JSON.parse(data.textContent);
  const dashes = ["", "6 3", "2 3", "8 3 2 3", "12 3", "4 4"]; // lines differ by more than their colour
  const colours = [1, 2, 3, 4, 5, 6].map((n) => `var(--series-${n})`);

  function points(panel) {
    return Object.entries(panel.lines).flatMap(([name, values]) =>
      values.flatMap((value, i) => (value === null ? [] : [{ epoch: panel.epoch[i], value, name }])));
  }

  function spansDecades(values) {
    const positive = values.filter((value) => value > 0);
    return positive.length > 0 && Math.max(...positive) / Math.min(...positive) > 30;
  }

  function plot(panel, width) {
    const all = points(panel);
    const names = Object.keys(panel.lines);
    const log = panel.title === "Learning rate" && spansDecades(all.map((point) => point.value));
    const shown = log ? all.filter((point) => point.value > 0) : all;
    const last = names.map((name) => shown.findLast((point) => point.name === name)).filter(Boolean);
    return Plot.plot({
      width,
      height: 240,
      marginLeft: 52,
      style: { background: "transparent", color: "inherit", fontFamily: "inherit", fontSize: "12px" },
      ariaLabel: `${panel.title}, ${panel.unit}, over the epochs`,
      ariaDescription: panel.words,
      x: { label: "epoch", ticks: d3.ticks(...d3.extent(panel.epoch), 8).filter(Number.isInteger), tickFormat: "d" },
      y: { label: `${panel.title.toLowerCase()} (${panel.unit})`, grid: true, type: log ? "log" : "linear", tickFormat: log ? ".0e" : undefined, nice: true },
      marks: [
        ...names.map((name, i) => Plot.line(shown.filter((point) => point.name === name), {
          x: "epoch", y: "value", stroke: colours[i % 6], strokeWidth: 2, strokeDasharray: dashes[i % 6],
        })),
        ...(panel.epoch.length === 1 ? [Plot.dot(last, { x: "epoch", y: "value", fill: "currentColor" })] : []),
        Plot.ruleX(shown, Plot.pointerX({ x: "epoch", stroke: "currentColor", strokeOpacity: 0.4 })),
        Plot.tip(shown, Plot.pointer({
          x: "epoch", y: "value", fill: "var(--raised)", stroke: "var(--line)",
          title: (point) => `${point.name}\nepoch ${point.epoch}: ${Number(point.value.toPrecision(4))}`,
        })),
      ],
    });
  }

  function legend(panel) {
    const list = document.createElement("ul");
    list.className = "legend";
    Object.keys(panel.lines).forEach((name, i) => {
      const item = document.createElement("li");
      const sample = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      for (const [key, value] of Object.entries({ width: 34, height: 10, "aria-hidden": "true" })) sample.setAttribute(key, value);
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [key, value] of Object.entries({ x1: 1, x2: 33, y1: 5, y2: 5, "stroke-width": 2, "stroke-dasharray": dashes[i % 6] })) line.setAttribute(key, value);
      line.style.stroke = colours[i % 6];
      sample.append(line);
      item.append(sample, name);
      list.append(item);
    });
    return list;
  }

  const room = document.createElement("div");
  room.className = "panels";
  const slots = panels.map((panel) => {
    const part = document.createElement("div");
    const title = document.createElement("h3");
    title.textContent = panel.title;
    const slot = document.createElement("div");
    part.append(title, legend(panel), slot);
    room.append(part);
    return [panel, slot];
  });
  figure.querySelector("img").replaceWith(room);

  // A picture with a name of its own; Plot names its parts, too, which have no role.
  function picture(panel, width) {
    const svg = plot(panel, width);
    svg.setAttribute("role", "img");
    for (const part of svg.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
    return svg;
  }

  function draw() {
    for (const [panel, slot] of slots) slot.replaceChildren(picture(panel, Math.max(240, slot.clientWidth)));
  }

  let width = 0;
  new ResizeObserver(() => {
    if (room.clientWidth !== width) {
      width = room.clientWidth;
      requestAnimationFrame(draw);
    }
  }).observe(room);
})();
