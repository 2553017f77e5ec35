// Jobs on uploaded samples: submit, follow, download results.

import { call, events, get, info, upload } from "../api.js";
import { announce, button, choice, field, h } from "../dom.js";
import { download } from "../export.js";
import { count } from "../format.js";
import { go, link } from "../route.js";

const RUNNING = ["queued", "running"];
const VERBS = [
  ["extract", "Extract features"],
  ["adapt", "Adapt to a survey"],
];

export async function view({ params, signal }) {
  const about = await info();
  if (!about.takes_jobs) return closed();
  const jobs = await get("/api/jobs", {}, signal);
  const list = h("ul", { class: "job-list", "aria-label": "Jobs" });
  for (const job of jobs) list.append(follow(job, signal, params.get("id")));
  return h("div", {},
    h("header", {}, h("h1", {}, "Jobs"),
      h("p", { class: "lead" }, "Extract features of your own cutouts, or adapt the space to a new survey.")),
    h("div", { class: "jobs-layout" },
      submission(about),
      h("section", { "aria-labelledby": "list" },
        h("h2", { id: "list", class: "hidden" }, "Submitted jobs"),
        jobs.length ? list : h("p", { class: "muted" }, "No jobs yet. Submitted jobs appear here with their progress."))));
}

function closed() {
  return h("section", { class: "empty" }, h("h1", {}, "Jobs"),
    h("p", {}, "This service accepts no jobs. To enable jobs, start it with ", h("code", {}, "galaxy-da serve --jobs FOLDER"), "."));
}

// Submitting

function submission({ space }) {
  const verb = choice("verb", VERBS, "extract", { id: "verb" });
  const file = (id, accept, required) => h("input", { type: "file", id, accept, required });
  const sample = file("sample", ".parquet,.zip", true);
  const target = file("target", ".parquet,.zip", false);
  const pairs = file("pairs", ".parquet", false);
  const message = h("p", { class: "message", role: "alert", hidden: true });
  const submit = h("button", { class: "primary" }, "Submit");
  const adapting = h("div", { class: "stack", hidden: true },
    field("Sample of the new survey", target, "Table of the survey to adapt to, in the same form"),
    field("Pairs", pairs, "Parquet table from galaxy-da crossmatch; without it, the latent distributions are aligned"));
  const survey = file("survey", ".toml", false);
  const sampleText = h("span", {}, "Sample");
  verb.addEventListener("change", () => {
    adapting.hidden = verb.value !== "adapt";
    target.required = !adapting.hidden;
    sampleText.textContent = adapting.hidden ? "Sample" : `Sample of ${space.anchor}`;
  });
  const form = h("form", { class: "stack", "aria-label": "New job" },
    field("Job", verb),
    h("label", { class: "field" }, sampleText, sample,
      h("small", {}, "Parquet table with embedded images, or a zip of sample.parquet and its cutouts")),
    adapting,
    field("Survey definition", survey, "TOML file, only for a survey that is not built in"),
    message, h("div", { class: "row" }, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.hidden = true;
    submit.disabled = true;
    try {
      const job = await upload("/api/jobs", parts(verb.value, { sample, target, pairs, survey }));
      announce(`Submitted as job ${job.id.slice(0, 8)}`);
      go("/jobs", { id: job.id });
    } catch (error) {
      message.textContent = error.message;
      message.hidden = false;
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

function parts(verb, { sample, target, pairs, survey }) {
  const [first, own] = [sample.files[0], survey.files[0]];
  if (verb === "adapt") {
    return { verb, options: "{}", anchor: first, target: target.files[0], pairs: pairs.files[0], survey: own };
  }
  return { verb, options: "{}", sample: first, survey: own };
}

// Watching

function follow(first, signal, chosen) {
  const item = h("li", { class: "job", dataset: { job: first.id } });
  if (first.id === chosen) item.classList.add("chosen-job");
  const draw = (job) => {
    item.dataset.state = job.state;
    item.replaceChildren(...card(job, () => reload()));
  };
  const reload = async () => draw(await get(`/api/jobs/${first.id}`, {}, signal));
  draw(first);
  if (RUNNING.includes(first.state)) watch(first, draw, reload, signal);
  return item;
}

async function watch(job, draw, reload, signal) {
  let last = job;
  for await (const [name, data] of events(`/api/jobs/${job.id}/events`, signal)) {
    last = name === "progress" ? { ...last, state: "running", progress: data } : { ...last, ...data };
    draw(last);
  }
  await reload();
  announce(`Job ${job.id.slice(0, 8)}: ${last.state}`);
}

function card(job, reload) {
  const { done = 0, total = 0, step = "" } = job.progress ?? {};
  const running = RUNNING.includes(job.state);
  const name = VERBS.find(([verb]) => verb === job.verb)?.[1] ?? job.verb;
  const stop = async () => {
    await call(`/api/jobs/${job.id}`, { method: "DELETE" });
    if (running) await reload();
    else go("/jobs");
  };
  const readLog = async () => {
    log.textContent = await (await call(`/api/jobs/${job.id}/log`)).text();
    log.hidden = false;
  };
  const log = h("pre", { class: "log", hidden: true, tabindex: "0", "aria-label": `Log of ${job.id}` });
  const save = async (result) => {
    const path = `/api/jobs/${job.id}/results/${encodeURIComponent(result.name)}`;
    download(await (await call(path)).blob(), result.name.split("/").at(-1));
  };
  return [
    h("header", {},
      h("a", { href: link("/jobs", { id: job.id }), title: job.id }, `${name}, ${job.id.slice(0, 8)}`),
      h("span", { class: "state" }, `${job.state}, ${when(job.changed)}`)),
    running
      ? h("progress", { max: total || undefined, value: total ? done : undefined, "aria-label": `Progress of ${job.id}` })
      : null,
    running && total ? h("p", { class: "muted" }, `${step ? `${step}: ` : ""}${count(done)} of ${count(total)}`) : null,
    job.message ? h("p", { class: "message" }, job.message) : null,
    h("div", { class: "row" },
      ...(job.results ?? []).map((result) => button(`${result.name}, ${size(result.bytes)}`, () => save(result))),
      button("Log", readLog, { class: "quiet" }),
      button(running ? "Cancel" : "Remove", stop, { class: "quiet" })),
    log,
  ].filter(Boolean);
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const when = (time) => clock.format(new Date(time));

function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  const step = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${Number((bytes / 1000 ** step).toPrecision(3))} ${units[step]}`;
}
