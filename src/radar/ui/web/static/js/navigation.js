// Where the viewer is: the address, its history, and the scroll position of each of its entries.

import { Cell } from "./cells.js";
import { address, parse } from "./route.js";

const SETTLE_MS = 200; // of scrolling, before its position is kept
const HELD_MS = 1000; // a restored position, until later content no longer moves it
const ACTS = ["wheel", "touchmove", "pointerdown", "keydown"];

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
let restoring = new AbortController();

function keepScroll() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    history.replaceState({ ...history.state, scroll_y: Math.round(window.scrollY) }, "");
  }, SETTLE_MS);
}

/** Stand where the viewer stood, as soon as the content is so long, unless the viewer acts before. */
function restoreScroll(scroll_y) {
  restoring.abort();
  restoring = new AbortController();
  window.removeEventListener("scroll", keepScroll);
  clearTimeout(timer);
  const end = restoring;
  let held;
  // Content comes in parts, and a part may take the place of a longer one.
  const sizes = new ResizeObserver(() => {
    window.scrollTo(0, scroll_y);
    clearTimeout(held);
    if (Math.abs(window.scrollY - scroll_y) <= 1) held = setTimeout(() => end.abort(), HELD_MS);
  });
  end.signal.addEventListener("abort", () => {
    clearTimeout(held);
    sizes.disconnect();
    window.addEventListener("scroll", keepScroll, { passive: true });
  });
  for (const act of ACTS) {
    window.addEventListener(act, () => end.abort(), { passive: true, signal: end.signal });
  }
  sizes.observe(document.body);
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
