// Galaxies as points of the map: positions, nearest point, points inside an outline.

const CELLS = 256;

/** Points of a map answer, shuffled so that no survey hides another. */
export function makePoints({ x, y, survey, surveys, object_id: ids, value }) {
  const order = shuffled(x.length);
  const points = {
    n: x.length,
    x: Float32Array.from(order, (row) => x[row]),
    y: Float32Array.from(order, (row) => y[row]),
    surveys: { codes: Int32Array.from(order, (row) => survey[row]), values: surveys },
    value: value && valueOf(value, order),
    key: (i) => `${surveys[survey[order[i]]]}:${ids[order[i]]}`,
  };
  points.bounds = { x: extent(points.x), y: extent(points.y) };
  points.grid = makeGrid(points);
  return points;
}

/** Numbers, NaN if missing; or codes of categories, -1 if missing. */
function valueOf(value, order) {
  if (value.every((one) => one === null || typeof one === "number")) {
    return { numbers: Float64Array.from(order, (row) => value[row] ?? NaN) };
  }
  const values = [];
  const places = new Map();
  const codes = Int32Array.from(order, (row) => {
    const one = value[row];
    if (one === null) return -1;
    if (!places.has(one)) places.set(one, values.push(one) - 1);
    return places.get(one);
  });
  return { codes, values: values.map(String) };
}

/** A permutation that is the same each time (mulberry32). */
function shuffled(n) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 1;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low < high ? [low, high] : [low - 1, low + 1];
}

/** Points sorted by cell: those of cell c are rows[starts[c]] to rows[starts[c + 1]]. */
function makeGrid({ n, x, y, bounds }) {
  const cell = new Uint32Array(n);
  const starts = new Uint32Array(CELLS * CELLS + 1);
  for (let i = 0; i < n; i++) {
    cell[i] = place(y[i], bounds.y) * CELLS + place(x[i], bounds.x);
    starts[cell[i] + 1]++;
  }
  for (let c = 0; c < CELLS * CELLS; c++) starts[c + 1] += starts[c];
  const rows = new Uint32Array(n);
  const next = starts.slice();
  for (let i = 0; i < n; i++) rows[next[cell[i]]++] = i;
  return { rows, starts };
}

function place(value, [low, high]) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(((value - low) / (high - low)) * CELLS)));
}

/** The visible point nearest to a place, within a distance; -1 if there is none. */
export function nearest({ x, y, bounds, grid }, atX, atY, within, visible) {
  let best = -1;
  let least = within * within;
  forEachIn(bounds, grid, [atX - within, atX + within], [atY - within, atY + within], (i) => {
    const squared = (x[i] - atX) ** 2 + (y[i] - atY) ** 2;
    if (squared <= least && visible(i)) [best, least] = [i, squared];
  });
  return best;
}

/** Visible points inside a polygon of [x, y] corners (even-odd rule), the most central first. */
export function inside(points, corners, visible) {
  const { x, y, bounds, grid } = points;
  const [xs, ys] = [corners.map((corner) => corner[0]), corners.map((corner) => corner[1])];
  const found = [];
  forEachIn(bounds, grid, extent(xs), extent(ys), (i) => {
    if (visible(i) && holds(xs, ys, x[i], y[i])) found.push(i);
  });
  const [mx, my] = [mean(xs), mean(ys)];
  const distance = new Map(found.map((i) => [i, (x[i] - mx) ** 2 + (y[i] - my) ** 2]));
  return found.sort((a, b) => distance.get(a) - distance.get(b));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function forEachIn(bounds, { rows, starts }, [left, right], [bottom, top], visit) {
  const [first, last] = [place(left, bounds.x), place(right, bounds.x)];
  for (let row = place(bottom, bounds.y); row <= place(top, bounds.y); row++) {
    const end = starts[row * CELLS + last + 1];
    for (let k = starts[row * CELLS + first]; k < end; k++) visit(rows[k]);
  }
}

function holds(xs, ys, px, py) {
  let inside = false;
  for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
    if (ys[i] > py !== ys[j] > py && px < ((xs[j] - xs[i]) * (py - ys[i])) / (ys[j] - ys[i]) + xs[i]) inside = !inside;
  }
  return inside;
}
