// Camera of the map, and the gestures that move it: drag, wheel, pinch and keys.

const STEP = 1.5; // zoom factor of a key
const FURTHEST = 0.5; // smallest zoom; 1 shows everything
const CLOSEST = 4000;

export class Camera {
  constructor(element, bounds) {
    Object.assign(this, { element, bounds, x: 0, y: 0, scale: 1 });
  }
  get width() {
    return this.element.clientWidth;
  }
  get height() {
    return this.element.clientHeight;
  }
  /** Pixels per unit that show everything. */
  get fitting() {
    const [w, h] = [this.bounds.x, this.bounds.y].map(([low, high]) => high - low);
    return 0.92 * Math.min(this.width / w, this.height / h);
  }
  get zoom() {
    return this.scale / this.fitting;
  }
  fit() {
    this.x = (this.bounds.x[0] + this.bounds.x[1]) / 2;
    this.y = (this.bounds.y[0] + this.bounds.y[1]) / 2;
    this.scale = this.fitting;
  }
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
  }
  /** Zoom about a point of the element, its middle by default. */
  zoomBy(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toData(px, py);
    const wanted = this.scale * factor;
    this.scale = Math.max(FURTHEST * this.fitting, Math.min(CLOSEST * this.fitting, wanted));
    const [nowX, nowY] = this.toData(px, py);
    this.x += x - nowX;
    this.y += y - nowY;
  }
  toData(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale];
  }
  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, this.height / 2 - (y - this.y) * this.scale];
  }
}

/**
 * on: {moved(), hover(px, py), left(), click(px, py), outline(corners, done), view()}.
 * drawing() returns true if a drag draws an outline.
 */
export function gestures(element, camera, drawing, on) {
  const fingers = new Map();
  let outline = null;
  let distance = 0;
  const at = (event) => [event.offsetX, event.offsetY];

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    distance = 0;
    outline = fingers.size === 1 && (drawing() || event.shiftKey) ? [at(event)] : null;
    on.left();
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    const now = at(event);
    if (!before) return on.hover(...now);
    distance += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (outline) {
      outline.push(now);
      on.outline(outline, false);
    } else if (fingers.size === 2) pinch(event.pointerId, before, now);
    else {
      camera.pan(now[0] - before[0], now[1] - before[1]);
      on.moved();
    }
    fingers.set(event.pointerId, now);
  });
  const lift = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    if (outline && distance > 12) on.outline(outline, true);
    else if (distance < 5 && event.type === "pointerup") on.click(...at(event));
    outline = null;
  };
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);
  element.addEventListener("pointerleave", () => fingers.size || on.left());

  function pinch(id, before, now) {
    const [other] = [...fingers].filter(([key]) => key !== id).map(([, place]) => place);
    const separation = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
    camera.zoomBy(separation(now) / Math.max(1, separation(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    camera.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    on.moved();
  }

  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    camera.zoomBy(Math.exp(-event.deltaY * lines * 0.0015), ...at(event));
    on.moved();
  }, { passive: false });

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = 80;
    const acts = {
      ArrowLeft: () => camera.pan(far, 0), ArrowRight: () => camera.pan(-far, 0),
      ArrowUp: () => camera.pan(0, far), ArrowDown: () => camera.pan(0, -far),
      "+": () => camera.zoomBy(STEP), "=": () => camera.zoomBy(STEP), "-": () => camera.zoomBy(1 / STEP),
      f: () => camera.fit(), Enter: () => on.view(), Escape: () => on.outline(null, true),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
    on.moved();
  });
}
