// Every view has a URL: #/path?parameters. Links are ordinary links; go() follows one by program.

export function current() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
  return { path: path || "/", params: new URLSearchParams(query) };
}

/** Address of a view. Values may be arrays (repeated); empty ones are left out. */
export function link(path, values = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "" && one !== false) params.append(name, one);
    }
  }
  const query = params.toString();
  return `#${path}${query ? `?${query}` : ""}`;
}

export function go(path, values) {
  const target = link(path, values);
  if (target === location.hash) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = target;
}

/** Note the state of the view on show in its URL, without showing it anew. */
export function note(path, values) {
  history.replaceState(null, "", link(path, values));
  document.body.dataset.route = location.hash;
}

/** All parameters as an object of strings and, where repeated ones are named, arrays. */
export function read(params, repeated = []) {
  const values = Object.fromEntries(params);
  for (const name of repeated) values[name] = params.getAll(name);
  return values;
}
