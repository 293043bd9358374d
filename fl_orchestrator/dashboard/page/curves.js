// Curves over rounds: what is measured, who took part, and the gas; void and revoked rounds as marks.

import { fill, h, say } from "./dom.js";
import { json, listen } from "./live.js";
import { number, STATUS } from "./words.js";

const AGAIN = 8; // the last rounds may still change

/** All rounds in columns, kept up to date. */
class Rounds {
  constructor() {
    this.data = null;
    this.asked = null;
  }

  /** Fetches what is new for a state; returns whether anything was. */
  async update(state) {
    const wanted = `${state.data.epoch}.${state.data.version}`;
    if (this.asked === wanted) return false;
    this.asked = wanted;
    const whole = !this.data || this.data.epoch !== state.data.epoch || this.data.gas.includes(null);
    const after = whole ? 0 : Math.max(0, this.data.last - AGAIN);
    try {
      const found = await json(`api/rounds?after=${after}`);
      this.data = after ? joined(this.data, found, after) : found;
      return true;
    } catch (error) {
      this.asked = null;
      throw error;
    }
  }
}

function joined(old, found, after) {
  const kept = old.number.filter((one) => one <= after).length;
  const data = { ...found };
  for (const [name, column] of Object.entries(found)) {
    if (Array.isArray(column) && name !== "measures") data[name] = [...old[name].slice(0, kept), ...column];
  }
  data.measures = found.measures.map((one, i) => {
    const before = old.measures[i]?.columns ?? {};
    const columns = {};
    for (const [name, column] of Object.entries(one.columns)) {
      columns[name] = [...(before[name] ?? new Array(kept).fill(null)).slice(0, kept), ...column];
    }
    return { ...one, columns };
  });
  return data;
}

export const rounds = new Rounds();

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function curvesPanel(section) {
  const readout = h("p", { class: "readout", role: "status", "aria-live": "polite" });
  const whose = h("p", { class: "soft whose" });
  const plots = h("div", {
    class: "plots",
    tabindex: "0",
    role: "group",
    "aria-label": "Curves over rounds. Left and right choose a round, Enter opens it; the page Rounds has them as a table.",
  });
  section.replaceChildren(h("div", { class: "title" }, h("h2", { id: "h-curves" }, "Rounds"), readout), plots, whose);
  let charts = [];
  let at = null;
  let shape = "";

  const draw = () => {
    const data = rounds.data;
    if (!data || !section.isConnected || typeof uPlot === "undefined") return;
    if (!data.number.length) {
      fill(plots, h("p", { class: "empty" }, "The curves begin with the first round."));
      return;
    }
    const boxes = layout(plots, data.measures.length > 0);
    const key = JSON.stringify([boxes, document.documentElement.dataset.theme, data.measures.map((m) => Object.keys(m.columns))]);
    const sets = series(data);
    if (key !== shape) {
      charts.forEach((chart) => chart.destroy());
      plots.replaceChildren();
      charts = sets.map((set, i) => chartOf(set, boxes[i], plots, data, choose));
      shape = key;
    } else {
      charts.forEach((chart, i) => chart.setData(sets[i].data));
    }
    fill(whose, sources(data));
    choose(at, false);
  };

  const choose = (index, fromChart = true) => {
    const data = rounds.data;
    if (!data) return;
    at = index;
    const i = index ?? data.number.length - 1;
    if (data.number[i] !== undefined) fill(readout, described(data, i));
    if (fromChart === "key") charts.forEach((chart) => chart.setCursor({ left: chart.valToPos(data.number[i], "x"), top: 10 }, false));
  };

  plots.addEventListener("keydown", (event) => {
    const data = rounds.data;
    if (!data?.number.length) return;
    const last = data.number.length - 1;
    const i = at ?? last;
    const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: last, PageUp: i - 20, PageDown: i + 20 }[event.key];
    if (event.key === "Enter") location.hash = `#/round/${data.number[i]}`;
    else if (to !== undefined) choose(Math.max(0, Math.min(last, to)), "key");
    else return;
    event.preventDefault();
  });
  plots.addEventListener("click", () => {
    if (at !== null && rounds.data) location.hash = `#/round/${rounds.data.number[at]}`;
  });
  plots.addEventListener("mouseleave", () => choose(null));

  const resized = new ResizeObserver(() => draw());
  resized.observe(section);
  resized.observe(plots);
  addEventListener("colours", draw);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const recolour = () => {
    shape = "";
    draw();
  };
  scheme.addEventListener("change", recolour);
  let wanted = null;
  const fetched = async (state) => {
    try {
      if (await rounds.update(state)) draw();
    } catch (error) {
      say(error.message);
    }
  };
  const stop = listen((state) => {
    // While old receipts are being read, the versions follow each other quickly.
    clearTimeout(wanted);
    wanted = setTimeout(() => fetched(state), rounds.data ? 250 : 0);
  });
  draw();
  return () => {
    stop();
    clearTimeout(wanted);
    resized.disconnect();
    removeEventListener("colours", draw);
    scheme.removeEventListener("change", recolour);
    charts.forEach((chart) => chart.destroy());
  };
}

function layout(plots, measured) {
  const width = Math.max(200, plots.clientWidth);
  const height = Math.max(260, plots.clientHeight || 300);
  const shares = measured ? [0.46, 0.27, 0.27] : [0.5, 0.5];
  return shares.map((share) => ({ width, height: Math.floor(height * share) }));
}

