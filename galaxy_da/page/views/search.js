// The front page: one box for ids, positions and pictures, above a wall of galaxies.

import { info, keyOf, someGalaxies } from "../api.js";
import { combobox, complete } from "../combobox.js";
import { button, h, icon } from "../dom.js";
import { askSurvey, IMAGES } from "../drop.js";
import { count, number, plural, readPosition } from "../format.js";
import { plate } from "../plates.js";
import { go, link } from "../route.js";
import { badge, knowSurveys } from "../surveys.js";

const RADIUS = "5"; // arcsec within which a position names a galaxy
const WALL = 96;

export async function view({ params, signal }) {
  const [about] = await Promise.all([info(), knowSurveys()]);
  const seed = Number(params.get("seed") ?? 0);
  const rows = await someGalaxies(WALL, seed, signal);
  return h("div", { class: "search" }, opening(about), mosaic(rows, seed));
}

function opening({ index }) {
  const names = Object.entries(index.surveys);
  const file = h("input", {
    type: "file", accept: IMAGES, id: "picture", class: "hidden",
    on: { change: () => { askSurvey(file.files[0]); file.value = ""; } },
  });
  const box = combobox({
    id: "query",
    label: "Galaxy id or position",
    placeholder: "Galaxy id, or right ascension and declination",
    suggest: (text) => {
      const position = readPosition(text);
      return position ? [{ label: positionText(position), value: position }] : [];
    },
    choose: find,
  });
  return h("section", { class: "opening" },
    h("h1", {}, `${plural(index.objects, "galaxy", "galaxies")}, ${plural(names.length, "survey")}, one space`),
    h("form", { role: "search", class: "ask", on: { submit: (event) => event.preventDefault() } },
      icon("search"), box,
      h("label", { class: "attach", for: "picture" }, icon("image"), h("span", {}, "Picture")), file,
      h("button", { class: "primary", type: "button", on: { click: () => {
        if (box.input.value.trim()) find(box.input.value.trim());
        else box.input.focus();
      } } }, "Find")),
    h("p", { class: "hint" },
      "Try ", h("code", {}, `${names[0][0]}:…`), " or ", h("code", {}, "150.116 +2.205"),
      ", or drop a FITS, JPEG or PNG cutout anywhere on the page."),
    h("ul", { class: "holdings", "aria-label": "Surveys" },
      names.map(([name, total]) => h("li", {}, badge(name), h("span", { class: "muted" }, count(total))))));
}

/** A position goes to the galaxy there, a key to its page, the start of one to the first it fits. */
async function find(asked) {
  const position = Array.isArray(asked) ? asked : readPosition(asked);
  if (position) {
    go("/similar", { ra: position[0], dec: position[1], radius: RADIUS });
    return;
  }
  const known = await complete(asked).catch(() => []);
  go("/object", { id: known.includes(asked) ? asked : (known[0] ?? asked) });
}

function positionText([ra, dec]) {
  return `The galaxy within ${RADIUS}″ of ${number(ra, 8)}°, ${number(dec, 8)}°`;
}

function mosaic(rows, seed) {
  return h("section", { class: "mosaic", "aria-labelledby": "some" },
    h("div", { class: "heading" },
      h("h2", { id: "some" }, "Some of them"),
      button([icon("shuffle"), "Others"], () => go("/", { seed: seed + 1 }), { id: "others", class: "quiet" })),
    h("ul", { class: "tiles" },
      rows.map((row) => {
        const key = keyOf(row);
        return h("li", {}, h("a", { href: link("/object", { id: key }), title: key }, plate(key, { size: 120 })));
      })));
}
