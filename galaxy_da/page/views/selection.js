// Galaxies of a selection, listed in the URL.

import { button, h } from "../dom.js";
import { exportMenu } from "../export.js";
import { plural } from "../format.js";
import { gallery } from "../gallery.js";
import { go } from "../route.js";
import { add } from "../selection.js";
import { loadSurveys } from "../surveys.js";

export async function view({ params }) {
  await loadSurveys();
  const ids = params.getAll("id");
  const rows = ids.map(asRow);
  return h("div", {},
    h("h1", {}, plural(ids.length, "selected galaxy", "selected galaxies")),
    h("div", { class: "toolbar" },
      h("div", { class: "row" },
        button("More like these", () => go("/similar", { like: ids.slice(0, 30) }), { class: "primary" }),
        button("Add all to my selection", () => add(ids))),
      exportMenu({ ids, name: "selection" })),
    rows.length ? gallery(rows, { label: "Selected galaxies" })
      : h("p", { class: "empty" }, "No galaxy is selected. Choose galaxies with the tick on their pictures."));
}

export function asRow(key) {
  const [survey, id] = key.split(/:(.*)/s);
  return { survey, object_id: id };
}
