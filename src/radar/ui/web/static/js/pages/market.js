// One market: candles, order book, depth, trades; live.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { Cell, useCell } from "../cells.js";
import { CandleChart } from "../charts/candles.js";
import { DepthChart } from "../charts/depth.js";
import { second, serverNow } from "../clock.js";
import { amountDecimals, decimalsOf, visible } from "../format.js";
import { assetName } from "../i18n.js";
import { onKey } from "../keys.js";
import { follow } from "../live.js";
import { favourites, keep, kept, toggleFavourite, ui } from "../prefs.js";
import { Change, Choice, Empty, Failed, Icon, Loading, Num, useNarrow } from "../widgets.js";

const INTERVALS = [[60, "1m"], [300, "5m"], [900, "15m"], [3600, "1h"], [14400, "4h"], [86400, "1d"]];
const INTERVALS_FA = { "1m": "۱ دقیقه", "5m": "۵ دقیقه", "15m": "۱۵ دقیقه", "1h": "۱ ساعت", "4h": "۴ ساعت", "1d": "روز" };
const CANDLES = 500;
const TRADES = 50;
const PRICE_DIGITS = 15; // all that a double tells for sure, so that no two levels look the same
const LONG_PRICE = 12; // characters, from which on the ladder is written smaller
const LONGER_PRICE = 17;
const MOST_LEVELS = 25;
const NARROW_LEVELS = 8;
const LEVEL_PX = 48; // of one level on both sides
const AROUND_LEVELS_PX = 312;

/** What is known of the market, each part drawn by itself. */
function makeModel() {
  return {
    market: new Cell(null),
    book: new Cell(null),
    trades: new Cell(null),
    decimals: new Cell(0),
  };
}

function learnDecimals(model, prices) {
  model.decimals.set(Math.max(model.decimals.value, decimalsOf(prices, PRICE_DIGITS)));
}

function Fact({ name, children }) {
  return html`<div class="fact"><dt>${name}</dt><dd>${children}</dd></div>`;
}

function Age({ at_s }) {
  const { f } = useCell(ui);
  useCell(second);
  return html`<bdi>${f.ago(at_s === null || at_s === undefined ? NaN : serverNow() - at_s)}</bdi>`;
}

function Head({ symbol, model }) {
  const { t, f, lang } = useCell(ui);
  const market = useCell(model.market);
  const decimals = useCell(model.decimals);
  const stars = useCell(favourites);
  const last = useRef({ price: null, beat: 0, flash: "" });
  const price = market?.last_price ?? null;
  if (price !== last.current.price) {
    const before = last.current;
    const flash = before.price === null || price === null ? "" : price > before.price ? "up" : "down";
    last.current = { price, beat: before.beat + 1, flash };
  }
  const base = market?.base ?? symbol;
  const name = assetName(base, lang) || visible(base);
  return html`<header class="market-head">
    <a class="plain icon back" href="#/" aria-label=${t("back")} title=${t("back")}><${Icon} name="back" /></a>
    <div class="market-name">
      <h1>${name}<span class="quote"> / ${market ? f.quoteName(market.quote) : ""}</span></h1>
      <span class="muted"><bdi>${visible(symbol)}</bdi></span>
    </div>
    <button class="plain icon star" aria-pressed=${stars.has(symbol) ? "true" : "false"} aria-label="${t("favourite")}: ${symbol}" onClick=${() => toggleFavourite(symbol)}><${Icon} name="star" /></button>
    <div class="market-price">
      <${Num} key=${last.current.beat} class="big flash ${last.current.flash}">${f.price(price, decimals)}<//>
      <span class="unit">${market ? f.quoteName(market.quote) : ""}</span>
      <${Change} value=${market?.change_24h} f=${f} />
    </div>
    <dl class="facts">
      <${Fact} name=${t("high_24h")}><${Num}>${f.price(market?.high_24h, decimals)}<//><//>
      <${Fact} name=${t("low_24h")}><${Num}>${f.price(market?.low_24h, decimals)}<//><//>
      <${Fact} name=${t("volume_24h")}><bdi>${f.money(market?.quote_volume_24h, market?.quote)}</bdi><//>
      <${Fact} name=${t("trades_24h")}><${Num}>${f.number(market?.trades_24h)}<//><//>
      <${Fact} name=${t("spread")}><${Num}>${f.percent(market?.spread_bps === null ? NaN : market?.spread_bps / 10000, 3)}<//><//>
      <${Fact} name=${t("age")}><${Age} at_s=${market?.last_trade_at_s} /><//>
      <${Fact} name=${t("book_age")}><${Age} at_s=${market?.book_at_s} /><//>
    </dl>
  </header>`;
}

