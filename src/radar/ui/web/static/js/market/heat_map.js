// The depth of the book over time: asking for it, and its figures for pointer, keyboard and screen reader.

import { html, useEffect, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { useCell } from "../cells.js";
import { ui, zoneText } from "../prefs.js";
import { Num } from "../widgets.js";
import { offeredAt, walls } from "./heat_cells.js";
import { useAsked } from "./studies.js";

const COLUMNS = 240;
const LISTED = 100; // columns in the table
const MINUTE_S = 60;

/** Draw the depth of the time and the prices that are seen, and return it; null: it is off or not there yet. */
export function useHeatMap({ symbol, interval_s, at_s, f, theme, chart, isOn, extent, seen, model }) {
  const [map, setMap] = useState(null);
  useEffect(() => setMap(null), [symbol, interval_s, f, at_s, isOn]);
  useEffect(() => chart.current?.showHeat(map, isOn), [map, theme, isOn, symbol, interval_s, f]);
  const error = useAsked(extent > 0 && isOn, async (signal) => {
    const range = chart.current?.seen();
    const prices = chart.current?.seenPrices();
    if (!range || !prices) return;
    const to_s = Math.min(range.to_s, at_s === null ? Math.ceil(model.now()) : model.at_s.value);
    setMap(to_s > range.from_s ? await get("heat-map", { symbol, from_s: range.from_s, to_s, columns: COLUMNS, ...prices }, signal) : null);
  }, [symbol, interval_s, f, at_s, isOn, extent, seen]);
  return { map, error };
}

/** The amount that was offered where the pointer is, for the line over the chart. */
export function Offered({ map, time_s, price, decimals }) {
  const { t, f } = useCell(ui);
  const found = map && offeredAt(map, time_s, price);
  if (!found) return null;
  const part = (side, key) => found[side] > 0 && html` <span class=${side === "bid" ? "up" : "down"}>${t(key)} <${Num}>${f.amount(found[side])}<//></span>`;
  return html`<span data-study="heat">${t("heat_at", { from: f.price(found.from, decimals), to: f.price(found.to, decimals) })}${part("bid", "buy")}${part("ask", "sell")}${!found.bid && !found.ask && " 0"}</span>`;
}

/** The greatest amounts over time as a table. */
export function Walls({ map, decimals }) {
  const look = useCell(ui);
  const { t, f } = look;
  const side = (found) => html`<td class="n"><${Num}>${f.price(found?.price, decimals)}<//></td><td class="n"><${Num}>${f.amount(found?.quantity)}<//></td>`;
  return html`<div class="values scroll" tabindex="0" role="region" aria-label=${t("heat_values")}><table class="list walls">
    <caption class="note">${t("heat_values_help", { step: f.price(map.price_step) })}</caption>
    <thead><tr><th scope="col">${t("time", { zone: zoneText(look) })}</th><th scope="col" class="n">${t("buy_orders")}: ${t("price")}</th><th scope="col" class="n">${t("amount")}</th><th scope="col" class="n">${t("sell_orders")}: ${t("price")}</th><th scope="col" class="n">${t("amount")}</th></tr></thead>
    <tbody>${walls(map, LISTED).map((row) => html`<tr key=${row.time_s}><th scope="row"><bdi>${map.column_s < MINUTE_S ? f.dateTime(row.time_s) : f.dateMinute(row.time_s)}</bdi></th>${side(row.bid)}${side(row.ask)}</tr>`)}</tbody>
  </table></div>`;
}
