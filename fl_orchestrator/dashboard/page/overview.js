// The first page: one screen that says how the federation is.

import { accountsPanel } from "./accounts.js";
import { curvesPanel } from "./curves.js";
import { account, copyIcon, fill, h, roundLink, say, value } from "./dom.js";
import { chainTime, current, json, listen } from "./live.js";
import { date, duration, ether, number, percent, short } from "./words.js";

export function overview(main) {
  const round = h("section", { class: "card present", "aria-labelledby": "h-now" });
  const curves = h("section", { class: "card curves", "aria-labelledby": "h-curves" });
  const accounts = h("section", { class: "card accounts", "aria-labelledby": "h-accounts" });
  const alerts = h("section", { class: "card alerts", "aria-labelledby": "h-alerts" });
  const verify = h("section", { class: "card verify", "aria-labelledby": "h-verify" });
  const limits = h("section", { class: "card limits", "aria-labelledby": "h-limits" });
  main.replaceChildren(round, curves, accounts, alerts, verify, limits);
  fill(limits, notShown(false));
  fill(round, h("h1", { id: "h-now", tabindex: "-1" }, "Reading the chain …"));
  const stops = [curvesPanel(curves), accountsPanel(accounts), verifyPanel(verify)];
  const tick = () => {
    const state = current();
    if (!state?.chain) return;
    fill(round, nowParts(state));
    fill(alerts, alertParts(state));
  };
  stops.push(listen((state) => {
    tick();
    fill(limits, notShown(state.federation.private));
  }));
  const timer = setInterval(tick, 1000);
  return () => {
    clearInterval(timer);
    stops.forEach((stop) => stop());
  };
}

// ---------------------------------------------------------------------- the round

function nowParts(state) {
  return [sentence(state.round), h("ol", { class: "phases" }, state.round.phases.map((one) => phase(one, state)), finality(state))];
}

function sentence(round) {
  if (!round.round) return h("h1", { id: "h-now", tabindex: "-1" }, "No round was opened yet; any keeper can open the first.");
  const parts = [`Round ${round.round}: ${round.word}${round.total ? `, ${round.count} of ${round.total}` : ""}`];
  const shown = round.waiting.slice(0, 3).map((one, i) => [i ? ", " : "", account(one)]);
  const more = round.waiting.length - 3;
  return h(
    "h1",
    { id: "h-now", tabindex: "-1" },
    h("a", { href: `#/round/${round.round}` }, parts[0]),
    shown.length ? ["; waiting for ", shown, more > 0 ? ` and ${more} more` : ""] : null,
    round.end ? h("span", { class: "left" }, `; ${remaining(round.end)}`) : null,
    round.need && ["commit", "reveal"].includes(round.phase) ? `; void below ${round.need}` : null,
  );
}

function remaining(end) {
  const left = end - chainTime();
  return left > 0 ? `${duration(left)} left` : "the time is over";
}

function phase(one, state) {
  const share = one.total ? Math.min(100, (100 * one.count) / one.total) : 0;
  const stake = one.key === "attest" ? percent(state.round.signed, state.round.frozen) : null;
  const filled = stake ?? (one.state === "next" ? 0 : share);
  const counts = one.key === "attest" && one.state !== "next" && one.state !== "none"
    ? `${one.count} of ${one.total} · ${Math.round(stake)} % of the stake`
    : one.state === "next" || one.state === "none" ? "–" : `${one.count} of ${one.total}`;
  const label = { commit: "Commit", reveal: "Reveal", claim: "Claim", attest: "Attest" }[one.key] ?? one.label;
  const words = { done: "done", now: one.end ? remaining(one.end) : "now", next: one.end ? `until ${date(one.end).slice(11, 19)} at most` : "next", none: "not reached" };
  return h(
    "li",
    { class: `phase ${one.state}`, "aria-current": one.state === "now" ? "step" : null },
    h("span", { class: "label" }, label),
    h("span", { class: "count" }, counts),
    meter(filled, `${label}: ${counts}`, one.key === "attest" ? 66.67 : one.total ? (100 * one.need) / one.total : 0),
    h("span", { class: "soft" }, words[one.state]),
  );
}

/** A bar; the mark is how much is needed. Both are percentages. */
function meter(filled, label, mark = 0) {
  const bar = h("span", { class: "fill" });
  bar.style.width = `${Math.max(0, Math.min(100, filled))}%`;
  const needed = mark > 0 && mark < 100 ? h("span", { class: "mark" }) : null;
  if (needed) needed.style.left = `${mark}%`;
  return h("span", { class: "meter", role: "img", "aria-label": label }, bar, needed);
}

