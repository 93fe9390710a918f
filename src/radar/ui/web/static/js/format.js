// Numbers, amounts, ages and dates as people read them. Pure: no page, no clock.
//
// Persian has its own digits, separators and calendar (Jalali).
// What is unknown (null, undefined, NaN) is a dash.

import { zoneOfDays } from "./zones.js";

export const NONE = "–";

const LATIN = /[0-9]/g;
const PERSIAN = "۰۱۲۳۴۵۶۷۸۹";
const SIGNIFICANT = 8;
const MAX_DECIMALS = 18;
const SHORT_FROM = 100000; // amounts from here on are written in short form: 123K

const formats = new Map();

// Controls, marks that change the direction of text or take no room, separators of lines, surrogates.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]/gu;

/** Return a text of others with everything written out that would not be seen, as radar.text does. */
export function visible(text) {
  return String(text ?? "").replace(UNSEEN, (one) => {
    const code = one.codePointAt(0);
    if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code <= 0xffff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  });
}

// What Kafka allows in the name of a topic; anything else was forged, and belongs in no shell.
const LETTER = /^[A-Za-z0-9._-]{1,249}:[0-9]{1,10}:[0-9]{1,20}$/;

/** Return the name of a dead letter for a command; empty if a shell could take it for more. */
export function letterName({ topic, partition, offset }) {
  const name = `${topic}:${partition}:${offset}`;
  return LETTER.test(name) && !name.startsWith("-") ? name : "";
}

/** Write the digits of a text in Persian. */
export function persianDigits(text) {
  return String(text).replace(LATIN, (digit) => PERSIAN[digit]);
}

/** Write Persian and Arabic digits and letters as one, so that a search finds what was meant. */
export function folded(text) {
  return String(text)
    .replace(/[۰-۹]/g, (digit) => PERSIAN.indexOf(digit))
    .replace(/[٠-٩]/g, (digit) => digit.charCodeAt(0) - 0x660)
    .replace(/ي/g, "ی")
    .replace(/ك/g, "ک")
    .replace(/[\u200c\s/_-]/g, "")
    .toLowerCase();
}

/** Count the decimals that prices need, at most so many significant digits in all. */
export function decimalsOf(prices, significant = SIGNIFICANT) {
  let needed = 0;
  for (const each of prices) {
    const value = Number(each);
    if (each === null || each === undefined || !Number.isFinite(value) || value === 0) continue;
    const magnitude = Math.floor(Math.log10(Math.abs(value)));
    const most = Math.min(MAX_DECIMALS, Math.max(0, significant - 1 - magnitude));
    const text = value.toFixed(most).replace(/0+$/, "");
    const point = text.indexOf(".");
    needed = Math.max(needed, point < 0 ? 0 : text.length - point - 1);
  }
  return needed;
}

/** Choose the decimals of amounts that stand below each other, by the largest; undefined: in short form. */
export function amountDecimals(largest) {
  if (!(largest > 0)) return 0;
  if (largest >= SHORT_FROM) return undefined;
  return Math.min(8, Math.max(0, 4 - Math.floor(Math.log10(largest))));
}

