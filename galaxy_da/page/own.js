// An uploaded picture, or a point of the latent space, shown as an example of a search.

import { asJson, call } from "./api.js";
import { h } from "./dom.js";
import { remembered } from "./drop.js";
import { flags, unpackExample } from "./format.js";
import { scaleBar } from "./plates.js";

/** Name for headings. */
export const ownName = (vector) => (remembered(vector) ? "your picture" : "a point of the latent space");

/** Pictures of an upload: as taken, prepared and decoded; of a bare point, decoded only. */
export function ownPictures(vector, { space }, size, all = true) {
  const about = remembered(vector);
  const bar = scaleBar(space.frame.pixels * space.frame.pixel_scale_arcsec);
  const saved = (name, caption, scale) => figure(
    h("img", { src: `data:image/png;base64,${about[name]}`, alt: `Your picture, ${caption}`, width: size, height: size }), size, caption, scale);
  const shown = about ? [saved("cutout", "as taken")] : [];
  if (about && all) shown.push(saved("prepared", "prepared for the network", bar));
  if (!about || all) shown.push(decodedFigure(unpackExample(vector), space, size, bar));
  return shown;
}

/** One line about an upload: file, survey, quality flags, why it lies outside the domain. */
export function ownText(vector) {
  const about = remembered(vector);
  if (!about) return null;
  const names = flags(about.flags);
  const scale = about.scale ? ` at ${about.scale}″ a pixel` : "";
  const told = [names.join(", "), about.reason].filter(Boolean).map((part) => `; ${part}`).join("");
  return `${about.name}, read as ${about.survey}${scale}${told}`;
}

function figure(image, size, caption, bar) {
  const scale = bar ? h("span", { class: "scale", style: { width: `${bar.share * 100}%` } }, bar.text) : null;
  return h("figure", { class: "example own", style: { "max-width": `${size}px` } },
    h("span", { class: "plate" }, ...[image, scale].filter(Boolean)), h("figcaption", {}, caption));
}

/** Decoded image of a vector; nuisance latents that it lacks are zero. */
function decodedFigure(vector, space, size, bar) {
  const image = h("img", { alt: "Decoded image", width: size, height: size });
  const made = figure(image, size, "decoded", bar);
  const frame = made.querySelector(".plate");
  const latents = [...vector, ...new Array(space.latents - vector.length).fill(0)];
  frame.classList.add("waiting");
  call("/api/decode", asJson({ latents: [latents] })).then(async (answer) => {
    image.src = URL.createObjectURL(await answer.blob());
    frame.classList.remove("waiting");
  }, () => frame.replaceChildren(h("span", { class: "none" }, "cannot be decoded")));
  return made;
}
