// A page for each round, and the list of all.

import { rounds } from "./curves.js";
import { account, fill, h, table, value } from "./dom.js";
import { current, json, listen } from "./live.js";
import { job, outcome, recompute } from "./overview.js";
import { date, ether, number, PART, percent, short, STATUS } from "./words.js";

const badge = (status) => h("span", { class: `badge ${STATUS[status][1]}` }, STATUS[status][0]);
const pair = (label, ...what) => h("div", {}, h("dt", {}, label), h("dd", {}, what));
const root = (whole) => value(whole, whole ? short(whole) : "", "Root");
const cid = (whole) => value(whole, whole ? short(whole) : "", "CID");
const gas = (one) => value(one, number(one), "Gas of the transaction");

// Where something was done: its time, and its transaction to copy.
const place = (one) => (one ? h("span", { class: "place" }, one.time ? date(one.time).slice(11, 19) : `block ${number(one.block)}`, " ", value(one.transaction, short(one.transaction), `Block ${one.block}, transaction`)) : "–");

export function roundPage(main, round) {
  const body = h("div", { class: "stack" });
  main.replaceChildren(
    h("div", { class: "title" },
      h("h1", { tabindex: "-1" }, `Round ${round}`),
      h("nav", { class: "turn", "aria-label": "Rounds" },
        round > 1 ? h("a", { href: `#/round/${round - 1}`, rel: "prev" }, "← Previous") : null,
        h("a", { href: `#/round/${round + 1}`, rel: "next" }, "Next →"))),
    body,
  );
  let found = null;
  const load = async () => {
    try {
      found = await json(`api/rounds/${round}`);
      fill(body, parts(found, current()));
    } catch (error) {
      fill(body, h("p", { class: "none" }, error.message));
    }
  };
  let version = null;
  return listen((state) => {
    if (round > state.totals.rounds) {
      fill(body, h("p", { class: "none" }, `There is no round ${round} yet; the last one is ${state.totals.rounds}.`));
    } else if (state.data.version !== version) {
      version = state.data.version;
      load();
    } else if (found) fill(body, parts(found, state));
  });
}

function parts(one, state) {
  return [
    h("div", { class: "cards" }, facts(one), model(one, state)),
    state.federation.private ? masked(one) : null,
    h("section", { class: "card" }, h("h2", {}, `Updates (${one.revealed} of ${one.drawn} drawn)`), updates(one)),
    h("section", { class: "card" }, h("h2", {}, "Signed results"), results(one)),
    h("section", { class: "card" },
      h("h2", {}, "All events"),
      one.events_left_out ? h("p", { class: "soft" }, `The first ${one.events.length}; ${number(one.events_left_out)} more are left out.`) : null,
      table("All events of the round", [["Event", ""], ["Account", ""], ["Amount", "num"], ["Time", ""], ["Block", "num"], ["Transaction", ""], ["Gas of it", "num"]],
        one.events.map((e) => [e.name, e.account ? account(e.account) : "–", e.amount ? value(e.amount, ether(e.amount), "Wei") : "–", date(e.time), value(e.block, number(e.block), "Block"), value(e.transaction, short(e.transaction), "Transaction"), gas(e.gas)]))),
  ];
}

function facts(one) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "The round", badge(one.status)),
    h(
      "dl",
      { class: "pairs" },
      pair("Opened", date(one.opened)),
      pair("Seed block", value(one.seed_block, number(one.seed_block), "Seed block")),
      pair("Seed", value(one.seed, one.seed ? short(one.seed) : "", "Seed")),
      pair("Starts from", one.base ? h("a", { href: `#/round/${one.base}` }, `the model of round ${one.base}`) : one.base === 0 ? "genesis" : "–"),
      pair("Drawn", `${one.drawn} of ${one.active ?? "–"} active`),
      pair("Committed", `${one.committed}`),
      pair("Revealed", `${one.revealed}${one.duplicates ? `, and ${one.duplicates} duplicates` : ""}`),
      pair("Gas", value(one.gas, number(one.gas), "Gas"), one.gas_unread ? ` and ${one.gas_unread} transactions to be read` : ""),
      pair("Disputes", one.frauds || one.demands ? `${one.demands} demands, ${one.answers} answers, ${one.frauds} proven wrong` : "none"),
      one.slashed !== "0" ? pair("Slashed", value(one.slashed, ether(one.slashed), "Wei")) : null,
    ),
  );
}

function model(one, state) {
  const asked = job(state, one.number);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "The model"),
    one.root
      ? h(
          "dl",
          { class: "pairs" },
          pair("Accepted", date(one.accepted)),
          pair("Height", number(one.height)),
          pair("Root", root(one.root)),
          pair("CID", cid(one.cid)),
          pair("Included", `${one.included} of ${one.revealed} updates`),
          pair("Signed by", `${one.signers} aggregators, ${percent(one.signed_stake, one.aggregator_stake)} % of the stake`),
          pair("Reward", value(one.reserved, ether(one.reserved), "Wei")),
        )
      : h("p", { class: "none" }, "No model was accepted."),
    one.root && state.recompute.allowed ? h("button", { type: "button", disabled: asked && ["waiting", "running"].includes(asked.state), onclick: () => recompute(one.number) }, "Recompute this model") : null,
    asked ? outcome(asked) : null,
  );
}

