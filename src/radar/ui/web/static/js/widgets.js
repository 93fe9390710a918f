// Small parts that several pages use.

import { Component, html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm-preact/htm-preact.js";
import { useCell } from "./cells.js";
import { onKey } from "./keys.js";
import { ui } from "./prefs.js";

const ICONS = {
  list: "M4 6h16M4 12h16M4 18h10",
  candles: "M7 4v3m0 9v4M17 3v5m0 6v6M4.500 7h5v9h-5zM14.500 8h5v6h-5z",
  flow: "M4 6h5v5H4zM15 6h5v5h-5zM15 15h5v5h-5zM9 8.500h6M12 8.500v9h3",
  grid: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.400 1.400m11.200 11.200L19 19M5 19l1.400-1.400M17.600 6.400 19 5",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500Z",
  help: "M9.200 9a3 3 0 1 1 4.300 2.700c-1 .500-1.500 1.200-1.500 2.300m0 3v.100M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z",
  search: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13ZM15.500 15.500 20 20",
  star: "m12 4 2.500 5.200 5.500.700-4 3.900 1 5.600-5-2.700-5 2.700 1-5.600-4-3.900 5.500-.700Z",
  back: "m14 6-6 6 6 6",
  close: "m6 6 12 12M18 6 6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "m5 12 5 5 9-10",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM12 8v4l3 2",
  play: "M8 5v14l11-7Z",
  pause: "M8 5v14M16 5v14",
  second_back: "M15 6 9 12l6 6",
  second_on: "m9 6 6 6-6 6",
  candle_back: "m18 6-6 6 6 6M11 6l-6 6 6 6",
  candle_on: "m6 6 6 6-6 6M13 6l6 6-6 6",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  warning: "M12 4 2.500 20h19ZM12 10v4m0 3v.100",
};

export function Icon({ name }) {
  return html`<svg class="icon-${name}" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;
}

/** A number in its own direction: signs stay where they belong, and so do words like «هزار». */
export function Num({ children, class: name = "", title }) {
  const worded = typeof children === "string" && /[آ-ی]/.test(children);
  return html`<bdi class="num ${name}" dir=${worded ? "rtl" : "ltr"} title=${title}>${children}</bdi>`;
}

/** A change: sign, colour and arrow, so that colour alone says nothing. */
export function Change({ value, f, decimals = 2 }) {
  const shown = Number(((value ?? 0) * 100).toFixed(decimals)); // what rounds to zero is no change
  const trend = shown > 0 ? "up" : shown < 0 ? "down" : "flat";
  return html`<bdi class="num change ${trend}" dir="ltr">${f.percent(value, decimals, true)}</bdi>`;
}

export function Loading() {
  const { t } = useCell(ui);
  return html`<div class="state loading" role="status"><i class="spinner" />${t("loading")}</div>`;
}

/** What cannot be shown, why, and a button to ask again. */
export function Failed({ error, onRetry }) {
  const { t } = useCell(ui);
  let text = error.message;
  if (error.status === 0) text = t("error_network");
  else if (error.status === 401) text = t("error_401");
  return html`<div class="state failed" role="alert">
    <${Icon} name="warning" /><b>${t("error_title")}</b><p dir="auto">${text}</p>
    <button class="button" onClick=${onRetry}>${t("retry")}</button>
  </div>`;
}

export function Empty({ title, text, command }) {
  return html`<div class="state empty"><b>${title}</b>${text && html`<p>${text}</p>`}${command && html`<${Command} text=${command} />`}</div>`;
}

/** A command for a terminal that can be copied. */
export function Command({ text }) {
  const { t } = useCell(ui);
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setDone(true), () => {});
  return html`<span class="command" dir="ltr"><code>${text}</code>
    <button class="plain icon" aria-label="${t(done ? "copied" : "copy")}: ${text}" title=${t(done ? "copied" : "copy")} onClick=${copy}><${Icon} name=${done ? "check" : "copy"} /></button>
  </span>`;
}

/** A few choices of which one is taken. */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([key, text]) => html`<button key=${key} type="button" aria-pressed=${key === value ? "true" : "false"} onClick=${() => onChange(key)}>${text}</button>`)}
  </div>`;
}

/** Call `back` on Escape while `active`. */
export function useEscape(active, back) {
  useEffect(() => {
    if (!active) return undefined;
    return onKey((key, event) => {
      if (key !== "Escape" || event.target.closest?.("input")) return false;
      back();
      return true;
    });
  }, [active]);
}

/** A dialog over the page; the focus stays in it and returns afterwards. */
export function Modal({ title, onClose, children }) {
  const { t } = useCell(ui);
  const dialog = useRef(null);
  useLayoutEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`<dialog ref=${dialog} class="modal" aria-label=${title} onClose=${onClose}
    onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
    <div class="modal-body">
      <header><h2>${title}</h2><button class="plain icon" aria-label=${t("close")} onClick=${() => dialog.current.close()}><${Icon} name="close" /></button></header>
      ${children}
    </div>
  </dialog>`;
}

/** Tell whether it is this part's turn: so many frames after the first. It keeps each frame short. */
export function useTurn(frames) {
  const [left, setLeft] = useState(frames);
  useEffect(() => {
    if (left === 0) return undefined;
    const frame = requestAnimationFrame(() => setLeft(left - 1));
    return () => cancelAnimationFrame(frame);
  }, [left]);
  return left === 0;
}

/** Its content, so many frames later. */
export function Later({ frames, draw }) {
  return useTurn(frames) && draw();
}

/** Draws its children anew only when something in `of` is another. */
export class Still extends Component {
  shouldComponentUpdate(next) {
    return next.of.some((each, n) => each !== this.props.of[n]);
  }

  render({ draw }) {
    return draw();
  }
}

/**
 * Choose the rows of a long list that are near what is seen, so that its length costs nothing.
 *
 * @param box  ref of what scrolls, if it is not the window
 * @returns [ref of the list, first row, row after the last]
 */
export function useRowsInView(count, rowHeight, box = undefined, extra = 6) {
  const list = useRef(null);
  const [range, setRange] = useState([0, 30]);
  useLayoutEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      if (!list.current) return;
      const seen = box?.current?.getBoundingClientRect() ?? { top: 0, height: window.innerHeight };
      const above = seen.top - list.current.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(above / rowHeight) - extra);
      const end = Math.ceil((above + seen.height) / rowHeight) + extra;
      // In steps, so that most movements change nothing.
      const range = [first - (first % 5), Math.max(30, end + 5 - (end % 5))];
      setRange((now) => (now[0] === range[0] && now[1] === range[1] ? now : range));
    };
    const later = () => {
      frame ||= requestAnimationFrame(look);
    };
    look();
    const scrolled = box?.current ?? window;
    scrolled.addEventListener("scroll", later, { passive: true });
    window.addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      scrolled.removeEventListener("scroll", later);
      window.removeEventListener("resize", later);
    };
  }, [count, rowHeight]);
  const first = Math.min(range[0], Math.max(0, count - 1));
  return [list, first, Math.min(count, range[1])];
}

