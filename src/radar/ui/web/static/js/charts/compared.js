// The closes of a second market, as a line over the candles of the first.

import { LineSeries } from "../../vendor/lightweight-charts/lightweight-charts.js";
import { colours } from "./colours.js";

export class Compared {
  constructor(chart, shift_s) {
    this.chart = chart;
    this.shift_s = shift_s;
    this.line = null;
  }

  /** Show candles, oldest first, where the chart has bars (`isTime`); null: no second market. */
  show(candles, isTime) {
    if (candles === null) {
      if (this.line) this.chart.removeSeries(this.line);
      this.line = null;
      return;
    }
    this.line ??= this.chart.addSeries(LineSeries, { lineWidth: 2, priceLineVisible: false, crosshairMarkerVisible: false });
    this.style();
    this.line.setData(candles.filter(({ time }) => isTime(time)).map(({ time, close }) => ({ time: time + this.shift_s, value: close })));
  }

  /** Take over another theme. */
  style() {
    this.line?.applyOptions({ color: colours().text });
  }
}
