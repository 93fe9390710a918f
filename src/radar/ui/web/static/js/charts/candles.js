// Candles with volume. Knows nothing of where they come from.

import {
  CandlestickSeries, HistogramSeries, TickMarkType, createChartEx, defaultHorzScaleBehavior,
} from "../../vendor/lightweight-charts/lightweight-charts.js";
import { TEHRAN_OFFSET_S } from "../format.js";
import { FONT, colours, faded } from "./colours.js";

const MOST_CANDLES = 12000;
const OLDER_WHEN_LEFT = 40; // bars that are left before the first one
const WEIGHT = { day: 50, month: 60, year: 70 };

/** A time axis whose months and years are those of the viewer's calendar. */
function calendarScale(parts) {
  const Standard = defaultHorzScaleBehavior();
  return class extends Standard {
    fillWeightsForPoints(points, from) {
      super.fillWeightsForPoints(points, from);
      let before = null;
      for (let n = Math.max(0, from); n < points.length; n += 1) {
        const point = points[n];
        if (point.timeWeight < WEIGHT.day) continue;
        const [year, month] = parts(point.originalTime);
        if (before !== null) {
          point.timeWeight = year !== before[0] ? WEIGHT.year : month !== before[1] ? WEIGHT.month : WEIGHT.day;
        }
        before = [year, month];
      }
    }
  };
}

