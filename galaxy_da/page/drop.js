// Search by picture: dropped on, pasted into or chosen in any view.

import { info, upload } from "./api.js";
import { announce, button, choice, field, h } from "./dom.js";
import { isVector, packVector } from "./format.js";
import { go } from "./route.js";

export const IMAGES = ".fits,.fit,.fz,.jpg,.jpeg,.png";

export function acceptDrops() {
  const body = document.body;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (carries(event) && ++depth) body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (carries(event) && --depth <= 0) body.classList.remove("dropping");
  });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event) || event.target.closest?.('input[type="file"]')) return;
    event.preventDefault();
    depth = 0;
    body.classList.remove("dropping");
    askSurvey(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) askSurvey(file);
  });
}

/** Ask for the survey of a picture, encode it, and show similar galaxies. */
export async function askSurvey(file) {
  if (!file) return;
  const { uploads } = await info();
  const names = Object.keys(uploads.surveys);
  const dialog = document.getElementById("dialog");
  const survey = choice("survey", names.map((name) => [name, name]), names[0]);
  const stretch = h("select", { id: "stretch" });
  const scale = h("input", { id: "scale", type: "number", min: 0.001, step: "any", inputmode: "decimal" });
  const colours = field("Colours", stretch, "Stretch of a colour picture.");
  const offerStretches = () => {
    const { stretches, pixel_scale_arcsec: own } = uploads.surveys[survey.value];
    scale.placeholder = `${own}, the survey's own`;
    stretch.replaceChildren(
      h("option", { value: "" }, "as the archive makes them"),
      ...stretches.map((name) => h("option", { value: name }, name)));
    colours.hidden = !stretches.length;
  };
  survey.addEventListener("change", offerStretches);
  offerStretches();
  const message = h("p", { class: "message", role: "alert", hidden: true });
  const submit = h("button", { class: "primary" }, "Find similar galaxies");
  const preview = await thumbnail(file);
  const form = h("form", { class: "stack" },
    h("h2", {}, "Search by picture"),
    h("div", { class: "chosen-file" }, preview, h("p", {}, file.name)),
    field("Survey", survey, "The survey that took the picture."),
    colours,
    field("Pixel scale [arcsec]", scale, "Needed for a picture that an archive resampled. The WCS of a FITS file comes first."),
    message,
    h("div", { class: "row" }, submit, button("Cancel", () => dialog.close())));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.hidden = true;
    submit.disabled = true;
    try {
      const found = await upload("/api/encode", {
        file, survey: survey.value, draw: "true", stretch: stretch.value, pixel_scale_arcsec: scale.value,
      });
      if (found.status && found.status !== "ok") throw new Error(found.message ?? found.status);
      const vector = packVector(found.latents);
      remember(vector, { name: file.name, survey: survey.value, flags: found.flags, reason: found.domain_reason, scale: scale.value, ...found.pictures });
      dialog.close();
      go("/similar", { like: vector });
    } catch (error) {
      message.textContent = error.message;
      message.hidden = false;
      announce(error.message);
    } finally {
      submit.disabled = false;
    }
  });
  dialog.setAttribute("aria-label", "Search by picture");
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}

async function thumbnail(file) {
  if (!file.type.startsWith("image/")) return null;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return null;
  const side = 160;
  const canvas = h("canvas", { width: side, height: side, class: "preview", role: "img", "aria-label": file.name });
  const least = Math.min(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(
    bitmap, (bitmap.width - least) / 2, (bitmap.height - least) / 2, least, least, 0, 0, side, side);
  return canvas;
}

/** Keep the pictures of a vector until the tab is closed; if there is no room, drop earlier ones. */
function remember(vector, about) {
  const text = JSON.stringify(about);
  try {
    sessionStorage.setItem(vector, text);
  } catch {
    Object.keys(sessionStorage).filter(isVector).forEach((key) => sessionStorage.removeItem(key));
    sessionStorage.setItem(vector, text);
  }
}

/** What is known of an uploaded picture: {name, survey, flags, reason, cutout, prepared}, pictures as base64 PNG. */
export function remembered(vector) {
  return JSON.parse(sessionStorage.getItem(vector) ?? "null");
}
