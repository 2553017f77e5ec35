// One galaxy: its views in every survey side by side, what is known of it, and its neighbours.

import { get, info, keyOf, post } from "../api.js";
import { button, h, icon } from "../dom.js";
import { exportMenu } from "../export.js";
import { flags, number, percent, plural, sexagesimal } from "../format.js";
import { gallery } from "../gallery.js";
import { plate, scaleBar } from "../plates.js";
import { go, link } from "../route.js";
import { isSelected, toggle } from "../selection.js";
import { badge, knowSurveys } from "../surveys.js";

const NEIGHBOURS = 24;
const RADII = ["1", "2", "5"]; // arcsec
const PICTURES = [
  ["cutout", "Cutout", "as the survey saw it"],
  ["prepared", "Prepared", "in the frame of the anchor, as the network sees it"],
  ["reconstruction", "Reconstructed", "by the anchor's decoder from the latents: denoised"],
];
const MEASURES = [
  ["Apart", "on the sky", (row) => `${row.separation_arcsec.toFixed(2)}″`],
  ["Distance", "of the latents", (row) => [row.distance.toFixed(2), closer(row)]],
  ["Same galaxy", "probability by the images", (row) => chance(row.match_probability)],
];

export async function view({ params, signal }) {
  const [about] = await Promise.all([info(), knowSurveys()]);
  const id = params.get("id");
  if (!id) return h("section", { class: "empty" }, h("h1", {}, "Which galaxy?"), h("a", { href: "#/" }, "Search for one"));
  const radius = params.get("radius") ?? "1";
  const [own, same, near] = await Promise.all([
    get("/api/objects", { id }, signal),
    sameElsewhere(about, id, radius, signal),
    post("/api/similar", { like: [id], k: NEIGHBOURS }, signal),
  ]);
  return h("article", { class: "object" },
    heading(own),
    h("div", { class: "columns" }, views(own, same.rows, about.space.frame, radius), facts(own)),
    h("section", { class: "near", "aria-labelledby": "near" },
      h("div", { class: "heading" },
        h("h2", { id: "near" }, "Most similar"),
        h("a", { class: "button", href: link("/similar", { like: id }) }, "All and refine")),
      gallery(near.rows, {
        label: "Most similar galaxies",
        measure: (row) => row.distance.toFixed(2),
        acts: {
          like: (key) => go("/similar", { like: [id, key] }),
          dislike: (key) => go("/similar", { like: id, dislike: key }),
        },
      })));
}

async function sameElsewhere(about, id, radius, signal) {
  if (Object.keys(about.index.surveys).length < 2) return { rows: [] };
  return get("/api/same", { id, radius_arcsec: radius }, signal);
}

function heading(own) {
  const select = button([icon("select"), "Select"], () => toggle(own.key), {
    "aria-pressed": String(isSelected(own.key)), dataset: { select: own.key }, id: "select-own",
  });
  return h("header", { class: "object-heading" },
    h("div", {},
      h("p", {}, badge(own.survey)),
      h("h1", {}, own.object_id),
      h("p", { class: "position" }, sexagesimal(own.ra, own.dec),
        h("span", { class: "muted" }, ` ${own.ra.toFixed(5)}°, ${own.dec.toFixed(5)}°`))),
    h("div", { class: "row" },
      h("a", { class: "button primary", href: link("/similar", { like: own.key }) }, "Similar galaxies"),
      h("a", { class: "button", href: link("/latents", { id: own.key }) }, "Change its latents"),
      select,
      exportMenu({ ids: [own.key], name: own.object_id })));
}

/** A column for each survey: its pictures, and how far it is from this galaxy. */
function views(own, rows, frame, radius) {
  const looks = [{ key: own.key, survey: own.survey }, ...rows.map((row) => ({ ...row, key: keyOf(row) }))];
  const bar = scaleBar(frame.pixels * frame.pixel_scale_arcsec);
  const line = (name, what, cell) =>
    h("tr", {}, h("th", { scope: "row" }, name, h("small", {}, what)), looks.map((look, i) => h("td", {}, cell(look, i))));
  const table = h("table", { class: "looks" },
    h("caption", {}, rows.length
      ? `The same galaxy in ${plural(rows.length, "other image")} within ${radius}″`
      : `No other survey has a galaxy within ${radius}″`),
    h("thead", {}, h("tr", {}, h("td", {}), looks.map((look, i) =>
      h("th", { scope: "col" }, badge(look.survey), i === 0
        ? h("small", {}, "this galaxy")
        : h("a", { href: link("/object", { id: look.key }) }, h("small", {}, look.object_id)))))),
    h("tbody", {}, PICTURES.map(([kind, name, what]) => line(name, what, (look, i) => plate(look.key, {
      kind, size: 240, eager: true, marked: i === 0 && kind === "cutout", bar: kind === "cutout" ? null : bar,
    })))),
    rows.length
      ? h("tbody", { class: "measures" }, MEASURES.map(([name, what, text]) =>
          line(name, what, (look, i) => (i === 0 ? "" : text(look)))))
      : null);
  return h("div", {},
    h("div", { class: "looks-frame", tabindex: "0", role: "region", "aria-label": "Views in every survey" }, table),
    h("p", { class: "muted within" }, "Look within", RADII.map((r) =>
      h("a", { href: link("/object", { id: own.key, radius: r }), "aria-current": r === radius ? "true" : undefined }, `${r}″`))));
}

function facts(own) {
  const known = flags(own.flags);
  const rows = [
    ["Flags", known.length ? known.join(", ") : "none: a clean image"],
    ...Object.entries(own.columns).map(([name, value]) => [name, number(value, 6)]),
  ];
  return h("section", { "aria-labelledby": "facts" }, h("h2", { id: "facts" }, "What is known of it"),
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

function closer({ percentile_same: same, percentile_random: random }) {
  const text = `closer: ${percent(same)} of same pairs, ${percent(random)} of random ones`;
  return same === null && random === null ? null : h("small", {}, text);
}

function chance(p) {
  if (p === null || p === undefined) return h("span", { class: "muted" }, "no model");
  return h("span", { class: "chance" },
    h("meter", { min: 0, max: 1, value: p, "aria-label": "Probability that it is the same galaxy" }), percent(p));
}
