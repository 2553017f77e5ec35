// Map of the latent space: pan, zoom, colour, and select galaxies with an outline.

import { get, info, keyOf } from "../api.js";
import { columnName, columnTitle, quantity, unitOf } from "../columns.js";
import { announce, button, choice, field, h, icon } from "../dom.js";
import { exportMenu } from "../export.js";
import { count, number, plural } from "../format.js";
import { gallery } from "../gallery.js";
import { Camera, gestures } from "../map/camera.js";
import { colouring, paint } from "../map/colours.js";
import { drawer } from "../map/draw.js";
import { inside, makePoints, nearest } from "../map/points.js";
import { plate } from "../plates.js";
import { go, saveState } from "../route.js";
import { add } from "../selection.js";
import { badge, loadSurveys } from "../surveys.js";
import { asRow } from "./selection.js";

const LIMIT = 100_000;
const REACH = 14; // largest distance from the pointer to its galaxy [px]
const CORNERS = 80; // of an outline in the URL

export async function view({ params, signal }) {
  const [about] = await Promise.all([info(), loadSurveys()]);
  const column = params.get("column") ?? "";
  const answer = await get("/api/map", { limit: LIMIT, column, format: "json" }, signal);
  const points = makePoints(answer);
  return build({ about, column, points, method: answer.meta.method, params, signal });
}

