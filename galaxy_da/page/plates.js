// Square picture of a galaxy, with a text if there is none.

import { keyOf, picture } from "./api.js";
import { h } from "./dom.js";
import { link } from "./route.js";

const ALT_TEXTS = {
  cutout: "cutout",
  prepared: "prepared for the network",
  reconstruction: "reconstruction",
};

export function plate(key, { kind = "cutout", size = 160, eager = false, marked = false, bar } = {}) {
  const image = h("img", {
    src: picture(kind, key, kind === "cutout" ? size * 2 : undefined),
    width: size,
    height: size,
    alt: `${key}, ${ALT_TEXTS[kind]}`,
    loading: eager ? "eager" : "lazy",
    decoding: "async",
  });
  const frame = h("span", { class: `plate waiting ${marked ? "marked" : ""} ${kind}` }, image);
  image.addEventListener("load", () => frame.classList.remove("waiting"));
  image.addEventListener("error", () => {
    frame.classList.remove("waiting");
    frame.classList.add("missing");
    frame.replaceChildren(h("span", { class: "none" }, `no ${kind}`));
  });
  if (bar) frame.append(h("span", { class: "scale", style: { width: `${bar.share * 100}%` } }, bar.text));
  return frame;
}

/** Scale bar of a round length for a picture of some width [arcsec]. */
export function scaleBar(width) {
  const length = [1, 2, 5, 10, 20, 30, 60].findLast((step) => step <= width / 3) ?? width / 4;
  return { share: length / width, text: `${length}″` };
}

/** List of pictures, each a link to a view of its galaxy. */
export function tiles(rows, path) {
  return h("ul", { class: "tiles" }, rows.map(keyOf).map((key) =>
    h("li", {}, h("a", { href: link(path, { id: key }), title: key }, plate(key, { size: 120 })))));
}
