// The rows of the list of trades: trades, and between them the times without a recording. Pure.

/**
 * Put gaps between trades, newest first.
 *
 * @param trades  newest first
 * @param gaps    {began_at_s, ended_at_s, ...}, of trades
 * @param at_s    the moment that is seen: no gap begins later
 * @returns rows {trade, gap}: of a trade, gap is the one in which it happened (it was fetched
 *   afterwards), or null; of a gap, trade is null
 */
export function tapeRows(trades, gaps, at_s) {
  const oldest_s = trades.at(-1)?.at_s ?? -Infinity;
  const left = gaps
    .filter((gap) => gap.ended_at_s > oldest_s && gap.began_at_s <= at_s)
    .sort((a, b) => b.ended_at_s - a.ended_at_s);
  const rows = [];
  for (const trade of trades) {
    while (left.length > 0 && left[0].ended_at_s > trade.at_s) rows.push({ trade: null, gap: left.shift() });
    const within = gaps.find((gap) => trade.at_s > gap.began_at_s && trade.at_s < gap.ended_at_s);
    rows.push({ trade, gap: within ?? null });
  }
  if (trades.length === 0) rows.push(...left.map((gap) => ({ trade: null, gap })));
  return rows;
}

/** Tell whether a trade is large: its amount reaches `large`; null: nobody knows. */
export function isLarge(trade, large) {
  return large !== null && Number(trade.amount) >= large;
}