function build({ about, column, points, method, params, signal }) {
  const canvas = h("canvas", { class: "points", "aria-hidden": "true" });
  const overlay = h("canvas", {
    class: "overlay", id: "map", tabindex: "0", role: "application",
    "aria-label": "Map of the latent space. Arrow keys pan, plus and minus zoom, f fits, Enter selects all galaxies in view.",
  });
  const tip = h("div", { class: "tip", hidden: true });
  const tray = h("section", { class: "caught", "aria-label": "Selected on the map", hidden: true });
  const plot = h("div", { class: "plot" }, canvas, overlay, tip);
  const camera = new Camera(overlay, points.bounds);
  const coloured = about.index.columns.find(({ name }) => name === column) ?? { name: column };
  const hidden = new Set(params.getAll("hide"));
  const codes = points.surveys.codes;
  let hiddenCodes = new Set();
  const picture = drawer(canvas, points, params.get("draw"), (kind) => (plot.dataset.renderer = kind));
  let colours = colouring(points, column);
  let corners = readOutline(params.get("lasso"));
  let drawn = null; // unfinished outline [px]
  let caught = null;
  let lassoing = false;
  let hovered = -1;

  const visible = (i) => !hiddenCodes.has(codes[i]);

  // State and URL

  let waiting;
  const remember = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => signal.aborted || saveState("/map", state()), 250);
  };
  const state = (changed = {}) => ({
    column, hide: [...hidden], draw: params.get("draw"),
    at: [camera.x, camera.y, camera.zoom].map((value) => number(value, 5)).join(","),
    lasso: corners?.map((corner) => corner.map((value) => number(value, 4)).join(",")).join(";"),
    ...changed,
  });

  // Drawing

  let due = false;
  const redraw = () => {
    if (due || signal.aborted) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (!overlay.isConnected || !overlay.clientWidth) return;
      picture.draw(camera, pointSize(points.n, camera));
      drawOver();
    });
  };
  const recolour = () => {
    hiddenCodes = new Set(points.surveys.values.flatMap((name, code) => (hidden.has(name) ? [code] : [])));
    picture.colour(paint(points, colours.rgb, { visible, lit: caught && new Set(caught) }));
    redraw();
  };
  let clear = true;
  function drawOver() {
    const path = drawn ?? corners?.map(([x, y]) => camera.toScreen(x, y));
    const nothing = !path && hovered < 0;
    if (nothing && clear) return;
    clear = nothing;
    const context = overlay.getContext("2d");
    const ratio = overlay.width / overlay.clientWidth;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, overlay.clientWidth, overlay.clientHeight);
    const ink = getComputedStyle(overlay).color;
    if (path) outline(context, path, ink);
    if (hovered >= 0) ring(context, camera.toScreen(points.x[hovered], points.y[hovered]), ink);
  }

  // Gestures

  const hover = (px, py) => {
    const [x, y] = camera.toData(px, py);
    hovered = nearest(points, x, y, REACH / camera.scale, visible);
    overlay.style.cursor = hovered >= 0 ? "pointer" : lassoing ? "crosshair" : "grab";
    showTip(tip, points, hovered, coloured, camera);
    redraw();
  };
  const left = () => {
    hovered = -1;
    tip.hidden = true;
    redraw();
  };
  const choose = (outlined) => {
    corners = outlined;
    caught = corners && inside(points, corners, visible);
    recolour();
    remember();
    showCaught();
  };
  gestures(overlay, camera, () => lassoing, {
    hover, left,
    moved() { redraw(); remember(); },
    click(px, py) {
      hover(px, py);
      if (hovered >= 0) go("/object", { id: points.key(hovered) });
    },
    outline(path, done) {
      drawn = done ? null : path;
      if (!done) return redraw();
      choose(path && thin(path).map(([px, py]) => camera.toData(px, py)));
    },
    view() {
      const [w, t] = [overlay.clientWidth, overlay.clientHeight];
      choose([[0, 0], [w, 0], [w, t], [0, t]].map(([px, py]) => camera.toData(px, py)));
    },
  });

  function showCaught() {
    tray.hidden = !corners;
    if (!corners) return tray.replaceChildren();
    const keys = caught.map(points.key);
    announce(`${plural(keys.length, "galaxy", "galaxies")} selected`);
    tray.replaceChildren(
      h("div", { class: "heading" },
        h("h2", {}, plural(keys.length, "galaxy", "galaxies")),
        button([icon("close")], () => { choose(null); overlay.focus(); }, { class: "quiet", "aria-label": "Clear the outline", id: "clear-outline" })),
      keys.length
        ? h("div", { class: "row" },
            button("More like these", () => go("/similar", { like: keys.slice(0, 30) }), { class: "primary" }),
            button("Select", () => { add(keys); announce("Added to the selection"); }),
            exportMenu({ ids: keys, name: "map-selection" }))
        : h("p", { class: "muted" }, "No galaxy inside the outline."),
      keys.length ? gallery(keys.map(asRow), { label: "Galaxies inside the outline" }) : "");
  }

  // Panels

  const lasso = button([icon("lasso"), h("span", {}, "Lasso")], () => {
    lassoing = !lassoing;
    lasso.setAttribute("aria-pressed", String(lassoing));
    overlay.style.cursor = lassoing ? "crosshair" : "grab";
  }, { id: "lasso", "aria-pressed": "false", title: "Draw an outline around galaxies (or hold Shift)" });
  const zoomBy = (factor) => () => { camera.zoomBy(factor); redraw(); remember(); };
  const columns = about.index.columns.filter(({ name }) => !["object_id", "survey"].includes(name));
  const chosen = choice("column", [["", "Survey"], ...columns.map((one) => [one.name, columnTitle(one)])], column, { id: "column" });
  chosen.addEventListener("change", () => go("/map", state({ column: chosen.value })));
  const legend = h("div", { class: "legend" });
  const drawLegend = () => legend.replaceChildren(colours.legend.ramp ? rampLegend(colours.legend) : categoryLegend(colours.legend, !column, hidden, () => {
    recolour();
    if (corners) choose(corners);
    remember();
  }));
  const panel = h("div", { class: "map-panel" },
    h("h1", {}, "Map of the latent space"),
    h("p", { class: "muted" }, `${count(points.n)} galaxies, ${method === "umap" ? "UMAP" : method === "pca" ? "principal components" : method}`),
    field("Colour by", chosen), legend);
  const controls = h("div", { class: "map-controls" }, lasso,
    h("span", { class: "zooms" },
      button([icon("plus")], zoomBy(1.5), { "aria-label": "Zoom in", id: "zoom-in" }),
      button([icon("minus")], zoomBy(1 / 1.5), { "aria-label": "Zoom out", id: "zoom-out" }),
      button([icon("fit")], () => { camera.fit(); redraw(); remember(); }, { "aria-label": "Show all", id: "zoom-fit" })));

  // Size, theme, start and end

  let started = false;
  const resized = () => {
    const ratio = Math.min(2, devicePixelRatio);
    const [width, height] = [overlay.clientWidth, overlay.clientHeight];
    if (!width || !height) return;
    Object.assign(overlay, { width: width * ratio, height: height * ratio });
    clear = false;
    if (!started) begin();
    redraw();
  };
  const begin = () => {
    started = true;
    camera.fit();
    const [x, y, zoom] = (params.get("at") ?? "").split(",").map(Number);
    if (zoom > 0) Object.assign(camera, { x, y, scale: zoom * camera.fitting });
    caught = corners && inside(points, corners, visible);
    recolour();
    drawLegend();
    if (corners) showCaught();
  };
  const repaint = () => {
    colours = colouring(points, column);
    drawLegend();
    recolour();
  };
  hiddenCodes = new Set(points.surveys.values.flatMap((name, code) => (hidden.has(name) ? [code] : [])));
  const watcher = new ResizeObserver(resized);
  watcher.observe(plot);
  addEventListener("theme", repaint, { signal });
  signal.addEventListener("abort", () => {
    watcher.disconnect();
    picture.stop();
  });
  return h("div", { class: "map" }, h("div", { class: "field-of-view" }, plot, panel, controls), tray);
}

