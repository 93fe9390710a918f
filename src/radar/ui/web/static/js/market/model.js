// What is known of one market, each part drawn by itself: now, or at a moment in the past.

import { Cell } from "../cells.js";
import { serverNow } from "../clock.js";
import { decimalsOf } from "../format.js";
import { agreed, merged } from "./agreement.js";

export const TRADES = 50;
export const MOST_LEVELS = 25;
const PRICE_DIGITS = 15; // all that a double tells for sure, so that no two levels look the same

export class MarketModel {
  constructor() {
    this.row = null; // as the server sent it
    this.market = new Cell(null);
    this.book = new Cell(null);
    this.trades = new Cell(null);
    this.decimals = new Cell(0);
    this.recorded = new Cell(null); // its gaps, its coverage of the day, since when
    this.large_amount = new Cell(null); // from which on a trade is large; null: not known
    this.at_s = new Cell(null); // the moment that is seen; null: now
  }

  /** The moment that is seen, also if that is now. */
  now() {
    return this.at_s.value ?? serverNow();
  }

  learnDecimals(prices) {
    this.decimals.set(Math.max(this.decimals.value, decimalsOf(prices, PRICE_DIGITS)));
  }

  takeBook(book) {
    this.learnDecimals([...book.bids.slice(0, MOST_LEVELS), ...book.asks.slice(0, MOST_LEVELS)].map(([price]) => price));
    this.book.set(book);
  }

  takeMarket(row) {
    this.row = row;
    this.market.set(agreed(row, this.trades.value?.[0]));
  }

  takeTrades(trades) {
    this.learnDecimals(trades.slice(0, 5).map((each) => each.price));
    this.trades.set(merged(trades, this.trades.value ?? [], TRADES));
    if (this.row) this.takeMarket(this.row);
  }

  /** Take all of a moment in the past, at once. */
  takeMoment({ market, book, trades }) {
    this.trades.set(null);
    this.takeBook(book);
    this.row = market;
    this.takeTrades(trades);
    if (!market) this.market.set(null);
  }

  /** Forget what belongs to another moment. */
  forget() {
    for (const cell of [this.market, this.book, this.trades]) cell.set(null);
    this.row = null;
  }
}
