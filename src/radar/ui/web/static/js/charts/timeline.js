// The times of a chart's axis, on which equal distances are equal times. Pure.

export const MOST_EMPTY = 3000; // intervals without a candle that a hole keeps; longer ones are cut

/** Return the beginnings of all intervals between candles, oldest first. */
export function timesOf(candles, interval_s, most_empty = MOST_EMPTY) {
  const times = [];
  for (const { time } of candles) {
    if (times.length > 0) times.push(...between(times.at(-1), time, interval_s, most_empty));
    times.push(time);
  }
  return times;
}

/** Return the beginnings of the intervals after one and before another. */
export function between(before_s, after_s, interval_s, most_empty = MOST_EMPTY) {
  const empty = Math.round((after_s - before_s) / interval_s) - 1;
  if (empty <= 0 || empty > most_empty) return [];
  return Array.from({ length: empty }, (_, n) => before_s + (n + 1) * interval_s);
}

/** Return the index of the last of sorted times that is not after `time_s`; -1: all are. */
export function indexBefore(times, time_s) {
  let low = 0;
  let high = times.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time_s) low = middle + 1;
    else high = middle - 1;
  }
  return high;
}

/**
 * Return the place of a time on the axis, in bars: a bar n reaches from n - 0.5 to n + 0.5.
 *
 * Times before the first bar and after the last one have places too.
 */
export function placeOf(times, interval_s, time_s) {
  if (times.length === 0) return NaN;
  const at = indexBefore(times, time_s);
  if (at < 0) return (time_s - times[0]) / interval_s - 0.5;
  const part = (time_s - times[at]) / interval_s;
  return at - 0.5 + (at === times.length - 1 ? part : Math.min(1, part));
}

/** Return the beginning of the interval at a bar, also of one after the last. */
export function timeAt(times, interval_s, bar) {
  if (times.length === 0 || bar < 0) return null;
  return bar < times.length ? times[bar] : times.at(-1) + (bar - times.length + 1) * interval_s;
}
