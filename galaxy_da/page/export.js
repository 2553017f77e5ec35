// Menu that saves a table or selection in several formats, or sends it to TOPCAT.

import { asJson, call } from "./api.js";
import { announce, button, h, icon } from "./dom.js";
import { plural } from "./format.js";
import { sendTable, tableAddress } from "./samp.js";

const FORMATS = [
  ["votable", "VOTable", "vot"],
  ["csv", "CSV", "csv"],
  ["parquet", "Parquet", "parquet"],
  ["ds9", "DS9 regions", "reg"],
];

/**
 * Takes one of: ids (keys of objects, in order), path and values (GET), or path and body (POST).
 * `shown` are the keys to send to other programs, by default `ids`.
 */
export function exportMenu({ ids, shown = ids, path, values, body, name }) {
  const menu = h("details", { class: "menu" });
  const save = async (format, ending) => {
    menu.open = false;
    const [to, sent] = ids ? ["/api/objects/table", { ids }] : [path, body];
    try {
      const answer = sent
        ? await call(to, asJson({ ...sent, format }))
        : await call(to, {}, { ...values, format });
      download(await answer.blob(), `${name}.${ending}`);
      announce(`Saved ${name}.${ending}`);
    } catch (error) {
      announce(error.message);
    }
  };
  const send = async () => {
    menu.open = false;
    const address = tableAddress(shown);
    if (!address) return announce(`${shown.length} galaxies are too many to send; save a VOTable and open it`);
    announce("Waiting for the other program: it may ask for your consent");
    try {
      announce(`Sent to ${plural(await sendTable(address, name), "program")}`);
    } catch (error) {
      announce(error.message);
    }
  };
  menu.append(
    h("summary", {}, icon("export"), "Export"),
    h("div", { class: "choices" },
      FORMATS.map(([format, text, ending]) => button(text, () => save(format, ending))),
      shown?.length ? button("Send to TOPCAT", send, { title: "Send to TOPCAT, Aladin and other programs by SAMP" }) : ""),
  );
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  return menu;
}

export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const anchor = h("a", { href: address, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
