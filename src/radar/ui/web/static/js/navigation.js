// Where the viewer is: the address, its history, and the scroll position of each of its entries.

import { Cell } from "./cells.js";
import { address, parse } from "./route.js";

const SETTLE_MS = 200; // of scrolling, before its position is kept
const RESTORE_MS = 4000; // how long content may take to be as long as it was

/** What the address means now; another object after each change of it. */
export const route = new Cell(parse(location.hash));

/** Go to what an address means; the browser's Back returns. `replace`: it does not. */
export function go(next, { replace = false } = {}) {
  const hash = address(next);
  if (hash === location.hash) return;
  if (!replace) {
    location.hash = hash;
    return;
  }
  note(next);
  route.set(parse(hash));
}

/** Let the address say what is seen, without going there. */
export function note(next) {
  history.replaceState(history.state, "", address(next));
}

let timer = 0;

function keepScroll() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    history.replaceState({ ...history.state, scroll_y: Math.round(window.scrollY) }, "");
  }, SETTLE_MS);
}

/** Scroll as soon as the content is so long. */
function restoreScroll(scroll_y) {
  const until = performance.now() + RESTORE_MS;
  const attempt = () => {
    window.scrollTo(0, scroll_y);
    if (Math.abs(window.scrollY - scroll_y) > 1 && performance.now() < until) requestAnimationFrame(attempt);
    else window.addEventListener("scroll", keepScroll, { passive: true });
  };
  window.removeEventListener("scroll", keepScroll);
  clearTimeout(timer);
  requestAnimationFrame(attempt);
}

function arrived(event) {
  const before = route.value;
  const next = parse(location.hash);
  route.set(next);
  // Another moment of the same market is no other place.
  if (next.page === before.page && next.symbol === before.symbol) return;
  restoreScroll(event.state?.scroll_y ?? 0);
}

history.scrollRestoration = "manual";
window.addEventListener("popstate", arrived);
window.addEventListener("scroll", keepScroll, { passive: true });
if (history.state?.scroll_y) restoreScroll(history.state.scroll_y);
