// Dialog that lists the keyboard shortcuts.

import { button, h } from "./dom.js";

const KEYS = [
  ["/", "Search box"],
  ["g then s, m, o, e, j", "Search, map, outliers, latents, jobs"],
  ["← ↑ → ↓", "Move between pictures; pan the map"],
  ["Enter", "Open a galaxy; on the map, select all galaxies in view"],
  ["l, d", "More like this, less like this"],
  ["x", "Add to the selection, or remove"],
  ["0 to 5", "Score an outlier"],
  ["r", "Re-rank outliers by your scores"],
  ["+, −, f", "Zoom the map in, zoom out, show all"],
  ["t, n", "Light or dark page, negative pictures"],
];

export function showKeys() {
  const dialog = document.getElementById("dialog");
  const list = h("dl", { class: "keys" });
  for (const [key, text] of KEYS) list.append(h("dt", {}, h("kbd", {}, key)), h("dd", {}, text));
  dialog.setAttribute("aria-label", "Keyboard shortcuts");
  dialog.replaceChildren(
    h("h2", {}, "Keyboard shortcuts"),
    list,
    h("div", { class: "row" }, button("Close", () => dialog.close())),
  );
  dialog.showModal();
}