function cached(key, make) {
  let found = formats.get(key);
  if (!found) formats.set(key, (found = make()));
  return found;
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

const UNITS = {
  en: {
    ms: "ms", s: "s", min: "min", h: "h", d: "d", ago: "$ ago", now: "now", perSecond: "$/s",
    scales: ["", "K", "M", "B", "T"], scaleGap: "",
    bytes: ["B", "KB", "MB", "GB", "TB"], percent: "%",
    quotes: new Map([["TMN", "Toman"]]),
  },
  fa: {
    ms: "میلی‌ثانیه", s: "ثانیه", min: "دقیقه", h: "ساعت", d: "روز", ago: "$ پیش", now: "اکنون",
    perSecond: "$ در ثانیه",
    scales: ["", "هزار", "میلیون", "میلیارد", "هزار میلیارد"], scaleGap: " ",
    bytes: ["بایت", "کیلوبایت", "مگابایت", "گیگابایت", "ترابایت"], percent: "٪",
    quotes: new Map([["TMN", "تومان"], ["USDT", "تتر"]]),
  },
};

/** Return the functions that format for a language, "en" or "fa", with times of a zone. */
export function formatter(lang, zone = lang === "fa" ? "Asia/Tehran" : "UTC") {
  return cached(`formatter ${lang} ${zone}`, () => make(lang, zone));
}

function make(lang, zone) {
  const persian = lang === "fa";
  const units = UNITS[lang];
  const locale = persian ? "fa-IR" : "en-US";
  const calendar = persian ? "fa-IR-u-ca-persian" : "en-GB";

  function decimal(value, least, most) {
    const format = cached(`${lang} ${least} ${most}`, () =>
      new Intl.NumberFormat(locale, { minimumFractionDigits: least, maximumFractionDigits: most }));
    // Without the marks for direction: the page isolates numbers itself.
    const text = format.format(value).replace(/\u200e/g, "");
    // What rounds to zero has no sign.
    return /[1-9۱-۹]/.test(text) ? text.replace(/^-/, "−") : text.replace(/^[-−]/, "");
  }

  function number(value, decimals = 0) {
    return isNumber(value) ? decimal(value, decimals, decimals) : NONE;
  }

  /** A number of which only the first digits matter: 1,234 or 12.3 or 0.45. */
  function rough(value) {
    if (!isNumber(value)) return NONE;
    const size = Math.abs(value);
    const decimals = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2;
    return decimal(value, 0, decimals);
  }

  function price(value, decimals) {
    const given = value === null || value === undefined || value === "" ? NaN : Number(value);
    if (!isNumber(given)) return NONE;
    const places = decimals ?? decimalsOf([given]);
    return decimal(given, places, places);
  }

  /** An amount of an asset: as many digits as say something, or so many decimals. */
  function amount(value, places) {
    const given = value === null || value === undefined || value === "" ? NaN : Number(value);
    if (!isNumber(given)) return NONE;
    if (places !== undefined && Math.abs(given) >= 0.5 / 10 ** places) return decimal(given, places, places);
    const size = Math.abs(given);
    if (size >= SHORT_FROM) return compact(given);
    const decimals = size >= 1000 ? 1 : size >= 1 ? 3 : 6;
    return decimal(given, 0, decimals);
  }

  function scaled(value) {
    let size = Math.abs(value);
    let step = 0;
    // What would be rounded to a thousand belongs to the next scale.
    while (size >= 999.5 && step < units.scales.length - 1) {
      size /= 1000;
      step += 1;
    }
    if (step === 0) return [rough(value), ""];
    const decimals = size >= 100 ? 0 : size >= 10 ? 1 : 2;
    return [decimal(Math.sign(value) * size, decimals, decimals), units.scales[step]];
  }

  /** 12.3K, 4.56M; ۱۲٫۳ هزار، ۴٫۵۶ میلیون. */
  function compact(value) {
    if (!isNumber(value)) return NONE;
    const [digits, scale] = scaled(value);
    return scale ? `${digits}${units.scaleGap}${scale}` : digits;
  }

  /** The same for marks on an axis, which are round: 4K, 2.5M. */
  function axis(value) {
    if (!isNumber(value)) return NONE;
    const text = compact(value);
    const point = persian ? "٫" : ".";
    const [whole, rest = ""] = text.split(point);
    const [, digits, unit] = /^([0-9۰-۹]*)(.*)$/.exec(rest);
    const kept = digits.replace(/[0۰]+$/, "");
    return isolated(whole + (kept ? point + kept : "") + unit);
  }

  /** A latency for marks on an axis: one unit, and words in their own direction on a canvas. */
  function latencyAxis(seconds) {
    return isNumber(seconds) ? isolated(`${decimal(seconds, 0, 3)} ${units.s}`) : NONE;
  }

  /** A text for a canvas, which knows no direction of its own: words in theirs. */
  function isolated(text) {
    return persian ? `\u2067${text}\u2069` : text;
  }

  function quoteName(quote) {
    return units.quotes.get(quote) ?? visible(quote);
  }

  /** An amount of money with its unit: 4.56B Toman; ۴٫۵۶ میلیارد تومان. */
  function money(value, quote) {
    return isNumber(value) ? `${compact(value)} ${quoteName(quote)}` : NONE;
  }

  function percent(share, decimals = 2, signed = false) {
    if (!isNumber(share)) return NONE;
    const value = share * 100;
    const text = decimal(value, decimals, decimals) + units.percent;
    return signed && Number(value.toFixed(decimals)) > 0 ? `+${text}` : text;
  }

  /** A share of time, which is 100 % only if nothing is missing. */
  function share(value) {
    if (!isNumber(value)) return NONE;
    if (value >= 1) return percent(1, 0);
    const cut = Math.floor(Math.max(0, value) * 1000) / 1000;
    return percent(cut, 1);
  }

  function duration(seconds) {
    if (!isNumber(seconds)) return NONE;
    const s = Math.max(0, seconds);
    if (s < 1) return s === 0 ? `${decimal(0, 0, 0)} ${units.s}` : `${decimal(s, 0, 1)} ${units.s}`;
    if (s < 90) return `${decimal(Math.floor(s), 0, 0)} ${units.s}`;
    if (s < 5400) return `${decimal(Math.floor(s / 60), 0, 0)} ${units.min}`;
    if (s < 129600) return `${decimal(s / 3600, 0, s < 36000 ? 1 : 0)} ${units.h}`;
    return `${decimal(s / 86400, 0, s < 864000 ? 1 : 0)} ${units.d}`;
  }

  function latency(seconds) {
    if (!isNumber(seconds)) return NONE;
    if (seconds >= 1) return `${decimal(seconds, 0, seconds < 10 ? 2 : 0)} ${units.s}`;
    const ms = seconds * 1000;
    return `${decimal(ms, 0, ms < 10 ? 1 : 0)} ${units.ms}`;
  }

  /** By how much a clock is ahead, and how sure that is: +0.21 ± 0.05 s. */
  function offset(seconds, uncertainty) {
    if (!isNumber(seconds) || !isNumber(uncertainty)) return NONE;
    const ahead = Number(seconds.toFixed(2)) > 0 ? "+" : "";
    return `${ahead}${decimal(seconds, 2, 2)} ± ${decimal(uncertainty, 2, 2)} ${units.s}`;
  }

  function ago(seconds) {
    if (!isNumber(seconds)) return NONE;
    return seconds < 3 ? units.now : units.ago.replace("$", duration(seconds));
  }

  function bytes(value) {
    if (!isNumber(value)) return NONE;
    let size = value;
    let step = 0;
    while (size >= 999.5 && step < units.bytes.length - 1) {
      size /= 1000;
      step += 1;
    }
    return `${rough(size)} ${units.bytes[step]}`;
  }

  function rate(value) {
    if (!isNumber(value)) return NONE;
    return units.perSecond.replace("$", value >= 100000 ? compact(value) : rough(value));
  }

  function at(seconds, options) {
    if (!isNumber(seconds)) return NONE;
    const key = `${lang} ${zone} ${Object.entries(options)}`;
    const format = cached(key, () =>
      new Intl.DateTimeFormat(calendar, { timeZone: zone, hourCycle: "h23", ...options }));
    return format.format(seconds * 1000).replace(/\u200e/g, "");
  }

  const clock = (s) => at(s, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const minute = (s) => at(s, { hour: "2-digit", minute: "2-digit" });
  const day = (s) => at(s, { day: "numeric", month: "short" });
  const date = (s) => at(s, { day: "numeric", month: "long", year: "numeric" });
  const month = (s) => at(s, { month: "long" });
  const year = (s) => at(s, { year: "numeric" }).replace(/[^0-9۰-۹]/g, "");
  const comma = persian ? "، " : ", ";
  const dateTime = (s) => (isNumber(s) ? `${day(s)}${comma}${clock(s)}` : NONE);
  const dateMinute = (s) => (isNumber(s) ? `${day(s)}${comma}${minute(s)}` : NONE);

  /** A day of the database (UTC), "2026-11-26", in this calendar. */
  function dayOf(text) {
    const [y, m, d] = text.split("-").map(Number);
    const format = cached(`${lang} day`, () =>
      new Intl.DateTimeFormat(calendar, { timeZone: "UTC", day: "numeric", month: "short" }));
    return format.format(Date.UTC(y, m - 1, d, 12)).replace(/\u200e/g, "");
  }

  /** The numbers of a date, for marks on an axis: [year, month, day]. */
  function parts(seconds) {
    const format = cached(`${lang} ${zone} parts`, () =>
      new Intl.DateTimeFormat(persian ? "en-u-ca-persian-nu-latn" : "en-GB", {
        timeZone: zone, year: "numeric", month: "numeric", day: "numeric",
      }));
    const found = {};
    for (const { type, value } of format.formatToParts(seconds * 1000)) found[type] = parseInt(value, 10);
    return [found.year ?? found.relatedYear, found.month, found.day];
  }

  const daysZone = zoneOfDays(zone);
  const made = {
    lang, zone, number, rough, price, amount, compact, axis, latencyAxis, money, quoteName, percent, share, duration,
    latency, offset, ago, bytes, rate, clock, minute, day, date, month, year, dateTime, dateMinute, dayOf, parts, isolated,
    digits: (text) => (persian ? persianDigits(text) : String(text)),
  };
  // Writes the times of candles of a day and longer, which begin at midnight of another zone perhaps.
  made.days = daysZone === zone ? made : formatter(lang, daysZone);
  return made;
}
