// Pictures of galaxies: one square each, drawn at its size, with what to say where there is none.

import { picture } from "./api.js";
import { h } from "./dom.js";

const WORDS = {
  cutout: "cutout",
  prepared: "as the network sees it",
  reconstruction: "reconstruction",
};

export function plate(key, { kind = "cutout", size = 160, eager = false, marked = false, bar } = {}) {
  const image = h("img", {
    src: picture(kind, key, kind === "cutout" ? size * 2 : undefined),
    width: size,
    height: size,
    alt: `${key}, ${WORDS[kind]}`,
    loading: eager ? "eager" : "lazy",
    decoding: "async",
  });
  const frame = h("span", { class: `plate ${marked ? "marked" : ""} ${kind}` }, image);
  image.addEventListener("error", () => {
    frame.classList.add("missing");
    frame.replaceChildren(h("span", { class: "none" }, `no ${kind}`));
  });
  if (bar) frame.append(h("span", { class: "scale", style: { width: `${bar.share * 100}%` } }, bar.text));
  return frame;
}

/** A bar of a round number of arcseconds for a picture so many arcseconds wide. */
export function scaleBar(width) {
  const length = [1, 2, 5, 10, 20, 30, 60].findLast((step) => step <= width / 3) ?? width / 4;
  return { share: length / width, text: `${length}″` };
}