/** Tell whether the window is at most so wide, also when that changes. */
export function useNarrow(width) {
  const query = `(max-width: ${width}px)`;
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const look = () => setNarrow(media.matches);
    media.addEventListener("change", look);
    return () => media.removeEventListener("change", look);
  }, [query]);
  return narrow;
}

/**
 * Ask for something when a part appears or `of` changes, and again every `every_ms` while it is seen.
 *
 * @returns {data, error, at_ms: when the data came, again()}
 */
export function useAnswer(ask, of, every_ms = 0) {
  const [answer, setAnswer] = useState({ data: null, error: null, at_ms: 0 });
  const [round, setRound] = useState(0);
  const again = () => setRound((n) => n + 1);
  useEffect(() => {
    const aborter = new AbortController();
    ask(aborter.signal).then(
      (data) => !aborter.signal.aborted && setAnswer({ data, error: null, at_ms: Date.now() }),
      (error) => !aborter.signal.aborted && setAnswer((now) => ({ ...now, error })),
    );
    return () => aborter.abort();
  }, [...of, round]);
  useEffect(() => {
    if (!every_ms) return undefined;
    const look = () => {
      if (!document.hidden) again();
    };
    const timer = setInterval(look, every_ms);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [every_ms]);
  return { ...answer, again };
}
