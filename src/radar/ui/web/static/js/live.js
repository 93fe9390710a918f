// The news from the server: over a stream that all tabs of the browser share, where it can be shared.

import { Cell } from "./cells.js";
import { noticeServerTime } from "./clock.js";
import { SharedStream, openSource } from "./stream.js";

const PROBLEM_SHOWN_MS = 20000;
const HIDDEN_MS = 60000; // so long a page that nobody looks at keeps its stream
const QUIET_S = 12; // the server says every 5 s that it lives
const WATCH_MS = 2000;
// Another number, another worker: pages of one release never get the news of another one's worker.
const WORKER = "radar-live-1";

/**
 * How the stream is: state "idle" | "connecting" | "live" | "lost", at_ms of the last event, and the
 * pulse: whether data moves, as the server says.
 */
export const status = new Cell({ state: "idle", at_ms: 0, quiet_s: QUIET_S, problem: "", pulse: null });

function become(change) {
  status.set({ ...status.value, ...change });
}

let own = null; // the stream of this tab, where none can be shared
let sharing = typeof SharedWorker === "function";

/** Follow a query over the shared stream; returns {end(), hurry()}. */
function followShared(query, send) {
  const worker = new SharedWorker(new URL("live_worker.js", import.meta.url), { type: "module", name: WORKER });
  const { port } = worker;
  const lock = `radar-tab-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
  let release = () => {};
  const held = new Promise((resolve) => (release = resolve));
  worker.addEventListener("error", () => {
    sharing = false; // the next attempt has a stream of its own
    send({ type: "lost" });
  });
  port.onmessage = ({ data }) => send(data);
  const begin = (name) => port.postMessage({ follow: query, lock: name });
  if (navigator.locks) {
    navigator.locks.request(lock, () => {
      begin(lock);
      return held;
    });
  } else {
    begin("");
  }
  return {
    end: () => {
      port.postMessage({ end: true });
      release();
      port.onmessage = null;
    },
    hurry: () => port.postMessage({ hurry: true }),
  };
}

function followOwn(query, send) {
  own ??= new SharedStream(openSource(document.baseURI));
  return { end: own.follow(query, send), hurry: () => own.hurry() };
}

/**
 * Follow a page's news until the returned function is called.
 *
 * @param {object} parameters  what the server asks for, e.g. {page: "markets"}
 * @param {object} handlers    by name of the event: called with its data
 * @param {object} options     onReturn: called when it is back, after it was lost or the tab slept
 */
export function follow(parameters, handlers, { onReturn = () => {} } = {}) {
  const query = new URLSearchParams(parameters).toString();
  let stream = null;
  let problemTimer = 0;
  let hiddenTimer = 0;
  let wasLost = false;

  const heard = () => {
    status.value.at_ms = Date.now();
    if (status.value.state !== "live") become({ state: "live" });
    if (wasLost) onReturn();
    wasLost = false;
  };

  const receive = (message) => {
    if (message.type === "lost") {
      wasLost = true;
      become({ state: "lost" });
      return;
    }
    heard();
    if (message.type !== "event") return;
    const data = JSON.parse(message.data);
    if (typeof data?.at_s === "number") noticeServerTime(data.at_s);
    if (message.name === "pulse") become({ pulse: data });
    if (message.name === "problem") {
      become({ problem: data.text });
      clearTimeout(problemTimer);
      problemTimer = setTimeout(() => become({ problem: "" }), PROBLEM_SHOWN_MS);
    }
    handlers[message.name]?.(data);
  };

  function open() {
    status.value.at_ms = Date.now();
    let ended = false;
    const send = (message) => !ended && receive(message);
    const made = sharing ? followShared(query, send) : followOwn(query, send);
    stream = {
      hurry: made.hurry,
      end: () => {
        ended = true;
        made.end();
      },
    };
  }

  function close() {
    stream?.end();
    stream = null;
  }

  /** Follow again: nothing came for long, because the tab or the worker slept, or is gone. */
  function again() {
    close();
    wasLost = true;
    open();
  }

  function onVisibility() {
    clearTimeout(hiddenTimer);
    if (document.hidden) {
      hiddenTimer = setTimeout(() => {
        close();
        wasLost = true;
      }, HIDDEN_MS);
    } else if (stream === null || Date.now() - status.value.at_ms > QUIET_S * 1000) {
      again();
    }
  }

  const watch = setInterval(() => {
    if (document.hidden || stream === null || Date.now() - status.value.at_ms < QUIET_S * 1000) return;
    become({ state: "lost" });
    if (sharing) again();
  }, WATCH_MS);
  const online = () => stream?.hurry();

  status.set({ state: "connecting", at_ms: Date.now(), quiet_s: QUIET_S, problem: "", pulse: status.value.pulse });
  document.addEventListener("visibilitychange", onVisibility);
  document.addEventListener("resume", onVisibility);
  window.addEventListener("online", online);
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", onVisibility);
  open();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    document.removeEventListener("resume", onVisibility);
    window.removeEventListener("online", online);
    window.removeEventListener("pagehide", close);
    window.removeEventListener("pageshow", onVisibility);
    clearInterval(watch);
    for (const each of [problemTimer, hiddenTimer]) clearTimeout(each);
    close();
    status.set({ state: "idle", at_ms: 0, quiet_s: QUIET_S, problem: "", pulse: null });
  };
}
