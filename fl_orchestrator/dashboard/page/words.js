// Numbers, times and states in words.

export function short(text) {
  const whole = String(text);
  return whole.length <= 16 ? whole : `${whole.slice(0, 6)}…${whole.slice(-4)}`;
}

const ETHER = 10n ** 18n;

/** Wei, a decimal string, as ETH with at most six digits; less is shown in wei. */
export function ether(wei) {
  const amount = BigInt(wei ?? 0);
  if (amount > 0n && amount < 10n ** 12n) return `${number(amount)} wei`;
  const whole = amount / ETHER;
  const part = String((amount % ETHER) / 10n ** 12n).padStart(6, "0").replace(/0+$/, "");
  return `${number(whole)}${part ? `.${part}` : ""} ETH`;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en-US");
}

/** Seconds as people say them. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function date(seconds) {
  if (!seconds) return "–";
  return new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
}

export function percent(one, all) {
  const of = BigInt(all ?? 0);
  return of === 0n ? 0 : Number((BigInt(one ?? 0) * 10000n) / of) / 100;
}

export const STATUS = {
  accepted: ["accepted", "good"],
  final: ["final", "good"],
  revoked: ["revoked", "bad"],
  void: ["void", "warn"],
  open: ["open", "live"],
};

export const STATE = {
  active: ["active", "good"],
  missing: ["missing", "bad"],
  low: ["too little stake", "warn"],
  leaving: ["leaving", "warn"],
  left: ["left", "soft"],
};

export const PART = {
  pending: ["not yet", "pending"],
  awaited: ["committed, to be revealed", "going"],
  drawn: ["did not commit", "missed"],
  committed: ["committed, not revealed", "half"],
  revealed: ["revealed", "done"],
  included: ["included", "done"],
  duplicate: ["a duplicate", "half"],
  left_out: ["revealed, left out", "half"],
  attested: ["signed in time", "done"],
  late: ["signed after the quorum", "half"],
};
