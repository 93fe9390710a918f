// The depth of a book over time, from the answer of the server: looking things up in it. Pure.

const STRONG_SHARE = 0.98; // of cells that are not as strong as can be: a few walls must not hide the rest
export const SHADES = 12;

/** Return the quantity from which on a cell has the strongest shade; 0: there are no cells. */
export function strongest(map) {
  const quantities = (map?.strips ?? []).flatMap((strip) => strip.quantities).sort((a, b) => a - b);
  return quantities.length ? quantities[Math.floor((quantities.length - 1) * STRONG_SHARE)] : 0;
}

/** Return the shade of a quantity, from 0 to SHADES - 1: its square root, so that small ones show too. */
export function shadeOf(quantity, strong) {
  return Math.min(SHADES - 1, Math.floor(Math.sqrt(quantity / strong) * SHADES));
}

/** Return the row of a price, as the server counts. */
export function rowOf(price, price_step) {
  return Math.floor(Number((price / price_step).toFixed(6)));
}

/** Return what was offered at a time in the row of a price, {bid, ask, from, to}; null: that is not known. */
export function offeredAt(map, time_s, price) {
  if (!map?.price_step || price === null) return null;
  const row = rowOf(price, map.price_step);
  const found = { bid: null, ask: null, from: row * map.price_step, to: (row + 1) * map.price_step };
  for (const { side, spans, rows, quantities } of map.strips) {
    if (!spans.some(([from, to]) => from <= time_s && time_s < to)) continue;
    const at = rows.indexOf(row);
    found[side] = at < 0 ? 0 : quantities[at];
  }
  return found.bid === null && found.ask === null ? null : found;
}

/**
 * Return the greatest amount of each side in each column, the newest first.
 *
 * @returns [{time_s, bid, ask}]: a side is {price: the lower end of its row, quantity}, or missing
 */
export function walls(map, most) {
  const columns = new Map();
  for (const { side, spans, rows, quantities } of map?.strips ?? []) {
    const at = quantities.indexOf(Math.max(...quantities));
    const time_s = Math.floor(spans[0][0] / map.column_s) * map.column_s;
    const row = columns.get(time_s) ?? { time_s };
    row[side] = { price: rows[at] * map.price_step, quantity: quantities[at] };
    columns.set(time_s, row);
  }
  return [...columns.values()].sort((a, b) => b.time_s - a.time_s).slice(0, most);
}
