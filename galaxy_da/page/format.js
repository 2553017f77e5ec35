// Text of numbers, positions and flags.

const FLAGS = [
  [1, "non-finite pixels"],
  [2, "saturated"],
  [4, "blank band"],
  [8, "partial coverage"],
  [16, "substituted band"],
  [32, "outside the domain"],
  [64, "light at the edge"],
  [128, "magnitudes differ"],
  [256, "not photometric"],
];

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

export const count = (value) => value.toLocaleString("en");

export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1%";
  if (value < 100 && value > 99.9) return "> 99.9%";
  return `${Number(value.toPrecision(3))}%`;
}

export function flags(mask) {
  return FLAGS.filter(([bit]) => mask & bit).map(([, text]) => text);
}

export function sexagesimal(ra, dec) {
  const sign = dec < 0 ? "−" : "+";
  return `${parts(ra / 15, 2)} ${sign}${parts(Math.abs(dec), 1)}`;
}

function parts(value, digits) {
  const unit = 10 ** digits;
  const total = Math.round(value * 3600 * unit);
  const pad = (whole) => String(whole).padStart(2, "0");
  const seconds = (total % (60 * unit)) / unit;
  const minutes = Math.floor(total / (60 * unit));
  const text = seconds.toFixed(digits).padStart(3 + digits, "0");
  return `${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}:${text}`;
}

/** Read "150.1 2.2", "150.1, +2.2" or "10:00:24 +02:12:00"; null for other text. */
export function readPosition(text) {
  const found = text.trim().match(/^([\d:hm.\s]+?)s?[\s,]+([+\-−]?[\d:dm°'′".\s]+?)["″s]?$/);
  if (!found) return null;
  const [ra, dec] = [split(found[1]), split(found[2].replace("−", "-"))];
  if (!ra || !dec || ra.length !== dec.length) return null;
  const position = ra.length === 1 ? [ra[0], dec[0]] : [angle(ra) * 15, angle(dec, found[2])];
  return position[0] >= 0 && position[0] < 360.0001 && Math.abs(position[1]) <= 90 ? position : null;
}

function split(text) {
  const pieces = text.split(/[:hmd°'′"\s]+/).filter(Boolean);
  if (pieces.length !== 1 && pieces.length !== 3) return null;
  const values = pieces.map(Number);
  return values.every(Number.isFinite) ? values : null;
}

function angle([whole, minutes, seconds], text = "") {
  const size = Math.abs(whole) + minutes / 60 + seconds / 3600;
  return /^[-−]/.test(text.trim()) ? -size : size;
}

/** Latents in a URL: base64url of float32. */
export function packVector(values) {
  const bytes = new Uint8Array(new Float32Array(values).buffer);
  const text = btoa(String.fromCharCode(...bytes));
  return `vector~${text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

export const isVector = (text) => text.startsWith("vector~");

/** A key as it is, or the vector that packVector wrote. */
export function unpackExample(text) {
  if (!isVector(text)) return text;
  const base64 = text.slice(7).replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return [...new Float32Array(bytes.buffer)];
}
