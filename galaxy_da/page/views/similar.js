// Galaxies similar to some examples, in one gallery or one row per survey.

import { get, info, keyOf, post } from "../api.js";
import { button, choice, field, h, icon } from "../dom.js";
import { exportMenu } from "../export.js";
import { filters } from "../filters.js";
import { isVector, number, plural, unpackExample } from "../format.js";
import { gallery } from "../gallery.js";
import { ownName, ownPictures, ownText } from "../own.js";
import { plate } from "../plates.js";
import { go, link, read } from "../route.js";
import { badge, loadSurveys } from "../surveys.js";

const PICTURES = [
  ["cutout", "As taken"],
  ["prepared", "Same scale"],
  ["reconstruction", "Decoded"],
];

export async function view({ params, signal }) {
  const [about, surveys] = await Promise.all([info(), loadSurveys()]);
  const values = read(params, ["like", "dislike", "where"]);
  if (values.ra !== undefined) await fromPosition(values, signal);
  if (!values.like.length) return start();
  const rows = values.by === "survey" ? surveys : [values.survey];
  const asked = query(values, about.space.galaxy_latents);
  const bodies = rows.map((survey) => ({ ...asked, survey: survey || undefined }));
  const answers = await Promise.all(bodies.map((body) => post("/api/similar", body, signal)));
  const again = (changed) => go("/similar", { ...values, ...changed });
  return h("div", { class: "similar" },
    heading(values, about, again),
    h("div", { class: "toolbar" },
      filters({
        surveys, values, columns: about.index.columns,
        apply: ({ by, ...filtered }) => again({ ...filtered, by: by ?? "" }),
        extra: [
          field("Pictures", choice("pictures", PICTURES, kindOf(values), { id: "filter-pictures" })),
          bySurvey(values),
        ],
      }),
      exportMenu({ path: "/api/similar", body: bodies[0].survey && values.by === "survey" ? asked : bodies[0], shown: answers.flatMap(({ rows }) => rows.map(keyOf)), name: "similar" })),
    answers.map((answer, i) => section(answer.rows, rows[i], values, again)));
}

/** Kind of pictures; those of an upload are compared in its own frame. */
const kindOf = ({ pictures, like }) => pictures ?? (like.some(isVector) ? "prepared" : "cutout");

function query({ like, dislike, k = "60", where, cone }, width) {
  const example = (text) => (isVector(text) ? unpackExample(text).slice(0, width) : text);
  return {
    like: like.map(example),
    dislike: dislike.map(example),
    k: Number(k),
    where,
    cone: cone ? cone.split(",").map(Number) : undefined,
  };
}

/** Replace a position in the query by the galaxy there. */
async function fromPosition(values, signal) {
  const { ra, dec, radius = "5" } = values;
  const found = await get("/api/similar", { ra, dec, radius_arcsec: radius, k: 1 }, signal);
  values.like = found.meta.query;
  values.at = `${number(Number(ra), 8)}°, ${number(Number(dec), 8)}°`;
  for (const name of ["ra", "dec", "radius"]) delete values[name];
}

function bySurvey(values) {
  return h("label", { class: "tick" },
    h("input", { type: "checkbox", name: "by", value: "survey", id: "by-survey", checked: values.by === "survey" }),
    "One row per survey");
}

function heading(values, about, again) {
  const { like, dislike } = values;
  const drop = (from, key) => again({ [from]: values[from].filter((one) => one !== key) });
  const one = like.length === 1 && !dislike.length;
  const own = one && isVector(like[0]);
  return h("header", { class: "query" },
    h("div", { class: "examples" }, own ? ownPictures(like[0], about, 168) : [
      like.map((key) => example(key, "like", about, like.length > 1 ? () => drop("like", key) : null, one)),
      dislike.map((key) => example(key, "dislike", about, () => drop("dislike", key), false))].flat()),
    h("div", {},
      h("h1", {}, title(like, dislike)),
      values.at ? h("p", { class: "muted" }, `The galaxy nearest to ${values.at}`) : null,
      own && ownText(like[0]) ? h("p", { class: "muted" }, ownText(like[0])) : null,
      h("p", { class: "hint by-keyboard" }, "Press ", h("kbd", {}, "l"), " for more like a galaxy, ", h("kbd", {}, "d"), " for fewer, ",
        h("kbd", {}, "x"), " to select it."),
      h("p", { class: "hint by-touch" }, "Tap + on a galaxy for more like it, − for fewer, ✓ to select it.")));
}

function title(like, dislike) {
  const name = (key) => (isVector(key) ? ownName(key) : key);
  const start = like.length === 1 ? `Like ${name(like[0])}` : `Like ${plural(like.length, "galaxy", "galaxies")}`;
  return dislike.length ? `${start}, unlike ${dislike.length === 1 ? name(dislike[0]) : dislike.length}` : start;
}

function example(key, role, about, remove, large) {
  const own = isVector(key);
  const size = large ? 168 : 92;
  const shown = own
    ? ownPictures(key, about, size, false)[0].querySelector(".plate")
    : h("a", { href: link("/object", { id: key }), "aria-label": `${role} ${key}` }, plate(key, { size, eager: true, marked: large }));
  return h("figure", { class: `example ${role}`, style: { width: `${size}px` } }, shown,
    remove
      ? h("button", { type: "button", class: "act remove", "aria-label": `Remove ${role} ${own ? ownName(key) : key}`, on: { click: remove } }, icon("close"))
      : null);
}

function section(rows, survey, values, again) {
  const wall = gallery(rows, {
    kind: kindOf(values),
    label: survey ? `Neighbours in ${survey}` : "Neighbours",
    measure: (row) => row.distance.toFixed(2),
    actions: {
      like: (key) => again({ like: [...values.like, key] }),
      dislike: (key) => again({ dislike: [...values.dislike, key] }),
    },
  });
  if (values.by !== "survey") return wall;
  return h("section", { class: "strip" }, h("h2", {}, badge(survey)), wall);
}

function start() {
  return h("section", { class: "empty" },
    h("h1", {}, "Similar galaxies"),
    h("p", {}, "Choose a galaxy to start from: by its id, its position, or a picture of it."),
    h("p", { class: "row centre" }, button("Search", () => go("/"), { class: "primary" })));
}
