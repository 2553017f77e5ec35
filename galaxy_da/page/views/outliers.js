// Outliers, which a person can score and re-rank.

import { get, info, keyOf, post } from "../api.js";
import { announce, button, choice, field, h } from "../dom.js";
import { exportMenu } from "../export.js";
import { filters } from "../filters.js";
import { number, plural } from "../format.js";
import { gallery } from "../gallery.js";
import { plate } from "../plates.js";
import { go, link, read, saveState } from "../route.js";
import { loadSurveys } from "../surveys.js";

const METHODS = [
  ["combined", "Combined"],
  ["knn", "Distance to neighbours"],
  ["lof", "Local outlier factor"],
  ["forest", "Isolation forest"],
  ["reconstruction", "Reconstruction error"],
  ["disagreement", "Disagreement of surveys"],
];
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
  const scored = values.method !== "disagreement";
  const wall = gallery(answer.rows, {
    label: "Outliers, highest score first",
    measure: (row) => (row.trained_score ?? row.outlier_score).toFixed(3),
    actions: scored ? { like: (key) => give(key, BEST), dislike: (key) => give(key, 0) } : {},
    verdict: (key) => verdict(scores.get(key)),
    foot: (row) => (scored ? pips(keyOf(row), scores.get(keyOf(row)), give) : partner(row)),
    keys: (event, key) => {
      if (!scored || !/^[0-5]$/.test(event.key)) return false;
      give(key, Number(event.key));
      return true;
    },
  });
  const page = h("div", { class: "outliers" },
    h("header", {},
      h("h1", {}, ranked.size ? `Outliers, ranked by ${plural(ranked.size, "score")}` : "Outliers"),
      h("p", { class: "lead" }, ranked.size
        ? "Ranked by outlier score and by a model of your scores."
        : "The most unusual galaxies first. Score some from 0 (uninteresting) to 5 (very interesting), then re-rank.")),
    h("div", { class: "toolbar" },
      filters({
        surveys, values, columns: about.index.columns,
        apply: ({ clean, ...filtered }) => go("/outliers", state({ ...filtered, clean: clean ?? "" })),
        extra: [
          field("Method", choice("method", METHODS, values.method ?? "combined", { id: "filter-method" })),
          h("label", { class: "tick" },
            h("input", { type: "checkbox", name: "clean", value: "1", id: "filter-clean", checked: values.clean === "1" }),
            "Exclude flagged images"),
        ],
      }),
      exportMenu({ path: ask.path, values: ask.values, body: ask.body, shown: answer.rows.map(keyOf), name: "outliers" })),
    answer.rows.length ? wall : h("p", { class: "empty" }, "No galaxy meets the conditions."),
    scored ? bar : null);
  page.addEventListener("keydown", (event) => {
    if (event.key === "r" && !event.target.closest("input, textarea, select") && !event.ctrlKey && !event.metaKey) rerank();
  });
  return page;
}

function request({ survey, method, clean, where, cone, k = "60" }, ranked) {
  if (!ranked.size || method === "disagreement") {
    return {
      path: "/api/outliers",
      values: { survey, method, k, where, cone, clean: clean === "1" ? "true" : "" },
    };
  }
  return {
    path: "/api/rank",
    body: {
      survey: survey || undefined, method: method || undefined, k: Number(k), clean: clean === "1", where,
      cone: cone || undefined,
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

/** Link to the other image of a pair that disagrees. */
function partner(row) {
  const key = `${row.other_survey}:${row.other_id}`;
  return h("a", { class: "partner", href: link("/object", { id: key }), tabindex: "-1" },
    plate(key, { size: 64 }), h("span", {}, `${row.other_survey}, ${number(row.separation_arcsec, 2)}″ away`));
}
