// The stream of news from the server (server-sent events), one at a time.

import { Cell } from "./cells.js";
import { noticeServerTime } from "./clock.js";

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 8000;
const PROBLEM_SHOWN_MS = 20000;
const HIDDEN_MS = 60000; // so long a page that nobody looks at keeps its stream

/** How the stream is: state "idle" | "connecting" | "live" | "lost", at_ms of the last event. */
export const status = new Cell({ state: "idle", at_ms: 0, quiet_s: Infinity, problem: "" });

function become(change) {
  status.set({ ...status.value, ...change });
}

/**
 * Follow a page's stream until the returned function is called.
 *
 * @param {object} parameters  what the server asks for, e.g. {page: "markets"}
 * @param {object} handlers    by name of the event: called with its data
 * @param {object} options     quiet_s: silence that is a warning; onReturn: called when it is back
 */
export function follow(parameters, handlers, { quiet_s = 30, onReturn = () => {} } = {}) {
  const url = new URL("api/live", document.baseURI);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  let source = null;
  let retry_ms = FIRST_RETRY_MS;
  let timer = 0;
  let problemTimer = 0;
  let hiddenTimer = 0;
  let wasLost = false;

  const heard = () => {
    status.value.at_ms = Date.now();
    if (status.value.state !== "live") become({ state: "live" });
  };

  function open() {
    clearTimeout(timer);
    source = new EventSource(url);
    source.addEventListener("open", () => {
      retry_ms = FIRST_RETRY_MS;
      heard();
      if (wasLost) onReturn();
      wasLost = false;
    });
    source.addEventListener("error", () => {
      // Not left to the browser: it gives up where the server answers with an error.
      close();
      wasLost = true;
      become({ state: "lost" });
      timer = setTimeout(open, retry_ms);
      retry_ms = Math.min(LAST_RETRY_MS, retry_ms * 2);
    });
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        heard();
        const data = JSON.parse(event.data);
        if (typeof data.at_s === "number") noticeServerTime(data.at_s);
        handle(data);
      });
    }
    source.addEventListener("problem", (event) => {
      heard();
      become({ problem: JSON.parse(event.data).text });
      clearTimeout(problemTimer);
      problemTimer = setTimeout(() => become({ problem: "" }), PROBLEM_SHOWN_MS);
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  function onVisibility() {
    clearTimeout(hiddenTimer);
    if (document.hidden) {
      hiddenTimer = setTimeout(() => {
        clearTimeout(timer);
        close();
        wasLost = true;
      }, HIDDEN_MS);
    } else if (source === null) {
      open();
    }
  }

  status.set({ state: "connecting", at_ms: Date.now(), quiet_s, problem: "" });
  document.addEventListener("visibilitychange", onVisibility);
  open();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    for (const each of [timer, problemTimer, hiddenTimer]) clearTimeout(each);
    close();
    status.set({ state: "idle", at_ms: 0, quiet_s: Infinity, problem: "" });
  };
}
