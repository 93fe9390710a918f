// Candles as comma-separated values. Pure.

const COLUMNS = ["open", "high", "low", "close", "volume", "quote_volume", "vwap", "trades"];

/** Write candles with a line of names; times are UTC. */
export function csvOf(candles) {
  const lines = candles.map((each) => [
    new Date(each.time * 1000).toISOString().replace(".000Z", "Z"), ...COLUMNS.map((name) => each[name]),
  ].join(","));
  return `${[["open_time", ...COLUMNS].join(","), ...lines].join("\n")}\n`;
}
