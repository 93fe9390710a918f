// One stream of news from the server for many pages: it follows what any of them shows.
// Runs in a shared worker, or in the page itself. Knows no page: what opens a stream is given.

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 8000;
const MOST_FOLLOWED = 40; // of one stream, as the server allows; the newest pages
const SETTLE_MS = 60; // pages come and go together
const EVENTS = ["markets", "market", "trades", "book", "candles", "pipeline", "pulse", "problem", "alive", "refused"];

export class SharedStream {
  /**
   * @param open   makes an EventSource of the parameters of api/live
   * @param later  setTimeout
   */
  constructor(open, later = (callback, ms) => setTimeout(callback, ms)) {
    this.open = open;
    this.later = later;
    this.followers = new Map(); // by followed query: the functions that get its messages
    this.queries = []; // of the open stream, in its order
    this.source = null;
    this.round = 0;
    this.retry_ms = FIRST_RETRY_MS;
  }

  /**
   * Follow a page until the returned function is called.
   *
   * @param query  what the page asks for, as a query string
   * @param send   called with {type: "event", name, data}, {type: "open"} or {type: "lost"}
   */
  follow(query, send) {
    const known = this.followers.get(query) ?? new Set();
    known.add(send);
    this.followers.set(query, known);
    // Also where another tab shows the same page: the newcomer needs the whole state.
    this.restart(SETTLE_MS);
    return () => {
      if (!known.delete(send)) return;
      if (known.size === 0 && this.followers.get(query) === known) {
        this.followers.delete(query);
        this.restart(SETTLE_MS);
      }
    };
  }

  restart(after_ms) {
    this.round += 1;
    const { round } = this;
    this.later(() => round === this.round && this.start(), after_ms);
  }

  start() {
    this.source?.close();
    this.source = null;
    this.queries = [...this.followers.keys()].slice(-MOST_FOLLOWED);
    if (this.queries.length === 0) return;
    const { round } = this;
    const source = this.open(new URLSearchParams(this.queries.map((query) => ["follow", query])));
    this.source = source;
    source.addEventListener("open", () => {
      this.retry_ms = FIRST_RETRY_MS;
      this.tell("*", { type: "open" });
    });
    source.addEventListener("error", () => {
      if (round !== this.round) return;
      // Not left to the browser: it gives up where the server answers with an error.
      source.close();
      this.tell("*", { type: "lost" });
      this.restart(this.retry_ms);
      this.retry_ms = Math.min(LAST_RETRY_MS, this.retry_ms * 2);
    });
    for (const name of EVENTS) {
      source.addEventListener(name, ({ data, lastEventId }) => this.tell(lastEventId, { type: "event", name, data }));
    }
  }

  /** Try again at once: the network is back. */
  hurry() {
    if (this.followers.size === 0) return;
    this.retry_ms = FIRST_RETRY_MS;
    this.restart(0);
  }

  /** Send a message to the followers of some queries of the open stream: "0,2", or "*" for all. */
  tell(ids, message) {
    const queries = ids === "*" || ids === "" ? this.queries : ids.split(",").map((n) => this.queries[Number(n)]);
    for (const query of queries) {
      for (const send of this.followers.get(query) ?? []) send(message);
    }
  }
}

/** Open the server's stream. */
export function openSource(base) {
  return (parameters) => new EventSource(new URL(`api/live?${parameters}`, base));
}
