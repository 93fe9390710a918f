// What the page's pure modules say and format; run by test_page_modules.py.

import assert from "node:assert/strict";
import { test } from "node:test";

const js = new URL("../../src/radar/ui/web/static/js/", import.meta.url);
const { NONE, amountDecimals, decimalsOf, folded, formatter, letterName, persianDigits, visible } = await import(new URL("format.js", js));
const { MESSAGES, assetName, translator } = await import(new URL("i18n.js", js));

const { aheadOfUtc_s, momentOfClock, zoneChoice, zoneName } = await import(new URL("zones.js", js));

const en = formatter("en");
const fa = formatter("fa");
const AT_S = 1774049400; // 2026-03-20T23:30:00Z, in Tehran already Nowruz

test("a price keeps its decimals in both languages", () => {
  assert.equal(en.price(5125300000, 0), "5,125,300,000");
  assert.equal(fa.price(5125300000, 0), "۵٬۱۲۵٬۳۰۰٬۰۰۰");
  assert.equal(en.price("62525.040", 2), "62,525.04");
  assert.equal(fa.price(0.0000118, 8), "۰٫۰۰۰۰۱۱۸۰");
});

test("what is unknown is a dash and never zero", () => {
  for (const f of [en, fa]) {
    for (const unknown of [null, undefined, NaN, Infinity]) {
      for (const write of ["number", "rough", "price", "amount", "compact", "money", "percent", "share",
        "duration", "latency", "ago", "bytes", "rate", "clock", "dateTime"]) {
        assert.equal(f[write](unknown, "TMN").split(" ")[0], NONE, write);
      }
    }
  }
});

test("the offset of a clock says how sure it is", () => {
  assert.equal(en.offset(-3.254, 0.046), "−3.25 ± 0.05 s");
  assert.equal(en.offset(0.214, 0.5), "+0.21 ± 0.50 s");
  assert.equal(fa.offset(0.214, 0.5), "+۰٫۲۱ ± ۰٫۵۰ ثانیه");
  assert.equal(en.offset(null, null), NONE);
  assert.equal(en.offset(0.2, null), NONE);
});

test("large amounts are short and name Toman", () => {
  assert.equal(en.money(12_345_678_901, "TMN"), "12.3B Toman");
  assert.equal(fa.money(12_345_678_901, "TMN"), "۱۲٫۳ میلیارد تومان");
  assert.equal(fa.money(4_560_000, "TMN"), "۴٫۵۶ میلیون تومان");
  assert.equal(fa.money(7_200, "USDT"), "۷٫۲۰ هزار تتر");
  assert.equal(en.money(950, "TMN"), "950 Toman");
  assert.equal(fa.compact(2.5e13), "۲۵٫۰ هزار میلیارد");
});

test("what rounds to a thousand belongs to the next scale", () => {
  assert.equal(en.compact(999_499), "999K");
  assert.equal(en.compact(999_500), "1.00M");
  assert.equal(en.compact(-999_999_999), "−1.00B");
});

test("marks on an axis are round and carry no zeros", () => {
  assert.equal(en.axis(4000), "4K");
  assert.equal(en.axis(2_500_000), "2.5M");
  assert.equal(fa.axis(4000).replace(/[\u2067\u2069]/g, ""), "۴ هزار");
  assert.equal(en.axis(100), "100");
});

test("a change carries its sign, but not when it rounds to nothing", () => {
  assert.equal(en.percent(0.0234, 2, true), "+2.34%");
  assert.equal(en.percent(-0.0234, 2, true), "−2.34%");
  assert.equal(fa.percent(-0.0234, 2, true).replace("\u2212", "−"), "−۲٫۳۴٪");
  assert.equal(en.percent(0.000001, 2, true), "0.00%");
});

test("a share is 100 % only if nothing is missing", () => {
  assert.equal(en.share(1), "100%");
  assert.equal(en.share(0.99999), "99.9%");
  assert.equal(en.share(0), "0.0%");
});