function Legend({ hovered, chart, model }) {
  const { t, f } = useCell(ui);
  const decimals = useCell(model.decimals);
  const candle = useCell(hovered);
  if (!candle) return null;
  const trend = candle.close >= candle.open ? "up" : "down";
  const part = (key, value) => html`<span>${t(key)} <${Num} class=${trend}>${value}<//></span>`;
  const time = chart.current?.interval_s >= 86400 ? f.date(candle.time) : f.dateMinute(candle.time);
  return html`<div class="legend">
    <bdi class="muted">${time}</bdi>
    ${part("open", f.price(candle.open, decimals))}${part("high", f.price(candle.high, decimals))}
    ${part("low", f.price(candle.low, decimals))}${part("close_price", f.price(candle.close, decimals))}
    ${part("volume", f.amount(candle.volume))}
  </div>`;
}

function Candles({ symbol, interval_s, setInterval_s, model, feed }) {
  const { t, f, lang, theme } = useCell(ui);
  const decimals = useCell(model.decimals);
  const place = useRef(null);
  const chart = useRef(null);
  const hovered = useMemo(() => new Cell(null), []);
  const [state, setState] = useState({ loading: true, error: null, count: 0 });
  const [away, setAway] = useState(false);
  const [round, setRound] = useState(0);

  // The calendar belongs to the axis, so another language is another chart.
  useLayoutEffect(() => {
    const aborter = new AbortController();
    let pointed = false;
    const made = new CandleChart(place.current, { f, decimals: model.decimals.value }, {
      older: (before_s) => {
        get("candles", { symbol, interval_s, time_zone: f.zone, before_s, count: CANDLES }, aborter.signal)
          .then(({ candles }) => made.prepend(candles), () => {
            if (!aborter.signal.aborted) setTimeout(() => (made.asked_s = null), 3000);
          });
      },
      hover: (candle) => {
        pointed = candle !== null;
        hovered.set(candle ?? made.candles.at(-1) ?? null);
      },
      away: setAway,
    });
    chart.current = made;
    const load = () => get("candles", { symbol, interval_s, time_zone: f.zone, count: CANDLES }, aborter.signal).then(
      ({ candles }) => {
        learnDecimals(model, candles.slice(-50).map((each) => each.close));
        made.show(candles, interval_s);
        hovered.set(candles.at(-1) ?? null);
        setState({ loading: false, error: null, count: candles.length });
      },
      (error) => {
        if (!aborter.signal.aborted) setState({ loading: false, error, count: 0 });
      },
    );
    setState((now) => ({ ...now, loading: true, error: null }));
    load();
    feed.candles = (news) => {
      if (news.interval_s !== interval_s || made.interval_s !== interval_s) return;
      made.update(news.candles);
      setState((now) => (now.count > 0 || made.candles.length === 0 ? now : { ...now, count: made.candles.length }));
      if (!pointed) hovered.set(made.candles.at(-1) ?? null);
    };
    feed.reload = load;
    return () => {
      aborter.abort();
      feed.candles = feed.reload = null;
      chart.current = null;
      hovered.set(null);
      made.end();
    };
  }, [symbol, interval_s, lang, round]);

  useEffect(() => chart.current?.style({ f, decimals }), [theme, decimals]);

  return html`<section class="card chart" aria-label=${t("candles")}>
    <header>
      <${Choice} label=${t("interval")} value=${interval_s} onChange=${setInterval_s}
        options=${INTERVALS.map(([s, text]) => [s, lang === "fa" ? INTERVALS_FA[text] : text])} />
      <span class="end note">${t("zone")} · <a class="quiet" href="https://www.tradingview.com/" rel="noreferrer" target="_blank">${t("charts_by")}</a></span>
    </header>
    <div class="chart-place" dir="ltr" role="img" aria-label="${t("candles")} ${symbol}">
      <div ref=${place} class="fill" />
      <div dir=${lang === "fa" ? "rtl" : "ltr"}><${Legend} hovered=${hovered} chart=${chart} model=${model} /></div>
      ${state.loading && state.count === 0 && html`<div class="cover"><${Loading} /></div>`}
      ${state.error && html`<div class="cover"><${Failed} error=${state.error} onRetry=${() => setRound((n) => n + 1)} /></div>`}
      ${!state.loading && !state.error && state.count === 0 && html`<div class="cover"><${Empty} title=${t("no_candles")} /></div>`}
      ${away && state.count > 0 && html`<button class="button newest" onClick=${() => chart.current?.toNewest()} aria-label=${t("to_now")} title=${t("to_now")}>»</button>`}
    </div>
  </section>`;
}