function masked(one) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "How it was opened"),
    h("p", { class: "soft" }, `Updates are masked; only their sum is opened. ${one.locked ?? 0} updates were locked, ${one.seeds} seeds were opened.`),
    table("Claims", [["Aggregator", ""], ["Updates held", "num"], ["When", ""], ["Gas of it", "num"]], one.claims.map((c) => [account(c.aggregator), String(c.held), place(c), gas(c.gas)]), "Nobody claimed to hold updates."),
    one.locks.length ? table("Locks", [["Locked updates", "num"], ["When", ""], ["Gas of it", "num"]], one.locks.map((c) => [String(c.locked), place(c), gas(c.gas)])) : null,
    table("Announced releases", [["Aggregator", ""], ["CID", ""], ["When", ""]], one.announced.map((c) => [account(c.aggregator), cid(c.cid), place(c)]), "No release was announced on the chain; most go through relays."),
  );
}

function updates(one) {
  return table(
    "Updates",
    [["Bit", "num"], ["Party", ""], ["State", ""], ["Weight", "num"], ["Root", ""], ["CID", ""], ["Committed", ""], ["Revealed", ""], ["Gas of it", "num"]],
    one.updates.map((u) => [
      u.index === null ? "–" : String(u.index), account(u.party), h("span", { class: `badge ${{ done: "good", half: "warn", missed: "bad", pending: "soft", going: "live" }[PART[u.part][1]]}` }, PART[u.part][0]),
      u.weight === null ? "–" : String(u.weight), root(u.root), cid(u.cid), place(u.committed), place(u.revealed), u.revealed ? gas(u.revealed.gas) : "–",
    ]),
    "Nobody was drawn yet.",
  );
}

function results(one) {
  if (!one.results.length) return h("p", { class: "none" }, "Nobody has signed a result.");
  return one.results.map((result) =>
    h(
      "div",
      { class: "result" },
      h("p", {}, h("span", { class: `badge ${result.wrong ? "bad" : result.accepted ? "good" : "soft"}` }, result.wrong ? "proven wrong" : result.accepted ? "accepted" : "not accepted"),
        " root ", root(result.root), " CID ", cid(result.cid), ` ${result.included} updates`, result.wrong ? [", proven wrong by ", account(result.wrong)] : null),
      table("Signatures", [["Aggregator", ""], ["Stake", "num"], ["When", ""], ["Gas of it", "num"]], result.signers.map((s) => [account(s.aggregator), value(s.stake, ether(s.stake), "Wei"), place(s), gas(s.gas)])),
    ));
}

// ---------------------------------------------------------------------- all rounds

const PAGE = 50;

export function roundsPage(main) {
  const body = h("div", { class: "card" });
  const pager = h("div", { class: "pager" });
  main.replaceChildren(h("h1", { tabindex: "-1" }, "Rounds"), body, pager);
  let offset = 0;
  const draw = () => {
    const data = rounds.data;
    if (!data) return;
    const all = data.number.length;
    const from = Math.max(0, all - offset - PAGE);
    const shown = [...Array(Math.max(0, all - offset - from)).keys()].map((i) => all - offset - 1 - i);
    const measured = data.measures[0] ? Object.keys(data.measures[0].columns).slice(0, 2) : [];
    fill(body, table("Rounds, the last first",
      [["Round", "num"], ["Outcome", ""], ["Opened", ""], ["Accepted", ""], ["Drawn", "num"], ["Committed", "num"], ["Included", "num"], ["Gas", "num"], ...measured.map((name) => [name, "num"])],
      shown.map((i) => [h("a", { href: `#/round/${data.number[i]}` }, String(data.number[i])), badge(data.status[i]), date(data.opened[i]), date(data.accepted[i]), String(data.drawn[i]), String(data.committed[i]), data.included[i] === null ? "–" : String(data.included[i]), value(data.gas[i], number(data.gas[i]), "Gas"),
        ...measured.map((name) => value(data.measures[0].columns[name][i], data.measures[0].columns[name][i]?.toFixed(3), name))]),
      "No round yet."));
    fill(pager,
      h("button", { type: "button", disabled: offset === 0, onclick: () => turn(-PAGE) }, "Newer"),
      h("span", {}, all ? `${number(from + 1)}–${number(all - offset)} of ${number(all)}` : ""),
      h("button", { type: "button", disabled: from === 0, onclick: () => turn(PAGE) }, "Older"));
    pager.hidden = all <= PAGE;
  };
  const turn = (by) => {
    offset = Math.max(0, offset + by);
    draw();
  };
  draw();
  return listen(async (state) => {
    await rounds.update(state).catch(() => {});
    draw();
  });
}