function finality(state) {
  const { head } = state;
  const open = head.height - head.final;
  const next = head.finalizable_at;
  const words = open > 0
    ? next && next > chainTime() ? `next in ${duration(next - chainTime())}` : "the next can be made final"
    : head.height ? "nothing can be challenged" : "no model yet";
  return h(
    "li",
    { class: `phase ${open > 0 ? "now quiet" : "done"}` },
    h("span", { class: "label" }, "Challenge window"),
    h("span", { class: "count" }, open > 0 ? `${open} of ${head.height} open` : `${head.final} final`),
    meter(head.height ? (100 * head.final) / head.height : 0, `${head.final} of ${head.height} models are final`),
    h("span", { class: "soft" }, words),
  );
}

// ---------------------------------------------------------------------- alerts

function alertParts(state) {
  const { alerts, totals } = state;
  const rounds = `${number(totals.rounds)} ${totals.rounds === 1 ? "round" : "rounds"}`;
  const quiet = !totals.rounds ? "No round yet, and no dispute." : totals.disputes ? `No open dispute. ${number(totals.disputes)} in ${rounds}.` : `No dispute in ${rounds}.`;
  return [
    h("h2", { id: "h-alerts" }, "Disputes and alerts", alerts.length ? h("span", { class: "badge warn" }, String(alerts.length)) : null),
    alerts.length ? h("ul", { class: "list" }, alerts.map(alert)) : h("p", { class: "calm" }, quiet),
  ];
}

function alert(one) {
  return h(
    "li",
    { class: one.level },
    h("span", {}, one.round ? [roundLink(one.round), ": "] : null, copyable(one.text)),
    h(
      "span",
      { class: "soft" },
      one.account ? [account(one.account), " "] : null,
      one.bond ? [value(one.bond, ether(one.bond), "Wei"), " "] : null,
      one.deadline ? (one.deadline > chainTime() ? `${duration(one.deadline - chainTime())} to answer` : "the time to answer is over") : null,
    ),
  );
}

// A CID at the end of a sentence is shown short, and copied whole.
function copyable(text) {
  const found = /^(.*: )(baf[a-z2-7]{40,})$/.exec(text);
  return found ? [found[1], value(found[2], short(found[2]), "CID")] : text;
}

// ---------------------------------------------------------------------- verify

const OUTCOME = { waiting: ["in the queue", "soft"], running: ["computing", "live"], equal: ["equal", "good"], wrong: ["wrong", "bad"], failed: ["not checked", "warn"] };

export function job(state, round) {
  return state.recompute.jobs.find((one) => one.round === round);
}

export function outcome(one) {
  const [word, kind] = OUTCOME[one.state];
  return h(
    "p",
    { class: `outcome ${kind}`, role: "status" },
    h("strong", {}, `Round ${one.round}: ${word}`),
    one.state === "running" ? meter(100 * one.part, `${Math.round(100 * one.part)} % done`) : null,
    h("span", {}, one.text ? ` ${one.text}` : "", one.seconds ? ` (${one.seconds} s)` : ""),
  );
}

export async function recompute(round) {
  try {
    await json(`api/recompute/${round}`, { method: "POST" });
  } catch (error) {
    say(error.message);
  }
}

function verifyPanel(section) {
  const input = h("input", { id: "verify-round", type: "number", min: "1", inputmode: "numeric", class: "small" });
  const button = h("button", { type: "submit" }, "Recompute");
  const form = h("form", { class: "line" }, h("label", { for: "verify-round" }, "Round"), input, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value) recompute(Number(input.value));
  });
  const jobs = h("div", { class: "jobs" });
  const off = h("p", { class: "soft" });
  const lines = h("div", {});
  section.replaceChildren(h("h2", { id: "h-verify" }, "Verify"), form, off, jobs, lines);
  return listen((state) => {
    const { head, federation, recompute: asked } = state;
    if (!input.value && head.round) input.value = head.round;
    form.hidden = !asked.allowed || !head.round;
    fill(off, asked.allowed ? "" : state.store.given ? "Recomputing is off here; do it yourself:" : "This dashboard has no store; recompute with one:");
    fill(jobs, asked.jobs.slice(-3).reverse().map(outcome));
    const line = `flo verify RUN --expect-head ${head.root}`;
    const own = `flo model verify --all --federation ${federation.address} --rpc URL --store URL`;
    fill(lines, command(own, "Every model, from the chain"), command(line, "A recorded run"));
  });
}

export function command(text, what) {
  return h(
    "p",
    { class: "command" },
    h("span", { class: "soft" }, what),
    h("code", { tabindex: "0" }, text),
    h("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy the command: ${what}`, title: "Copy the command" }, copyIcon()),
  );
}

// ---------------------------------------------------------------------- what is not shown

function notShown(masked) {
  const points = [
    "Accuracies and losses",
    "Honest training, and numbers of samples",
    "That a quorum left no update out",
    masked ? "What one party contributes: only sums are read" : "Privacy: updates are readable in the store",
    "That this node's chain is the true one: compare the head with others",
  ];
  return [h("h2", { id: "h-limits" }, "Not shown to be true"), h("ul", { class: "plain" }, points.map((one) => h("li", {}, one)))];
}
