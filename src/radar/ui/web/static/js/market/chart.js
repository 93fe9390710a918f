// The card of the candle chart: loads candles and gaps, and says what the pointer is at.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { Cell, useCell } from "../cells.js";
import { CandleChart } from "../charts/candles.js";
import { busiest } from "../charts/profile.js";
import { ui, zoneText } from "../prefs.js";
import { onPrint } from "../print.js";
import { INTERVALS_S } from "../route.js";
import { Choice, Empty, Failed, Loading, Num } from "../widgets.js";
import { agreedCandle } from "./agreement.js";
import { StudyTools, toggled, useStudies } from "./studies.js";
import { PANES, VWAP, written } from "./study_rows.js";
import { CompareField, ComparedClose, useCompared } from "./compare.js";
import { Offered, Walls, useHeatMap } from "./heat_map.js";
import { gapText } from "./tape.js";
import { ChartTools, SCALES, STYLES, chosen as chosenLook } from "./tools.js";

const CANDLES = 500;
const DAY_S = 86400;
const SETTLE_MS = 200;
const LISTED = 100; // candles in the table
const NAMES = new Map([[1, "1s"], [5, "5s"], [15, "15s"], [60, "1m"], [300, "5m"], [900, "15m"], [1800, "30m"], [3600, "1h"], [14400, "4h"], [86400, "1d"], [604800, "1w"]]);
const NAMES_FA = new Map([[1, "۱ ثانیه"], [5, "۵ ثانیه"], [15, "۱۵ ثانیه"], [60, "۱ دقیقه"], [300, "۵ دقیقه"], [900, "۱۵ دقیقه"], [1800, "۳۰ دقیقه"], [3600, "۱ ساعت"], [14400, "۴ ساعت"], [86400, "روز"], [604800, "هفته"]]);

