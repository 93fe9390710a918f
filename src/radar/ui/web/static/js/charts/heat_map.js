// The depth of a book over time, behind the candles. A primitive of the library.

import { SHADES, shadeOf, strongest } from "../market/heat_cells.js";
import { colours, faded } from "./colours.js";

const [FAINTEST, STRONGEST] = [0.05, 0.75];

export class HeatCells {
  /** @param placeOf  returns the place of a time in bars */
  constructor(placeOf) {
    this.placeOf = placeOf;
    this.map = null;
    this.views = [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }

  attached({ chart, series, requestUpdate }) {
    this.chart = chart;
    this.series = series;
    this.requestUpdate = requestUpdate;
  }

  detached() {
    this.chart = this.series = null;
  }

  paneViews() {
    return this.views;
  }

  /** Show the server's answer; null: nothing. */
  show(map) {
    this.map = map;
    this.strong = strongest(map);
    this.requestUpdate?.();
  }

  draw(target) {
    if (!this.chart || !this.strong) return;
    const { strips, price_step } = this.map;
    const scale = this.chart.timeScale();
    const first = scale.logicalToCoordinate(0); // the library places whole bars only
    if (first === null) return;
    const bar_px = scale.logicalToCoordinate(1) - first;
    const c = colours();
    target.useBitmapCoordinateSpace(({ context, bitmapSize: { width, height }, horizontalPixelRatio, verticalPixelRatio }) => {
      const edges = new Map(); // of rows: the same for all columns
      const edge = (row) => {
        if (!edges.has(row)) {
          const y = this.series.priceToCoordinate(row * price_step);
          edges.set(row, y === null ? null : Math.round(y * verticalPixelRatio));
        }
        return edges.get(row);
      };
      // One path for each shade: a fill for each cell would take too long.
      const paths = Array.from({ length: SHADES }, () => new Path2D());
      for (const { spans, rows, quantities } of strips) {
        for (const [from_s, to_s] of spans) {
          const left = Math.round((first + this.placeOf(from_s) * bar_px) * horizontalPixelRatio);
          const right = Math.max(left + 1, Math.round((first + this.placeOf(to_s) * bar_px) * horizontalPixelRatio));
          if (!(right > 0 && left < width)) continue;
          rows.forEach((row, n) => {
            const [bottom, top] = [edge(row), edge(row + 1)];
            if (bottom === null || top === null || bottom < 0 || top > height) return;
            paths[shadeOf(quantities[n], this.strong)].rect(left, top, right - left, Math.max(1, bottom - top));
          });
        }
      }
      paths.forEach((path, shade) => {
        context.fillStyle = faded(c.accent, FAINTEST + ((STRONGEST - FAINTEST) * shade) / (SHADES - 1));
        context.fill(path);
      });
    });
  }
}