function Level({ price, quantity, sum, most, side, f, decimals, places }) {
  return html`<tr class=${side}>
    <td><span class="depth-bar"><i style=${{ transform: `scaleX(${Math.min(1, sum / most).toFixed(3)})` }} /></span><${Num} class=${side === "bid" ? "up" : "down"}>${f.price(price, decimals)}<//></td>
    <td><${Num}>${f.amount(quantity, places)}<//></td>
    <td><bdi class="muted">${f.amount(sum, places)}</bdi></td>
  </tr>`;
}

function sums(levels) {
  let sum = 0;
  return levels.map(([price, quantity]) => ({ price, quantity, sum: (sum += quantity) }));
}

function Ladder({ model, levels }) {
  const { t, f } = useCell(ui);
  const book = useCell(model.book);
  const decimals = useCell(model.decimals);
  const empty = !book || (book.bids.length === 0 && book.asks.length === 0);
  const bids = empty ? [] : sums(book.bids.slice(0, levels));
  const asks = empty ? [] : sums(book.asks.slice(0, levels));
  const most = Math.max(bids.at(-1)?.sum ?? 0, asks.at(-1)?.sum ?? 0) || 1;
  const buyers = book?.imbalance === null || book?.imbalance === undefined ? null : (1 + book.imbalance) / 2;
  const longest = Math.max(0, ...[...bids, ...asks].map((each) => f.price(each.price, decimals).length));
  const size = longest > LONGER_PRICE ? "longer" : longest > LONG_PRICE ? "long" : "";
  const level = (side) => (each, n) => html`<${Level} key=${side + n} side=${side} most=${most} places=${amountDecimals(most)} f=${f} decimals=${decimals} ...${each} />`;
  return html`<section class="card ladder" aria-label=${t("order_book")}>
    <header><h2>${t("order_book")}</h2></header>
    ${book === null ? html`<${Loading} />` : empty ? html`<${Empty} title=${t("no_book")} />` : html`
    <table class=${size}>
      <thead><tr><th scope="col">${t("price")}</th><th scope="col">${t("amount")}</th><th scope="col">${t("total")}</th></tr></thead>
      <tbody aria-label=${t("sell_orders")}>${asks.map(level("ask")).reverse()}</tbody>
      <tbody class="middle"><tr><td colspan="3"><div>
        <${Num} class="mid">${f.price(book.mid, decimals)}<//>
        <span class="muted">${t("spread")} <${Num}>${f.price(book.spread, decimals)}<//> (<${Num}>${f.percent(book.spread_bps === null ? NaN : book.spread_bps / 10000, 3)}<//>)</span>
      </div></td></tr></tbody>
      <tbody aria-label=${t("buy_orders")}>${bids.map(level("bid"))}</tbody>
    </table>
    ${buyers !== null && html`<div class="balance" title=${t("imbalance", { buy: f.percent(buyers, 0), sell: f.percent(1 - buyers, 0) })}>
      <${Num} class="up">${f.percent(buyers, 0)}<//><span class="balance-bar"><i style=${{ width: `${buyers * 100}%` }} /></span><${Num} class="down">${f.percent(1 - buyers, 0)}<//>
    </div>`}`}
  </section>`;
}

function Depth({ model }) {
  const look = useCell(ui);
  const { t, f } = look;
  const canvas = useRef(null);
  const chart = useRef(null);
  useEffect(() => {
    const made = new DepthChart(canvas.current);
    chart.current = made;
    const draw = () => {
      const book = model.book.value;
      if (book) made.show(book, { f: ui.value.f, decimals: model.decimals.value });
    };
    const ends = [model.book, model.decimals, ui].map((cell) => cell.follow(draw));
    draw();
    return () => {
      ends.forEach((end) => end());
      made.end();
    };
  }, []);
  return html`<section class="card depth" aria-label=${t("depth")}>
    <header><h2>${t("depth")}</h2><span class="end key"><i class="swatch up" />${t("buy_orders")}<i class="swatch down" />${t("sell_orders")}</span></header>
    <div class="depth-place" dir="ltr"><canvas ref=${canvas} role="img" aria-label=${t("depth")} /></div>
  </section>`;
}

