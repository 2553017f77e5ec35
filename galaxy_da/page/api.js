// Calls of the service. An error carries the message of the service.

import { entriesOf } from "./route.js";
import { askToken } from "./token.js";

export class ServiceError extends Error {
  constructor(status, { type = "", message = "", request_id: request = "" } = {}) {
    super(message || `The service answered ${status}.`);
    Object.assign(this, { status, type, request });
  }
}

function query(values) {
  const text = new URLSearchParams(entriesOf(values)).toString();
  return text ? `?${text}` : "";
}

/** Fetch a route; ask for a token if one is needed; throw the service's error. */
export async function call(path, options = {}, values = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path + query(values), { ...options, headers });
  if (answer.ok) return answer;
  if ((answer.status === 401 || answer.status === 403) && (await askToken(answer.status))) {
    return call(path, options, values);
  }
  const body = await answer.json().catch(() => ({}));
  throw new ServiceError(answer.status, body.error);
}

export async function get(path, values = {}, signal) {
  return (await call(path, { signal }, values)).json();
}

export function asJson(body, signal) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  };
}

export async function post(path, body, signal) {
  return (await call(path, asJson(body, signal))).json();
}

export async function upload(path, parts, signal) {
  const form = new FormData();
  for (const [name, value] of entriesOf(parts)) form.append(name, value);
  return (await call(path, { method: "POST", body: form, signal })).json();
}

let description;
/** Description of the service, fetched once. */
export function info() {
  description ??= get("/api/info").catch((error) => {
    description = undefined;
    throw error;
  });
  return description;
}

const SAMPLES = 10;

/** Rows of random galaxies; `sample` selects one of ten disjoint sets. */
export async function randomGalaxies(number, sample, signal) {
  const limit = number * SAMPLES;
  const { surveys, survey, object_id: ids } = await get("/api/map", { limit, format: "json" }, signal);
  const rows = ids.map((id, i) => ({ survey: surveys[survey[i]], object_id: id }));
  return rows.filter((_, i) => i % SAMPLES === sample % SAMPLES);
}

export const keyOf = (row) => `${row.survey}:${row.object_id}`;

export function picture(kind, key, size) {
  return `/api/images/${kind}.png${query({ id: key, size })}`;
}

/** Yield the server-sent events of a job as [event, data]; EventSource cannot send a token. */
export async function* events(path, signal) {
  const answer = await call(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r", "");
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").map((line) => line.split(/:\s?(.*)/s));
      const data = lines.filter(([name]) => name === "data").map(([, line]) => line);
      const name = lines.find(([field]) => field === "event")?.[1] ?? "message";
      if (data.length) yield [name, JSON.parse(data.join("\n"))];
    }
  }
}
