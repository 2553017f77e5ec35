// Send a table to TOPCAT, Aladin and other programs by the Web Profile of SAMP (IVOA, version 1.3).
// The hub is a program on the user's machine, which asks the user for consent.

const HUB = "http://localhost:21012/";
const MESSAGE = "table.load.votable";
const LONGEST = 30_000; // characters of an address that the service takes

/** Address of a VOTable of these galaxies; null if they are too many for one. */
export function tableAddress(keys) {
  const query = new URLSearchParams([["format", "votable"], ...keys.map((key) => ["id", key])]);
  const address = `${location.origin}/api/objects/table?${query}`;
  return address.length > LONGEST || keys.length > 1000 ? null : address;
}

/** Send the table at an address to every program that takes tables; return their number. */
export async function sendTable(address, name) {
  const { "samp.private-key": key } = await call("samp.webhub.register", {
    "samp.name": "galaxy_da", "samp.description.text": "Galaxies of many surveys in one latent space.",
  }).catch((error) => {
    throw error instanceof TypeError ? new Error("No program with SAMP is open. Open TOPCAT or Aladin first.") : error;
  });
  try {
    const programs = Object.keys(await call("samp.webhub.getSubscribedClients", key, MESSAGE));
    if (!programs.length) throw new Error("No open program takes tables by SAMP.");
    const message = { "samp.mtype": MESSAGE, "samp.params": { url: address, name, "table-id": name } };
    for (const program of programs) await call("samp.webhub.notify", key, program, message);
    return programs.length;
  } finally {
    await call("samp.webhub.unregister", key);
  }
}

// XML-RPC with the types that SAMP uses: text, lists and maps

async function call(method, ...values) {
  const answer = await fetch(HUB, { method: "POST", headers: { "Content-Type": "text/xml" }, body: request(method, values) });
  const page = new DOMParser().parseFromString(await answer.text(), "text/xml");
  const fault = page.querySelector("fault > value");
  if (fault) throw new Error(`The SAMP hub refused: ${decode(fault).faultString}`);
  return decode(page.querySelector("params > param > value"));
}

function request(method, values) {
  const page = document.implementation.createDocument(null, "methodCall");
  const node = (name, ...children) => {
    const element = page.createElement(name);
    element.append(...children);
    return element;
  };
  const encode = (value) => node("value", typeof value === "string" ? node("string", value)
    : node("struct", ...Object.entries(value).map(([name, part]) => node("member", node("name", name), encode(part)))));
  page.documentElement.append(node("methodName", method), node("params", ...values.map((value) => node("param", encode(value)))));
  return new XMLSerializer().serializeToString(page);
}

function decode(value) {
  const inner = value?.firstElementChild;
  if (!inner) return value?.textContent ?? "";
  if (inner.tagName === "array") return [...inner.querySelectorAll(":scope > data > value")].map(decode);
  if (inner.tagName !== "struct") return inner.textContent;
  return Object.fromEntries([...inner.children].map((member) =>
    [member.querySelector(":scope > name").textContent, decode(member.querySelector(":scope > value"))]));
}
