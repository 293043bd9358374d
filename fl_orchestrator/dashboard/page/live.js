// The state of the federation, as the server sends it, and the chain's time between two messages.

const listeners = new Set();
let state = null;
let arrived = 0; // performance.now() of the last message
let connected = false;

export const now = () => performance.now() / 1000;
export const current = () => state;
export const isConnected = () => connected;

/** Seconds since the last message. */
export const elapsed = () => (state ? now() - arrived : 0);

/** The chain's time now: that of its last block, and what has passed since. */
export function chainTime() {
  return state?.chain ? state.chain.time + Math.max(0, state.now - state.chain.seen_at) + elapsed() : 0;
}

/** The age of the last block; a chain whose clock is not ours is as old as it is since we saw it. */
export function blockAge() {
  const since = state.now - state.chain.seen_at + elapsed();
  const byClock = state.now + elapsed() - state.chain.time;
  return byClock >= since && byClock < since + 3600 ? byClock : since;
}

/** How long the node has not answered. */
export const silence = () => (state ? state.silent + elapsed() : 0);

/** Hears of every message, also while the chain has never answered. */
export function onMessage(listener) {
  listeners.add(() => state && listener(state));
}

export function listen(listener) {
  const hear = (found) => found.chain && listener(found);
  listeners.add(hear);
  if (state) hear(state);
  return () => listeners.delete(hear);
}

function tell() {
  for (const listener of [...listeners]) listener(state);
}

export async function json(path, options = {}) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `The dashboard answers ${response.status}.`);
  return body;
}

export function start() {
  const source = new EventSource("api/events");
  source.addEventListener("state", (event) => {
    state = JSON.parse(event.data);
    arrived = now();
    connected = true;
    tell();
  });
  source.addEventListener("error", () => {
    connected = false;
    // A browser gives up after a refusal; a restarted dashboard should be found again.
    if (source.readyState === EventSource.CLOSED) setTimeout(start, 3000);
    if (state) tell();
  });
}
