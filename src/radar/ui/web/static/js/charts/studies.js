// Lines over the candles, and panes below them. Knows nothing of where they come from.

import { HistogramSeries, LineSeries } from "../../vendor/lightweight-charts/lightweight-charts.js";
import { colours, faded } from "./colours.js";

const QUIET = { lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false };
const CANDLES_PART = 4; // of the height, where a pane has one

/** Which lines and panes there are: their value, and what draws them. */
const LINES = {
  fast: { study: "averages", colour: "accent" },
  slow: { study: "averages", colour: "muted" },
  cumulative_delta: { study: "delta", colour: "accent", pane: true, format: "compact" },
  spread_bps: { study: "spread", colour: "warn", pane: true, format: "bps" },
  imbalance: { study: "imbalance", colour: "up", pane: true, format: "share", bars: true },
};

export class Studies {
  /**
   * @param chart  the library's chart
   * @param shift_s  what the chart adds to times
   */
  constructor(chart, shift_s, f) {
    this.chart = chart;
    this.shift_s = shift_s;
    this.f = f;
    this.series = new Map();
    this.rows = [];
  }

  formatter(format) {
    const { f } = this;
    if (format === "bps") return (value) => f.percent(value / 10000, 3);
    return format === "share" ? (value) => f.percent(value, 0, true) : (value) => f.isolated(f.compact(value));
  }

  /** Draw these studies, each in a pane of its own or over the candles. */
  choose(studies) {
    for (const series of this.series.values()) this.chart.removeSeries(series);
    this.series.clear();
    for (const [name, { study, pane, format, bars }] of Object.entries(LINES)) {
      if (!studies.includes(study)) continue;
      const options = { ...QUIET, lineWidth: pane ? 2 : 1 };
      if (pane) Object.assign(options, { lastValueVisible: true, priceFormat: { type: "custom", minMove: 1e-8, formatter: this.formatter(format) } });
      this.series.set(name, this.chart.addSeries(bars ? HistogramSeries : LineSeries, options, pane ? this.chart.panes().length : 0));
    }
    this.chart.panes().forEach((pane, n) => pane.setStretchFactor(n === 0 ? CANDLES_PART : 1));
    this.style();
    this.draw();
  }

  /** Take over another theme. */
  style() {
    const c = colours();
    for (const [name, series] of this.series) series.applyOptions({ color: c[LINES[name].colour] });
    this.signs = [faded(c.up, 0.7), faded(c.down, 0.7)];
  }

  /**
   * Show values by time, oldest first: {time, fast, slow, cumulative_delta, spread_bps, imbalance}.
   *
   * @param isTime  tells whether the chart has a bar at a time; others would move its bars
   */
  show(rows, isTime) {
    this.rows = rows.filter(({ time }) => isTime(time));
    this.draw();
  }

  draw() {
    for (const [name, series] of this.series) {
      series.setData(this.rows.map((row) => {
        const time = row.time + this.shift_s;
        const value = row[name];
        if (value === null || value === undefined) return { time };
        return LINES[name].bars ? { time, value, color: this.signs[value >= 0 ? 0 : 1] } : { time, value };
      }));
    }
  }
}
