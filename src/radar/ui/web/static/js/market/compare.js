// Comparing with a second market: choosing it, and asking for its candles.

import { html, useEffect, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { useCell } from "../cells.js";
import { visible } from "../format.js";
import { ui } from "../prefs.js";
import { Num, useAnswer } from "../widgets.js";
import { useAsked } from "./studies.js";

const MOST_CANDLES = 2000; // of one answer
const SPARE = 10; // candles that the second market may have beyond the first

/** Draw the closes of `other`, a market's name or "", and return them by time. */
export function useCompared({ symbol, other, interval_s, at_s, f, theme, chart, extent, model }) {
  const [closes, setCloses] = useState(() => new Map());
  useEffect(() => {
    setCloses(new Map());
    return () => chart.current?.compared.show(null);
  }, [symbol, other, interval_s, f, at_s]);
  useEffect(() => chart.current?.compared.style(), [theme]);
  const error = useAsked(extent > 0 && other !== "", async (signal) => {
    const times = chart.current?.times ?? [];
    const moment_s = at_s === null ? undefined : model.at_s.value;
    const count = Math.min(MOST_CANDLES, times.length + SPARE);
    const { candles } = await get("candles", { symbol: other, interval_s, time_zone: f.zone, count, at_s: moment_s }, signal);
    const bars = new Set(chart.current?.times);
    chart.current?.compared.show(candles, (time_s) => bars.has(time_s));
    setCloses(new Map(candles.map(({ time, close }) => [time, close])));
  }, [symbol, other, interval_s, f, at_s, extent]);
  return { other, closes, error };
}

/** The close of the second market at a candle, for the line over the chart. */
export function ComparedClose({ compared, time_s }) {
  const { f } = useCell(ui);
  if (!compared.other) return null;
  return html`<span data-study="compared"><bdi>${visible(compared.other)}</bdi> <${Num}>${f.price(compared.closes.get(time_s))}<//></span>`;
}

export function CompareField({ symbol, other, setOther }) {
  const { t } = useCell(ui);
  const { data } = useAnswer((signal) => get("markets", {}, signal), []);
  const names = (data?.markets ?? []).map((row) => `${row.source}:${row.symbol}`).filter((name) => name !== symbol && name.split(":")[1] !== symbol).sort();
  return html`<select class="compare" aria-label=${t("compare")} title=${t("compare_help")} value=${other} onChange=${(event) => setOther(event.target.value)}>
    <option value="" selected=${other === ""}>${t("compare")}</option>
    ${names.map((name) => html`<option key=${name} value=${name} selected=${name === other}>${visible(name)}</option>`)}
  </select>`;
}
