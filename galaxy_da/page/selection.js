// Selected galaxies, kept until the tab is closed.

import { button, h } from "./dom.js";
import { exportMenu } from "./export.js";
import { plural } from "./format.js";
import { plate } from "./plates.js";
import { go, link } from "./route.js";

const SHOWN = 6;
const keys = new Set(JSON.parse(sessionStorage.getItem("selection") ?? "[]"));

export const isSelected = (key) => keys.has(key);
export const selected = () => [...keys];

export function toggle(key) {
  keys.has(key) ? keys.delete(key) : keys.add(key);
  changed();
}

export function add(more) {
  for (const key of more) keys.add(key);
  changed();
}

export function clear() {
  keys.clear();
  changed();
}

function changed() {
  sessionStorage.setItem("selection", JSON.stringify([...keys]));
  for (const made of document.querySelectorAll("[data-select]")) {
    made.setAttribute("aria-pressed", String(keys.has(made.dataset.select)));
  }
  showSelection();
}

/** Draw the tray at the foot of the page. */
export function showSelection() {
  const tray = document.getElementById("selection");
  tray.hidden = keys.size === 0;
  if (tray.hidden) return tray.replaceChildren();
  const all = selected();
  tray.replaceChildren(
    h("a", { class: "chosen", href: link("/selection", { id: all.slice(0, 200) }) },
      h("span", { class: "stack-of" }, all.slice(-SHOWN).map((key) => plate(key, { size: 40 }))),
      h("span", {}, `${plural(all.length, "galaxy", "galaxies")} selected`)),
    h("div", { class: "row" },
      button("More like these", () => go("/similar", { like: all.slice(0, 30) }), { class: "primary" }),
      exportMenu({ ids: all, name: "selection" }),
      button("Clear", clear)),
  );
}
