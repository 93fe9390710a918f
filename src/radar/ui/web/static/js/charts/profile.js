// The volume at each price, beside the price axis. A primitive of the library.

import { colours, faded } from "./colours.js";

const WIDEST = 0.22; // of the chart
const LEAST_PX = 1;

export class ProfileBars {
  constructor() {
    this.profile = null;
    this.views = [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }

  attached({ series, requestUpdate }) {
    this.series = series;
    this.requestUpdate = requestUpdate;
  }

  detached() {
    this.series = null;
  }

  paneViews() {
    return this.views;
  }

  /** Show a profile, {price_step, rows: [{price, buy, sell}]}; null: none. */
  show(profile) {
    this.profile = profile;
    this.requestUpdate?.();
  }

  draw(target) {
    const { rows = [], price_step } = this.profile ?? {};
    if (!this.series || rows.length === 0) return;
    const most = Math.max(...rows.map(({ buy, sell }) => buy + sell));
    const c = colours();
    target.useMediaCoordinateSpace(({ context, mediaSize: { width } }) => {
      for (const { price, buy, sell } of rows) {
        const [low, high] = [this.series.priceToCoordinate(price), this.series.priceToCoordinate(price + price_step)];
        if (low === null || high === null) continue;
        const height = Math.max(LEAST_PX, Math.abs(low - high) - 1);
        const [bought, sold] = [buy, sell].map((volume) => (volume / most) * WIDEST * width);
        context.fillStyle = faded(c.up, 0.35);
        context.fillRect(width - bought, high, bought, height);
        context.fillStyle = faded(c.down, 0.35);
        context.fillRect(width - bought - sold, high, sold, height);
      }
    });
  }
}

/** Return the prices of the step with the greatest volume, as [from, to]; null: there is none. */
export function busiest(profile) {
  const rows = profile?.rows ?? [];
  if (rows.length === 0) return null;
  const found = rows.reduce((best, each) => (each.buy + each.sell > best.buy + best.sell ? each : best));
  return [found.price, found.price + profile.price_step];
}
