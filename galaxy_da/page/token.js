// Dialog that asks for an access token, kept until the tab is closed.

import { button, field, h } from "./dom.js";

export function askToken(status) {
  const dialog = document.getElementById("dialog");
  const input = h("input", { type: "password", name: "token", required: true, autocomplete: "off" });
  const why =
    status === 403 ? "This token is not valid for this action." : "This action needs an access token.";
  return new Promise((resolve) => {
    const form = h(
      "form",
      { method: "dialog", class: "stack", on: { submit: () => sessionStorage.setItem("token", input.value) } },
      h("h2", {}, "Access token"),
      h("p", {}, why),
      field("Token", input),
      h(
        "div",
        { class: "row" },
        h("button", { class: "primary", value: "use" }, "Use this token"),
        button("Cancel", () => dialog.close("")),
      ),
    );
    dialog.replaceChildren(form);
    dialog.setAttribute("aria-label", "Access token");
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use"), { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}
