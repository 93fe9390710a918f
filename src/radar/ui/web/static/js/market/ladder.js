// The order book: its best levels, and the depth chart.

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { useCell } from "../cells.js";
import { DepthChart } from "../charts/depth.js";
import { second } from "../clock.js";
import { amountDecimals } from "../format.js";
import { ui } from "../prefs.js";
import { Empty, Icon, Loading, Num } from "../widgets.js";
import { FACTORS, finestDecimals, grouped } from "./grouping.js";
import { gapText } from "./tape.js";

const LONG_PRICE = 12; // characters, from which on the ladder is written smaller
const LONGER_PRICE = 17;

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

/** When the newer side of a book was received; null: never. */
export function bookAt(book) {
  const known = [book?.bid_at_s, book?.ask_at_s].filter((each) => each !== null && each !== undefined);
  return known.length ? Math.max(...known) : null;
}

/** Says that a book is old, or that none was recorded at this moment, and why. */
function OldBook({ model }) {
  const look = useCell(ui);
  const { t, f } = look;
  const book = useCell(model.book);
  const recorded = useCell(model.recorded);
  useCell(second);
  useCell(model.at_s);
  const at_s = bookAt(book);
  const now_s = model.now();
  const gap = (recorded?.gaps ?? []).find((each) => each.dataset === "depth" && each.began_at_s <= now_s && each.ended_at_s > now_s);
  const age_s = at_s === null ? NaN : now_s - at_s;
  if (!book) return null;
  if (!gap && !(age_s > (recorded?.silent_s ?? Infinity))) return null;
  return html`<p class="old-book" role="note"><${Icon} name="warning" /><span>${at_s === null ? t("no_book") : t("old_book", { age: f.duration(age_s) })}${gap && html` ${gapText(gap, look)}`}</span></p>`;
}

export function Ladder({ model, levels }) {
  const { t, f } = useCell(ui);
  const book = useCell(model.book);
  const shown_decimals = useCell(model.decimals);
  const [factor, setFactor] = useState(1);
  const empty = !book || (book.bids.length === 0 && book.asks.length === 0);
  const finest = empty ? 0 : finestDecimals([...book.bids, ...book.asks]);
  const decimals = factor === 1 ? shown_decimals : Math.max(0, finest - Math.log10(factor));
  const side = (name, given) => (empty ? [] : sums(grouped(given, name, finest, factor).slice(0, levels)));
  const bids = side("bid", book?.bids);
  const asks = side("ask", book?.asks);
  const most = Math.max(bids.at(-1)?.sum ?? 0, asks.at(-1)?.sum ?? 0) || 1;
  const buyers = book?.imbalance === null || book?.imbalance === undefined ? null : (1 + book.imbalance) / 2;
  const longest = Math.max(0, ...[...bids, ...asks].map((each) => f.price(each.price, decimals).length));
  const size = longest > LONGER_PRICE ? "longer" : longest > LONG_PRICE ? "long" : "";
  const level = (side) => (each, n) => html`<${Level} key=${side + n} side=${side} most=${most} places=${amountDecimals(most)} f=${f} decimals=${decimals} ...${each} />`;
  return html`<section class="card ladder" aria-label=${t("order_book")}>
    <header><h2>${t("order_book")}</h2>
      ${!empty && html`<label class="end grouping"><span class="visually-hidden">${t("price_step")}</span>
        <select aria-label=${t("price_step")} title=${t("price_step")} onChange=${(event) => setFactor(Number(event.target.value))}>
          ${FACTORS.map((each) => html`<option key=${each} value=${each} selected=${each === factor}>${f.price(each / 10 ** finest, Math.max(0, finest - Math.log10(each)))}</option>`)}
        </select></label>`}
    </header>
    <${OldBook} model=${model} />
    ${book === null ? html`<${Loading} />` : empty ? html`<${Empty} title=${t("no_book")} />` : html`
    <table class=${size}>
      <thead><tr><th scope="col">${t("price")}</th><th scope="col">${t("amount")}</th><th scope="col">${t("total")}</th></tr></thead>
      <tbody aria-label=${t("sell_orders")}>${asks.map(level("ask")).reverse()}</tbody>
      <tbody class="middle"><tr><td colspan="3"><div>
        <span><span class="visually-hidden">${t("mid")} </span><${Num} class="mid" title=${t("mid")}>${f.price(book.mid, shown_decimals)}<//></span>
        <span class="muted">${t("spread")} <${Num}>${f.price(book.spread, shown_decimals)}<//> (<${Num}>${f.percent(book.spread_bps === null ? NaN : book.spread_bps / 10000, 3)}<//>)</span>
      </div></td></tr></tbody>
      <tbody aria-label=${t("buy_orders")}>${bids.map(level("bid"))}</tbody>
    </table>
    ${buyers !== null && html`<div class="balance" title=${t("imbalance", { buy: f.percent(buyers, 0), sell: f.percent(1 - buyers, 0) })}>
      <${Num} class="up">${f.percent(buyers, 0)}<//><span class="balance-bar"><i style=${{ width: `${buyers * 100}%` }} /></span><${Num} class="down">${f.percent(1 - buyers, 0)}<//>
    </div>`}`}
  </section>`;
}

export function Depth({ model }) {
  const look = useCell(ui);
  const { t } = look;
  const canvas = useRef(null);
  useEffect(() => {
    const made = new DepthChart(canvas.current);
    const draw = () => made.show(model.book.value, { f: ui.value.f, decimals: model.decimals.value });
    const ends = [model.book, model.decimals, ui].map((cell) => cell.follow(draw));
    draw();
    return () => {
      ends.forEach((end) => end());
      made.end();
    };
  }, [model]);
  return html`<section class="card depth" aria-label=${t("depth")}>
    <header><h2>${t("depth")}</h2><span class="end key"><i class="swatch up" />${t("buy_orders")}<i class="swatch down" />${t("sell_orders")}</span></header>
    <div class="depth-place" dir="ltr"><canvas ref=${canvas} role="img" aria-label=${t("depth")} /></div>
  </section>`;
}
