// The bar above all pages, what is wrong with the chain, and which page is shown.

import { accountPage } from "./accounts.js";
import { fill, h, value } from "./dom.js";
import { blockAge, current, elapsed, isConnected, listen, onMessage, silence, start } from "./live.js";
import { overview } from "./overview.js";
import { roundPage, roundsPage } from "./round.js";
import { duration, number, short } from "./words.js";

const main = document.getElementById("main");
const THEMES = { system: "◐", light: "☀", dark: "☾" };
let leave = null;

function bar(state) {
  const { federation, chain, head, error } = state;
  const name = federation.name ?? "Federation";
  document.title = `${state.round.round ? `Round ${state.round.round} – ` : ""}${name}`;
  document.getElementById("name").textContent = name;
  fill(document.getElementById("address"), value(federation.address, short(federation.address), "Federation"));
  const age = blockAge();
  const old = chain.period ? age > Math.max(5, 3 * chain.period) : age > 60;
  fill(
    document.getElementById("facts"),
    fact("Chain", value(chain.id, chain.id, "Chain id")),
    fact("Block", value(chain.block, number(chain.block), "Block"), h("span", { class: old || error ? "age bad" : "age", title: old ? "Older than three block periods" : "Age of the last block" }, ` ${duration(age)} old`)),
    fact("Head", h("a", { href: head.round ? `#/round/${head.round}` : "#/" }, head.round ? `round ${head.round}` : "genesis"), " ", value(head.root, short(head.root), "Root")),
    fact("Updates", federation.private ? "masked" : "readable"),
    fact("Rule", federation.rule, federation.clip_norm ? h("span", { class: "soft", title: "The largest norm of a chunk of 256 values" }, `, norm ≤ ${federation.clip_norm}`) : null),
  );
}

const fact = (label, ...what) => h("div", {}, h("dt", {}, label), h("dd", {}, what));

function trouble(state) {
  const box = document.getElementById("trouble");
  const lines = [];
  if (!isConnected()) lines.push(`The dashboard does not answer; this is what it said ${duration(elapsed())} ago.`);
  else if (state.error) lines.push(`The chain was last heard ${duration(silence())} ago. ${state.error}`);
  else if (silence() > 15) lines.push(`The chain has not answered for ${duration(silence())}; this is what it said before.`);
  if (state.store?.error) lines.push(`The store does not answer. ${state.store.error}`);
  if (state.chain && state.chain.indexed < state.chain.block - 500) lines.push(`Reading the chain's history: block ${number(Math.max(0, state.chain.indexed))} of ${number(state.chain.block)}.`);
  box.hidden = !lines.length;
  fill(box, lines.map((line) => h("p", {}, line)));
}

function show() {
  const [, page, which] = location.hash.split("/");
  leave?.();
  main.className = page ? "page" : "screen";
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === (page ? `#/${page}` : "#/");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (page === "round" && /^\d{1,9}$/.test(which ?? "")) leave = roundPage(main, Number(which));
  else if (page === "account" && /^0x[0-9a-fA-F]{40}$/.test(which ?? "")) leave = accountPage(main, which);
  else if (page === "rounds") leave = roundsPage(main);
  else leave = overview(main);
  window.scrollTo(0, 0);
}

function colours(theme) {
  const button = document.getElementById("theme");
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  const label = `Colours: ${theme === "system" ? "as the system" : theme}`;
  button.textContent = THEMES[theme];
  button.title = label;
  button.setAttribute("aria-label", label);
  dispatchEvent(new Event("colours"));
}

function stored() {
  try {
    const found = localStorage.getItem("flo-colours");
    return found in THEMES ? found : "system";
  } catch {
    return "system";
  }
}

document.getElementById("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(stored()) + 1) % names.length];
  try {
    localStorage.setItem("flo-colours", next);
  } catch {
    // Private windows may have no storage: the choice then lasts until the next click.
  }
  colours(next);
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

addEventListener("hashchange", () => {
  show();
  (main.querySelector("h1") ?? main).focus({ preventScroll: true });
});
colours(stored());
show();
listen(bar);
onMessage(trouble);
setInterval(() => {
  const state = current();
  if (!state) return;
  if (state.chain) bar(state);
  trouble(state);
}, 1000);
start();
