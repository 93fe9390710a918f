// One market: candles, order book, depth, trades; live, or at a moment in the past.

import { html, useEffect, useMemo, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { useCell } from "../cells.js";
import { serverNow } from "../clock.js";
import { visible } from "../format.js";
import { onKey } from "../keys.js";
import { follow } from "../live.js";
import { Candles } from "../market/chart.js";
import { Head } from "../market/head.js";
import { Depth, Ladder } from "../market/ladder.js";
import { MOST_LEVELS, MarketModel, TRADES } from "../market/model.js";
import { PastBar } from "../market/past.js";
import { Playback } from "../market/playback.js";
import { keepLook, keptLook } from "../market/studies.js";
import { Tape } from "../market/tape.js";
import { go, note } from "../navigation.js";
import { keep, kept, toggleFavourite, ui } from "../prefs.js";
import { INTERVALS_S } from "../route.js";
import { Empty, Failed, useNarrow } from "../widgets.js";

const NARROW_LEVELS = 8;
const LEVEL_PX = 48; // of one level on both sides
const AROUND_LEVELS_PX = 360;
const RECORDED_EVERY_MS = 15000;
const SETTLE_MS = 300; // of the candles, before the gaps are asked for
const SIZES_EVERY_MS = 60000;
const NOTE_EVERY_S = 1; // of the viewer: the address follows what plays
const FIGURES_EVERY_MS = 2000; // of the viewer: the figures of 24 hours follow what plays

const TIME = {
  now: () => performance.now(),
  next: (callback) => requestAnimationFrame(callback),
  later: (callback, ms) => setTimeout(callback, ms),
};

function useHeight() {
  const [height_px, setHeight_px] = useState(window.innerHeight);
  useEffect(() => {
    const look = () => setHeight_px(window.innerHeight);
    window.addEventListener("resize", look);
    return () => window.removeEventListener("resize", look);
  }, []);
  return height_px;
}

function keptInterval() {
  const found = Number(kept("interval", "60"));
  return INTERVALS_S.includes(found) ? found : 60;
}

/** Ask for the gaps and the coverage of what is seen: at once, and again and again while it is now. */
function useRecorded(symbol, at_s, model, feed) {
  const ask = useRef(() => {});
  useEffect(() => {
    let aborter = new AbortController();
    let settling = 0;
    const asked = () => {
      aborter.abort();
      aborter = new AbortController();
      get("recorded", { symbol, from_s: feed.first_s ?? undefined, at_s }, aborter.signal).then((found) => model.recorded.set(found), () => {});
    };
    // After the book, the trades and the candles: it takes the server longest, and the candles say from when on.
    ask.current = () => {
      clearTimeout(settling);
      settling = setTimeout(asked, SETTLE_MS);
    };
    ask.current();
    const timer = setInterval(() => !document.hidden && ask.current(), RECORDED_EVERY_MS);
    return () => {
      aborter.abort();
      clearTimeout(settling);
      clearInterval(timer);
      ask.current = () => {};
    };
  }, [symbol, at_s]);
  return ask;
}

/** Ask which trades are large, at once and now and then. */
function useLargeAmount(symbol, at_s, model) {
  useEffect(() => {
    const aborter = new AbortController();
    const ask = () => get("trade-sizes", { symbol, at_s }, aborter.signal).then((found) => model.large_amount.set(found.large_amount), () => {});
    ask();
    const timer = setInterval(() => at_s === null && !document.hidden && ask(), SIZES_EVERY_MS);
    return () => {
      aborter.abort();
      clearInterval(timer);
      model.large_amount.set(null);
    };
  }, [symbol, at_s]);
}

/** Playing through the recording; returns {play, on} for the bar. */
function usePlayback({ symbol, interval_s, at_s, place, model, feed }) {
  const { f } = useCell(ui);
  const [play, setPlay] = useState({ playing: false, waiting: false, error: null, speed: Number(kept("speed", "10")) });
  const where = useRef(place); // with the indicators of now, also while it plays
  where.current = place;
  const playback = useMemo(() => {
    let noted_ms = 0;
    let asked_ms = 0;
    let asking = false;
    const askFigures = (moment_s) => {
      if (asking || performance.now() - asked_ms < FIGURES_EVERY_MS) return;
      asking = true;
      asked_ms = performance.now();
      const { round } = made;
      get("moment", { symbol, at_s: moment_s, count: 1 }).then(({ market }) => {
        // Playing goes on meanwhile: the newest trades are those on the tape.
        if (market && made.playing && made.round === round) model.takeMarket(market);
      }, () => {}).finally(() => (asking = false));
    };
    const made = new Playback({
      load: (from_s, step_ms, steps) => get("stretch", { symbol, interval_s, time_zone: f.days.zone, from_s, step_ms, steps }).then((stretch) => {
        setPlay((now) => (now.error ? { ...now, error: null } : now));
        return stretch;
      }),
      show: (frame) => {
        if (frame.book) model.takeBook(frame.book);
        if (frame.trades.length) model.takeTrades(frame.trades);
        if (frame.candles.length) feed.candles?.({ interval_s, candles: frame.candles });
      },
      moved: (moment_s) => {
        model.at_s.set(moment_s);
        if (made.playing) askFigures(moment_s);
        if (performance.now() - noted_ms < NOTE_EVERY_S * 1000) return;
        noted_ms = performance.now();
        note(where.current(Math.floor(moment_s)));
      },
      waits: (waiting) => setPlay((now) => ({ ...now, waiting })),
      failed: (error) => setPlay((now) => ({ ...now, error })),
      ended: () => go(where.current(null)),
    }, TIME);
    return made;
  }, [symbol, interval_s, f.zone]);

  // Another moment, another market or another interval ends what plays.
  useEffect(() => () => {
    playback.pause();
    setPlay((now) => ({ ...now, playing: false, waiting: false, error: null }));
  }, [playback, at_s]);

  const stopped = () => {
    const moment_s = playback.playing ? playback.pause() : model.at_s.value;
    setPlay((now) => ({ ...now, playing: false, waiting: false, error: null }));
    return moment_s;
  };
  const start = (speed) => {
    playback.play(model.at_s.value, serverNow() - 1, speed);
    setPlay({ playing: true, waiting: false, error: null, speed });
  };
  const on = {
    pick: (moment_s) => {
      stopped();
      go(place(moment_s >= serverNow() ? null : Math.max(0, moment_s)));
    },
    now: () => {
      stopped();
      go(place(null));
    },
    step: (seconds) => {
      const next_s = Math.max(0, Math.round(stopped()) + seconds);
      go(place(next_s >= serverNow() ? null : next_s), { replace: true });
    },
    toggle: () => {
      if (playback.playing) go(place(Math.round(stopped() * 1000) / 1000), { replace: true });
      else start(play.speed);
    },
    speed: (speed) => {
      keep("speed", speed);
      if (playback.playing) start(speed);
      else setPlay((now) => ({ ...now, speed }));
    },
  };
  return { play, on };
}

export function MarketPage({ symbol, route }) {
  const { t, f } = useCell(ui);
  const model = useMemo(() => new MarketModel(), [symbol]);
  const feed = useMemo(() => ({ candles: null, reload: null, agree: () => {}, first_s: null }), [symbol]);
  const interval_s = route.interval_s ?? keptInterval();
  const { at_s } = route;
  const look = useMemo(() => route.look ?? keptLook(), [route]);
  const [error, setError] = useState(null);
  const [round, setRound] = useState(0);
  const narrow = useNarrow(760);
  const height_px = useHeight();
  const fitting = Math.floor((height_px - AROUND_LEVELS_PX) / LEVEL_PX);
  const levels = narrow ? NARROW_LEVELS : Math.min(MOST_LEVELS, Math.max(9, fitting));
  const place = (moment_s, interval = interval_s) => ({ page: "market", symbol, interval_s: interval, at_s: moment_s, look });
  const askRecorded = useRecorded(symbol, at_s, model, feed);
  useLargeAmount(symbol, at_s, model);
  const { play, on } = usePlayback({ symbol, interval_s, at_s, place, model, feed });

  const choose = (next) => {
    keep("interval", next);
    go(place(model.at_s.value === null ? null : Math.floor(model.at_s.value), next));
  };

  const setLook = (next) => {
    keepLook(next);
    go({ ...place(at_s), look: next });
  };

  useEffect(() => {
    // The address holds what is seen.
    if (route.interval_s === null) note(place(at_s));
  }, [symbol, route]);

  const takeTrades = (trades) => {
    model.takeTrades(trades);
    feed.agree();
  };

  // The past: all of a moment at once.
  useEffect(() => {
    model.at_s.set(at_s);
    if (at_s === null) return undefined;
    const aborter = new AbortController();
    get("moment", { symbol, at_s, count: TRADES }, aborter.signal).then((found) => {
      keep("market", symbol);
      model.takeMoment(found);
      feed.agree();
    }, (failure) => !aborter.signal.aborted && setError(failure));
    return () => {
      aborter.abort();
      model.forget();
    };
  }, [symbol, at_s, round]);

  // Now: asked once, then followed.
  useEffect(() => {
    if (at_s !== null) return undefined;
    const aborter = new AbortController();
    const { signal } = aborter;
    get("book", { symbol }, signal).then((book) => {
      keep("market", symbol);
      if (model.book.value === null) model.takeBook(book);
    }, (failure) => !signal.aborted && setError(failure));
    get("trades", { symbol, count: TRADES }, signal).then(({ trades }) => takeTrades(trades), () => {});
    return () => {
      aborter.abort();
      model.forget();
    };
  }, [symbol, at_s, round]);

  useEffect(() => {
    if (error || at_s !== null) return undefined;
    return follow({ page: "market", symbol, interval_s, time_zone: f.days.zone }, {
      market: (row) => row && model.takeMarket(row),
      book: (book) => model.takeBook(book),
      trades: ({ trades }) => takeTrades(trades),
      candles: (news) => feed.candles?.(news),
    }, { onReturn: () => feed.reload?.(null) });
  }, [symbol, at_s, interval_s, f.zone, error, round]);

  useEffect(() => onKey((key) => {
    const n = INTERVALS_S.indexOf(interval_s);
    const step = key === "[" ? -1 : key === "]" ? 1 : 0;
    const past = at_s !== null;
    if (step && INTERVALS_S[n + step]) choose(INTERVALS_S[n + step]);
    else if (key === "f") toggleFavourite(symbol);
    else if (key === "/") location.hash = "#/";
    else if (past && key === "p") on.toggle();
    else if (past && key === ",") on.step(-1);
    else if (past && key === ".") on.step(1);
    else if (past && key === "n") on.now();
    else return false;
    return true;
  }), [interval_s, symbol, at_s, play, look]);

  // No market can have a name that the server refuses.
  if (error?.status === 404 || (error?.status === 400 && error.message.startsWith("symbol "))) {
    return html`<${Empty} title=${t("no_such_market", { symbol: visible(symbol) })} /><p class="center"><a class="button" href="#/">${t("back")}</a></p>`;
  }
  if (error) {
    return html`<${Failed} error=${error} onRetry=${() => {
      setError(null);
      setRound((n) => n + 1);
    }} />`;
  }
  return html`
    <${Head} symbol=${symbol} model=${model} />
    <${PastBar} model=${model} interval_s=${interval_s} play=${play} on=${on} />
    <div class="market-grid ${at_s === null ? "" : "of-past"}">
      <${Candles} symbol=${symbol} interval_s=${interval_s} setInterval_s=${choose} at_s=${at_s} chosen=${look} setChosen=${setLook} model=${model} feed=${feed}
        onPick=${on.pick} onRange=${() => askRecorded.current()} />
      <${Ladder} model=${model} levels=${levels} />
      <${Depth} model=${model} />
      <${Tape} model=${model} />
    </div>`;
}
