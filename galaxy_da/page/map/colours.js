// Colours of the points, and their legend.

import { colourName } from "../surveys.js";

const RAMPS = {
  dark: ["#3d3a8c", "#2f6f9f", "#3aa58a", "#b9cf6b", "#fff0b3"],
  light: ["#a9c1de", "#5d97bd", "#2f7092", "#204a63", "#101f33"],
};
const UNKNOWN = { dark: [90, 94, 104], light: [170, 174, 182] };
const SHARE = 0.02; // of the values, at either end, that have the end's colour
const NAMED = 8;

/** {rgb: colour of point i, legend}: categories with counts, or a range of numbers. */
export function colouring(points, column) {
  const theme = document.documentElement.dataset.theme;
  if (column && points.value.numbers) return byNumber(points.value.numbers, theme);
  const { codes, values } = column ? points.value : points.surveys;
  return byCategory(codes, values, column ? null : colourName, theme);
}

function byCategory(codes, values, name, theme) {
  const counts = new Array(values.length).fill(0);
  for (const code of codes) if (code >= 0) counts[code]++;
  const order = values.map((_, i) => i).sort((a, b) => (name ? a - b : counts[b] - counts[a]));
  const rgb = new Array(values.length).fill(UNKNOWN[theme]);
  const style = getComputedStyle(document.documentElement);
  const shown = name ? order : order.slice(0, NAMED);
  const entries = shown.map((code, place) => {
    const variable = name ? name(values[code]) : `--survey-${place}`;
    rgb[code] = hex(style.getPropertyValue(variable).trim());
    return { code, text: values[code], count: counts[code], variable };
  });
  const rest = order.slice(shown.length).reduce((sum, code) => sum + counts[code], 0);
  return { rgb: (i) => (codes[i] < 0 ? UNKNOWN[theme] : rgb[codes[i]]), legend: { entries, rest } };
}

function byNumber(numbers, theme) {
  const finite = numbers.filter((value) => !Number.isNaN(value)).sort();
  const at = (share) => finite[Math.round(share * (finite.length - 1))];
  const [low, high] = finite.length ? [at(SHARE), at(1 - SHARE)] : [0, 1];
  const stops = RAMPS[theme].map(hex);
  const table = Array.from({ length: 256 }, (_, i) => between(stops, i / 255));
  const scale = high > low ? 255 / (high - low) : 0;
  const rgb = (i) => {
    const value = numbers[i];
    if (Number.isNaN(value)) return UNKNOWN[theme];
    return table[Math.max(0, Math.min(255, Math.round((value - low) * scale)))];
  };
  return { rgb, legend: { low, high, ramp: RAMPS[theme], unknown: numbers.length - finite.length } };
}

function between(stops, share) {
  const place = share * (stops.length - 1);
  const first = Math.min(stops.length - 2, Math.floor(place));
  return stops[first].map((value, k) => Math.round(value + (place - first) * (stops[first + 1][k] - value)));
}

function hex(text) {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

/** RGBA of all points: faint if another point is lit, clear if not visible. */
export function paint(points, rgb, { visible, lit }) {
  const bytes = new Uint8Array(4 * points.n);
  const alpha = points.n > 20_000 ? 150 : 215;
  for (let i = 0; i < points.n; i++) {
    const [r, g, b] = rgb(i);
    bytes[4 * i] = r;
    bytes[4 * i + 1] = g;
    bytes[4 * i + 2] = b;
    bytes[4 * i + 3] = !visible(i) ? 0 : !lit ? alpha : lit.has(i) ? 255 : 38;
  }
  return bytes;
}
