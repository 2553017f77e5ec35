// What the keyboard does, on request.

import { button, h } from "./dom.js";

const KEYS = [
  ["/", "Search box"],
  ["g then s, m, o, e, j", "Search, map, outliers, latents, jobs"],
  ["← ↑ → ↓", "Move among pictures; on the map, pan"],
  ["Enter", "Open a galaxy; on the map, select what is in view"],
  ["l, d", "More like this, less like this"],
  ["x", "Add to the selection, or take it out"],
  ["0 to 5", "Score an outlier"],
  ["r", "Re-rank outliers by the scores"],
  ["+, −, f", "Zoom the map, and fit it"],
  ["t, n", "Light or dark page, negative pictures"],
];

export function showKeys() {
  const dialog = document.getElementById("dialog");
  const list = h("dl", { class: "keys" });
  for (const [key, text] of KEYS) list.append(h("dt", {}, h("kbd", {}, key)), h("dd", {}, text));
  dialog.setAttribute("aria-label", "Keyboard shortcuts");
  dialog.replaceChildren(
    h("h2", {}, "Keyboard"),
    list,
    h("div", { class: "row" }, button("Close", () => dialog.close())),
  );
  dialog.showModal();
}
