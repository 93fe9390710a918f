// What pages say about their news, and how tabs share a stream; run by test_page_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const js = new URL("../../src/radar/ui/web/static/js/", import.meta.url);
const { liveness } = await import(new URL("liveness.js", js));
const { SharedStream } = await import(new URL("stream.js", js));

const NOW_S = 1_000_000;

function pulse(state, ages = { trades: 1, depth: 1 }, database_age_s = 1) {
  const datasets = Object.entries(ages).map(([dataset, age]) => ({ dataset, state, newest_at_s: age === null ? null : NOW_S - age }));
  return { state, datasets, database_age_s, moves_s: 15 };
}

function said(change, ago_s = 1) {
  const now = { state: "live", at_ms: (NOW_S - ago_s) * 1000, quiet_s: 12, problem: "", pulse: pulse("moves"), ...change };
  return liveness(now, NOW_S * 1000, NOW_S);
}

test("a page is live only while data moves", () => {
  assert.deepEqual(said({}), { state: "live", banner: "", values: {} });
  assert.equal(said({ pulse: null }).state, "connecting", "nothing is known yet");
  assert.deepEqual(said({ pulse: pulse("still", { trades: 20, depth: 17 }) }), { state: "still", banner: "", values: { dataset: "trades", age: 20 } });
  assert.deepEqual(said({ pulse: pulse("silent", { depth: 90 }) }), { state: "silent", banner: "silent_banner", values: { dataset: "depth", age: 90 } });
  assert.deepEqual(said({ pulse: pulse("silent", { trades: null }) }).values, { dataset: "trades", age: null });
});

test("a database that stands still is not blamed on the connection", () => {
  const found = said({ pulse: pulse("unknown", { trades: 1 }, 33) });
  assert.deepEqual([found.state, found.banner, found.values.age], ["stale", "database_banner", 33]);
  assert.equal(said({ pulse: pulse("unknown", { trades: 1 }, null) }).banner, "database_banner");
  assert.deepEqual(said({ pulse: pulse("unknown", { trades: 1 }, 6) }), { state: "stale", banner: "", values: {} });
});

test("a connection that is lost or quiet says so first", () => {
  assert.equal(said({ state: "lost" }, 40).banner, "lost_banner");
  assert.equal(said({}, 13).banner, "stale_banner");
  assert.equal(said({ problem: "away" }).banner, "problem_banner");
  assert.equal(said({ state: "connecting" }).state, "connecting");
});

/** A stream whose sources do what the test says. */
function shared() {
  const sources = [];
  const due = [];
  const stream = new SharedStream((parameters) => {
    const listeners = new Map();
    const source = {
      followed: parameters.getAll("follow"),
      closed: false,
      addEventListener: (name, listener) => listeners.set(name, listener),
      close: () => (source.closed = true),
      emit: (name, data = "", lastEventId = "") => listeners.get(name)?.({ data, lastEventId }),
    };
    sources.push(source);
    return source;
  }, (callback) => due.push(callback));
  const settle = () => due.splice(0).forEach((callback) => callback());
  return { stream, sources, settle };
}

test("seven pages are one stream, and each gets its own news", () => {
  const { stream, sources, settle } = shared();
  const heard = Array.from({ length: 7 }, () => []);
  heard.forEach((each, n) => stream.follow(`symbol=${n}`, (message) => each.push(message)));
  settle();
  assert.equal(sources.length, 1);
  assert.deepEqual(sources[0].followed, heard.map((_, n) => `symbol=${n}`));
  sources[0].emit("trades", "three", "3");
  sources[0].emit("pulse", "some", "0,6");
  sources[0].emit("alive", "all", "*");
  assert.deepEqual(heard[3].map(({ data }) => data), ["three", "all"]);
  assert.deepEqual(heard[6].map(({ data }) => data), ["some", "all"]);
});

test("a page that ends is followed no longer, and the last one closes the stream", () => {
  const { stream, sources, settle } = shared();
  const ends = ["a", "b"].map((query) => stream.follow(query, () => {}));
  settle();
  ends[0]();
  ends[0]();
  settle();
  assert.deepEqual(sources.at(-1).followed, ["b"]);
  assert.ok(sources[0].closed);
  ends[1]();
  settle();
  assert.equal(sources.length, 2);
  assert.ok(sources.every(({ closed }) => closed));
});

test("a second tab of a page gets the whole state", () => {
  const { stream, sources, settle } = shared();
  stream.follow("a", () => {});
  settle();
  const heard = [];
  stream.follow("a", (message) => heard.push(message.type));
  settle();
  assert.equal(sources.length, 2, "the server sends the whole state with a new stream only");
  assert.deepEqual(sources[1].followed, ["a"]);
  sources[1].emit("trades", "{}", "0");
  assert.deepEqual(heard, ["event"]);
});

test("a lost stream is opened again, and its pages know", () => {
  const { stream, sources, settle } = shared();
  const heard = [];
  stream.follow("a", (message) => heard.push(message.type));
  settle();
  sources[0].emit("open");
  sources[0].emit("error");
  assert.deepEqual(heard, ["open", "lost"]);
  settle();
  assert.equal(sources.length, 2);
  sources[0].emit("error"); // the old one says nothing any more
  settle();
  assert.equal(sources.length, 2);
  stream.hurry();
  settle();
  assert.equal(sources.length, 3);
});