/** What each chart shows: its series, its axes and its data. */
function series(data) {
  const x = data.number;
  const sets = [];
  if (data.measures.length) {
    const shown = { scales: [], series: [], data: [x], axes: [] };
    const colours = ["--accent", "--second", "--third", "--fourth"];
    data.measures.forEach((one, m) => {
      Object.entries(one.columns).forEach(([name, column], c) => {
        const loss = /loss/.test(name);
        shown.series.push({ label: name, stroke: css(colours[(m * 2 + c) % 4]), scale: loss ? "loss" : "y", width: 1.5, dash: m ? [4, 3] : undefined, spanGaps: true, points: { show: x.length < 40, size: 4 } });
        shown.data.push(column);
      });
      for (const [name, at] of Object.entries(one.lines)) {
        shown.series.push({ label: name, level: at, stroke: css("--soft"), scale: "y", width: 1, dash: [2, 4], points: { show: false } });
        shown.data.push(x.map(() => at));
      }
    });
    sets.push(shown);
  }
  sets.push({
    series: [
      { label: "drawn", stroke: css("--soft"), width: 1, dash: [3, 3], points: { show: false }, scale: "y" },
      { label: "included", stroke: css("--good"), width: 1.5, points: { show: x.length < 40, size: 4 }, scale: "y" },
    ],
    data: [x, data.drawn, data.included],
    zero: true,
    marks: true,
  });
  sets.push({
    series: [{ label: "gas", stroke: css("--second"), fill: css("--second-faint"), width: 1, points: { show: x.length < 3, size: 4 }, scale: "y" }],
    data: [x, data.gas],
    zero: true,
  });
  return sets;
}

function chartOf(set, box, parent, data, choose) {
  const grid = { stroke: css("--line"), width: 1 };
  const ticks = { show: false };
  const axis = { stroke: css("--soft"), grid, ticks, font: "11px system-ui", size: 44, gap: 4 };
  const scaled = set.zero ? { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] } : {};
  const twoAxes = set.series.some((one) => one.scale === "loss");
  const options = {
    ...box,
    legend: { show: false },
    cursor: { sync: { key: "rounds" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: false, range: (_u, min, max) => (min === max ? [min - 1, max + 1] : [min, max]) }, y: scaled, loss: {} },
    axes: [
      { ...axis, size: 22, grid: { show: false }, values: (_u, all) => all.map((v) => (Number.isInteger(v) && v >= data.number[0] && v <= rounds.data.last ? v : "")) },
      { ...axis, values: (_u, all) => all.map(compact) },
      ...(twoAxes ? [{ ...axis, side: 1, scale: "loss", grid: { show: false }, values: (_u, all) => all.map(compact) }] : []),
    ],
    padding: [8, twoAxes ? 0 : 44, 0, 0],
    series: [{}, ...set.series],
    hooks: {
      setCursor: [(chart) => choose(chart.cursor.idx ?? null)],
      draw: [(chart) => {
        if (set.marks) marks(chart);
        legend(chart, set);
      }],
    },
  };
  return new uPlot(options, set.data, parent);
}

function marks(chart) {
  const data = rounds.data;
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio || 1;
  data.status.forEach((status, i) => {
    if (status !== "void" && status !== "revoked") return;
    const x = chart.valToPos(data.number[i], "x", true);
    ctx.save();
    ctx.strokeStyle = css(status === "void" ? "--warn" : "--bad");
    ctx.lineWidth = ratio;
    if (status === "void") ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  });
}

/** The names of the curves, in their colours, within the chart. */
function legend(chart, set) {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio || 1;
  const names = set.series.filter((one) => one.level === undefined).map((one) => [one.label, one.stroke]);
  if (set.marks) {
    if (rounds.data.status.includes("void")) names.push(["void", css("--warn")]);
    if (rounds.data.status.includes("revoked")) names.push(["revoked", css("--bad")]);
  }
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui`;
  ctx.textBaseline = "bottom";
  ctx.textAlign = "right";
  ctx.fillStyle = css("--soft");
  for (const one of set.series) {
    if (one.level !== undefined) ctx.fillText(one.label, bbox.left + bbox.width - 4 * ratio, chart.valToPos(one.level, "y", true) - ratio);
  }
  ctx.textAlign = "left";
  let x = bbox.left + 6 * ratio;
  const y = bbox.top + bbox.height - 5 * ratio;
  for (const [name, colour] of names) {
    const text = name.slice(0, 20);
    ctx.fillStyle = css("--card");
    ctx.globalAlpha = 0.8;
    ctx.fillRect(x - 2 * ratio, y - 12 * ratio, ctx.measureText(text).width + 4 * ratio, 13 * ratio);
    ctx.globalAlpha = 1;
    ctx.fillStyle = typeof colour === "function" ? colour() : colour;
    ctx.fillText(text, x, y);
    x += ctx.measureText(text).width + 12 * ratio;
  }
  ctx.restore();
}

function compact(value) {
  if (value === null) return "";
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toFixed(1)} M`;
  if (size >= 1e3) return `${+(value / 1e3).toFixed(1)} k`;
  return String(+value.toFixed(3));
}

function described(data, i) {
  const parts = [`Round ${data.number[i]}`, STATUS[data.status[i]][0]];
  if (data.included[i] !== null) parts.push(`${data.included[i]} of ${data.drawn[i]} included`);
  else parts.push(`${data.committed[i]} of ${data.drawn[i]} committed`);
  for (const one of data.measures) {
    for (const [name, column] of Object.entries(one.columns).slice(0, 2)) {
      if (column[i] !== null && column[i] !== undefined) parts.push(`${name} ${column[i].toFixed(3)}`);
    }
  }
  if (data.gas[i] !== null) parts.push(`${number(data.gas[i])} gas`);
  return parts.join(" · ");
}

function sources(data) {
  if (!data.measures.length) return "Nobody publishes accuracies here (flo dashboard --measures).";
  return `Accuracy and loss are those of ${data.measures.map((one) => one.whose).join("; and ")}. Nothing proves them.`;
}
