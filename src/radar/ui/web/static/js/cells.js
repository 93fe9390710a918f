// Values that views follow. However often they change, views are drawn at most once a frame, and so
// many of them in a frame that none takes long; the others follow in the next ones.

import { useEffect, useReducer } from "../vendor/htm-preact/htm-preact.js";

const BUDGET_MS = 12; // of what is drawn at once
const MOST_VIEWS = 16; // components are drawn together after the frame's callbacks

const changed = new Set();
let scheduled = false;

function flush() {
  scheduled = false;
  const until = performance.now() + BUDGET_MS;
  let views = 0;
  for (const each of changed) {
    changed.delete(each);
    for (const draw of [...each.followers]) draw(each.value);
    views += each.followers.size;
    if (views >= MOST_VIEWS || performance.now() > until) break;
  }
  if (changed.size > 0) schedule();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(flush);
}

/** Hold a value. `set` and `touch` (it changed within) draw the followers in the next frame. */
export class Cell {
  constructor(value) {
    this.value = value;
    this.followers = new Set();
  }

  set(value) {
    if (value === this.value) return;
    this.value = value;
    this.touch();
  }

  touch() {
    if (this.followers.size === 0) return;
    changed.add(this);
    schedule();
  }

  /** Call `draw` after each change; returns what ends that. */
  follow(draw) {
    this.followers.add(draw);
    return () => this.followers.delete(draw);
  }
}

/** Draw a component anew whenever the cell changes; returns the cell's value. */
export function useCell(cell) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    const seen = cell.value;
    const end = cell.follow(redraw);
    if (cell.value !== seen) redraw();
    return end;
  }, [cell]);
  return cell.value;
}
