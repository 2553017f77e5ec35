// Filters of a search: survey, number of results, conditions on columns, cone on the sky.

import { button, choice, field, h } from "./dom.js";
import { unitOf } from "./columns.js";
import { plural } from "./format.js";

/** A form that calls apply(values) on every change. */
export function filters({ surveys, columns, values, apply, extra = [], anySurvey = "All surveys" }) {
  const form = h("form", { class: "filters", "aria-label": "Filters" });
  const where = h("textarea", {
    name: "where", rows: 2, spellcheck: "false", placeholder: example(columns),
    value: (values.where ?? []).join("\n"),
  });
  const cone = h("input", { name: "cone", placeholder: "150.1, 2.2, 600", value: values.cone ?? "" });
  const open = Boolean(values.where?.length || values.cone);
  const gather = () => {
    const data = new FormData(form);
    const entered = Object.fromEntries(data);
    entered.where = String(entered.where).split("\n").map((line) => line.trim()).filter(Boolean);
    entered.cone = String(entered.cone).replace(/[\s,]+/g, ",").replace(/^,|,$/g, "");
    return entered;
  };
  form.append(
    field("Survey", choice("survey", [["", anySurvey], ...surveys.map((name) => [name, name])],
      values.survey ?? "", { id: "filter-survey" })),
    field("Results", choice("k", ["12", "24", "60", "120", "240"].map((k) => [k, k]),
      String(values.k ?? "60"), { id: "filter-k" })),
    ...extra,
    h("details", { class: "finer", open },
      h("summary", {}, conditionsText(values)),
      h("div", { class: "panel" },
        field("Conditions, one per line", where, `Such as ${example(columns)}. Columns: ${columns.map(listed).join(", ")}`),
        field("Cone", cone, "Right ascension [deg], declination [deg], radius [arcsec]"),
        h("div", { class: "row" },
          h("button", { class: "primary" }, "Apply"),
          button("Reset", () => { where.value = cone.value = ""; form.requestSubmit(); })))),
  );
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(gather()); });
  form.addEventListener("change", (event) => {
    if (!event.target.matches("[name=where], [name=cone]")) apply(gather());
  });
  return form;
}

const listed = (column) => (unitOf(column) ? `${column.name} [${unitOf(column)}]` : column.name);

/** Condition on a column of this index. */
function example(columns) {
  const names = columns.map(({ name }) => name);
  const magnitude = names.find((name) => /(^|_)mag(_|$)/.test(name));
  return magnitude ? `${magnitude} < 18.5` : "flags = 0";
}

function conditionsText({ where = [], cone }) {
  const total = where.length + (cone ? 1 : 0);
  return total ? plural(total, "condition") : "Conditions";
}
