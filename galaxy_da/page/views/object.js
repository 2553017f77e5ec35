// One galaxy: its images in every survey, its catalogue columns, and its neighbours.

import { get, info, keyOf, post } from "../api.js";
import { columnName, quantity, unitOf, withErrors } from "../columns.js";
import { button, h, icon } from "../dom.js";
import { exportMenu } from "../export.js";
import { flags, percent, plural, sexagesimal } from "../format.js";
import { gallery } from "../gallery.js";
import { plate, scaleBar } from "../plates.js";
import { go, link } from "../route.js";
import { isSelected, toggle } from "../selection.js";
import { badge, loadSurveys } from "../surveys.js";

const NEIGHBOURS = 24;
const RADII = ["1", "2", "5"]; // arcsec
const PICTURES = [
  ["cutout", "Cutout", "as the survey took it"],
  ["prepared", "Prepared", "in the anchor's frame, for the network"],
  ["reconstruction", "Reconstructed", "decoded from the latents, denoised"],
];
const MEASURES = [
  ["Separation", "on the sky", (row) => `${row.separation_arcsec.toFixed(2)}″`],
  ["Distance", "in the latent space", (row) => [row.distance.toFixed(2), closer(row)]],
  ["Same galaxy", "probability from the images", (row) => chance(row.match_probability)],
];

export async function view({ params, signal }) {
  const [about] = await Promise.all([info(), loadSurveys()]);
  const id = params.get("id");
  if (!id) return h("section", { class: "empty" }, h("h1", {}, "No galaxy chosen"), h("a", { href: "#/" }, "Search for a galaxy"));
  const radius = params.get("radius") ?? "1";
  const [own, same, near] = await Promise.all([
    get("/api/objects", { id }, signal),
    sameElsewhere(about, id, radius, signal),
    post("/api/similar", { like: [id], k: NEIGHBOURS }, signal),
  ]);
  return h("article", { class: "object" },
    heading(own),
    h("div", { class: "columns" }, observationTable(own, same.rows, about, radius), facts(own, about.index.columns)),
    h("section", { class: "near", "aria-labelledby": "near" },
      h("div", { class: "heading" },
        h("h2", { id: "near" }, "Most similar"),
        h("a", { class: "button", href: link("/similar", { like: id }) }, "Show all")),
      gallery(near.rows, {
        label: "Most similar galaxies",
        measure: (row) => row.distance.toFixed(2),
        actions: {
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
      own.ra === null
        ? h("p", { class: "muted" }, "Its position on the sky is not known")
        : h("p", { class: "position" }, sexagesimal(own.ra, own.dec),
          h("span", { class: "muted" }, ` ${own.ra.toFixed(5)}°, ${own.dec.toFixed(5)}°`)),
      h("p", { class: "elsewhere" }, own.links.map(({ name, url }) =>
        h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, name)))),
    h("div", { class: "row" },
      h("a", { class: "button primary", href: link("/similar", { like: own.key }) }, "Similar galaxies"),
      h("a", { class: "button", href: link("/latents", { id: own.key }) }, "Change the latents"),
      select,
      exportMenu({ ids: [own.key], name: own.object_id })));
}

/** Table with a column for each survey: its pictures, and its distance from this galaxy. */
function observationTable(own, rows, { space: { frame }, index }, radius) {
  const alone = Object.keys(index.surveys).length < 2;
  const observations = [{ key: own.key, survey: own.survey }, ...rows.map((row) => ({ ...row, key: keyOf(row) }))];
  const bar = scaleBar(frame.pixels * frame.pixel_scale_arcsec);
  const line = (name, note, cell) =>
    h("tr", {}, h("th", { scope: "row" }, name, h("small", {}, note)), observations.map((observation, i) => h("td", {}, cell(observation, i))));
  const table = h("table", { class: "observations" },
    h("caption", {}, alone ? "This index holds one survey" : rows.length
      ? `${plural(rows.length, "counterpart")} in other surveys within ${radius}″`
      : `No other survey has a galaxy within ${radius}″`),
    h("thead", {}, h("tr", {}, h("td", {}), observations.map((observation, i) =>
      h("th", { scope: "col" }, badge(observation.survey), i === 0
        ? h("small", {}, "this galaxy")
        : h("a", { href: link("/object", { id: observation.key }) }, h("small", {}, observation.object_id)))))),
    h("tbody", {}, PICTURES.map(([kind, name, note]) => line(name, note, (observation, i) => plate(observation.key, {
      kind, size: 240, eager: true, marked: i === 0 && kind === "cutout", bar: kind === "cutout" ? null : bar,
    })))),
    rows.length
      ? h("tbody", { class: "measures" }, MEASURES.map(([name, note, text]) =>
          line(name, note, (observation, i) => (i === 0 ? "" : text(observation)))))
      : null);
  return h("div", {},
    h("div", { class: "observations-frame", tabindex: "0", role: "region", "aria-label": "Images in every survey" }, table),
    alone ? null : h("p", { class: "muted within" }, "Search radius", RADII.map((r) =>
      h("a", { href: link("/object", { id: own.key, radius: r }), "aria-current": r === radius ? "true" : undefined }, `${r}″`))));
}

function facts(own, columns) {
  const names = flags(own.flags);
  const line = (name, text, { description, column } = {}) =>
    h("div", { title: column }, h("dt", {}, name, description ? h("small", {}, description) : null), h("dd", {}, text));
  const rows = withErrors(columns, own.columns);
  const known = rows.filter(([, value]) => value !== null && value !== "");
  const empty = rows.filter(([, value]) => value === null || value === "").map(([column]) => columnName(column.name));
  return h("section", { "aria-labelledby": "facts" }, h("h2", { id: "facts" }, "Catalogue columns"),
    h("dl", { class: "facts" },
      line("Quality flags", names.length ? names.join(", ") : "none", { column: "flags" }),
      known.map(([column, value, error]) =>
        line(columnName(column.name), quantity(value, unitOf(column), error), { description: column.description, column: column.name })),
      empty.length ? line("Without a value", empty.join(", ")) : null));
}

function closer({ percentile_same: same, percentile_random: random }) {
  const text = `${percent(same)} of matched pairs and ${percent(random)} of random pairs are closer`;
  return same === null && random === null ? null : h("small", {}, text);
}

function chance(p) {
  if (p === null || p === undefined) return h("span", { class: "muted" }, "not calibrated");
  return h("span", { class: "chance" },
    h("meter", { min: 0, max: 1, value: p, "aria-label": "Probability that it is the same galaxy" }), percent(p));
}