export class CandleChart {
  /**
   * @param {HTMLElement} place  where to draw
   * @param {object} look        {f, decimals}: the formatter and decimals of a price
   * @param {object} on          {older(before_s), hover(candle or null), away(bool)}
   */
  constructor(place, look, on) {
    this.on = on;
    this.f = look.f;
    this.candles = [];
    this.asked_s = null;
    // The library thinks in UTC: local time is shifted into it.
    this.shift_s = look.f.lang === "fa" ? TEHRAN_OFFSET_S : 0;
    const parts = (time_s) => this.f.parts(time_s - this.shift_s);
    this.chart = createChartEx(place, new (calendarScale(parts))(), { autoSize: true, ...this.options() });
    this.bars = this.chart.addSeries(CandlestickSeries, {});
    this.volumes = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "custom", formatter: (n) => this.f.compact(n) },
      lastValueVisible: false, priceLineVisible: false,
    });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    this.style(look);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.look(range));
    this.chart.subscribeCrosshairMove((event) => {
      const at = event.time === undefined ? -1 : this.indexOf(event.time - this.shift_s);
      this.on.hover(at >= 0 ? this.candles[at] : null);
    });
  }

  options() {
    const c = colours();
    const f = this.f;
    const time = (shifted) => shifted - this.shift_s;
    return {
      layout: { background: { color: c.surface }, textColor: c.muted, fontFamily: FONT, fontSize: 12, attributionLogo: false },
      grid: { vertLines: { color: c.soft }, horzLines: { color: c.soft } },
      rightPriceScale: { borderColor: c.line, minimumWidth: 72 },
      timeScale: {
        borderColor: c.line, timeVisible: true, secondsVisible: false, rightOffset: 4, minBarSpacing: 1.5,
        tickMarkFormatter: (at, type) => {
          if (type === TickMarkType.Year) return f.year(time(at));
          if (type === TickMarkType.Month) return f.isolated(f.month(time(at)));
          return type === TickMarkType.DayOfMonth ? f.isolated(f.day(time(at))) : f.minute(time(at));
        },
      },
      localization: {
        timeFormatter: (at) => f.isolated(this.interval_s >= 86400 ? f.date(time(at)) : f.dateMinute(time(at))),
        priceFormatter: (price) => f.price(price, this.decimals),
      },
      crosshair: { mode: 0, vertLine: { color: c.faint, labelBackgroundColor: c.muted }, horzLine: { color: c.faint, labelBackgroundColor: c.muted } },
    };
  }

  /** Take over another theme or number of decimals. */
  style(look) {
    this.decimals = look.decimals;
    const c = colours();
    this.chart.applyOptions(this.options());
    this.bars.applyOptions({
      upColor: c.up, downColor: c.down, wickUpColor: c.up, wickDownColor: c.down, borderVisible: false,
      priceFormat: { type: "custom", minMove: 10 ** -this.decimals, formatter: (price) => this.f.price(price, this.decimals) },
    });
    this.colours = [faded(c.up, 0.4), faded(c.down, 0.4)];
    if (this.candles.length > 0) this.volumes.setData(this.candles.map((each) => this.volume(each)));
  }

  bar({ time, open, high, low, close }) {
    return { time: time + this.shift_s, open, high, low, close };
  }

  volume({ time, open, close, volume }) {
    return { time: time + this.shift_s, value: volume, color: this.colours[close >= open ? 0 : 1] };
  }

  indexOf(time_s) {
    let low = 0;
    let high = this.candles.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.candles[middle].time;
      if (found === time_s) return middle;
      if (found < time_s) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  draw() {
    this.bars.setData(this.candles.map((each) => this.bar(each)));
    this.volumes.setData(this.candles.map((each) => this.volume(each)));
  }

  /** Show these candles, oldest first, and the newest of them. */
  show(candles, interval_s) {
    this.interval_s = interval_s;
    this.candles = candles.slice();
    this.asked_s = null;
    this.draw();
    const width = this.chart.timeScale().width() || 800;
    const bars = Math.min(Math.max(60, Math.round(width / 8)), 180);
    this.chart.timeScale().setVisibleLogicalRange({ from: candles.length - bars, to: candles.length + 4 });
  }

  /** Put older candles before the first one. */
  prepend(older) {
    const first_s = this.candles[0]?.time ?? Infinity;
    const added = older.filter((each) => each.time < first_s);
    if (added.length === 0) return; // there are none: asked_s stays, so nobody asks again
    this.asked_s = null;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    this.candles = [...added, ...this.candles];
    this.draw();
    if (range) {
      this.chart.timeScale().setVisibleLogicalRange({ from: range.from + added.length, to: range.to + added.length });
    }
  }

  /** Take candles that changed: the newest, and those of trades that were stored late. */
  update(candles) {
    const holes = candles.filter((each) => this.isMissing(each.time));
    if (holes.length > 0) {
      const range = this.chart.timeScale().getVisibleLogicalRange();
      this.candles = [...this.candles, ...holes].sort((a, b) => a.time - b.time);
      this.draw();
      if (range) this.chart.timeScale().setVisibleLogicalRange({ from: range.from + holes.length, to: range.to + holes.length });
    }
    for (const each of candles) {
      const last = this.candles.at(-1);
      if (last === undefined || each.time > last.time) {
        this.candles.push(each);
        this.bars.update(this.bar(each));
        this.volumes.update(this.volume(each));
        continue;
      }
      const at = this.indexOf(each.time);
      if (at < 0) continue;
      const late = at < this.candles.length - 1;
      if (late && same(this.candles[at], each)) continue;
      this.candles[at] = each;
      this.bars.update(this.bar(each), late);
      this.volumes.update(this.volume(each), late);
    }
  }

  /** Tell whether an interval between the first candle and the last one has none yet. */
  isMissing(time_s) {
    if (this.candles.length === 0) return false;
    return time_s > this.candles[0].time && time_s < this.candles.at(-1).time && this.indexOf(time_s) < 0;
  }

  look(range) {
    if (!range || this.candles.length === 0) return;
    this.on.away(range.to < this.candles.length - 2);
    const first_s = this.candles[0].time;
    if (range.from < OLDER_WHEN_LEFT && this.asked_s !== first_s && this.candles.length < MOST_CANDLES) {
      this.asked_s = first_s;
      this.on.older(first_s);
    }
  }

  /** Go to the newest candle at once: an animation would end where older candles arrive meanwhile. */
  toNewest() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const to = this.candles.length + 4;
    this.chart.timeScale().setVisibleLogicalRange({ from: to - (range.to - range.from), to });
  }

  end() {
    this.chart.remove();
    this.candles = [];
  }
}

function same(a, b) {
  return a.close === b.close && a.high === b.high && a.low === b.low && a.volume === b.volume && a.open === b.open;
}
