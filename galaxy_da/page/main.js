// The page around the views: routing, title and focus, theme, and keyboard shortcuts.

import { announce, button, h } from "./dom.js";
import { current, go } from "./route.js";
import { acceptDrops } from "./drop.js";
import { showSelection } from "./selection.js";
import { showKeys } from "./keys.js";

const VIEWS = {
  "/": () => import("./views/search.js"),
  "/similar": () => import("./views/similar.js"),
  "/object": () => import("./views/object.js"),
  "/outliers": () => import("./views/outliers.js"),
  "/map": () => import("./views/map.js"),
  "/latents": () => import("./views/latents.js"),
  "/jobs": () => import("./views/jobs.js"),
  "/selection": () => import("./views/selection.js"),
};

const main = document.getElementById("main");
let showing = new AbortController();
let shown = null;

async function show() {
  showing.abort();
  showing = new AbortController();
  const { signal } = showing;
  const { path, params } = current();
  const back = document.activeElement?.id;
  document.body.dataset.route = location.hash;
  document.body.classList.add("loading");
  let content;
  try {
    const { view } = await (VIEWS[path] ?? VIEWS["/"])();
    content = await view({ params, signal });
  } catch (error) {
    if (signal.aborted) return;
    content = problem(error);
  }
  if (signal.aborted) return;
  document.body.classList.remove("loading");
  main.replaceChildren(content);
  main.dataset.view = path.slice(1) || "search";
  markNavigation(path);
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} · galaxy_da` : "galaxy_da";
  focus(path, back, heading);
  shown = path;
  main.dispatchEvent(new CustomEvent("shown", { bubbles: true }));
}

/** Focus the heading of a new view; within a view, restore the focus. */
function focus(path, back, heading) {
  if (shown === null) return;
  const same = shown === path && back && main.querySelector(`#${CSS.escape(back)}`);
  if (same) return same.focus({ preventScroll: true });
  if (shown !== path) scrollTo(0, 0);
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

function markNavigation(path) {
  const at = { "/similar": "/", "/object": "/", "/selection": "/" }[path] ?? path;
  for (const anchor of document.querySelectorAll(".bar nav a")) {
    const here = anchor.getAttribute("href") === `#${at}`;
    here ? anchor.setAttribute("aria-current", "page") : anchor.removeAttribute("aria-current");
  }
}

function problem(error) {
  return h(
    "section",
    { class: "empty" },
    h("h1", {}, error.status === 404 ? "Not found" : "Request failed"),
    h("p", { class: "message" }, error.message),
    error.request ? h("p", { class: "muted" }, `Request ${error.request}`) : null,
    h("p", { class: "row centre" }, button("Try again", show), h("a", { href: "#/" }, "Search for a galaxy")),
  );
}

// Theme and negative pictures

const root = document.documentElement;

function setTheme(theme) {
  root.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  label();
  dispatchEvent(new Event("theme"));
}

function label() {
  const other = root.dataset.theme === "dark" ? "Light" : "Dark";
  document.getElementById("theme").setAttribute("aria-label", `${other} page`);
  document.getElementById("negative").setAttribute("aria-pressed", root.dataset.negative);
}

const toggleTheme = () => setTheme(root.dataset.theme === "dark" ? "light" : "dark");

function invert() {
  root.dataset.negative = root.dataset.negative !== "true";
  localStorage.setItem("negative", root.dataset.negative);
  label();
}

document.getElementById("theme").addEventListener("click", toggleTheme);
document.getElementById("negative").addEventListener("click", invert);
document.getElementById("keys").addEventListener("click", showKeys);
matchMedia("(prefers-color-scheme: light)").addEventListener("change", (event) => {
  if (!localStorage.getItem("theme")) {
    root.dataset.theme = event.matches ? "light" : "dark";
    label();
    dispatchEvent(new Event("theme"));
  }
});

// Keys

const JUMPS = { s: "/", m: "/map", o: "/outliers", e: "/latents", j: "/jobs" };
let pending = false;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, dialog")) return;
  const key = event.key;
  if (pending && JUMPS[key]) go(JUMPS[key]);
  else if (key === "/") {
    event.preventDefault();
    toSearch();
  } else if (key === "?") showKeys();
  else if (key === "t" && !pending) toggleTheme();
  else if (key === "n" && !pending) invert();
  pending = key === "g";
});

async function toSearch() {
  const box = () => document.getElementById("query");
  if (box()) return box().focus();
  go("/");
  main.addEventListener("shown", () => box()?.focus(), { once: true });
}

addEventListener("hashchange", () => {
  document.getElementById("dialog").close();
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  else if (event.reason?.name === "ServiceError" || event.reason?.status) {
    event.preventDefault();
    announce(event.reason.message);
  }
});
label();
acceptDrops();
showSelection();
show();
