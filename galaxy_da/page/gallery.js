// Gallery of galaxies, which the arrow keys, letters and scrolling work on.

import { keyOf } from "./api.js";
import { button, h, icon } from "./dom.js";
import { plate } from "./plates.js";
import { link } from "./route.js";
import { isSelected, toggle } from "./selection.js";
import { badge } from "./surveys.js";

const PAGE = 60;

/**
 * rows: objects with survey and object_id; measure(row): short text under the picture;
 * kind: of picture, "cutout", "prepared" or "reconstruction";
 * actions: {like(key), dislike(key)}; verdict(key): "like", "dislike" or "";
 * foot(row): element below the buttons; keys(event, key): handler of other letters.
 */
export function gallery(rows, { label, measure, kind, actions = {}, verdict, foot, keys } = {}) {
  const list = h("ul", { class: "gallery", "aria-label": label });
  const more = h("div", { class: "more", hidden: true }, button("Show more", grow));
  const card = (row) => makeCard(row, { measure, kind, actions, verdict, foot });
  let drawn = 0;

  function grow() {
    const next = rows.slice(drawn, drawn + PAGE);
    list.append(...next.map(card));
    drawn += next.length;
    more.hidden = drawn >= rows.length;
    if (!list.querySelector('[tabindex="0"]')) activate(list.firstElementChild);
  }

  list.addEventListener("focusin", (event) => activate(event.target.closest(".card")));
  list.addEventListener("keydown", (event) => {
    const at = event.target.closest(".card");
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
    if (move(list, at, event) || act(at.dataset.key, event, actions, keys)) event.preventDefault();
  });
  new IntersectionObserver(([entry]) => entry.isIntersecting && !more.hidden && grow(), {
    rootMargin: "400px",
  }).observe(more);
  grow();
  return h("div", { class: "wall" }, list, more);
}

function makeCard(row, { measure, kind, actions, verdict, foot }) {
  const key = keyOf(row);
  const text = measure?.(row);
  const verdictText = verdict?.(key) ?? "";
  const controls = h("div", { class: "acts" });
  if (actions.like) controls.append(actionButton(key, "like", `More like ${key}`, actions.like, verdictText));
  if (actions.dislike) controls.append(actionButton(key, "dislike", `Less like ${key}`, actions.dislike, verdictText));
  controls.append(selectButton(key));
  return h(
    "li",
    { class: "card", dataset: { key, verdict: verdictText } },
    h(
      "a",
      { href: link("/object", { id: key }), id: `open-${key}`, tabindex: "-1" },
      plate(key, { kind }),
      h(
        "span",
        { class: "caption" },
        badge(row.survey),
        h("span", { class: "id", title: row.object_id }, row.object_id),
        text ? h("span", { class: "measure" }, text) : null,
      ),
    ),
    controls,
    foot?.(row),
  );
}

function actionButton(key, name, label, run, verdictText) {
  return h(
    "button",
    {
      type: "button",
      id: `${name}-${key}`,
      class: `act ${name}`,
      "aria-label": label,
      title: label,
      "aria-pressed": String(verdictText === name),
      tabindex: "-1",
      on: { click: () => run(key) },
    },
    icon(name),
  );
}

function selectButton(key) {
  const label = `Select ${key}`;
  return h(
    "button",
    {
      type: "button",
      class: "act select",
      "aria-label": label,
      title: label,
      "aria-pressed": String(isSelected(key)),
      tabindex: "-1",
      dataset: { select: key },
      on: { click: () => toggle(key) },
    },
    icon("select"),
  );
}

/** Put one card on the Tab path and take the others off it. */
function activate(card) {
  if (!card) return;
  for (const other of card.parentElement.querySelectorAll('[tabindex="0"]')) {
    if (!card.contains(other)) other.tabIndex = -1;
  }
  for (const control of card.querySelectorAll("a, button")) control.tabIndex = 0;
}

function move(list, at, event) {
  if (event.target.closest('[role="radiogroup"]')) return false;
  const cards = [...list.children];
  const here = cards.indexOf(at);
  const width = cards.findIndex((card) => card.offsetTop > cards[0].offsetTop);
  const columns = width < 0 ? cards.length : width;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const to = event.key === "Home" ? 0 : event.key === "End" ? cards.length - 1 : here + step;
  if (!cards[to]) return false;
  cards[to].querySelector("a").focus();
  return true;
}

function act(key, event, actions, keys) {
  if (event.key === "l" && actions.like) actions.like(key);
  else if (event.key === "d" && actions.dislike) actions.dislike(key);
  else if (event.key === "x") toggle(key);
  else return keys?.(event, key) ?? false;
  return true;
}
