// All markets: what they cost, how they move, how fresh that is.

import { html, useEffect, useMemo, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { Cell, useCell } from "../cells.js";
import { second, serverNow } from "../clock.js";
import { decimalsOf, folded, visible } from "../format.js";
import { assetName } from "../i18n.js";
import { onKey } from "../keys.js";
import { follow } from "../live.js";
import { note } from "../navigation.js";
import { usePrinting } from "../print.js";
import { favourites, keep, kept, toggleFavourite, ui } from "../prefs.js";
import { Change, Choice, Empty, Failed, Icon, Loading, Num, Still, useAnswer, useNarrow, useRowsInView } from "../widgets.js";

const ROW_PX = 46;
const NARROW_ROW_PX = 64;
const NARROW = 760;
const REORDER_S = 10; // rows keep their places that long, so that nobody clicks on a moving one
const OLD_S = 300;
const YOUNGER_EVERY_MS = 15000;
const FILTERS = ["all", "stars"]; // besides them, the quotes
const STEPS = new Map([["ArrowDown", 1], ["j", 1], ["ArrowUp", -1], ["k", -1]]);

const COLUMNS = [
  { key: "symbol", text: "market", value: (row) => row.market, first: "asc" },
  { key: "last_price", text: "last_price", value: (row) => row.last_price, first: "desc" },
  { key: "change_24h", text: "change_24h", value: (row) => row.change_24h, first: "desc" },
  { key: "volume", text: "volume_24h", value: (row, rates) => row.quote_volume_24h * (rates.get(row.quote) ?? 1), first: "desc" },
  { key: "range", text: "range_24h", value: place, first: "desc" },
  { key: "spread_bps", text: "spread", value: (row) => row.spread_bps, first: "asc" },
  { key: "last_trade_at_s", text: "fresh", value: (row) => row.last_trade_at_s, first: "desc" },
];

/** Where the last price lies between the lowest, 0, and the highest, 1, of 24 hours. */
function place({ last_price, low_24h, high_24h }) {
  return high_24h > low_24h ? Math.min(1, Math.max(0, (last_price - low_24h) / (high_24h - low_24h))) : null;
}

/** A cell for each market's row, with what its drawing needs besides: each is drawn by itself. */
class Rows {
  constructor() {
    this.bySymbol = new Map();
    this.set = 0; // another number, other markets
  }

  put(changed) {
    for (const row of changed) {
      let cell = this.bySymbol.get(row.market);
      const before = cell?.value;
      const moved = before && row.last_price !== before.row.last_price && before.row.last_price !== null;
      if (!cell) {
        this.bySymbol.set(row.market, (cell = new Cell(null)));
        this.set += 1;
      }
      cell.set({
        row,
        base: before?.base ?? visible(row.base),
        decimals: Math.max(before?.decimals ?? 0, decimalsOf([row.last_price], 7)),
        flash: moved ? (row.last_price > before.row.last_price ? "up" : "down") : before?.flash ?? "",
        beat: (before?.beat ?? 0) + (moved ? 1 : 0),
        words: before?.words ?? folded([row.market, row.base, row.quote, assetName(row.base, "en"), assetName(row.base, "fa"), assetName(row.quote, "fa")].join(" ")),
      });
    }
  }
}

function chosen(rows, { filter, search, sort, stars }) {
  const usdt = rows.bySymbol.get("USDTTMN")?.value.row.last_price;
  const rates = new Map([["TMN", 1], ["USDT", usdt ?? 1]]);
  const wanted = folded(search);
  const found = [...rows.bySymbol.values()].map((cell) => cell.value).filter(({ row, words }) =>
    (wanted === "" || words.includes(wanted)) &&
    (filter === "all" || (filter === "stars" ? stars.has(row.market) : row.quote === filter)));
  const [key, direction] = sort.split(" ");
  const column = COLUMNS.find((each) => each.key === key) ?? COLUMNS[3];
  const sign = direction === "asc" ? 1 : -1;
  const keyed = found.map((entry) => [column.value(entry.row, rates), entry.row.market]);
  keyed.sort(([a, x], [b, y]) => {
    const missing = (a === null || Number.isNaN(a)) - (b === null || Number.isNaN(b));
    if (missing) return missing; // unknown ones last, whichever way
    return (a < b ? -sign : a > b ? sign : 0) || (x < y ? -1 : 1);
  });
  return keyed.map(([, symbol]) => symbol);
}

function Age({ at_s }) {
  const { f } = useCell(ui);
  useCell(second);
  if (at_s === null || at_s === undefined) return html`<span class="age none">–</span>`;
  const age_s = serverNow() - at_s;
  return html`<span class="age ${age_s > OLD_S ? "old" : ""}"><i class="dot" />${f.ago(age_s)}</span>`;
}

function Row({ cell, index, symbol, active, star, look, since_s }) {
  const entry = useCell(cell);
  const { row } = entry;
  return html`<${Still} of=${[entry, index, active, star, look, since_s]} draw=${() => {
    const { f, t, lang } = look;
    const at = place(row);
    const named = assetName(row.base, lang);
    const { base } = entry;
    const [name, small] = lang === "fa" && named ? [named, base] : [base, named === base ? "" : named];
    return html`<tr class=${active ? "active" : ""} aria-rowindex=${index + 2} data-symbol=${symbol}>
      <td class="star"><button class="plain icon" aria-pressed=${star ? "true" : "false"} aria-label="${t("favourite")}: ${symbol}" onClick=${() => toggleFavourite(symbol)}><${Icon} name="star" /></button></td>
      <th scope="row" class="name"><a href="#/market/${encodeURIComponent(symbol)}" id="market-${symbol}">
        <b><bdi>${name}</bdi><span class="quote"> / ${f.quoteName(row.quote)}</span></b>${small && html`<small><bdi>${small}</bdi></small>`}${row.market !== row.symbol && html` <small class="muted"><bdi>${row.source}</bdi></small>`}</a></th>
      <td class="price"><${Num} key=${entry.beat} class="flash ${entry.flash}">${f.price(row.last_price, entry.decimals)}<//></td>
      <td class="moved"><${Change} value=${row.change_24h} f=${f} /></td>
      <td class="volume"><bdi>${f.money(row.quote_volume_24h, row.quote)}</bdi> ${since_s !== undefined && html`<small class="since-mark" title=${t("since_only", { time: f.dateTime(since_s) })}>${t("since_time", { time: f.minute(since_s) })}</small>`}</td>
      <td class="range"><span class="range-bar" dir="ltr" title="${f.price(row.low_24h, entry.decimals)} – ${f.price(row.high_24h, entry.decimals)}">${at !== null && html`<i style=${{ left: `${at * 100}%` }} />`}</span></td>
      <td class="spread"><${Num}>${row.spread_bps === null ? "–" : f.percent(row.spread_bps / 10000)}<//></td>
      <td class="fresh"><${Age} at_s=${row.last_trade_at_s} /></td>
    </tr>`;
  }} />`;
}

export function Markets({ route }) {
  const look = useCell(ui);
  const { t, f } = look;
  const stars = useCell(favourites);
  const cell = useMemo(() => new Cell(new Rows()), []);
  const rows = useCell(cell);
  const [error, setError] = useState(null);
  const [loaded, setLoaded] = useState(false);
  const [round, setRound] = useState(0);
  const younger = useAnswer((signal) => get("younger-markets", {}, signal), [], YOUNGER_EVERY_MS).data?.since_s ?? {};
  const sinceOf = ({ value: { row } }) => younger[`${row.source}:${row.symbol}`];
  const [search, setSearchText] = useState(route.search);
  useEffect(() => setSearchText(route.search), [route]);
  // The address holds the search, so that the browser's Back returns to it.
  const setSearch = (text) => {
    setSearchText(text);
    note({ page: "markets", search: text });
  };
  const [filter, setFilter] = useState(() => kept("filter", "all"));
  const [sort, setSort] = useState(() => kept("sort", "volume desc"));
  const [order, setOrder] = useState(0);
  const [active, setActive] = useState("");
  const field = useRef(null);
  const hovered = useRef(false);
  const narrow = useNarrow(NARROW);
  const height = narrow ? NARROW_ROW_PX : ROW_PX;

  useEffect(() => {
    const aborter = new AbortController();
    const put = ({ markets }) => {
      const known = rows.set;
      rows.put(markets);
      setLoaded(true);
      setError(null);
      if (rows.set !== known) cell.touch();
    };
    get("markets", {}, aborter.signal).then(put, (failure) => {
      if (!aborter.signal.aborted) setError(failure);
    });
    const end = follow({ page: "markets" }, { markets: put });
    return () => {
      aborter.abort();
      end();
    };
  }, [round]);

  useEffect(() => {
    const timer = setInterval(() => {
      if (!hovered.current && !document.hidden) setOrder((n) => n + 1);
    }, REORDER_S * 1000);
    return () => clearInterval(timer);
  }, []);

  const symbols = useMemo(
    () => chosen(rows, { filter, search, sort, stars }),
    [filter, search, sort, stars, order, rows.set],
  );
  const printing = usePrinting(); // paper has room for all rows
  const [list, inView, viewEnd] = useRowsInView(symbols.length, height);
  const [first, end] = printing ? [0, symbols.length] : [inView, viewEnd];

  const state = useRef();
  state.current = { symbols, active };
  useEffect(() => onKey((key, event) => {
    const { symbols, active } = state.current;
    if (key === "/") {
      field.current.focus();
      field.current.select();
      return true;
    }
    if (key === "Escape" && event.target === field.current) {
      if (field.current.value) setSearch("");
      field.current.blur();
      return true;
    }
    const at = symbols.indexOf(active);
    const step = STEPS.get(key);
    if (step) {
      const next = symbols[Math.min(symbols.length - 1, Math.max(0, at + step))];
      if (next) setActive(next);
      return true;
    }
    if (key === "Enter" && (event.target === field.current || event.target === document.body) && symbols.length) {
      location.hash = `#/market/${encodeURIComponent(at >= 0 ? active : symbols[0])}`;
      return true;
    }
    if (key === "f" && at >= 0) {
      toggleFavourite(active);
      return true;
    }
    return false;
  }), []);

  useEffect(() => {
    if (!active || !list.current) return;
    const top = list.current.getBoundingClientRect().top + symbols.indexOf(active) * height;
    if (top < 140) window.scrollBy(0, top - 140);
    else if (top + height > window.innerHeight - 90) window.scrollBy(0, top + height - window.innerHeight + 90);
    if (document.activeElement === field.current) return;
    // The row may only be drawn after the window has moved.
    const frame = requestAnimationFrame(() => requestAnimationFrame(() =>
      document.getElementById(`market-${active}`)?.focus({ preventScroll: true })));
    return () => cancelAnimationFrame(frame);
  }, [active]);

  if (!loaded) {
    return error
      ? html`<${Failed} error=${error} onRetry=${() => setRound((n) => n + 1)} />`
      : html`<${Loading} />`;
  }
  if (rows.bySymbol.size === 0) {
    return html`<${Empty} title=${t("empty_title")} text=${t("empty_markets")} command="radar up" />`;
  }
  const order_by = (column) => {
    const [key, direction] = sort.split(" ");
    const turned = direction === "asc" ? "desc" : "asc";
    const next = `${column.key} ${key === column.key ? turned : column.first}`;
    keep("sort", next);
    setSort(next);
  };
  const [sortKey, direction] = sort.split(" ");
  const quotes = [...new Set([...rows.bySymbol.values()].map((each) => each.value.row.quote))].filter((quote) => quote && !FILTERS.includes(quote)).sort();
  return html`
    <div class="bar">
      <h1 class="visually-hidden">${t("markets")}</h1>
      <label class="search"><${Icon} name="search" />
        <input ref=${field} type="search" placeholder=${t(narrow ? "search" : "search_hint")} aria-label=${t("search")} aria-keyshortcuts="/" spellcheck="false" autocomplete="off"
          value=${search} onInput=${(event) => setSearch(event.target.value)} />
      </label>
      <${Choice} label=${t("markets")} value=${filter}
        options=${[["all", t("all")], ["stars", "★"], ...quotes.map((quote) => [quote, f.quoteName(quote)])]}
        onChange=${(next) => {
          keep("filter", next);
          setFilter(next);
        }} />
      <span class="count">${t("count_markets", { n: f.number(symbols.length) })}</span>
    </div>
    <table class="markets" aria-rowcount=${symbols.length + 1}
      onPointerEnter=${() => (hovered.current = true)} onPointerLeave=${() => (hovered.current = false)}
      onClick=${(event) => {
        const row = event.target.closest("tbody tr[data-symbol]");
        if (row && !event.target.closest("button, a")) location.hash = `#/market/${encodeURIComponent(row.dataset.symbol)}`;
      }}>
      <thead><tr>
        <th class="star"><span class="visually-hidden">${t("favourite")}</span></th>
        ${COLUMNS.map((column) => html`<th key=${column.key} scope="col" class="col-${column.key}" aria-sort=${column.key === sortKey ? (direction === "asc" ? "ascending" : "descending") : null}>
          <button class="plain" title=${t("sort_by", { column: t(column.text) })} onClick=${() => order_by(column)}>${t(column.text)}<i class="arrow" /></button></th>`)}
      </tr></thead>
      <tbody ref=${list}>
        ${first > 0 && html`<tr class="spacer" key="above" aria-hidden="true"><td colspan="8" style=${{ height: `${first * height}px` }} /></tr>`}
        ${symbols.slice(first, end).map((symbol, n) => html`<${Row} key=${symbol} symbol=${symbol} index=${first + n} cell=${rows.bySymbol.get(symbol)}
          active=${symbol === active} star=${stars.has(symbol)} look=${look} since_s=${sinceOf(rows.bySymbol.get(symbol))} />`)}
        ${end < symbols.length && html`<tr class="spacer" key="below" aria-hidden="true"><td colspan="8" style=${{ height: `${(symbols.length - end) * height}px` }} /></tr>`}
      </tbody>
    </table>
    ${symbols.length === 0 && html`<${Empty} title=${t(filter === "stars" && !search ? "no_favourites" : "no_market")} />`}`;
}