function Legend({ hovered, interval_s, model, studied, chosen, compared, heat }) {
  const look = useCell(ui);
  const { t } = look;
  const f = interval_s >= DAY_S ? look.f.days : look.f;
  const decimals = useCell(model.decimals);
  const { candle, time_s, pointer } = useCell(hovered);
  const gaps = useCell(model.recorded)?.gaps ?? [];
  const shown_s = candle?.time ?? time_s;
  if (shown_s === null) return null;
  const trend = candle && candle.close >= candle.open ? "up" : "down";
  const part = (key, value) => html`<span>${t(key)} <${Num} class=${trend}>${value}<//></span>`;
  const time = interval_s >= DAY_S ? f.date(shown_s) : interval_s < 60 ? f.dateTime(shown_s) : f.dateMinute(shown_s);
  const missed = gaps.filter((gap) => gap.dataset === "trades" && gap.began_at_s < shown_s + interval_s && gap.ended_at_s > shown_s).slice(0, 2);
  return html`<div class="legend">
    <bdi class="muted">${time}</bdi>
    ${candle && html`${part("open", f.price(candle.open, decimals))}${part("high", f.price(candle.high, decimals))}
    ${part("low", f.price(candle.low, decimals))}${part("close_price", f.price(candle.close, decimals))}
    ${part("volume", f.amount(candle.volume))}`}
    ${written(studied.rows.get(shown_s), chosen.studies, chosen.periods, decimals, { t, f }).map(([key, name, text]) => html`<span key=${key} data-study=${key}>${name} <${Num}>${text}<//></span>`)}
    <${ComparedClose} compared=${compared} time_s=${shown_s} />
    ${pointer && html`<${Offered} map=${heat.map} time_s=${pointer.at_s} price=${pointer.price} decimals=${decimals} />`}
    ${missed.map((gap) => html`<span key=${gap.began_at_s} class="missed">${t("not_recorded")} ${gapText(gap, look)}</span>`)}
  </div>`;
}

/** The chart's values for keyboards and screen readers. */
function Values({ candles, interval_s, model, studied, chosen }) {
  const look = useCell(ui);
  const { t } = look;
  const f = interval_s >= DAY_S ? look.f.days : look.f;
  const decimals = useCell(model.decimals);
  const figures = (s) => written(studied.rows.get(s), chosen.studies, chosen.periods, decimals, { t, f });
  const time = (s) => (interval_s >= DAY_S ? f.date(s) : interval_s < 60 ? f.dateTime(s) : f.dateMinute(s));
  return html`<div class="values scroll" tabindex="0" role="region" aria-label=${t("values")}><table class="list">
    <thead><tr><th scope="col">${t("time", { zone: zoneText({ t, f }) })}</th>${["open", "high", "low", "close_price", "volume"].map((key) => html`<th key=${key} scope="col" class="n">${t(`${key}_long`)}</th>`)}${figures(null).map(([key, name]) => html`<th key=${key} scope="col" class="n">${name}</th>`)}</tr></thead>
    <tbody>${candles.slice(-LISTED).reverse().map((each) => html`<tr key=${each.time}>
      <th scope="row"><bdi>${time(each.time)}</bdi></th>
      ${[each.open, each.high, each.low, each.close].map((price, n) => html`<td key=${n} class="n"><${Num}>${f.price(price, decimals)}<//></td>`)}
      <td class="n"><${Num}>${f.amount(each.volume)}<//></td>
      ${figures(each.time).map(([key, , text]) => html`<td key=${key} class="n"><${Num}>${text}<//></td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

/**
 * The candles of a market, now or until a moment, with what is `chosen`: {studies, periods, other}.
 *
 * `feed` connects it with the page: feed.candles(news), feed.reload(), feed.agree(newest trade),
 * feed.first_s: the beginning of the oldest candle.
 */
export function Candles({ symbol, interval_s, setInterval_s, at_s, chosen, setChosen, model, feed, onPick, onRange }) {
  const { t, f: formats, lang, theme } = useCell(ui);
  const f = interval_s >= DAY_S ? formats.days : formats;
  const decimals = useCell(model.decimals);
  const recorded = useCell(model.recorded);
  const place = useRef(null);
  const chart = useRef(null);
  const hovered = useMemo(() => new Cell({ candle: null, time_s: null }), []);
  const [state, setState] = useState({ loading: true, error: null, count: 0 });
  const [away, setAway] = useState(false);
  const [round, setRound] = useState(0);
  const [listed, setListed] = useState(null);
  const [drawn, setDrawn] = useState(() => ({ style: chosenLook("chart.style", STYLES), scale: chosenLook("chart.scale", SCALES) }));
  const { other } = chosen;
  const vwap = chosen.studies.includes(VWAP);
  const look = useMemo(() => ({ ...drawn, vwap, scale: other ? "percent" : drawn.scale }), [drawn, vwap, other]);
  const [extent, setExtent] = useState(0);
  const [seen, setSeen] = useState(0);
  const card = useRef(null);
  const pick = useRef(onPick);
  pick.current = onPick;

  // The calendar and the zone belong to the axis, so another language or zone is another chart.
  useLayoutEffect(() => {
    let pointed = false;
    let settling = 0;
    let aborter = new AbortController();
    const asked = (more) => ({ symbol, interval_s, time_zone: f.days.zone, count: CANDLES, ...more });
    const last = () => ({ candle: made.candles.at(-1) ?? null, time_s: null });
    const made = new CandleChart(place.current, { f, decimals: model.decimals.value }, {
      older: (before_s) => {
        const { signal } = aborter;
        get("candles", asked({ before_s }), signal).then(({ candles }) => {
          made.prepend(candles);
          feed.first_s = made.candles[0]?.time ?? null;
          setExtent((n) => n + 1);
          onRange();
        }, () => {
          if (!signal.aborted) setTimeout(() => (made.asked_s = null), 3000);
        });
      },
      hover: (candle, time_s, pointer) => {
        pointed = time_s !== null;
        hovered.set(pointed ? { candle, time_s, pointer } : last());
      },
      away: setAway,
      looked: () => {
        clearTimeout(settling);
        settling = setTimeout(() => setSeen((n) => n + 1), SETTLE_MS);
      },
      pick: (time_s) => pick.current(time_s + interval_s),
      until: () => model.now(),
    });
    chart.current = made;
    const load = (moment_s) => {
      aborter.abort();
      aborter = new AbortController();
      const { signal } = aborter;
      return get("candles", asked(moment_s === null ? {} : { at_s: moment_s }), signal).then(({ candles }) => {
        model.learnDecimals(candles.slice(-50).map((each) => each.close));
        made.show(candles, interval_s, true);
        feed.first_s = candles[0]?.time ?? null;
        feed.agree();
        if (!pointed) hovered.set(last());
        setState({ loading: false, error: null, count: candles.length });
        setExtent((n) => n + 1);
        onRange();
      }, (error) => {
        if (!signal.aborted) setState({ loading: false, error, count: 0 });
      });
    };
    setState((now) => ({ ...now, loading: true, error: null }));
    feed.candles = (news) => {
      if (news.interval_s !== interval_s || made.interval_s !== interval_s) return;
      made.update(news.candles);
      feed.agree();
      setState((now) => (now.count > 0 || made.candles.length === 0 ? now : { ...now, count: made.candles.length }));
      if (!pointed) hovered.set(last());
    };
    feed.agree = () => {
      const candle = made.candles.at(-1);
      const next = agreedCandle(candle, model.trades.value?.[0], interval_s);
      if (next !== candle && made.interval_s === interval_s) made.update([next]);
      if (!pointed) hovered.set(last());
    };
    feed.reload = load;
    return () => {
      aborter.abort();
      clearTimeout(settling);
      feed.candles = feed.reload = null;
      feed.agree = () => {};
      chart.current = null;
      hovered.set({ candle: null, time_s: null });
      made.end();
    };
  }, [symbol, interval_s, f]);

  useEffect(() => {
    feed.reload?.(at_s);
  }, [symbol, interval_s, f, at_s, round]);

  useEffect(() => chart.current?.style({ f, decimals }), [theme, decimals]);

  useEffect(() => chart.current?.lookLike(look), [look, symbol, interval_s, f]);

  useEffect(() => {
    const gaps = (recorded?.gaps ?? []).filter((gap) => gap.dataset === "trades");
    chart.current?.showGaps(gaps.map((gap) => ({ ...gap, label: f.isolated(t(`cause_${gap.cause}`)) })));
  }, [recorded, f, symbol, interval_s, state.count]);

  // On paper the chart is a picture, which takes the width of the page.
  const paper = useRef(null);
  useEffect(() => onPrint((printing) => {
    if (!printing) paper.current?.replaceChildren();
    else if (paper.current?.childElementCount === 0 && chart.current) paper.current.append(chart.current.picture());
  }), []);

  const studied = useStudies({ symbol, interval_s, at_s, f, theme, chart, chosen, extent, seen, model, feed });
  // In the past, no later records.
  const seenUntilNow = () => {
    const range = chart.current?.seen();
    const to_s = range && Math.min(range.to_s, at_s === null ? Infinity : model.now());
    return range && to_s > range.from_s ? { from_s: range.from_s, to_s } : null;
  };
  const compared = useCompared({ symbol, other, interval_s, at_s, f, theme, chart, extent, model });
  const heat = useHeatMap({ symbol, interval_s, at_s, f, theme, chart, isOn: chosen.studies.includes("heat"), extent, seen, model });
  const most = busiest(studied.profile);

  const failure = studied.error ?? compared.error ?? heat.error;

  const names = lang === "fa" ? NAMES_FA : NAMES;
  return html`<section class="card chart" ref=${card} aria-label=${t("candles")}>
    <header>
      <${Choice} label=${t("interval")} value=${interval_s} onChange=${setInterval_s}
        options=${INTERVALS_S.map((s) => [s, names.get(s)])} />
      <${StudyTools} chosen=${chosen} setChosen=${setChosen} />
      <${CompareField} symbol=${symbol} other=${other} setOther=${(name) => setChosen({ ...chosen, other: name })} />
      <button class="plain" aria-pressed=${listed ? "true" : "false"} onClick=${() => setListed((now) => (now ? null : chart.current?.candles.slice() ?? []))}>${t("values")}</button>
      <${ChartTools} symbol=${symbol} interval_s=${interval_s} zone=${f.zone} seen=${seenUntilNow} live=${at_s === null} look=${look} setLook=${setDrawn} onVwap=${() => setChosen({ ...chosen, studies: toggled(chosen.studies, VWAP) })} chart=${chart} card=${card} />
    </header>
    <div class="chart-place" data-panes=${PANES.filter((each) => chosen.studies.includes(each)).length} dir="ltr" role="img" aria-label="${t("candles")} ${symbol}">
      <div ref=${place} class="fill" /><div ref=${paper} class="print-only" />
      <div dir=${lang === "fa" ? "rtl" : "ltr"}><${Legend} hovered=${hovered} interval_s=${interval_s} model=${model} studied=${studied} chosen=${chosen} compared=${compared} heat=${heat} /></div>
      ${state.loading && state.count === 0 && html`<div class="cover"><${Loading} /></div>`}
      ${state.error && html`<div class="cover"><${Failed} error=${state.error} onRetry=${() => setRound((n) => n + 1)} /></div>`}
      ${!state.loading && !state.error && state.count === 0 && html`<div class="cover"><${Empty} title=${t("no_candles")} /></div>`}
      ${away && state.count > 0 && html`<button class="button newest" onClick=${() => chart.current?.toNewest()} aria-label=${t("to_now")} title=${t("to_now")}>»</button>`}
    </div>
    ${failure && html`<p class="note chart-foot" role="alert">${t("studies_failed")} ${failure.message}</p>`}
    <footer class="chart-foot note"><span class="key"><i class="swatch missed-swatch" />${t("not_recorded")}<i class="swatch fetched-swatch" />${t("fetched")}${heat.map?.price_step && html`<i class="swatch book-swatch" />${t("heat_key")}`}</span>
      ${most && html`<span class="busiest">${t("busiest", { from: f.price(most[0], decimals), to: f.price(most[1], decimals) })}</span>`}
      <span class="end">${zoneText({ t, f })} · <a class="quiet" href="https://www.tradingview.com/" rel="noreferrer" target="_blank">${t("charts_by")}</a></span></footer>
    ${listed && html`<${Values} candles=${listed} interval_s=${interval_s} model=${model} studied=${studied} chosen=${chosen} />`}
    ${listed && heat.map?.price_step && html`<${Walls} map=${heat.map} decimals=${decimals} />`}
  </section>`;
}
