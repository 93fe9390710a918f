// Keeps the parts of a market's page from contradicting each other: they arrive one after the other,
// and the newest trade on the tape is the last price everywhere. Pure.

/** Return the row of a market with the newest trade as its last price, within its highs and lows. */
export function agreed(row, newest) {
  if (!row || !newest) return row;
  const price = Number(newest.price);
  return {
    ...row,
    last_price: price,
    last_trade_at_s: newest.at_s,
    high_24h: row.high_24h === null ? price : Math.max(row.high_24h, price),
    low_24h: row.low_24h === null ? price : Math.min(row.low_24h, price),
    change_24h: changed(row, price),
  };
}

/** The change since the price of 24 hours ago, which the row does not name but implies. */
function changed({ last_price, change_24h }, price) {
  if (!(last_price > 0) || change_24h === null) return change_24h;
  const before = last_price / (1 + change_24h);
  return before > 0 ? price / before - 1 : change_24h;
}

/** Return a candle that closes at the newest trade, if that happened in its interval. */
export function agreedCandle(candle, newest, interval_s) {
  if (!candle || !newest || newest.at_s < candle.time || newest.at_s >= candle.time + interval_s) return candle;
  const price = Number(newest.price);
  if (candle.close === price) return candle;
  return { ...candle, close: price, high: Math.max(candle.high, price), low: Math.min(candle.low, price) };
}

/** Return the newest trades of two lists, newest first, each once. */
export function merged(fresh, known, most) {
  const seen = new Set();
  return [...fresh, ...known]
    .filter(({ id }) => !seen.has(id) && seen.add(id))
    .sort((a, b) => b.at_s - a.at_s || b.received_at_s - a.received_at_s)
    .slice(0, most);
}
