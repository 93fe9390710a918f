// How much could be bought and sold until which price: two steps that meet in the middle.

import { FONT, colours, faded } from "./colours.js";

const SHARE_OF_MIDDLE = 0.03; // levels farther away say nothing about this market now

function summed(levels) {
  let sum = 0;
  return levels.map(([price, quantity]) => [price, (sum += quantity)]);
}

export class DepthChart {
  constructor(canvas) {
    this.canvas = canvas;
    this.book = null;
    this.at = null; // where the pointer is, in pixels
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(canvas);
    this.move = (event) => {
      this.at = event.offsetX;
      this.draw();
    };
    this.leave = () => {
      this.at = null;
      this.draw();
    };
    canvas.addEventListener("pointermove", this.move);
    canvas.addEventListener("pointerleave", this.leave);
  }

  show(book, look) {
    this.book = book;
    this.f = look.f;
    this.decimals = look.decimals;
    this.draw();
  }

  draw() {
    const { canvas, book, f } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    if (!book || !book.bids.length || !book.asks.length) {
      // No depth of another moment may stay.
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      return;
    }
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.direction = f.lang === "fa" ? "rtl" : "ltr";
    const c = colours();
    const middle = (book.bids[0][0] + book.asks[0][0]) / 2;
    const reach = Math.min(
      middle * SHARE_OF_MIDDLE,
      Math.max(middle - book.bids.at(-1)[0], book.asks.at(-1)[0] - middle),
    ) || middle * 0.001;
    const bids = summed(book.bids.filter(([price]) => price >= middle - reach));
    const asks = summed(book.asks.filter(([price]) => price <= middle + reach));
    const most = Math.max(bids.at(-1)?.[1] ?? 0, asks.at(-1)?.[1] ?? 0) * 1.12 || 1;
    const bottom = height - 24;
    const x = (price) => ((price - middle + reach) / (2 * reach)) * width;
    const y = (sum) => 10 + (bottom - 10) * (1 - sum / most);

    context.font = `12px ${FONT}`;
    context.lineWidth = 1;
    context.strokeStyle = c.soft;
    context.fillStyle = c.muted;
    for (const part of [0.25, 0.5, 0.75]) {
      const level = y((most / 1.12) * part);
      context.beginPath();
      context.moveTo(0, Math.round(level) + 0.5);
      context.lineTo(width, Math.round(level) + 0.5);
      context.stroke();
    }
    for (const [steps, colour, edge] of [[bids, c.up, 0], [asks, c.down, width]]) {
      if (!steps.length) continue;
      context.beginPath();
      context.moveTo(x(steps[0][0]), bottom);
      let level = bottom;
      for (const [price, sum] of steps) {
        context.lineTo(x(price), level);
        level = y(sum);
        context.lineTo(x(price), level);
      }
      context.lineTo(edge, level);
      context.strokeStyle = colour;
      context.lineWidth = 1.6;
      context.stroke();
      context.lineTo(edge, bottom);
      context.closePath();
      context.fillStyle = faded(colour, 0.16);
      context.fill();
    }
    context.fillStyle = c.muted;
    context.textBaseline = "middle";
    context.textAlign = "center";
    const marks = width > 420 ? [-0.75, -0.375, 0, 0.375, 0.75] : [-0.62, 0, 0.62];
    for (const part of marks) {
      const price = middle + reach * part;
      context.fillText(f.price(price, this.decimals), x(price), height - 11);
    }
    // In the middle, where there is nothing else.
    for (const part of [0.25, 0.5, 0.75]) {
      const sum = (most / 1.12) * part;
      context.fillText(f.compact(sum), width / 2, y(sum) - 8);
    }
    if (this.at !== null) this.drawPointer(context, { c, x, y, bids, asks, middle, reach, width, bottom });
  }

  drawPointer(context, { c, y, bids, asks, middle, reach, width, bottom }) {
    const price = middle - reach + (this.at / width) * 2 * reach;
    const left = price < middle;
    const reached = (left ? bids : asks).filter((step) => (left ? step[0] >= price : step[0] <= price));
    const sum = reached.at(-1)?.[1] ?? 0;
    context.strokeStyle = c.faint;
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(this.at, 0);
    context.lineTo(this.at, bottom);
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.arc(this.at, y(sum), 3.5, 0, 7);
    context.fillStyle = left ? c.up : c.down;
    context.fill();
    const text = `${this.f.price(price, this.decimals)}   ${this.f.amount(sum)}`;
    context.textAlign = this.at < width / 2 ? "left" : "right";
    context.fillStyle = c.text;
    context.fillText(text, this.at + (this.at < width / 2 ? 8 : -8), 12);
  }

  end() {
    this.observer.disconnect();
    this.canvas.removeEventListener("pointermove", this.move);
    this.canvas.removeEventListener("pointerleave", this.leave);
    this.book = null;
  }
}