test("ages are short words", () => {
  assert.equal(en.ago(0.2), "now");
  assert.equal(fa.ago(0.2), "اکنون");
  assert.equal(en.ago(7.9), "7 s ago");
  assert.equal(fa.ago(7), "۷ ثانیه پیش");
  assert.equal(en.duration(300), "5 min");
  assert.equal(fa.duration(7200), "۲ ساعت");
  assert.equal(en.latency(0.42), "420 ms");
  assert.equal(fa.latency(1.5), "۱٫۵ ثانیه");
});

test("Persian dates are Jalali days of Tehran, English ones are UTC", () => {
  assert.equal(fa.date(AT_S), "۱ فروردین ۱۴۰۵");
  assert.equal(fa.clock(AT_S), "۰۳:۰۰:۰۰");
  assert.equal(en.date(AT_S), "20 March 2026");
  assert.equal(en.clock(AT_S), "23:30:00");
  assert.deepEqual(fa.parts(AT_S), [1405, 1, 1]);
  assert.deepEqual(fa.parts(AT_S - 3 * 3600 - 1), [1404, 12, 29]);
  assert.equal(fa.year(AT_S), "۱۴۰۵");
  assert.equal(fa.month(AT_S), "فروردین");
  assert.equal(fa.dayOf("2026-11-26"), "۵ آذر");
  assert.equal(en.dayOf("2026-11-26"), "26 Nov");
});

test("decimals follow the prices that are seen, up to what digits can tell", () => {
  assert.equal(decimalsOf([82131]), 0);
  assert.equal(decimalsOf([62525, 62525.04]), 2);
  assert.equal(decimalsOf(["0.0000118"]), 7);
  assert.equal(decimalsOf([31704.1234567890123]), 3);
  assert.equal(decimalsOf([null, undefined, NaN, 0]), 0);
  assert.equal(decimalsOf([0.0000000012345], 15), 13);
  assert.equal(decimalsOf([7209722048, 7209722048.5], 15), 1);
  assert.equal(decimalsOf([62525.040000000001], 15), 2);
  assert.equal(amountDecimals(123456789), undefined);
  assert.equal(amountDecimals(8929), 1);
  assert.equal(amountDecimals(0.02), 6);
  assert.equal(amountDecimals(0), 0);
});

test("a search finds Persian digits, Arabic letters and any case", () => {
  assert.equal(folded("BTC/tmn"), "btctmn");
  assert.equal(folded("۱INCH"), "1inch");
  assert.equal(folded("كاردانو"), folded("کاردانو"));
  assert.equal(folded("بیت‌کوین"), folded("بیت کوین"));
  assert.equal(persianDigits("2026-11"), "۲۰۲۶-۱۱");
});

test("both languages say the same things with the same values", () => {
  const named = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  for (const [key, text] of Object.entries(MESSAGES.en)) {
    if (key.endsWith("_1")) continue;
    assert.ok(key in MESSAGES.fa, `fa lacks ${key}`);
    assert.deepEqual(named(MESSAGES.fa[key]), named(text), key);
  }
  assert.deepEqual(Object.keys(MESSAGES.fa).filter((key) => !(key in MESSAGES.en)), []);
});

test("one is said in the singular", () => {
  assert.equal(translator("en")("letters_n", { n: "1" }), "1 dead letter");
  assert.equal(translator("en")("letters_n", { n: "2" }), "2 dead letters");
  assert.equal(translator("fa")("letters_n", { n: "۱" }), "۱ پیام ردشده");
});

test("assets are called what people call them", () => {
  assert.equal(assetName("BTC", "fa"), "بیت‌کوین");
  assert.equal(assetName("NOBODY", "en"), "");
});

