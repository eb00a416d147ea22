// Says above a table that it is wider than its place, so that nobody takes what is seen for all of it.
"use strict";
(() => {
  function says(place) {
    const line = document.createElement("p");
    line.className = "more quiet";
    line.textContent = "↔ There is more to the right: this scrolls sideways.";
    line.hidden = true;
    place.before(line);
    new ResizeObserver(() => { line.hidden = place.scrollWidth <= place.clientWidth; }).observe(place);
  }

  document.querySelectorAll(".wide").forEach(says);
})();
