// Readable names, units and values of catalogue columns.

import { number } from "./format.js";

const NAMES = {
  object_id: "Id",
  survey: "Survey",
  ra: "Right ascension",
  dec: "Declination",
  flags: "Quality flags",
  cutout: "Cutout",
  pixel_scale_arcsec: "Pixel scale",
  psf_fwhm_arcsec: "Seeing (PSF FWHM)",
  reconstruction_error: "Reconstruction error",
  morph_half_light_arcsec: "Half-light radius",
  morph_r_mag: "r magnitude",
};
const UNITS = { arcsec: "″", deg: "°", arcmin: "′" };
const SUFFIXES = { _arcsec: "arcsec", _deg: "deg", _mag: "mag" };
const ERRORS = "_err";

const ending = (name) => Object.keys(SUFFIXES).find((suffix) => name.endsWith(suffix));

/** Unit of a column: as stated, or as its name ends. */
export function unitOf({ name, unit }) {
  return unit || SUFFIXES[ending(name)] || "";
}

/** Name of a column in words: morph_g_minus_r becomes g − r, morph_p_bar becomes P(bar). */
export function columnName(name) {
  if (NAMES[name]) return NAMES[name];
  if (name.endsWith(ERRORS)) return `${columnName(name.slice(0, -ERRORS.length))}, error`;
  const bare = name.replace(/^morph_/, "");
  const chance = bare.match(/^p_(.+)$/);
  if (chance) return `P(${chance[1].replaceAll("_", " ")})`;
  const words = bare.replace(/_(arcsec|deg)$/, "").replace(/^mag_(\w+)$/, "$1 magnitude")
    .replace(/^(\w)_mag$/, "$1 magnitude").replaceAll("_minus_", " − ").replaceAll("_", " ");
  return /^\w (−|magnitude)/.test(words) ? words : words.charAt(0).toUpperCase() + words.slice(1);
}

/** Name and unit for a list of columns: "Half-light radius [arcsec]". */
export function columnTitle(column) {
  const unit = unitOf(column);
  return unit ? `${columnName(column.name)} [${unit}]` : columnName(column.name);
}

/** Value with its error and unit: "3.46 ± 0.22″". */
export function quantity(value, unit, error) {
  const missing = value === null || value === undefined;
  const text = typeof value === "number" && typeof error === "number" && error > 0
    ? `${rounded(value, error)} ± ${number(error, 2)}`
    : number(value, 4);
  if (!unit || missing) return text;
  return UNITS[unit] ? text + UNITS[unit] : `${text} ${unit}`;
}

/** Value to the second digit of its error. */
function rounded(value, error) {
  const decimals = Math.min(Math.max(1 - Math.floor(Math.log10(error)), 0), 12);
  return String(Number(value.toFixed(decimals)));
}

/** Rows [column, value, error] to show: an error joins the value that it belongs to. */
export function withErrors(columns, values) {
  const known = new Set(Object.keys(values));
  const isError = (name) => name.endsWith(ERRORS) && known.has(name.slice(0, -ERRORS.length));
  const described = new Map(columns.map((column) => [column.name, column]));
  return Object.entries(values).filter(([name]) => !isError(name))
    .map(([name, value]) => [described.get(name) ?? { name }, value, values[name + ERRORS]]);
}
