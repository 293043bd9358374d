// Makes elements. Text is only ever set as text, so that a name cannot become markup.

import { short } from "./words.js";

/** An element with attributes and children; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child);
  }
}

/** Puts children in place of what an element has, unless they look the same. */
export function fill(element, ...children) {
  const made = document.createElement(element.tagName);
  append(made, children);
  if (made.innerHTML === element.innerHTML) return;
  const path = focusPath(element);
  element.replaceChildren(...made.childNodes);
  restore(element, path);
}

// What is replaced while it has the focus gets it again, at the same place.
function focusPath(root) {
  const active = document.activeElement;
  if (!active || active === root || !root.contains(active)) return null;
  const path = [];
  for (let node = active; node !== root; node = node.parentElement) {
    path.unshift([...node.parentElement.children].indexOf(node));
  }
  return path;
}

function restore(root, path) {
  if (!path) return;
  let node = root;
  for (const index of path) node = node?.children[index];
  node?.focus?.({ preventScroll: true });
}

/** Says something to everybody, for a moment. */
export function say(text) {
  const toast = document.getElementById("said");
  toast.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (toast.textContent = ""), 2500);
}

/** Copies text; pages without a secure context have no clipboard, but may copy a selection. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "off", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`Copied ${text.length > 40 ? short(text) : text}`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button.dataset.copy);
});

/** A value that is shown shortened or rounded; a click copies it whole. */
export function value(whole, shown = short(whole), what = "") {
  if (whole === null || whole === undefined) return h("span", { class: "none" }, "–");
  return h(
    "button",
    {
      type: "button",
      class: "value",
      "data-copy": String(whole),
      title: `${what ? `${what}: ` : ""}${whole} – click to copy`,
      "aria-label": `${what ? `${what} ` : ""}${shown}, copy`,
    },
    String(shown),
  );
}

/** Two sheets, one behind the other. */
export function copyIcon() {
  const space = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(space, "svg");
  icon.setAttribute("viewBox", "0 0 16 16");
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", "M5.5 5.5h7v8h-7zM10.5 5.5v-3h-7v8h2");
  icon.append(path);
  return icon;
}

/** An account: a link to its page, and its address to copy. */
export function account(address) {
  if (!address) return h("span", { class: "none" }, "–");
  return h(
    "span",
    { class: "account" },
    h("a", { href: `#/account/${address}`, class: "mono", title: address }, short(address)),
    h("button", {
      type: "button",
      class: "copy",
      "data-copy": address,
      "aria-label": `Copy the address ${short(address)}`,
      title: "Copy the address",
    }, copyIcon()),
  );
}

export function roundLink(number) {
  return h("a", { href: `#/round/${number}` }, `Round ${number}`);
}

/** A table: heads are [label, class], rows are lists of children. */
export function table(caption, heads, rows, empty = "None.") {
  if (!rows.length) return h("p", { class: "none" }, empty);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "off" }, caption),
      h("thead", {}, h("tr", {}, heads.map(([label, kind]) => h("th", { scope: "col", class: kind }, label)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, i) => h("td", { class: heads[i][1] }, cell))))),
    ),
  );
}
