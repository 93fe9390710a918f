// What the pure modules of a market's page do; run by test_page_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const js = new URL("../../src/radar/ui/web/static/js/", import.meta.url);
const { address, momentOf, momentText, parse } = await import(new URL("route.js", js));
const { Playback } = await import(new URL("market/playback.js", js));
const { agreed, agreedCandle, merged } = await import(new URL("market/agreement.js", js));
const { isLarge, tapeRows } = await import(new URL("market/tape_rows.js", js));
const { between, placeOf, timeAt, timesOf } = await import(new URL("charts/timeline.js", js));

const { finestDecimals, grouped } = await import(new URL("market/grouping.js", js));
const { csvOf } = await import(new URL("market/csv.js", js));
const { SHADES, offeredAt, shadeOf, strongest, walls } = await import(new URL("market/heat_cells.js", js));
const { joined, periodsOf, studiesOf, written } = await import(new URL("market/study_rows.js", js));
const { alertsOf, askedFor, looked, newAlert } = await import(new URL("alert_rules.js", js));
const { busiest } = await import(new URL("charts/profile.js", js));
const { formatter } = await import(new URL("format.js", js));

const AT_S = Date.parse("2026-11-20T09:31:07Z") / 1000;

test("an address holds market, interval and moment, and is written as it is read", () => {
  const hash = "#/market/binance%3ABTCUSDT?interval=60&at=2026-11-20T09:31:07Z";
  assert.deepEqual(parse(hash), { page: "market", symbol: "binance:BTCUSDT", interval_s: 60, at_s: AT_S, search: "", look: { studies: [], periods: [20, 50], other: "" } });
  assert.equal(address(parse(hash)), hash);
  assert.deepEqual(parse("#/market/binance:BTCUSDT?at=2026-11-20T09:31:07Z").symbol, "binance:BTCUSDT");
  for (const each of ["#/", "#/?q=%D8%AF%D9%88%D8%AC", "#/quality?market=nobitex%3ABTCIRT", "#/pipeline", "#/market/X",
    "#/market/1M_PEPEIRT?interval=604800", "#/market/X?interval=60&show=averages,heat,vwap&average=3,50&with=okx%3ABTC-USDT", "#/market/X?at=2026-11-20T09:31:07.250Z"]) {
    assert.equal(address(parse(each)), each);
  }
});

test("an address with an interval names the indicators too; others leave the choice to the browser", () => {
  assert.equal(parse("#/market/X").look, null);
  assert.equal(parse("#/market/X?at=2026-11-20T09:31:07Z").look, null);
  assert.deepEqual(parse("#/market/X?show=heat,nonsense,heat&average=1,7").look, { studies: ["heat"], periods: [20, 7], other: "" });
  assert.equal(parse(`#/market/X?with=${"B".repeat(101)}`).page, "wrong");
});

test("an address that means nothing is no other page", () => {
  for (const each of ["#/nonsense", "#/market", "#/market/", "#/market/%", "#/market/X?interval=7", "#/market/X?at=soon",
    "#/market/X?at=9999-01-01T00:00:00Z", "#/constructor", "#/market/X/Y", "#nonsense"]) {
    assert.equal(parse(each).page, "wrong", each);
  }
  assert.equal(parse("").page, "markets");
});

test("a moment is UTC, with milliseconds where it has some", () => {
  assert.equal(momentText(AT_S), "2026-11-20T09:31:07Z");
  assert.equal(momentText(AT_S + 0.25), "2026-11-20T09:31:07.250Z");
  assert.equal(momentOf("2026-11-20T09:31Z"), AT_S - 7);
  for (const wrong of [null, "", "2026-11-20", "2026-11-20T09:31:07", "2026-13-20T09:31:07Z"]) assert.equal(momentOf(wrong), null);
});

