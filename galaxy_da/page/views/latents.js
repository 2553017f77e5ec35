// Sliders that change the latents of a galaxy, with the decoded image and its neighbours.

import { asJson, call, get, info, post, randomGalaxies } from "../api.js";
import { combobox } from "../combobox.js";
import { button, h } from "../dom.js";
import { packVector } from "../format.js";
import { gallery } from "../gallery.js";
import { plate, scaleBar, tiles } from "../plates.js";
import { go, link, saveState } from "../route.js";
import { badge, loadSurveys } from "../surveys.js";

const REACH = 4; // range of a slider [standard deviations]
const STRIP = [-3, -2, -1, 0, 1, 2, 3]; // steps of the focused latent [standard deviations]
const DELAY_MS = 350; // from the last move to the search for neighbours

export async function view({ params, signal }) {
  const [about] = await Promise.all([info(), loadSurveys()]);
  const id = params.get("id");
  if (!id) return choose(signal);
  const start = await get("/api/latents", { id }, signal);
  return build({ about, id, start, moves: readMoves(params.get("set")), signal });
}

/** Let the user choose a galaxy to start from. */
async function choose(signal) {
  const rows = await randomGalaxies(24, 0, signal);
  const box = combobox({
    id: "start", label: "Galaxy id", placeholder: "Galaxy id", choose: (key) => go("/latents", { id: key }),
  });
  return h("div", {},
    h("header", {}, h("h1", {}, "Latents"),
      h("p", { class: "lead" }, "Choose a galaxy, change its latents, and see the decoded image.")),
    h("div", { class: "ask narrow" }, box),
    tiles(rows, "/latents"));
}

