// Parties and aggregators: a list, and a page for each account.

import { account, fill, h, say, table, value } from "./dom.js";
import { json, listen } from "./live.js";
import { date, ether, number, PART, short, STATE } from "./words.js";

const LIMIT = 25;

export function dots(list, first) {
  const words = list.map((part, i) => (part ? `round ${first + i} ${PART[part][0]}` : null)).filter(Boolean);
  return h(
    "span",
    { class: "dots", role: "img", "aria-label": words.length ? words.slice(-5).join(", ") : "no round" },
    list.map((part, i) => h("i", { class: part ? PART[part][1] : "no", title: part ? `Round ${first + i}: ${PART[part][0]}` : null })),
  );
}

export function badge(state) {
  const [word, kind] = STATE[state];
  return h("span", { class: `badge ${kind}` }, word);
}

export function accountsPanel(section) {
  const view = { role: "party", sort: "address", order: "up", q: "", offset: 0 };
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Role" });
  const counts = h("p", { class: "soft counts" });
  const search = h("input", { type: "search", placeholder: "0x…", "aria-label": "Search by address", maxlength: "64", autocomplete: "off", spellcheck: "false" });
  const body = h("div", { class: "fillup" });
  const pager = h("div", { class: "pager" });
  section.replaceChildren(
    h("div", { class: "title" }, h("h2", { id: "h-accounts" }, "Accounts"), tabs, search),
    counts, body, pager,
  );
  let asked = "";
  let version = 0;

  const draw = async (force = false) => {
    const query = new URLSearchParams({ ...view, limit: LIMIT });
    const key = `${query}@${version}`;
    if (key === asked && !force) return;
    asked = key;
    try {
      const found = await json(`api/accounts?${query}`);
      if (asked !== key) return;
      fill(body, list(found, view, sortBy));
      const from = found.total ? found.offset + 1 : 0;
      fill(
        pager,
        h("button", { type: "button", disabled: found.offset === 0, onclick: () => turn(-LIMIT) }, "Previous"),
        h("span", {}, `${from}–${Math.min(found.offset + LIMIT, found.total)} of ${number(found.total)}`),
        h("button", { type: "button", disabled: found.offset + LIMIT >= found.total, onclick: () => turn(LIMIT) }, "Next"),
      );
      pager.hidden = found.total <= LIMIT;
    } catch (error) {
      say(error.message);
    }
  };
  const turn = (by) => {
    view.offset = Math.max(0, view.offset + by);
    draw();
  };
  const sortBy = (sort) => {
    view.order = view.sort === sort && view.order === "up" ? "down" : "up";
    view.sort = sort;
    view.offset = 0;
    draw();
  };
  const drawTabs = () =>
    fill(tabs, ["party", "aggregator"].map((role) =>
      h("button", { type: "button", "aria-pressed": String(view.role === role), onclick: () => {
        Object.assign(view, { role, offset: 0 });
        drawTabs();
        drawCounts();
        draw();
      } }, role === "party" ? "Parties" : "Aggregators")));
  let last = null;
  const drawCounts = () => {
    const found = last?.accounts?.[view.role];
    if (found) fill(counts, `${number(found.registered)} registered · ${number(found.active)} active · `, h("span", { class: found.missing ? "bad" : "" }, `${number(found.missing)} missing`));
  };
  let typed = null;
  search.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => {
      Object.assign(view, { q: search.value.trim(), offset: 0 });
      draw();
    }, 200);
  });
  drawTabs();
  const stop = listen((state) => {
    last = state;
    version = state.data.version;
    drawCounts();
    draw();
  });
  return () => {
    stop();
    clearTimeout(typed);
  };
}

const HEADS = [
  ["address", "Account", ""],
  ["state", "State", ""],
  ["stake", "Stake", "num"],
  [null, "20 rounds", ""],
  ["seen", "Last in", "num"],
  ["missed", "Missed", "num"],
  ["rewards", "Rewards", "num"],
];
const OF_AGGREGATORS = { missed: ["rounds", "Signed", "num"], rewards: ["rewards", "Rewards", "num"] };