/** A clock that moves when it is told to, and a recording with news every 100 ms. */
function player(overrides = {}) {
  const seen = { frames: [], at_s: [], waits: [], ended: [], failed: [], loads: [] };
  const due = [];
  let now_ms = 0;
  const on = {
    load: async (from_s, step_ms, steps) => {
      seen.loads.push([from_s, step_ms, steps]);
      const to_s = from_s + (steps * step_ms) / 1000;
      const frames = Array.from({ length: steps }, (_, n) => ({ at_s: from_s + ((n + 1) * step_ms) / 1000 }));
      return { from_s, to_s, frames };
    },
    show: (frame) => seen.frames.push(frame.at_s),
    moved: (at_s) => seen.at_s.push(at_s),
    waits: (waiting) => seen.waits.push(waiting),
    failed: (error) => seen.failed.push(error),
    ended: (at_s) => seen.ended.push(at_s),
    ...overrides,
  };
  const time = { now: () => now_ms, next: (callback) => due.push(callback), later: (callback) => due.push(callback) };
  const playback = new Playback(on, time);
  const run = async (ms) => {
    for (let passed = 0; passed < ms; passed += 20) {
      now_ms += 20;
      for (const callback of due.splice(0)) callback();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { playback, seen, run };
}

test("playing shows every step once, in order, and ends at the end", async () => {
  const { playback, seen, run } = player();
  playback.play(1000, 1600, 10);
  await run(61_000);
  assert.deepEqual(seen.ended, [1600]);
  assert.equal(playback.playing, false);
  assert.ok(Math.abs(seen.frames.length - 600 / 0.5) <= 1, `${seen.frames.length} frames`);
  assert.ok(seen.frames.every((at_s, n) => n === 0 || at_s > seen.frames[n - 1]));
  assert.ok(seen.at_s.every((at_s, n) => n === 0 || at_s >= seen.at_s[n - 1]));
  assert.ok(Math.abs(seen.frames.at(-1) - 1600) < 0.51);
});

test("the next stretch is fetched before the last one ends, so that nothing waits", async () => {
  const { playback, seen, run } = player();
  playback.play(0, 3600, 100);
  await run(20_000);
  assert.deepEqual(seen.waits.filter((each) => each).length, 1, "only at the beginning");
  assert.ok(seen.loads.every(([from_s], n) => n === 0 || from_s === seen.loads[n - 1][0] + (seen.loads[n - 1][1] * seen.loads[n - 1][2]) / 1000));
  assert.ok(seen.loads.every(([, step_ms, steps]) => step_ms <= 60_000 && steps <= 400));
});

test("a pause stands still, and what arrives afterwards changes nothing", async () => {
  let answer;
  const { playback, seen, run } = player({ load: () => new Promise((resolve) => (answer = resolve)) });
  playback.play(0, 100, 1);
  await run(500);
  assert.equal(playback.pause(), 0, "it cannot be where nothing is loaded");
  answer({ from_s: 0, to_s: 10, frames: [{ at_s: 0.1 }] });
  await run(500);
  assert.deepEqual(seen.frames, []);
  assert.equal(playback.at_s, 0);
});

test("a stretch that cannot be fetched is asked for again", async () => {
  let asked = 0;
  const { playback, seen, run } = player({ load: async () => { asked += 1; throw new Error("away"); } });
  playback.play(0, 100, 1);
  await run(400);
  assert.ok(asked > 1);
  assert.equal(seen.failed[0].message, "away");
  playback.pause();
});

test("a tab that slept does not jump", async () => {
  const { playback, seen } = player();
  playback.play(0, 3600, 1);
  playback.time.now = () => 600_000;
  playback.loaded_s = 3600;
  playback.turn(playback.round);
  assert.equal(seen.at_s.at(-1), 1);
  playback.pause();
});

const trade = (id, at_s, price = "5", received_at_s = at_s) => ({ id, at_s, price, received_at_s });

test("the newest trade is the last price, within high and low", () => {
  const row = { last_price: 100, last_trade_at_s: 10, change_24h: 0.25, high_24h: 101, low_24h: 90 };
  const found = agreed(row, trade("a", 12, "120"));
  assert.deepEqual([found.last_price, found.high_24h, found.low_24h, found.last_trade_at_s], [120, 120, 90, 12]);
  assert.ok(Math.abs(found.change_24h - 0.5) < 1e-12);
  assert.equal(agreed(row, trade("a", 12, "80")).low_24h, 80);
  assert.equal(agreed(row, undefined), row);
  assert.equal(agreed(null, trade("a", 1)), null);
});

test("the last candle closes at the newest trade", () => {
  const candle = { time: 60, open: 5, high: 6, low: 4, close: 5 };
  assert.deepEqual(agreedCandle(candle, trade("a", 61, "7"), 60), { ...candle, close: 7, high: 7 });
  assert.equal(agreedCandle(candle, trade("a", 120, "7"), 60), candle, "another interval's");
  assert.equal(agreedCandle(undefined, trade("a", 1), 60), undefined);
});

test("late trades take their place, and each is there once", () => {
  const known = [trade("c", 9), trade("a", 7)];
  assert.deepEqual(merged([trade("b", 8), trade("c", 9)], known, 50).map(({ id }) => id), ["c", "b", "a"]);
  assert.equal(merged([trade("d", 10)], known, 2).length, 2);
});

test("gaps stand between the trades before and behind them", () => {
  const gap = { began_at_s: 100, ended_at_s: 200 };
  const rows = (trades, at_s = 1000) => tapeRows(trades, [gap], at_s).map((row) => row.trade?.id ?? "gap");
  assert.deepEqual(rows([trade("new", 205), trade("old", 95)]), ["new", "gap", "old"]);
  assert.deepEqual(rows([trade("old", 95)]), ["gap", "old"], "it is the newest");
  assert.deepEqual(rows([trade("new", 205)]), ["new"], "older than the list");
  assert.deepEqual(rows([trade("old", 95)], 99), ["old"], "it began later than what is seen");
  const fetched = tapeRows([trade("new", 205), trade("in", 150), trade("old", 95)], [gap], 1000);
  assert.deepEqual(fetched.map((row) => row.trade?.id ?? "gap"), ["new", "gap", "in", "old"]);
  assert.deepEqual(fetched.map((row) => row.gap === gap), [false, true, true, false]);
});

test("missing intervals keep their room on the axis", () => {
  const times = timesOf([{ time: 0 }, { time: 60 }, { time: 300 }], 60);
  assert.deepEqual(times, [0, 60, 120, 180, 240, 300]);
  assert.deepEqual(between(0, 60 * 10_000, 60), [], "months of nothing are cut");
  assert.equal(placeOf(times, 60, 0), -0.5);
  assert.equal(placeOf(times, 60, 90), 1);
  assert.equal(placeOf(times, 60, 300 + 120), 6.5, "behind the last");
  assert.equal(placeOf(times, 60, -60), -1.5);
  assert.equal(placeOf([0, 600_000], 60, 300_000), 0.5, "a cut hole ends at the next candle");
  assert.equal(timeAt(times, 60, 2), 120);
  assert.equal(timeAt(times, 60, 7), 420);
  assert.equal(timeAt(times, 60, -1), null);
});

test("candles are saved with their names and times in UTC", () => {
  const candle = { time: AT_S - 7, open: 1, high: 2, low: 0.5, close: 1.5, volume: 3, quote_volume: 4, vwap: 1.25, trades: 7 };
  assert.equal(csvOf([candle]), "open_time,open,high,low,close,volume,quote_volume,vwap,trades\n2026-11-20T09:31:00Z,1,2,0.5,1.5,3,4,1.25,7\n");
});

test("what rounds to zero has no sign", () => {
  assert.equal(formatter("en").percent(-0.00001), "0.00%");
  assert.equal(formatter("fa").percent(-0.00001), "۰٫۰۰٪");
  assert.equal(formatter("en").percent(-0.0001), "−0.01%");
});

test("levels are put together by a step, and none looks better than it is", () => {
  const bids = [[100.19, 1], [100.11, 2], [100.1, 4], [99.95, 8]];
  const asks = [[100.21, 1], [100.3, 2], [100.31, 4]];
  assert.equal(finestDecimals([...bids, ...asks]), 2);
  assert.deepEqual(grouped(bids, "bid", 2, 10), [[100.1, 7], [99.9, 8]]);
  assert.deepEqual(grouped(asks, "ask", 2, 10), [[100.3, 3], [100.4, 4]]);
  assert.deepEqual(grouped(bids, "bid", 2, 100), [[100, 7], [99, 8]]);
  assert.equal(grouped(bids, "bid", 2, 1), bids);
  assert.deepEqual(grouped([[82_340, 1], [82_331, 1]], "bid", 0, 100), [[82_300, 2]]);
  const tiny = [[0.0000118, 1], [0.00001179, 1]];
  assert.deepEqual(grouped(tiny, "bid", 8, 10), [[0.0000118, 1], [0.0000117, 1]]);
});

test("figures of trades and of books share the rows of their times", () => {
  const flow = [{ time: 60, fast: 1 }, { time: 180, fast: 3 }];
  const spreads = [{ time: 60, spread_bps: 5 }, { time: 120, spread_bps: 6 }];
  assert.deepEqual(joined(flow, spreads), [{ time: 60, fast: 1, spread_bps: 5 }, { time: 120, spread_bps: 6 }, { time: 180, fast: 3 }]);
});

test("kept indicators and periods are those that exist", () => {
  assert.deepEqual(studiesOf("profile,constructor,averages,averages"), ["averages", "profile"]);
  assert.deepEqual(studiesOf(""), []);
  assert.deepEqual(periodsOf(""), [20, 50]);
  assert.deepEqual(periodsOf("7,401"), [7, 50]);
  assert.deepEqual(periodsOf("2.5,-3"), [20, 50]);
});

test("a figure that is not known is a dash", () => {
  const look = { t: (key, values) => key + (values?.n ?? ""), f: formatter("en") };
  const said = (row) => written(row, ["averages", "delta", "spread", "imbalance"], [7, 9], 2, look);
  assert.deepEqual(said(undefined).map(([, , text]) => text), ["–", "–", "–", "–", "–", "–"]);
  const row = { fast: 1.239, slow: null, delta: -2, cumulative_delta: 3, spread_bps: 12, imbalance: 0.5 };
  assert.deepEqual(said(row).map(([key, name, text]) => [key, name, text]), [
    ["fast", "average_of7", "1.24"], ["slow", "average_of9", "–"], ["delta", "delta", "−2"], ["cumulative_delta", "study_delta", "3"],
    ["spread_bps", "spread", "0.120%"], ["imbalance", "study_imbalance", "+50%"],
  ]);
});

test("the busiest prices are those of the greatest volume", () => {
  const rows = [{ price: 10, buy: 1, sell: 1 }, { price: 15, buy: 0, sell: 3 }, { price: 20, buy: 2, sell: 0 }];
  assert.deepEqual(busiest({ price_step: 5, rows }), [15, 20]);
  assert.equal(busiest({ price_step: null, rows: [] }), null);
  assert.equal(busiest(null), null);
});

test("a trade is large from the amount on that is known", () => {
  assert.equal(isLarge({ amount: "3" }, 3), true);
  assert.equal(isLarge({ amount: "2.9" }, 3), false);
  assert.equal(isLarge({ amount: "3" }, null), false);
});

test("an alert is reached by a price after it was made, however short it was there", () => {
  const made = newAlert("wallex:USDTTMN", 110, 100, 1002);
  assert.deepEqual([made.above, made.reached_s], [true, null]);
  // The candle in which it was made may hold earlier prices.
  const candles = [{ time: 1000, high: 120, low: 90 }, { time: 1005, high: 109, low: 99 }, { time: 1010, high: 110, low: 100 }];
  assert.equal(looked(made, candles.slice(0, 2), 5).reached_s, null);
  assert.equal(looked(made, candles.slice(0, 2), 5).checked_s, 1005);
  assert.equal(looked(made, candles, 5).reached_s, 1010);
  const falling = newAlert("wallex:USDTTMN", 95, 100, 1002);
  assert.equal(looked(falling, candles, 5).reached_s, null);
  assert.equal(looked(falling, [{ time: 1015, high: 99, low: 95 }], 5).reached_s, 1015);
  assert.equal(looked(falling, [], 5), falling);
});

test("a tab that slept asks for all candles since its last look", () => {
  assert.deepEqual(askedFor(1000, 1006), { interval_s: 1, count: 8 });
  assert.deepEqual(askedFor(1000, 1000 + 1800), { interval_s: 1, count: 1802 });
  assert.deepEqual(askedFor(1000, 1000 + 36000), { interval_s: 60, count: 602 });
  assert.equal(askedFor(0, 1e9).count, 2000);
});

test("kept alerts are read as far as they are alerts", () => {
  const good = newAlert("wallex:USDTTMN", 110, 100, 1002);
  assert.deepEqual(alertsOf(JSON.stringify([good, { ...good, price: "1" }, { ...good, market: "x" }, null, 5, { ...good, price: -1 }])), [good]);
  for (const wrong of ["", "{", "{}", "null", "[[]]"]) assert.deepEqual(alertsOf(wrong), []);
  assert.equal(alertsOf(JSON.stringify(Array(50).fill(good))).length, 20);
});

const HEAT = {
  column_s: 10, price_step: 0.1,
  strips: [
    { side: "bid", spans: [[100, 104], [106, 110]], rows: [3, 7], quantities: [5, 9] },
    { side: "ask", spans: [[100, 110]], rows: [8], quantities: [2] },
    { side: "ask", spans: [[110, 120]], rows: [8, 9], quantities: [2, 4] },
  ],
};

test("what was offered is known where the book is, and zero between its levels", () => {
  assert.equal(offeredAt(HEAT, 101, 0.3).bid, 5);
  assert.equal(offeredAt(HEAT, 101, 0.75).bid, 9);
  assert.deepEqual([offeredAt(HEAT, 101, 0.5).bid, offeredAt(HEAT, 101, 0.5).ask], [0, 0]);
  assert.equal(offeredAt(HEAT, 105, 0.3).bid, null); // a gap of this side
  assert.equal(offeredAt(HEAT, 120, 0.3), null);
  assert.equal(offeredAt({ strips: [], price_step: null }, 120, 0.3), null);
});

test("the greatest amount of each side is named for each column, newest first", () => {
  const found = walls(HEAT, 10);
  assert.deepEqual(found.map(({ time_s }) => time_s), [110, 100]);
  assert.equal(found[0].bid, undefined);
  assert.deepEqual([found[0].ask.quantity, found[1].bid.quantity], [4, 9]);
  assert.equal(walls(HEAT, 1).length, 1);
});

test("a few walls do not take the colour from all other levels", () => {
  const quantities = Array.from({ length: 1000 }, (_, n) => (n < 10 ? 1e9 : 1 + n / 1000));
  const strong = strongest({ strips: [{ quantities }] });
  assert.ok(strong < 3);
  assert.equal(shadeOf(1e9, strong), SHADES - 1);
  assert.equal(strongest(null), 0);
});
