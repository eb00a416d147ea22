// Hashes are shown shortened; pressing one copies it in full and says so.
"use strict";
(() => {
  const said = document.querySelector("[data-copied]");

  function selected(text) { // where a page that was opened from disk may not use the clipboard
    const field = document.createElement("textarea");
    field.value = text;
    field.setAttribute("readonly", "");
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return selected(text);
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.hash");
    if (!button) return;
    const text = button.title;
    const done = await copy(text);
    button.focus();
    if (said) said.textContent = done ? `Copied ${text}` : `Could not copy; it is ${text}`;
  });
})();
