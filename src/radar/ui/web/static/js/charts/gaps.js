// Bands over a candle chart: the times in which nothing was recorded. A primitive of the library.

import { FONT, colours, faded } from "./colours.js";

const LEAST_PX = 2;
const LABEL_PX = 7; // of a letter, about
const STRIPE_PX = 7;

export class GapBands {
  /**
   * @param placeOf  returns the place of a time in bars
   * @param until  returns the moment that is seen: later gaps are not known then
   */
  constructor(placeOf, until) {
    this.placeOf = placeOf;
    this.until = until;
    this.gaps = [];
    this.views = [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }

  attached({ chart, requestUpdate }) {
    this.chart = chart;
    this.requestUpdate = requestUpdate;
  }

  detached() {
    this.chart = null;
  }

  paneViews() {
    return this.views;
  }

  /** Show these gaps: {began_at_s, ended_at_s, repaired, label}. */
  show(gaps) {
    this.gaps = gaps;
    this.requestUpdate?.();
  }

  /** The pixels from which to which a gap reaches. */
  reach(gap) {
    const until_s = this.until();
    if (gap.began_at_s >= until_s) return null;
    const scale = this.chart.timeScale();
    const first = scale.logicalToCoordinate(0); // the library places whole bars only
    if (first === null) return null;
    const bar_px = scale.logicalToCoordinate(1) - first;
    const left = first + this.placeOf(gap.began_at_s) * bar_px;
    const right = first + this.placeOf(Math.min(gap.ended_at_s, until_s)) * bar_px;
    return [left, Math.max(right, left + LEAST_PX)];
  }

  draw(target) {
    if (!this.chart || this.gaps.length === 0) return;
    const c = colours();
    target.useMediaCoordinateSpace(({ context, mediaSize: { width, height } }) => {
      for (const gap of this.gaps) {
        const reached = this.reach(gap);
        if (reached === null || reached[1] < 0 || reached[0] > width) continue;
        const [left, right] = [Math.max(0, reached[0]), Math.min(width, reached[1])];
        const colour = gap.repaired ? c.accent : c.warn;
        context.save();
        context.beginPath();
        context.rect(left, 0, right - left, height);
        context.clip();
        context.fillStyle = faded(colour, 0.14);
        context.fillRect(left, 0, right - left, height);
        // Not by colour alone: what nobody fetched is striped.
        if (!gap.repaired) {
          context.strokeStyle = faded(colour, 0.35);
          context.lineWidth = 1;
          context.beginPath();
          for (let x = left - height; x < right; x += STRIPE_PX) {
            context.moveTo(x, height);
            context.lineTo(x + height, 0);
          }
          context.stroke();
        }
        if (gap.label.length * LABEL_PX < right - left) {
          context.font = `12px ${FONT}`;
          context.fillStyle = c.muted;
          context.textAlign = "center";
          context.fillText(gap.label, (left + right) / 2, height - 8);
        }
        context.restore();
      }
    });
  }
}
