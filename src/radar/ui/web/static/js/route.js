// What an address of the page means, and the address of what is seen. Pure.
//
// #/?q=btc                                                        the list of markets, searched
// #/market/binance:BTCUSDT?interval=60&at=2026-11-20T09:31:07Z    a market, at a moment
//     &show=averages,heat&average=20,50&with=okx:BTC-USDT         its indicators, and the market that is compared
// #/quality?market=binance:BTCUSDT                                one market's data quality

import { PERIODS, VWAP, periodsOf, studiesOf } from "./market/study_rows.js";

export const PAGE_NAMES = ["markets", "market", "pipeline", "quality"];
export const INTERVALS_S = [1, 5, 15, 60, 300, 900, 1800, 3600, 14400, 86400, 604800];

const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z$/;
const LAST_S = 4102444800; // the year 2100, as for the server
const LONGEST_NAME = 100; // of a market, as for the server

/** Return the time of a text like 2026-11-20T09:31:07Z in seconds; null: it is none. */
export function momentOf(text) {
  const at_s = MOMENT.test(text ?? "") ? Date.parse(text) / 1000 : NaN;
  return at_s >= 0 && at_s <= LAST_S ? at_s : null;
}

/** Write a time: whole seconds, or with milliseconds. */
export function momentText(at_s) {
  const text = new Date(Math.round(at_s * 1000)).toISOString();
  return text.replace(".000Z", "Z");
}

/**
 * Read an address.
 *
 * @returns {page, symbol, interval_s, at_s, search}, and of a market {look}; interval_s, at_s and look are
 *   null where the address names none. An address with an interval names all of the look. The page of an address that means nothing is "wrong".
 */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const [, page = "", encoded = "", ...more] = path.split("/");
  const given = new URLSearchParams(query);
  const found = { page, symbol: "", interval_s: null, at_s: null, search: "" };
  const wrong = { ...found, page: "wrong" };
  if (page === "" && path.length <= 1) return { ...found, page: "markets", search: given.get("q") ?? "" };
  if (!PAGE_NAMES.includes(page) || more.length > 0) return wrong;
  if (page === "markets") return { ...found, search: given.get("q") ?? "" };
  if (page === "quality") return { ...found, symbol: given.get("market") ?? "" };
  if (page !== "market") return found;
  found.symbol = decoded(encoded);
  const interval_s = Number(given.get("interval"));
  if (INTERVALS_S.includes(interval_s)) found.interval_s = interval_s;
  else if (given.has("interval")) return wrong;
  found.at_s = momentOf(given.get("at"));
  if (given.has("at") && found.at_s === null) return wrong;
  found.look = found.interval_s === null && !given.has("show") && !given.has("with") ? null : {
    studies: studiesOf(given.get("show") ?? "", [VWAP]), periods: periodsOf(given.get("average") ?? ""), other: given.get("with") ?? "",
  };
  if (found.look?.other.length > LONGEST_NAME) return wrong;
  return found.symbol ? found : wrong;
}

/** Write the address of what `parse` returns. */
export function address({ page, symbol = "", interval_s = null, at_s = null, search = "", look = null }) {
  if (page === "market") {
    const chosen = [];
    if (interval_s !== null) chosen.push(`interval=${interval_s}`);
    if (at_s !== null) chosen.push(`at=${momentText(at_s)}`);
    if (look?.studies.length) chosen.push(`show=${look.studies.join()}`);
    if (look?.studies.includes("averages") && look.periods.join() !== PERIODS.join()) chosen.push(`average=${look.periods.join()}`);
    if (look?.other) chosen.push(`with=${encodeURIComponent(look.other)}`);
    return `#/market/${encodeURIComponent(symbol)}${chosen.length ? `?${chosen.join("&")}` : ""}`;
  }
  if (page === "quality") return symbol ? `#/quality?market=${encodeURIComponent(symbol)}` : "#/quality";
  if (page === "pipeline") return "#/pipeline";
  return search ? `#/?q=${encodeURIComponent(search)}` : "#/";
}

/** Return what is encoded in an address; empty if it is not encoded properly. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
