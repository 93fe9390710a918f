// The figures beside the candles, from the answers of the server. Pure.

export const STUDIES = ["averages", "delta", "spread", "imbalance", "profile", "heat"];
export const VWAP = "vwap"; // is drawn from the candles, and no figure is asked for
export const PANES = ["delta", "spread", "imbalance"];
export const PERIODS = [20, 50];
const [LEAST_PERIOD, MOST_PERIOD] = [2, 400];

/** Join the rows of both answers by time, oldest first. */
export function joined(flow, spreads) {
  const rows = new Map();
  for (const row of [...flow, ...spreads]) rows.set(row.time, { ...rows.get(row.time), ...row });
  return [...rows.values()].sort((a, b) => a.time - b.time);
}

/** Return the studies that a text names, and those of `more`, each once. */
export function studiesOf(text, more = []) {
  const named = String(text).split(",");
  return [...STUDIES, ...more].filter((each) => named.includes(each));
}

/** Return the two periods that a kept text names; a wrong one is the usual one. */
export function periodsOf(text) {
  const named = String(text).split(",").map(Number);
  return PERIODS.map((usual, n) => (isPeriod(named[n]) ? named[n] : usual));
}

/** Tell whether a moving average can have so many candles. */
export function isPeriod(count) {
  return Number.isInteger(count) && count >= LEAST_PERIOD && count <= MOST_PERIOD;
}

/** What the figures of an interval are called and how they are written: [key, name, text]. */
export function written(row, studies, periods, decimals, { t, f }) {
  const found = [];
  const add = (key, name, text) => found.push([key, name, text]);
  if (studies.includes("averages")) {
    ["fast", "slow"].forEach((key, n) => add(key, t("average_of", { n: f.number(periods[n]) }), f.price(row?.[key], decimals)));
  }
  if (studies.includes("delta")) {
    add("delta", t("delta"), f.amount(row?.delta));
    add("cumulative_delta", t("study_delta"), f.amount(row?.cumulative_delta));
  }
  if (studies.includes("spread")) add("spread_bps", t("spread"), f.percent((row?.spread_bps ?? NaN) / 10000, 3));
  if (studies.includes("imbalance")) add("imbalance", t("study_imbalance"), f.percent(row?.imbalance, 0, true));
  return found;
}
