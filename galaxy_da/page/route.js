// URLs of the views: #/path?parameters.

export function current() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
  return { path: path || "/", params: new URLSearchParams(query) };
}

/** [name, value] pairs of an object; an array repeats its name, empty values are left out. */
export function entriesOf(values) {
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((item) => [name, item]));
  return pairs.filter(([, item]) => item !== undefined && item !== null && item !== "" && item !== false);
}

/** URL of a view. */
export function link(path, values = {}) {
  const query = new URLSearchParams(entriesOf(values)).toString();
  return `#${path}${query ? `?${query}` : ""}`;
}

/** Open a view. */
export function go(path, values) {
  const target = link(path, values);
  if (target === location.hash) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = target;
}

/** Write the state of the current view to its URL, without reloading it. */
export function saveState(path, values) {
  history.replaceState(null, "", link(path, values));
  document.body.dataset.route = location.hash;
}

/** Parameters as an object of strings; those named in `repeated` become arrays. */
export function read(params, repeated = []) {
  const values = Object.fromEntries(params);
  for (const name of repeated) values[name] = params.getAll(name);
  return values;
}
