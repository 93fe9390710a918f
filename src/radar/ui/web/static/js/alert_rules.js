// Price alerts: when one is reached, and how they are kept. Pure.

export const MOST_ALERTS = 20;
const MOST_CANDLES = 2000; // of one answer
const SHORT_S = 1;
const MINUTE_S = 60;
const IS_MARKET = /^[a-z0-9_-]{1,40}:.{1,60}$/;

/**
 * An alert: {id, market: EXCHANGE:SYMBOL, price, above, since_s, checked_s, reached_s}.
 *
 * `above` says that the price must rise to it; `since_s` is when it was made, until `checked_s` its
 * prices were looked at, `reached_s` is when it was reached, or null.
 */
export function newAlert(market, price, last_price, now_s) {
  return { id: `${market} ${price} ${now_s}`, market, price, above: price >= last_price, since_s: now_s, checked_s: now_s, reached_s: null };
}

/** Return the alerts of a kept text; what is no alert is left out. */
export function alertsOf(text) {
  let found = [];
  try {
    found = JSON.parse(text);
  } catch {
    return [];
  }
  return Array.isArray(found) ? found.filter(isAlert).slice(0, MOST_ALERTS) : [];
}

function isAlert(each) {
  return typeof each?.id === "string" && IS_MARKET.test(each.market ?? "") && each.price > 0 && typeof each.above === "boolean" &&
    [each.price, each.since_s, each.checked_s].every(Number.isFinite) && (each.reached_s === null || Number.isFinite(each.reached_s));
}

/** Return the candles to ask for, {interval_s, count}: all since an alert was last looked at. */
export function askedFor(checked_s, now_s) {
  const interval_s = now_s - checked_s < MOST_CANDLES * SHORT_S ? SHORT_S : MINUTE_S;
  return { interval_s, count: Math.min(MOST_CANDLES, Math.max(2, Math.ceil((now_s - checked_s) / interval_s) + 2)) };
}

/** Return an alert after a look at candles, oldest first: prices from before it was made do not count. */
export function looked(alert, candles, interval_s) {
  const fresh = candles.filter(({ time }) => time + interval_s > alert.checked_s && time >= Math.ceil(alert.since_s));
  const reached = fresh.find(({ high, low }) => (alert.above ? high >= alert.price : low <= alert.price));
  if (reached) return { ...alert, reached_s: reached.time };
  // The newest candle may still grow: it is looked at again.
  return fresh.length > 0 ? { ...alert, checked_s: Math.max(alert.checked_s, fresh.at(-1).time) } : alert;
}
