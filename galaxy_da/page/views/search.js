// Front page: search by id, position or picture, above random galaxies.

import { get, info, keyOf, randomGalaxies } from "../api.js";
import { combobox, complete } from "../combobox.js";
import { button, h, icon } from "../dom.js";
import { askSurvey, IMAGES } from "../drop.js";
import { count, number, plural, readPosition } from "../format.js";
import { tiles } from "../plates.js";
import { go } from "../route.js";
import { badge, loadSurveys } from "../surveys.js";

const RADIUS = "5"; // search radius around a position [arcsec]
const TILES = 96;

export async function view({ params, signal }) {
  const [about] = await Promise.all([info(), loadSurveys()]);
  const seed = Number(params.get("seed") ?? 0);
  const rows = await randomGalaxies(TILES, seed, signal);
  const example = await get("/api/objects", { id: keyOf(rows[0]) }, signal);
  return h("div", { class: "search" }, opening(about, example), mosaic(rows, seed));
}

function opening({ index }, example) {
  const names = Object.entries(index.surveys);
  const file = h("input", {
    type: "file", accept: IMAGES, id: "picture", class: "hidden",
    on: { change: () => { askSurvey(file.files[0]); file.value = ""; } },
  });
  const box = combobox({
    id: "query",
    label: "Galaxy id or position",
    placeholder: "Galaxy id or position",
    suggest: (text) => {
      const position = readPosition(text);
      return position ? [{ label: positionText(position), value: position }] : [];
    },
    choose: find,
  });
  return h("section", { class: "opening" },
    h("h1", {}, `${plural(index.objects, "galaxy", "galaxies")}, ${plural(names.length, "survey")}, one latent space`),
    h("form", { role: "search", class: "ask", on: { submit: (event) => event.preventDefault() } },
      icon("search"), box,
      h("label", { class: "attach", for: "picture" }, icon("image"), h("span", {}, "Picture")), file,
      h("button", { class: "primary", type: "button", on: { click: () => {
        if (box.input.value.trim()) find(box.input.value.trim());
        else box.input.focus();
      } } }, "Find")),
    h("p", { class: "hint" },
      "Try ", attempt(example.key),
      example.ra === null ? null : [" or ", attempt(placeText(example))], ", or ",
      h("span", { class: "by-mouse" }, "drop a FITS, JPEG or PNG cutout anywhere on the page."),
      h("span", { class: "by-touch" }, "choose a picture of your own.")),
    h("ul", { class: "holdings", "aria-label": "Surveys" },
      names.map(([name, total]) => h("li", {}, badge(name), h("span", { class: "muted" }, count(total))))));
}

/** Button that searches for an example of this index. */
function attempt(text) {
  return button(h("code", {}, text), () => find(text), { class: "attempt", "aria-label": `Search for ${text}` });
}

const placeText = ({ ra, dec }) => `${ra.toFixed(5)} ${dec < 0 ? "" : "+"}${dec.toFixed(5)}`;

/** Open the galaxy at a position, or the first galaxy whose key matches. */
async function find(text) {
  const position = Array.isArray(text) ? text : readPosition(text);
  if (position) {
    go("/similar", { ra: position[0], dec: position[1], radius: RADIUS });
    return;
  }
  const keys = await complete(text).catch(() => []);
  go("/object", { id: keys.includes(text) ? text : (keys[0] ?? text) });
}

function positionText([ra, dec]) {
  return `The galaxy within ${RADIUS}″ of ${number(ra, 8)}°, ${number(dec, 8)}°`;
}

function mosaic(rows, seed) {
  return h("section", { class: "mosaic", "aria-labelledby": "random" },
    h("div", { class: "heading" },
      h("h2", { id: "random" }, "Random galaxies"),
      button([icon("shuffle"), "Show others"], () => go("/", { seed: seed + 1 }), { id: "others", class: "quiet" })),
    tiles(rows, "/object"));
}