function build({ about, id, start, moves, signal }) {
  const galaxy = about.space.galaxy_latents;
  const { latents, std } = start;
  const point = () => latents.map((value, i) => value + (moves.get(i) ?? 0) * std[i]);
  const size = about.space.frame.pixels * about.space.frame.pixel_scale_arcsec;
  const drawn = h("img", { class: "decoded", alt: "Decoded image", width: 360, height: 360 });
  const strip = h("img", { alt: "", class: "strip-image" });
  const stripText = h("figcaption", { class: "muted" }, "Move a slider to see the effect of its latent.");
  const neighbours = h("div", { class: "neighbours", "aria-live": "polite" });

  const decode = latest(async (body) => {
    const blob = await (await call("/api/decode", asJson(body, signal))).blob();
    show(drawn, blob);
  });
  const decodeStrip = latest(async ({ i, name }) => {
    const middle = point();
    const row = STRIP.map((step) => middle.map((value, k) => (k === i ? latents[i] + step * std[i] : value)));
    const blob = await (await call("/api/decode", asJson({ latents: row }, signal))).blob();
    show(strip, blob);
    strip.alt = `${name} from ${STRIP[0]} to ${STRIP.at(-1)} standard deviations`;
    stripText.textContent = `${name}, from ${STRIP[0]} to +${STRIP.at(-1)} standard deviations`;
  });
  const findNear = latest(async () => {
    const found = await post("/api/similar", { like: [point().slice(0, galaxy)], k: 12 }, signal);
    neighbours.replaceChildren(gallery(found.rows, {
      label: "Galaxies nearest to this point", measure: (row) => row.distance.toFixed(2),
    }));
  });
  let settling;
  const moved = () => {
    decode({ latents: [point()] });
    saveState("/latents", { id, set: [...moves].map(([i, value]) => `${i}:${value}`).join(",") });
    find.href = link("/similar", { like: packVector(point()) });
    clearTimeout(settling);
    settling = setTimeout(() => signal.aborted || findNear(), DELAY_MS);
  };
  const find = h("a", { class: "button" }, "Similar galaxies");

  const byStrength = (a, b) => start.strengths[b] - start.strengths[a];
  const sliders = latents.map((_, i) => i).sort(byStrength).map((i) => slider(i, i < galaxy ? "Latent" : "Nuisance"));
  function slider(i, group) {
    const change = start.changes[i].join(", ") || "fine detail";
    const name = `${group} ${i}: ${change}`;
    const value = h("output", {}, signed(moves.get(i) ?? 0));
    const input = h("input", {
      type: "range", min: -REACH, max: REACH, step: 0.05, id: `latent-${i}`, "aria-label": name,
      value: String(moves.get(i) ?? 0),
    });
    const set = () => {
      const move = Number(input.value);
      move ? moves.set(i, move) : moves.delete(i);
      input.setAttribute("aria-valuetext", `${signed(move)} standard deviations`);
      value.textContent = signed(move);
      row.classList.toggle("moved", move !== 0);
    };
    const row = h("div", { class: "slider" }, h("label", { for: input.id }, h("span", {}, change), h("small", {}, String(i))), input, value);
    input.addEventListener("input", () => { set(); moved(); });
    for (const event of ["focus", "pointerdown"]) input.addEventListener(event, () => decodeStrip({ i, name }));
    input.addEventListener("dblclick", () => { input.value = "0"; set(); moved(); });
    set();
    return Object.assign(row, { isGalaxy: i < galaxy, reset: () => { input.value = "0"; set(); } });
  }
  const back = button("Reset all", () => { sliders.forEach((row) => row.reset()); moved(); }, { id: "reset" });

  decode({ latents: [point()] });
  findNear();
  find.href = link("/similar", { like: packVector(point()) });
  const bar = scaleBar(size);
  const [survey, object] = id.split(/:(.*)/s);
  return h("div", { class: "latents" },
    h("header", {},
      h("p", {}, badge(survey)),
      h("h1", {}, `Latents of ${object}`)),
    h("div", { class: "bench" },
      h("div", { class: "pair" },
        h("figure", {}, h("span", { class: "plate" }, drawn, h("span", { class: "scale", style: { width: `${bar.share * 100}%` } }, bar.text)),
          h("figcaption", {}, "Decoded")),
        h("figure", {}, h("a", { href: link("/object", { id }), "aria-label": `Page of ${id}` }, plate(id, { kind: "prepared", size: 360, eager: true })),
          h("figcaption", {}, "Prepared cutout"))),
      h("div", { class: "under" }, h("figure", { class: "along" }, strip, stripText), h("div", { class: "row" }, back, find)),
      h("div", { class: "sliders" },
        h("section", { "aria-labelledby": "galaxy-latents" }, h("h2", { id: "galaxy-latents" }, "Galaxy"),
          h("p", { class: "muted" }, "Each slider is one latent, named by the change of this galaxy to the right; the strongest first."),
          sliders.filter((row) => row.isGalaxy)),
        galaxy < latents.length
          ? h("section", { "aria-labelledby": "nuisance-latents" }, h("h2", { id: "nuisance-latents" }, "Observation"),
              h("p", { class: "muted" }, "Nuisance latents: orientation, seeing, centring. Searches leave them out."),
              sliders.filter((row) => !row.isGalaxy))
          : null),
      h("section", { class: "nearest", "aria-labelledby": "nearest" }, h("h2", { id: "nearest" }, "Nearest galaxies"), neighbours)));
}

/** Run one call at a time; of the calls that arrive meanwhile, keep only the last. */
function latest(run) {
  let running = false;
  let waiting = null;
  return async function next(value) {
    if (running) { waiting = { value }; return; }
    running = true;
    try {
      await run(value);
    } finally {
      running = false;
      const { value: after } = waiting ?? {};
      const again = waiting !== null;
      waiting = null;
      if (again) next(after);
    }
  };
}

function show(image, blob) {
  const before = image.src;
  image.src = URL.createObjectURL(blob);
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

const signed = (value) => (value > 0 ? `+${value.toFixed(2)}` : value < 0 ? `−${(-value).toFixed(2)}` : "0");

function readMoves(text) {
  const pairs = (text ?? "").split(",").map((pair) => pair.split(":").map(Number));
  return new Map(pairs.filter(([i, value]) => Number.isInteger(i) && Number.isFinite(value)));
}