function list(found, view, sortBy) {
  if (!found.accounts.length) return h("p", { class: "none" }, view.q ? "No account has this in its address." : "Nobody is registered.");
  const seats = view.role === "aggregator";
  const heads = HEADS.map((head) => (seats && OF_AGGREGATORS[head[0]]) || head);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": seats ? "Aggregators" : "Parties" },
    h(
      "table",
      {},
      h("caption", { class: "off" }, seats ? "Aggregators" : "Parties"),
      h("thead", {}, h("tr", {}, heads.map(([sort, label, kind]) =>
        h("th", { scope: "col", class: kind, "aria-sort": sort === view.sort ? (view.order === "up" ? "ascending" : "descending") : null },
          sort ? h("button", { type: "button", class: "sort", onclick: () => sortBy(sort) }, label, h("span", { "aria-hidden": "true" }, sort === view.sort ? (view.order === "up" ? " ↑" : " ↓") : "")) : label)))),
      h("tbody", {}, found.accounts.map((one) => h(
        "tr",
        {},
        h("th", { scope: "row" }, account(one.address)),
        h("td", {}, badge(one.state), BigInt(one.slashed) > 0n ? h("span", { class: "badge bad", title: `Slashed by ${ether(one.slashed)}` }, "slashed") : null),
        h("td", { class: "num" }, value(one.stake, ether(one.stake), "Stake in wei")),
        h("td", {}, dots(one.dots, found.first)),
        h("td", { class: "num" }, one.last_round ? h("a", { href: `#/round/${one.last_round}` }, String(one.last_round)) : h("span", { class: "none" }, "never")),
        h("td", { class: `num ${!seats && one.missed_reveals ? "bad" : ""}` }, number(seats ? one.rounds : one.missed_reveals)),
        h("td", { class: "num" }, value(one.rewards, ether(one.rewards), "Rewards in wei")),
      ))),
    ),
  );
}

// ---------------------------------------------------------------------- one account

export function accountPage(main, address) {
  const events = [];
  let more = false;
  const body = h("div", { class: "stack" });
  main.replaceChildren(h("h1", { tabindex: "-1" }, "Account ", value(address, address, "Address")), body);

  const draw = (found) => {
    fill(
      body,
      found.roles.length ? h("div", { class: "cards" }, found.roles.map((one) => role(one, found.first))) : h("p", { class: "soft" }, "It has no role in this federation."),
      h("section", { class: "card" },
        h("h2", {}, "What it did"),
        table("Events of this account", [["Event", ""], ["Round", "num"], ["Amount", "num"], ["Time", ""], ["Block", "num"], ["Transaction", ""], ["Gas of it", "num"]],
          events.map((one) => [one.name, one.round ? h("a", { href: `#/round/${one.round}` }, String(one.round)) : "–", one.amount ? value(one.amount, ether(one.amount), "Wei") : "–", date(one.time), value(one.block, number(one.block), "Block"), value(one.transaction, short(one.transaction), "Transaction"), value(one.gas, number(one.gas), "Gas")])),
        more ? h("button", { type: "button", onclick: older }, "Older") : null),
    );
  };
  let shown = null;
  const load = async (before = "") => {
    try {
      const found = await json(`api/accounts/${address}${before ? `?before=${before}` : ""}`);
      if (!before) events.length = 0;
      events.push(...found.events);
      more = found.more;
      if (!before) shown = found;
      draw(shown);
    } catch (error) {
      fill(body, h("p", { class: "none" }, error.message));
    }
  };
  const older = () => {
    const last = events[events.length - 1];
    load(`${last.block}.${last.place}`);
  };
  let version = null;
  return listen((state) => {
    if (state.data.version === version || events.length > 100) return;
    version = state.data.version;
    load();
  });
}

const count = (rounds) => `${number(rounds)} ${rounds === 1 ? "round" : "rounds"}`;

function role(one, first) {
  const pair = (label, ...what) => h("div", {}, h("dt", {}, label), h("dd", {}, what));
  return h(
    "section",
    { class: "card" },
    h("h2", {}, one.role === "party" ? "Party" : `Aggregator, seat ${one.seat}`, badge(one.state)),
    h(
      "dl",
      { class: "pairs" },
      pair("Stake", value(one.stake, ether(one.stake), "Stake in wei")),
      pair("Rewards", value(one.rewards, ether(one.rewards), "Rewards in wei")),
      pair("Slashed", value(one.slashed, ether(one.slashed), "Slashed in wei")),
      pair("Paid to", account(one.beneficiary)),
      pair("Last seen", one.last_round ? `round ${one.last_round}` : "never"),
      one.role === "party"
        ? [pair("Drawn", count(one.rounds)), pair("Did not commit", count(one.missed_commits)), pair("Did not reveal", count(one.missed_reveals))]
        : pair("Signed", count(one.rounds)),
      pair("Last 20 rounds", dots(one.dots, first)),
    ),
  );
}