/** Diameter of a point [px]: smaller for many points or a small window, larger when zoomed in. */
function pointSize(n, { zoom, width }) {
  const base = n > 20_000 ? 2.6 : n > 4000 ? 4 : 6;
  return Math.min(11, base * Math.min(1, 0.45 + width / 1800) * Math.max(1, zoom) ** 0.3);
}

function showTip(tip, points, i, column, camera) {
  tip.hidden = i < 0;
  if (i < 0) return;
  const key = points.key(i);
  const [px, py] = camera.toScreen(points.x[i], points.y[i]);
  tip.style.setProperty("left", `${Math.min(px + 16, camera.width - 172)}px`);
  tip.style.setProperty("top", `${Math.max(8, Math.min(py - 60, camera.height - 220))}px`);
  if (tip.dataset.key === key) return;
  tip.dataset.key = key;
  const row = asRow(key);
  const { numbers, values, codes } = points.value ?? {};
  const value = !points.value ? null : numbers
    ? quantity(Number.isNaN(numbers[i]) ? null : numbers[i], unitOf(column)) : values[codes[i]] ?? "–";
  tip.replaceChildren(plate(keyOf(row), { size: 156, eager: true }),
    h("div", { class: "caption" }, badge(row.survey), h("span", { class: "id" }, row.object_id)),
    value === null ? "" : h("div", { class: "muted" }, `${columnName(column.name)}: ${value}`));
}

function outline(context, path, ink) {
  context.beginPath();
  path.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.strokeStyle = ink;
  context.lineWidth = 1.5;
  context.stroke();
  context.globalAlpha = 0.06;
  context.fillStyle = ink;
  context.fill();
  context.globalAlpha = 1;
}

function ring(context, [x, y], ink) {
  context.beginPath();
  context.arc(x, y, 8, 0, 2 * Math.PI);
  context.strokeStyle = ink;
  context.lineWidth = 1.5;
  context.stroke();
}

function thin(path) {
  const step = Math.ceil(path.length / CORNERS);
  return path.filter((_, i) => i % step === 0);
}

function readOutline(text) {
  const corners = (text ?? "").split(";").map((pair) => pair.split(",").map(Number));
  return corners.length > 2 && corners.flat().every(Number.isFinite) ? corners : null;
}

function rampLegend({ low, high, ramp, unknown }) {
  return h("div", { class: "ramp" },
    h("span", { class: "strip", style: { background: `linear-gradient(to right, ${ramp.join(", ")})` } }),
    h("div", { class: "ends" }, h("span", {}, number(low, 3)), h("span", {}, number(high, 3))),
    unknown ? h("p", { class: "muted" }, `${plural(unknown, "galaxy", "galaxies")} without a value`) : "");
}

function categoryLegend({ entries, rest }, toggles, hidden, changed) {
  const swatch = (entry) => h("span", { class: "swatch", style: { "--own": `var(${entry.variable})` } });
  const line = (entry) => {
    const texts = [swatch(entry), h("span", { class: "name" }, entry.text), h("span", { class: "muted" }, count(entry.count))];
    if (!toggles) return h("li", {}, ...texts);
    const box = h("input", { type: "checkbox", checked: !hidden.has(entry.text), on: { change: () => {
      box.checked ? hidden.delete(entry.text) : hidden.add(entry.text);
      changed();
    } } });
    return h("li", {}, h("label", {}, box, ...texts));
  };
  return h("ul", {}, entries.map(line), rest ? h("li", {}, h("span", { class: "muted" }, `Other values: ${count(rest)}`)) : "");
}
