// The time zones in which pages write times: UTC, Tehran, or the browser's. Pure.

export const ZONES = ["utc", "tehran", "browser"];
const NAMES = new Map([["utc", "UTC"], ["tehran", "Asia/Tehran"]]);
// Zones in which the server begins days.
const DAYS = new Set(NAMES.values());

const writers = new Map();

function writer(name) {
  let found = writers.get(name);
  if (!found) {
    found = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn", {
      timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
      hour: "numeric", minute: "numeric", second: "numeric",
    });
    writers.set(name, found);
  }
  return found;
}

/** Return a choice of a zone; without one, Persian pages use Tehran and others UTC. */
export function zoneChoice(kept, lang) {
  return ZONES.includes(kept) ? kept : lang === "fa" ? "tehran" : "utc";
}

/** Return the name of a chosen zone, e.g. Europe/Berlin; `own` is the browser's zone. */
export function zoneName(choice, own) {
  const name = NAMES.get(choice) ?? own;
  try {
    return writer(name).resolvedOptions().timeZone;
  } catch {
    return "UTC"; // the browser does not know its own zone
  }
}

/** Return the zone whose days daily candles have: the server knows the days of UTC and Tehran. */
export function zoneOfDays(name) {
  return DAYS.has(name) ? name : "UTC";
}

/** Return by how many seconds a zone is ahead of UTC at a moment. */
export function aheadOfUtc_s(name, at_s) {
  const whole_s = Math.floor(at_s);
  const part = {};
  for (const { type, value } of writer(name).formatToParts(whole_s * 1000)) part[type] = Number(value);
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) / 1000 - whole_s;
}

/** Return the moment that a clock in a zone shows as `local_s`, seconds of that clock since 1970. */
export function momentOfClock(name, local_s) {
  const near_s = local_s - aheadOfUtc_s(name, local_s);
  return local_s - aheadOfUtc_s(name, near_s);
}
