// Text box that completes galaxy ids from the index (ARIA combobox with a list).

import { get } from "./api.js";
import { h } from "./dom.js";
import { plate } from "./plates.js";
import { badge } from "./surveys.js";

const DELAY_MS = 120; // from the last key to the request

/** suggest(text) returns options to list first, [{label, value}]; choose(value) receives the choice. */
export function combobox({ id, placeholder, label, value = "", suggest = () => [], choose }) {
  const listId = `${id}-list`;
  const input = h("input", {
    id, value, placeholder, type: "text", role: "combobox", autocomplete: "off", spellcheck: "false",
    autocapitalize: "off", "aria-label": label, "aria-expanded": "false", "aria-controls": listId,
    "aria-autocomplete": "list",
  });
  const list = h("ul", { id: listId, role: "listbox", "aria-label": "Suggestions", hidden: true });
  let options = [];
  let at = -1;
  let timer;
  let asking = new AbortController();

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const point = (to) => {
    at = to;
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
    if (at < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", list.children[at].id);
    list.children[at].scrollIntoView({ block: "nearest" });
  };
  const draw = () => {
    list.replaceChildren(...options.map((option, i) =>
      h("li", {
        role: "option", id: `${listId}-${i}`, "aria-selected": "false",
        on: { pointerdown: (event) => { event.preventDefault(); take(option.value); } },
      }, option.node)));
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    at = -1;
  };
  const take = (chosen) => {
    close();
    choose(chosen);
  };
  async function ask() {
    asking.abort();
    asking = new AbortController();
    const text = input.value.trim();
    const own = suggest(text).map((one) => ({ value: one.value, node: h("span", {}, one.label) }));
    options = own;
    if (!text) return close();
    draw();
    const keys = await complete(text, asking.signal).catch(() => null);
    if (!keys || document.activeElement !== input) return;
    options = [...own, ...keys.map((key) => ({ value: key, node: keyOption(key) }))];
    draw();
  }
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, DELAY_MS);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !list.hidden) {
      event.preventDefault();
      point((at + step + options.length + (at < 0 && step < 0 ? 1 : 0)) % options.length);
    } else if (event.key === "Escape") close();
    else if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(timer);
      asking.abort();
      if (input.value.trim()) take(at >= 0 ? options[at].value : input.value.trim());
    }
  });
  const box = h("div", { class: "combobox" }, input, list);
  return Object.assign(box, { input });
}

/** Keys that start with a prefix. */
export function complete(prefix, signal) {
  return get("/api/objects/complete", { prefix, k: 8 }, signal);
}

function keyOption(key) {
  const [survey, id] = key.split(/:(.*)/s);
  return h("span", { class: "suggestion" }, plate(key, { size: 36, eager: true }), badge(survey), h("span", { class: "id" }, id));
}