test("names that objects inherit are names of assets and messages like any other", () => {
  const t = translator("en");
  for (const name of ["constructor", "__proto__", "toString", "hasOwnProperty", "valueOf"]) {
    assert.equal(assetName(name, "fa"), "");
    assert.equal(t(name), name);
    assert.equal(t(name, { n: "1" }), name);
    assert.equal(translator(name)("markets"), "Markets");
    for (const f of [en, fa]) {
      assert.equal(f.quoteName(name), name);
      assert.equal(f.money(950, name).split(" ").at(-1), name);
    }
  }
});

test("what would not be seen is written out, everything else is left", () => {
  assert.equal(visible("\x1b]0;PWNED\x07\n\x9b\u202eevil\u200b\u2028"), "\\x1b]0;PWNED\\x07\\x0a\\x9b\\u202eevil\\u200b\\u2028");
  assert.equal(visible("تتر / BTC <img> \u{1f600}"), "تتر / BTC <img> \u{1f600}");
  assert.equal(visible("\ud800\u{e0041}"), "\\ud800\\U000e0041");
  assert.equal(visible(null), "");
});

test("a dead letter is named in a command only if a shell takes the name as one word", () => {
  assert.equal(letterName({ topic: "radar_trades", partition: 2, offset: 17 }), "radar_trades:2:17");
  for (const topic of ["radar_trades$(touch pwn)", "a b", "a;b", "a\nb", "`x`", "", "-rf", "a'b", "\u202ea", "a|b"]) {
    assert.equal(letterName({ topic, partition: 0, offset: 7 }), "", topic);
  }
  assert.equal(letterName({ topic: "a", partition: "0;x", offset: 7 }), "");
});

test("times are written in the chosen zone, also across summer time", () => {
  const july_s = Date.parse("2026-07-01T12:00:00Z") / 1000;
  const january_s = Date.parse("2026-01-01T12:00:00Z") / 1000;
  assert.equal(formatter("en", "Asia/Tehran").clock(july_s), "15:30:00");
  assert.equal(formatter("fa", "UTC").minute(july_s), "۱۲:۰۰");
  assert.equal(formatter("en", "Europe/Berlin").minute(july_s), "14:00");
  assert.equal(formatter("en", "Europe/Berlin").minute(january_s), "13:00");
  // Days of candles are those that the server knows; a day of the database is the same day in every zone.
  assert.equal(formatter("en", "America/New_York").days.zone, "UTC");
  assert.equal(formatter("en", "Asia/Tehran").days, formatter("en", "Asia/Tehran"));
  assert.equal(formatter("en", "Pacific/Kiritimati").dayOf("2026-11-26"), "26 Nov");
});

test("a clock of a zone names one moment", () => {
  for (const zone of ["UTC", "Asia/Tehran", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"]) {
    // An hour before and after New York's change to winter time (1 November, 06:00 UTC), and others.
    for (const text of ["2026-11-01T04:30:00Z", "2026-11-01T07:30:00Z", "2026-03-08T07:30:00Z", "1970-01-02T00:00:00Z"]) {
      const at_s = Date.parse(text) / 1000;
      assert.equal(momentOfClock(zone, at_s + aheadOfUtc_s(zone, at_s)), at_s, `${zone} ${text}`);
    }
  }
  assert.equal(aheadOfUtc_s("Asia/Tehran", 1.75), 12600);
});

test("a zone is chosen once, otherwise it follows the language", () => {
  assert.equal(zoneChoice(null, "fa"), "tehran");
  assert.equal(zoneChoice(null, "en"), "utc");
  assert.equal(zoneChoice("utc", "fa"), "utc");
  assert.equal(zoneChoice("constructor", "en"), "utc");
  assert.equal(zoneName("browser", "Europe/Berlin"), "Europe/Berlin");
  assert.equal(zoneName("browser", "Nowhere/Land"), "UTC");
  assert.equal(zoneName("browser", undefined), Intl.DateTimeFormat().resolvedOptions().timeZone);
});