function Tape({ model }) {
  const { t, f } = useCell(ui);
  const trades = useCell(model.trades);
  const decimals = useCell(model.decimals);
  return html`<section class="card tape" aria-label=${t("tape")}>
    <header><h2>${t("tape")}</h2></header>
    ${trades === null ? html`<${Loading} />` : trades.length === 0 ? html`<${Empty} title=${t("no_trades")} />` : html`
    <div class="tape-rows"><table>
      <thead><tr><th scope="col">${t("price")}</th><th scope="col">${t("amount")}</th><th scope="col">${t("time")}</th></tr></thead>
      <tbody>${trades.map((trade) => html`<tr key=${trade.id}>
        <td><${Num} class=${trade.side === "buy" ? "up" : "down"} title=${t(trade.side)}><i class="side" aria-label=${t(trade.side)}>${trade.side === "buy" ? "▲" : "▼"}</i>${f.price(trade.price, decimals)}<//></td>
        <td><${Num}>${f.amount(trade.amount)}<//></td>
        <td class="muted"><${Num}>${f.clock(trade.at_s)}<//></td>
      </tr>`)}</tbody>
    </table></div>`}
  </section>`;
}

function useHeight() {
  const [height_px, setHeight_px] = useState(window.innerHeight);
  useEffect(() => {
    const look = () => setHeight_px(window.innerHeight);
    window.addEventListener("resize", look);
    return () => window.removeEventListener("resize", look);
  }, []);
  return height_px;
}

export function MarketPage({ symbol }) {
  const { t, f } = useCell(ui);
  const model = useMemo(makeModel, [symbol]);
  const feed = useMemo(() => ({ candles: null, reload: null }), [symbol]);
  const [interval_s, setInterval_s] = useState(() => Number(kept("interval", "60")));
  const [error, setError] = useState(null);
  const [round, setRound] = useState(0);
  const narrow = useNarrow(760);
  const height_px = useHeight();
  const fitting = Math.floor((height_px - AROUND_LEVELS_PX) / LEVEL_PX);
  const levels = narrow ? NARROW_LEVELS : Math.min(MOST_LEVELS, Math.max(9, fitting));

  const choose = (next) => {
    keep("interval", next);
    setInterval_s(next);
  };

  useEffect(() => {
    const aborter = new AbortController();
    const { signal } = aborter;
    get("book", { symbol }, signal).then((book) => {
      keep("market", symbol);
      if (model.book.value === null) takeBook(book);
    }, (failure) => !signal.aborted && setError(failure));
    get("trades", { symbol, count: TRADES }, signal).then(({ trades }) => takeTrades(trades), () => {});
    return () => aborter.abort();
  }, [symbol, round]);

  function takeBook(book) {
    learnDecimals(model, [...book.bids.slice(0, MOST_LEVELS), ...book.asks.slice(0, MOST_LEVELS)].map(([price]) => price));
    model.book.set(book);
  }

  function takeTrades(trades) {
    learnDecimals(model, trades.slice(0, 5).map((each) => each.price));
    const known = new Set();
    const merged = [...trades, ...(model.trades.value ?? [])].filter(({ id }) => !known.has(id) && known.add(id));
    model.trades.set(merged.slice(0, TRADES));
    if (model.market.value) takeMarket(model.market.value);
  }

  /** A row of the market may be older than the newest trade: then that one is the last price. */
  function takeMarket(row) {
    const newest = model.trades.value?.[0];
    const later = newest && newest.at_s >= (row.last_trade_at_s ?? 0);
    model.market.set(later ? { ...row, last_price: Number(newest.price), last_trade_at_s: newest.at_s } : row);
  }

  useEffect(() => {
    if (error) return undefined;
    return follow({ page: "market", symbol, interval_s, time_zone: f.zone }, {
      market: takeMarket,
      book: takeBook,
      trades: ({ trades }) => takeTrades(trades),
      candles: (news) => feed.candles?.(news),
    }, { onReturn: () => feed.reload?.() });
  }, [symbol, interval_s, f.zone, error, round]);

  useEffect(() => onKey((key) => {
    const at = INTERVALS.findIndex(([s]) => s === interval_s);
    const step = key === "[" ? -1 : key === "]" ? 1 : 0;
    if (step && INTERVALS[at + step]) choose(INTERVALS[at + step][0]);
    else if (key === "f") toggleFavourite(symbol);
    else if (key === "/") location.hash = "#/";
    else return false;
    return true;
  }), [interval_s, symbol]);

  if (error?.status === 404) {
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
    <div class="market-grid">
      <${Candles} symbol=${symbol} interval_s=${interval_s} setInterval_s=${choose} model=${model} feed=${feed} />
      <${Ladder} model=${model} levels=${levels} />
      <${Depth} model=${model} />
      <${Tape} model=${model} />
    </div>`;
}
