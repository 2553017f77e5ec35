// Colour and label of each survey, the same in every view.

import { info } from "./api.js";
import { h } from "./dom.js";

const COLOURS = 8;

/** Names of the surveys of the index, in its order. */
export async function surveys() {
  return Object.keys((await info()).index.surveys);
}

let order = [];
/** Load the names, which fixes the colours. */
export async function loadSurveys() {
  order = await surveys();
  return order;
}

export function colourName(survey) {
  const place = Math.max(0, order.indexOf(survey));
  return `--survey-${place % COLOURS}`;
}

export function badge(survey) {
  return h("span", { class: "survey", style: { "--own": `var(${colourName(survey)})` } }, survey);
}
