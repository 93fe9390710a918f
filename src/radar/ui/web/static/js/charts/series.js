// Lines over time, with a legend of our own that reads in both directions.

import uPlot from "../../vendor/uplot/uplot.js";
import { FONT, colours, faded } from "./colours.js";

const HEIGHT_PX = 190;

/**
 * Lines over time.
 *
 * `lines` are {colour: name of a colour, dashed, fill}; `axis` writes a value, `point` gets the index
 * under the pointer (null: none).
 */
export class SeriesChart {
  constructor(place, { f, lines, axis, point }) {
    this.place = place;
    this.f = f;
    this.lines = lines;
    this.axis = axis;
    this.data = [[], ...lines.map(() => [])];
    this.plot = new uPlot(this.options(point), this.data, place);
    this.observer = new ResizeObserver(() => {
      const width = place.clientWidth;
      if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT_PX });
    });
    this.observer.observe(place);
  }

  options(point) {
    const c = colours();
    const { f } = this;
    const axis = {
      stroke: c.muted, font: `12px ${FONT}`, grid: { stroke: c.soft, width: 1 },
      ticks: { show: false }, border: { show: false },
    };
    return {
      width: this.place.clientWidth || 400,
      height: HEIGHT_PX,
      legend: { show: false },
      padding: [10, 12, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      // Marks at full minutes of the viewer's zone; Tehran's are half an hour beside UTC's.
      tzDate: (at_s) => uPlot.tzDate(new Date(at_s * 1000), f.zone === "UTC" ? "Etc/UTC" : f.zone),
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, size: 28, space: 72, values: (_, splits) => splits.map((at_s) => f.minute(at_s)) },
        { ...axis, size: 70, space: 36, values: (_, splits) => splits.map((value) => this.axis(value)) },
      ],
      series: [
        {},
        ...this.lines.map(({ colour, dashed, fill }) => ({
          stroke: c[colour], width: dashed ? 1.2 : 1.8, dash: dashed ? [4, 4] : undefined,
          fill: fill ? faded(c[colour], 0.1) : undefined, points: { show: false }, spanGaps: false,
        })),
      ],
      hooks: { setCursor: [(plot) => point(plot.cursor.idx ?? null)] },
    };
  }

  show(data) {
    this.data = data;
    this.plot.setData(data);
  }

  end() {
    this.observer.disconnect();
    this.plot.destroy();
  }
}
