// Sets the theme before the first paint, so that the page does not flash.
document.documentElement.dataset.theme =
  localStorage.getItem("theme") ??
  (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
document.documentElement.dataset.negative = localStorage.getItem("negative") ?? "false";
