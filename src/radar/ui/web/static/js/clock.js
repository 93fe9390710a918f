// The server's time, so that ages are right where a viewer's clock is not.

import { Cell } from "./cells.js";

const JITTER_S = 1.5;

let ahead_s = 0;

/** Take note of a time that the server has just named. */
export function noticeServerTime(at_s) {
  const found_s = at_s - Date.now() / 1000;
  // Below that it is the way here, and correcting it would make ages jump.
  if (Math.abs(found_s - ahead_s) > JITTER_S) ahead_s = found_s;
}

export function serverNow() {
  return Date.now() / 1000 + ahead_s;
}

/** Ticks once a second, for whatever shows an age. */
export const second = new Cell(0);

setInterval(() => {
  if (!document.hidden) second.set(second.value + 1);
}, 1000);
