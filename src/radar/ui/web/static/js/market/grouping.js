// Levels of a book put together by a step of the price. Pure.

import { decimalsOf } from "../format.js";

export const FACTORS = [1, 10, 100, 1000]; // of the finest step of the book
const DIGITS = 15;
const ALMOST = 1e-6; // of a step: prices are doubles

/** Return the decimals of the finest step of some levels. */
export function finestDecimals(levels) {
  return decimalsOf(levels.map(([price]) => price), DIGITS);
}

/**
 * Put levels together, best first.
 *
 * A bid counts at the step below it and an ask at the one above, so that a level never looks better
 * than it is.
 */
export function grouped(levels, side, decimals, factor) {
  if (factor === 1) return levels;
  const scale = 10 ** decimals / factor; // steps of one unit of the price
  const found = [];
  for (const [price, quantity] of levels) {
    const exact = price * scale;
    const step = side === "bid" ? Math.floor(exact + ALMOST) : Math.ceil(exact - ALMOST);
    if (found.at(-1)?.step === step) found.at(-1).quantity += quantity;
    else found.push({ step, quantity });
  }
  return found.map(({ step, quantity }) => [Number((step / scale).toFixed(decimals)), quantity]);
}
