// The head of a market's page: its price and the figures of 24 hours, and how well it was recorded.

import { html, useEffect, useRef } from "../../vendor/htm-preact/htm-preact.js";
import { useCell } from "../cells.js";
import { second } from "../clock.js";
import { visible } from "../format.js";
import { assetName } from "../i18n.js";
import { favourites, toggleFavourite, ui } from "../prefs.js";
import { address } from "../route.js";
import { Change, Icon, Num } from "../widgets.js";
import { AlertKey } from "./alerts.js";
import { bookAt } from "./ladder.js";

const DAY_S = 86400;

function Fact({ name, title, children }) {
  return html`<div class="fact" title=${title}><dt>${name}</dt><dd>${children}</dd></div>`;
}

function Age({ at_s, model }) {
  const { f } = useCell(ui);
  useCell(second);
  useCell(model.at_s);
  return html`<bdi>${f.ago(at_s === null || at_s === undefined ? NaN : model.now() - at_s)}</bdi>`;
}

/** How much of the day was recorded, with a way to the market's data quality. */
function Coverage({ symbol, model }) {
  const { t, f } = useCell(ui);
  const recorded = useCell(model.recorded);
  const day = recorded?.day?.trades;
  if (!recorded) return html`<span class="muted">–</span>`;
  if (!day) return html`<a class="link" href=${address({ page: "quality", symbol })}>${t("not_watched")}</a>`;
  const said = `${f.dayOf(day.day)}: ${t("watched")} ${f.share(day.watched_share)}, ${t("complete")} ${f.share(day.complete_share)}`;
  return html`<a class="link ${day.complete_level < 2 ? "is-open" : ""}" href=${address({ page: "quality", symbol })} title=${said}><${Num}>${f.share(day.complete_share)}<//></a>`;
}

/** Since when the figures of 24 hours are known, if that is less than 24 hours. */
function Since({ model }) {
  const { t, f } = useCell(ui);
  const since_s = useCell(model.recorded)?.since_s?.trades;
  useCell(model.at_s);
  if (!(since_s > model.now() - DAY_S)) return null;
  return html`<p class="since note">${t("since_only", { time: f.dateTime(since_s) })}</p>`;
}

export function Head({ symbol, model }) {
  const { t, f, lang } = useCell(ui);
  const market = useCell(model.market);
  const book = useCell(model.book);
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
  const spread_bps = book?.spread_bps ?? null;
  const past = useCell(model.at_s) !== null;
  useEffect(() => {
    const shown = price === null ? "" : `${f.price(price, decimals)} `;
    document.title = `${shown}${visible(symbol)}${past ? ` (${t("past")})` : ""} · radar`;
  }, [price, decimals, symbol, lang, past]);
  return html`<header class="market-head">
    <a class="plain icon back" href="#/" aria-label=${t("back")} title=${t("back")}><${Icon} name="back" /></a>
    <div class="market-name">
      <h1>${name}${market && html`<span class="quote"> / ${f.quoteName(market.quote)}</span>`}</h1>
      <span class="muted"><bdi>${visible(symbol)}</bdi></span>
    </div>
    <button class="plain icon star" aria-pressed=${stars.has(symbol) ? "true" : "false"} aria-label="${t("favourite")}: ${symbol}" onClick=${() => toggleFavourite(symbol)}><${Icon} name="star" /></button>
    ${!past && html`<${AlertKey} model=${model} />`}
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
      <${Fact} name=${t("spread")}><${Num}>${f.percent(spread_bps === null ? NaN : spread_bps / 10000, 3)}<//><//>
      <${Fact} name=${t("age")}><${Age} at_s=${market?.last_trade_at_s} model=${model} /><//>
      <${Fact} name=${t("book_age")}><${Age} at_s=${bookAt(book)} model=${model} /><//>
      <${Fact} name=${t("recorded_of_day")} title=${t("recorded_of_day_help")}><${Coverage} symbol=${symbol} model=${model} /><//>
    </dl>
    <${Since} model=${model} />
  </header>`;
}
