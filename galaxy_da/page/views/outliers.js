// Strange galaxies, which a person can score and re-rank, and bad data.

import { get, info, keyOf, post } from "../api.js";
import { announce, button, h } from "../dom.js";
import { exportMenu } from "../export.js";
import { filters } from "../filters.js";
import { plural } from "../format.js";
import { gallery } from "../gallery.js";
import { plate } from "../plates.js";
import { go, link, read, saveState } from "../route.js";
import { loadSurveys } from "../surveys.js";

const BAD_DATA = "bad data";
const BEST = 5;

export async function view({ params, signal }) {
  const [about, surveys] = await Promise.all([info(), loadSurveys()]);
  const values = read(params, ["where", "score", "by"]);
  const scores = new Map(values.score.map(parseScore));
  const ranked = new Map(values.by.map(parseScore));
  const ask = request(values, ranked);
  const answer = ask.body ? await post(ask.path, ask.body, signal) : await get(ask.path, ask.values, signal);
  const state = (changed = {}) => ({ ...values, score: listed(scores), ...changed });
  const rerank = () => {
    if (!scores.size) return announce("Score some galaxies first");
    go("/outliers", state({ by: listed(scores) }));
  };
  const pending = () => [...scores].filter(([key, score]) => ranked.get(key) !== score).length;
  const bar = scoreBar({ scores, ranked, rerank, pending, clear: () => go("/outliers", { ...values, score: [], by: [] }) });
  const give = (key, score) => {
    scores.get(key) === score ? scores.delete(key) : scores.set(key, score);
    saveState("/outliers", state());
    paint(key, scores.get(key));
    bar.refresh();
  };
  const strange = answer.rows.filter((row) => row.ranking !== BAD_DATA);
  const bad = answer.rows.filter((row) => row.ranking === BAD_DATA);
  const measure = (row) => (row.trained_score ?? row.outlier_score).toFixed(3);
  const wall = gallery(strange, {
    label: "Strange galaxies, the strangest first",
    measure,
    actions: { like: (key) => give(key, BEST), dislike: (key) => give(key, 0) },
    verdict: (key) => verdict(scores.get(key)),
    foot: (row) => h("div", {}, pips(keyOf(row), scores.get(keyOf(row)), give), reason(row)),
    keys: (event, key) => {
      if (!/^[0-5]$/.test(event.key)) return false;
      give(key, Number(event.key));
      return true;
    },
  });
  const page = h("div", { class: "outliers" },
    h("header", {},
      h("h1", {}, ranked.size ? `Outliers, ranked by ${plural(ranked.size, "score")}` : "Outliers"),
      h("p", { class: "lead" }, ranked.size
        ? "Ranked by outlier score and by a model of your scores."
        : "The strangest galaxies first, then images that are bad data. Score galaxies from 0 (uninteresting) to 5 (very interesting), then re-rank.")),
    h("div", { class: "toolbar" },
      filters({
        surveys, values, columns: about.index.columns,
        apply: (filtered) => go("/outliers", state(filtered)),
      }),
      exportMenu({ path: ask.path, values: ask.values, body: ask.body, shown: answer.rows.map(keyOf), name: "outliers" })),
    strange.length ? wall : h("p", { class: "empty" }, "No galaxy meets the conditions."),
    bad.length ? h("section", { class: "bad-data", "aria-labelledby": "bad-data" },
      h("h2", { id: "bad-data" }, "Bad data"),
      gallery(bad, { label: "Bad data, the worst first", measure, foot: reason })) : null,
    bar);
  page.addEventListener("keydown", (event) => {
    if (event.key === "r" && !event.target.closest("input, textarea, select") && !event.ctrlKey && !event.metaKey) rerank();
  });
  return page;
}

function request({ survey, where, cone, k = "60" }, ranked) {
  if (!ranked.size) return { path: "/api/outliers", values: { survey, k, where, cone } };
  return {
    path: "/api/rank",
    body: {
      survey: survey || undefined, k: Number(k), where, cone: cone || undefined,
      scores: [...ranked].map(([id, score]) => ({ id, score })),
    },
  };
}

// A score in a URL: "4~survey:id".
const parseScore = (text) => [text.slice(2), Number(text[0])];
const listed = (scores) => [...scores].map(([key, score]) => `${score}~${key}`);
const verdict = (score) => (score === BEST ? "like" : score === 0 ? "dislike" : "");

function pips(key, score, give) {
  const group = h("div", { class: "pips", role: "group", "aria-label": `Score of ${key}`, dataset: { pips: key } });
  for (let value = 0; value <= BEST; value++) {
    group.append(h("button", {
      type: "button", tabindex: "-1", class: "pip", dataset: { value }, "aria-pressed": String(score === value),
      "aria-label": `${value} of ${BEST} for ${key}`, on: { click: () => give(key, value) },
    }, String(value)));
  }
  return group;
}

function paint(key, score) {
  const card = document.querySelector(`.card[data-key="${CSS.escape(key)}"]`);
  if (!card) return;
  card.dataset.verdict = verdict(score);
  for (const pip of card.querySelectorAll(".pip")) {
    pip.setAttribute("aria-pressed", String(Number(pip.dataset.value) === score));
  }
  for (const name of ["like", "dislike"]) {
    card.querySelector(`.act.${name}`)?.setAttribute("aria-pressed", String(verdict(score) === name));
  }
}

function scoreBar({ scores, ranked, rerank, pending, clear }) {
  const text = h("span", {});
  const run = button("Re-rank", rerank, { class: "primary", id: "rerank" });
  const drop = button("Clear scores", clear, { id: "clear-scores" });
  const bar = h("div", { class: "score-bar" }, text, h("div", { class: "row" }, run, drop));
  bar.refresh = () => {
    const fresh = pending() || ranked.size !== scores.size;
    bar.hidden = !scores.size && !ranked.size;
    text.textContent = `${plural(scores.size, "score")}${fresh ? "" : ", all used in this ranking"}`;
    run.disabled = !fresh || !scores.size;
  };
  bar.refresh();
  return bar;
}

/** Reason of the rank; for an image that differs from another survey's, also that image. */
function reason(row) {
  if (!row.reason) return null;
  if (row.ranking !== BAD_DATA || !row.compare_with) return h("p", { class: "reason" }, row.reason);
  return h("a", { class: "partner", href: link("/object", { id: row.compare_with }), tabindex: "-1" },
    plate(row.compare_with, { size: 64 }), h("span", {}, row.reason));
}
