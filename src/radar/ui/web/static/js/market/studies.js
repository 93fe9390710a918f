// Figures beside the candles: which are chosen, and asking for them.

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { useCell } from "../cells.js";
import { folded } from "../format.js";
import { keep, kept, ui } from "../prefs.js";
import { PERIODS, STUDIES, VWAP, isPeriod, joined, periodsOf, studiesOf } from "./study_rows.js";

const AGAIN_MS = 5000;
const SETTLE_MS = 300; // of what is seen, before its profile is asked for
const PROFILE_ROWS = 48;

/** Return what this browser has chosen, and no second market: {studies, periods, other}. */
export function keptLook() {
  return { studies: studiesOf(kept("chart.studies", ""), [VWAP]), periods: periodsOf(kept("chart.periods", "")), other: "" };
}

/** Keep a choice in this browser. */
export function keepLook({ studies, periods }) {
  keep("chart.studies", studies.join());
  keep("chart.periods", periods.join());
}

/** Call `ask(signal)` while `active`, again and again while the page is seen, one at a time; returns its error. */
export function useAsked(active, ask, of) {
  const [error, setError] = useState(null);
  const current = useRef(ask);
  current.current = ask;
  useEffect(() => {
    setError(null);
    if (!active) return undefined;
    const aborter = new AbortController();
    const { signal } = aborter;
    let busy = false;
    const again = () => {
      if (busy || document.hidden) return;
      busy = true;
      Promise.resolve(current.current(signal)).then(() => !signal.aborted && setError(null), (failure) => !signal.aborted && setError(failure))
        .finally(() => (busy = false));
    };
    const first = setTimeout(again, SETTLE_MS);
    const timer = setInterval(again, AGAIN_MS);
    return () => {
      aborter.abort();
      clearTimeout(first);
      clearInterval(timer);
    };
  }, [active, ...of]);
  return error;
}

/**
 * Ask for the chosen figures and draw them; `extent` changes with what the chart has, `seen` with
 * what is seen of it.
 *
 * @returns {rows: by time, profile, error}
 */
export function useStudies({ symbol, interval_s, at_s, f, theme, chart, chosen: { studies, periods }, extent, seen, model, feed }) {
  const [rows, setRows] = useState(() => new Map());
  const [profile, setProfile] = useState(null);
  const chosen = studies.join();
  const asked = (more) => ({ symbol, ...more, at_s: at_s === null ? undefined : model.at_s.value });
  const ofBars = { interval_s, time_zone: f.zone };

  useEffect(() => chart.current?.studies.choose(studies), [chosen, symbol, interval_s, f]);
  useEffect(() => chart.current?.studies.style(), [theme]);
  useEffect(() => {
    setRows(new Map());
    setProfile(null);
  }, [symbol, interval_s, f, at_s, chosen]);
  useEffect(() => chart.current?.profile.show(profile), [profile, theme]);

  const ofTrades = studies.includes("averages") || studies.includes("delta");
  const ofBooks = studies.includes("spread") || studies.includes("imbalance");
  const failed = useAsked(extent > 0 && (ofTrades || ofBooks), async (signal) => {
    const from_s = feed.first_s;
    if (from_s === null) return;
    const [fast, slow] = periods;
    const [{ flow = [] }, { spreads = [] }] = await Promise.all([
      ofTrades ? get("flow", asked({ ...ofBars, from_s, fast, slow }), signal) : {},
      ofBooks ? get("spreads", asked({ ...ofBars, from_s }), signal) : {},
    ]);
    const found = joined(flow, spreads);
    const bars = new Set(chart.current?.times);
    chart.current?.studies.show(found, (time_s) => bars.has(time_s));
    setRows(new Map(found.map((row) => [row.time, row])));
  }, [symbol, interval_s, f, at_s, chosen, periods.join(), extent]);

  const unseen = useAsked(extent > 0 && studies.includes("profile"), async (signal) => {
    const range = chart.current?.seen();
    if (!range) return;
    const to_s = Math.min(range.to_s, Math.ceil(model.now()));
    setProfile(to_s > range.from_s ? await get("profile", { symbol, from_s: range.from_s, to_s, rows: PROFILE_ROWS }, signal) : null);
  }, [symbol, interval_s, f, at_s, chosen, extent, seen]);
  return { rows, profile, error: failed ?? unseen };
}

function Period({ n, chosen, setChosen }) {
  const { t } = useCell(ui);
  const take = (event) => {
    const count = Number(folded(event.target.value));
    if (!isPeriod(count)) {
      event.target.value = chosen.periods[n];
      return;
    }
    const periods = chosen.periods.map((each, place) => (place === n ? count : each));
    setChosen({ ...chosen, periods });
  };
  return html`<input key=${chosen.periods[n]} class="period" type="text" inputmode="numeric" dir="ltr" defaultValue=${chosen.periods[n]} aria-label=${t(n === 0 ? "period_fast" : "period_slow")} title=${t(n === 0 ? "period_fast" : "period_slow")} onChange=${take} />`;
}

/** Return the studies with one of them switched on or off. */
export function toggled(studies, name) {
  return [...STUDIES, VWAP].filter((each) => studies.includes(each) !== (each === name));
}

/** The keys that choose the figures. */
export function StudyTools({ chosen, setChosen }) {
  const { t } = useCell(ui);
  const toggle = (name) => {
    setChosen({ ...chosen, studies: toggled(chosen.studies, name) });
  };
  return html`<div class="study-tools" role="group" aria-label=${t("studies")}>
    ${STUDIES.map((name) => html`<button key=${name} class="plain switch" aria-pressed=${chosen.studies.includes(name) ? "true" : "false"} title=${t(`study_${name}_help`)} onClick=${() => toggle(name)}>${t(`study_${name}`)}</button>
      ${name === "averages" && chosen.studies.includes(name) && PERIODS.map((_, n) => html`<${Period} key=${n} n=${n} chosen=${chosen} setChosen=${setChosen} />`)}`)}
  </div>`;
}
