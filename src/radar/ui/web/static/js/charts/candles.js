// Candles with volume. Knows nothing of where they come from.

import {
  CandlestickSeries, HistogramSeries, LineSeries, PriceScaleMode, TickMarkType, createChartEx, defaultHorzScaleBehavior,
} from "../../vendor/lightweight-charts/lightweight-charts.js";
import { aheadOfUtc_s } from "../zones.js";
import { FONT, colours, faded } from "./colours.js";
import { GapBands } from "./gaps.js";
import { Compared } from "./compared.js";
import { HeatCells } from "./heat_map.js";
import { ProfileBars } from "./profile.js";
import { Studies } from "./studies.js";
import { between, indexBefore, placeOf, timeAt, timesOf } from "./timeline.js";

const MOST_TIMES = 30000;
const MINUTE_S = 60;
const SCALE_MODES = {
  linear: PriceScaleMode.Normal, logarithmic: PriceScaleMode.Logarithmic, percent: PriceScaleMode.Percentage,
};
const [FEWEST_ROWS, MOST_ROWS, ROW_PX] = [40, 160, 4]; // of the heat map
const MARGINS = { top: 0.12, bottom: 0.22 };
const HEAT_MARGINS = { top: 0.25, bottom: 0.3 };
const OLDER_WHEN_LEFT = 40; // bars that are left before the first one
const RIGHT_BARS = 4; // room behind the newest candle
const [FEWEST_BARS, MOST_BARS, BAR_PX] = [60, 180, 8];
const [YOUNG_BARS, YOUNG_BAR_PX] = [30, 16]; // of a recording that does not fill the chart yet
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
   * @param {object} on          {older(before_s), hover(candle or null, its time, {price, at_s} of the pointer or null), away(bool), looked(): something else is seen,
   *   pick(time_s): the beginning of the interval that was clicked, until(): the moment that is seen}
   */
  constructor(place, look, on) {
    this.on = on;
    this.f = look.f;
    this.candles = [];
    this.times = []; // of all bars: the candles, and the intervals between them that have none
    this.asked_s = null;
    // The library thinks in UTC: local time is shifted into it. Times must never repeat, so the shift is the same before
    // and after a change to summer time: then only the places of marks are an hour off, not what they say.
    this.shift_s = aheadOfUtc_s(look.f.zone, Date.now() / 1000);
    const parts = (time_s) => this.f.parts(time_s - this.shift_s);
    this.chart = createChartEx(place, new (calendarScale(parts))(), { autoSize: true, ...this.options() });
    // Only here: with each of these options the library places the bars anew.
    this.chart.timeScale().applyOptions({ rightOffset: RIGHT_BARS, minBarSpacing: 1.5 });
    this.bars = this.chart.addSeries(CandlestickSeries, {});
    this.line = this.chart.addSeries(LineSeries, { visible: false, lineWidth: 2, lastValueVisible: false, priceLineVisible: false });
    this.vwaps = this.chart.addSeries(LineSeries, { visible: false, lineWidth: 1, lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false });
    this.volumes = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "custom", formatter: (n) => this.f.compact(n) },
      lastValueVisible: false, priceLineVisible: false,
    });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.priceScale("right").applyOptions({ scaleMargins: MARGINS });
    const placeInBars = (time_s) => placeOf(this.times, this.interval_s, time_s);
    this.heat = new HeatCells(placeInBars);
    this.bars.attachPrimitive(this.heat); // first, so that all else is drawn over it
    this.bands = new GapBands(placeInBars, on.until);
    this.bars.attachPrimitive(this.bands);
    this.profile = new ProfileBars();
    this.bars.attachPrimitive(this.profile);
    this.compared = new Compared(this.chart, this.shift_s);
    this.studies = new Studies(this.chart, this.shift_s, this.f);
    this.style(look);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.look(range));
    this.chart.subscribeCrosshairMove((event) => {
      const time_s = event.logical === undefined ? null : this.timeAt(event.logical);
      const at = time_s === null ? -1 : this.indexOf(time_s);
      const price = event.point && event.paneIndex === 0 ? this.bars.coordinateToPrice(event.point.y) : null;
      this.on.hover(at >= 0 ? this.candles[at] : null, time_s, price && { price, at_s: this.momentAt(event.point.x) });
    });
    this.chart.subscribeClick((event) => {
      const time_s = event.logical === undefined ? null : this.timeAt(event.logical);
      if (time_s !== null) this.on.pick(time_s);
    });
  }

  options() {
    const c = colours();
    const f = this.f;
    const time = (shifted) => shifted - this.shift_s;
    return {
      layout: { panes: { separatorColor: c.line, separatorHoverColor: c.soft, enableResize: true }, background: { color: c.surface }, textColor: c.muted, fontFamily: FONT, fontSize: 12, attributionLogo: false },
      // A finger that moves up or down scrolls the page.
      handleScroll: { vertTouchDrag: false },
      grid: { vertLines: { color: c.soft }, horzLines: { color: c.soft } },
      rightPriceScale: { borderColor: c.line, minimumWidth: 72 },
      timeScale: {
        borderColor: c.line, timeVisible: true, secondsVisible: this.interval_s < MINUTE_S,
        tickMarkFormatter: (at, type) => {
          if (type === TickMarkType.Year) return f.year(time(at));
          if (type === TickMarkType.Month) return f.isolated(f.month(time(at)));
          return type === TickMarkType.DayOfMonth ? f.isolated(f.day(time(at))) : type === TickMarkType.TimeWithSeconds ? f.clock(time(at)) : f.minute(time(at));
        },
      },
      localization: {
        timeFormatter: (at) => f.isolated(this.timeText(time(at))),
        percentageFormatter: (percent) => f.percent(percent / 100),
      },
      crosshair: { mode: 0, vertLine: { color: c.faint, labelBackgroundColor: c.muted }, horzLine: { color: c.faint, labelBackgroundColor: c.muted } },
    };
  }

  /** Draw candles or a line of closes, on another scale of prices. */
  lookLike({ style, scale, vwap }) {
    const line = style === "line";
    this.line.applyOptions({ visible: line });
    this.vwaps.applyOptions({ visible: vwap });
    const c = colours();
    const shown = (colour) => (line ? "transparent" : colour);
    this.bars.applyOptions({ upColor: shown(c.up), downColor: shown(c.down), wickUpColor: shown(c.up), wickDownColor: shown(c.down) });
    this.chart.priceScale("right").applyOptions({ mode: SCALE_MODES[scale] });
    this.styled = { style, scale, vwap };
  }

  /** Return a canvas with what is seen. */
  picture() {
    return this.chart.takeScreenshot(true);
  }

  /** Write the beginning of an interval, as finely as it needs. */
  timeText(time_s) {
    if (this.interval_s >= 86400) return this.f.date(time_s);
    return this.interval_s < MINUTE_S ? this.f.dateTime(time_s) : this.f.dateMinute(time_s);
  }

  /** Take over another theme or number of decimals. */
  style(look) {
    this.decimals = look.decimals;
    const c = colours();
    this.chart.applyOptions(this.options());
    // Of each series: panes have other formats.
    const priceFormat = { type: "custom", minMove: 10 ** -this.decimals, formatter: (price) => this.f.price(price, this.decimals) };
    this.bars.applyOptions({ upColor: c.up, downColor: c.down, wickUpColor: c.up, wickDownColor: c.down, borderVisible: false, priceFormat });
    this.line.applyOptions({ color: c.accent, priceFormat });
    this.vwaps.applyOptions({ color: c.warn });
    this.colours = [faded(c.up, 0.4), faded(c.down, 0.4)];
    if (this.styled) this.lookLike(this.styled);
    if (this.candles.length > 0) this.volumes.setData(this.filled((each) => this.volume(each)));
  }

  bar({ time, open, high, low, close }) {
    return { time: time + this.shift_s, open, high, low, close };
  }

  close({ time, close }) {
    return { time: time + this.shift_s, value: close };
  }

  average({ time, vwap }) {
    return { time: time + this.shift_s, value: vwap };
  }

  volume({ time, open, close, volume }) {
    return { time: time + this.shift_s, value: volume, color: this.colours[close >= open ? 0 : 1] };
  }

  /** Return the index of the candle of a time; -1: there is none. */
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

  /** Return the beginning of the interval at a bar; null: there is none. */
  timeAt(bar) {
    return timeAt(this.times, this.interval_s, bar);
  }

  empty(time_s) {
    return { time: time_s + this.shift_s };
  }

  /** Return a point for each bar: of its candle, or an empty one. */
  filled(point) {
    let next = 0;
    return this.times.map((time_s) =>
      (this.candles[next]?.time === time_s ? point(this.candles[next++]) : this.empty(time_s)));
  }

  draw() {
    this.times = timesOf(this.candles, this.interval_s);
    this.bars.setData(this.filled((each) => this.bar(each)));
    this.line.setData(this.filled((each) => this.close(each)));
    this.vwaps.setData(this.filled((each) => this.average(each)));
    this.volumes.setData(this.filled((each) => this.volume(each)));
  }

  /** Draw, and leave what is seen where it is: `moved` bars came before it. */
  redraw() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const seen_s = this.times[0];
    this.draw();
    if (!range) return;
    const moved = seen_s === undefined ? 0 : indexBefore(this.times, seen_s);
    this.chart.timeScale().setVisibleLogicalRange({ from: range.from + moved, to: range.to + moved });
  }

  /**
   * Show these candles, oldest first.
   *
   * @param keep  leave the times that are seen where they are; otherwise the newest are seen
   */
  show(candles, interval_s, keep = false) {
    const range = keep && this.interval_s === interval_s ? this.chart.timeScale().getVisibleLogicalRange() : null;
    const first_s = this.times[0];
    const another = this.interval_s !== interval_s;
    this.interval_s = interval_s;
    this.candles = candles.slice();
    this.asked_s = null;
    if (another) this.chart.applyOptions(this.options());
    this.draw();
    const count = this.times.length;
    let next = this.newest();
    if (range && first_s !== undefined && count > 0) {
      const moved = placeOf(this.times, interval_s, first_s) + 0.5;
      const kept = { from: range.from + moved, to: range.to + moved };
      if (kept.to > 0 && kept.from < count) next = kept;
    }
    this.chart.timeScale().setVisibleLogicalRange(next);
  }

  /** The range of bars with the newest at the right; a young recording begins at the left and grows to the right. */
  newest() {
    const width = this.chart.timeScale().width() || 800;
    const fitting = (bar_px, least) => Math.min(Math.max(least, Math.round(width / bar_px)), MOST_BARS);
    const count = this.times.length;
    const bars = fitting(BAR_PX, FEWEST_BARS);
    if (count >= bars) return { from: count - bars, to: count + RIGHT_BARS };
    return { from: -1, to: Math.max(count + RIGHT_BARS, fitting(YOUNG_BAR_PX, YOUNG_BARS)) };
  }

  /** Shade times: {began_at_s, ended_at_s, repaired, label}. */
  showGaps(gaps) {
    this.bands.show(gaps);
  }

  /** Show the depth of the book over time; null: none. While it is on, the chart shows more prices. */
  showHeat(map, isOn) {
    this.heat.show(map);
    this.chart.priceScale("right").applyOptions({ scaleMargins: isOn ? HEAT_MARGINS : MARGINS });
  }

  /** The time at a place on the time axis, within its interval. */
  momentAt(x) {
    const scale = this.chart.timeScale();
    const first = scale.logicalToCoordinate(0);
    if (first === null) return null;
    const place = (x - first) / (scale.logicalToCoordinate(1) - first) + 0.5;
    const begin_s = this.timeAt(Math.floor(place));
    return begin_s === null ? null : begin_s + (place - Math.floor(place)) * this.interval_s;
  }

  /** The prices between which the chart shows, {low, high} as texts, and how many rows of them are large enough; null: there are none. */
  seenPrices() {
    const height = this.chart.panes()[0].getHeight();
    const [high, low] = [0, height].map((y) => this.bars.coordinateToPrice(y));
    if (!(high > low)) return null;
    const text = (price) => Math.max(price, 0).toFixed(Math.min(18, Math.max(0, 6 - Math.floor(Math.log10(high)))));
    return { low: text(low), high: text(high), rows: Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, Math.round(height / ROW_PX))) };
  }

  /** Put older candles before the first one. */
  prepend(older) {
    const first_s = this.candles[0]?.time ?? Infinity;
    const added = older.filter((each) => each.time < first_s);
    if (added.length === 0) return; // there are none: asked_s stays, so nobody asks again
    this.asked_s = null;
    this.candles = [...added, ...this.candles];
    this.redraw();
  }

  /** Take candles that changed: the newest, and those of trades that were stored late. */
  update(candles) {
    const holes = candles.filter((each) => this.isMissing(each.time));
    if (holes.length > 0) {
      this.candles = [...this.candles, ...holes].sort((a, b) => a.time - b.time);
      this.redraw();
    }
    for (const each of candles) {
      const last = this.candles.at(-1);
      if (last === undefined || each.time > last.time) {
        this.append(each);
        continue;
      }
      const at = this.indexOf(each.time);
      if (at < 0) continue;
      const late = at < this.candles.length - 1;
      if (late && same(this.candles[at], each)) continue;
      this.candles[at] = each;
      this.bars.update(this.bar(each), late);
      this.line.update(this.close(each), late);
      this.vwaps.update(this.average(each), late);
      this.volumes.update(this.volume(each), late);
    }
  }

  /** Put a candle behind the last one, and the empty intervals between them. */
  append(candle) {
    const last = this.candles.at(-1);
    for (const time_s of last ? between(last.time, candle.time, this.interval_s) : []) {
      this.times.push(time_s);
      this.bars.update(this.empty(time_s));
      this.line.update(this.empty(time_s));
      this.vwaps.update(this.empty(time_s));
      this.volumes.update(this.empty(time_s));
    }
    this.candles.push(candle);
    this.times.push(candle.time);
    const isFirst = this.candles.length === 1;
    this.bars.update(this.bar(candle));
    this.line.update(this.close(candle));
    this.vwaps.update(this.average(candle));
    this.volumes.update(this.volume(candle));
    if (isFirst) this.chart.timeScale().setVisibleLogicalRange(this.newest());
  }

  /** Tell whether an interval between the first candle and the last one has none yet. */
  isMissing(time_s) {
    if (this.candles.length === 0) return false;
    return time_s > this.candles[0].time && time_s < this.candles.at(-1).time && this.indexOf(time_s) < 0;
  }

  /** Return the times that are seen, {from_s, to_s}; null: there are none. */
  seen() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || this.times.length === 0) return null;
    const within = (bar) => this.times[Math.min(Math.max(bar, 0), this.times.length - 1)];
    return { from_s: within(Math.ceil(range.from)), to_s: within(Math.floor(range.to)) + this.interval_s };
  }

  look(range) {
    if (!range || this.candles.length === 0) return;
    this.on.looked();
    // New candles fill the room at the right before they move the others.
    const moves = range.to < this.times.length + RIGHT_BARS + 1;
    if (moves !== this.moves) this.chart.timeScale().applyOptions({ shiftVisibleRangeOnNewBar: (this.moves = moves) });
    this.on.away(range.to < this.times.length - 2);
    const first_s = this.candles[0].time;
    if (range.from < OLDER_WHEN_LEFT && this.asked_s !== first_s && this.times.length < MOST_TIMES) {
      this.asked_s = first_s;
      this.on.older(first_s);
    }
  }

  /** Go to the newest candle at once: an animation would end where older candles arrive meanwhile. */
  toNewest() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const to = this.times.length + RIGHT_BARS;
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
