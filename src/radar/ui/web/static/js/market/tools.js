// The tools of the chart: how it is drawn, full screen, and taking along what is seen.

import { html, useEffect, useState } from "../../vendor/htm-preact/htm-preact.js";
import { useCell } from "../cells.js";
import { second, serverNow } from "../clock.js";
import { keep, kept, ui } from "../prefs.js";
import { Choice, Icon, Modal } from "../widgets.js";
import { csvOf } from "./csv.js";

export const STYLES = ["candles", "line"];
export const SCALES = ["linear", "logarithmic", "percent"];
const DONE_MS = 1500;
const SHORT_S = 86400; // candles that are shorter have a countdown

/** Return a kept choice, if it is one of these. */
export function chosen(name, among) {
  const found = kept(name, among[0]);
  return among.includes(found) ? found : among[0];
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), DONE_MS);
}

/** How long the newest candle still grows; only now, the past has its own clock. */
function Countdown({ interval_s }) {
  const { t, f } = useCell(ui);
  useCell(second);
  const left_s = Math.ceil(interval_s - (serverNow() % interval_s));
  const text = [Math.floor(left_s / 3600), Math.floor(left_s / 60) % 60, left_s % 60].map((n) => String(n).padStart(2, "0"));
  return html`<span class="muted countdown" title=${t("countdown")}><bdi>${f.digits((interval_s > 3600 ? text : text.slice(1)).join(":"))}</bdi></span>`;
}

const DATASETS = ["candles", "trades", "books"];

/** Files of the time that is seen, which the server writes. */
function Files({ symbol, interval_s, zone, seen, onClose }) {
  const { t, f } = useCell(ui);
  const link = (dataset) => {
    const query = new URLSearchParams({ symbol, dataset, interval_s, time_zone: zone, ...seen });
    return `api/parquet?${query}`;
  };
  return html`<${Modal} title=${t("save_parquet")} onClose=${onClose}>
    <p><bdi>${f.dateTime(seen.from_s)}</bdi> – <bdi>${f.dateTime(seen.to_s)}</bdi></p>
    <ul class="files">${DATASETS.map((each) => html`<li key=${each}><a class="button" download href=${link(each)}>${t(`file_${each}`)}</a></li>`)}</ul>
    <p class="note">${t("files_bound")}</p>
  <//>`;
}

/**
 * The row of tools.
 *
 * `seen()` returns the times that are seen; `zone` has the days of candles. `look` is {style, scale, vwap}, `setLook` changes the first two and `onVwap` switches the last; `chart` is a ref of the chart, `card` one of the
 * element that is shown on the whole screen.
 */
export function ChartTools({ symbol, interval_s, zone, seen, live, look, setLook, onVwap, chart, card }) {
  const { t } = useCell(ui);
  const [copied, setCopied] = useState(false);
  const [files, setFiles] = useState(null);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), DONE_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const take = (name) => (value) => {
    keep(`chart.${name}`, value);
    setLook((now) => ({ ...now, [name]: value }));
  };
  const file = (kind) => `${symbol.replace(/[^A-Za-z0-9]+/g, "-")}-${interval_s}s.${kind}`;
  const asCsv = () => save(new Blob([csvOf(chart.current?.candles ?? [])], { type: "text/csv" }), file("csv"));
  const asPng = () => chart.current?.picture().toBlob((blob) => blob && save(blob, file("png")));
  const copy = () => navigator.clipboard?.writeText(location.href).then(() => setCopied(true), () => {});
  const whole = () => (document.fullscreenElement ? document.exitFullscreen() : card.current?.requestFullscreen?.());
  return html`<div class="chart-tools">
    <${Choice} label=${t("chart_style")} value=${look.style} onChange=${take("style")} options=${STYLES.map((each) => [each, t(`style_${each}`)])} />
    <${Choice} label=${t("price_scale")} value=${look.scale} onChange=${take("scale")} options=${SCALES.map((each) => [each, t(`scale_${each}`)])} />
    <span class="tool-keys">
      <button class="plain switch" aria-pressed=${look.vwap ? "true" : "false"} title=${t("vwap_help")} onClick=${onVwap}>VWAP</button>
      <button class="plain" onClick=${copy}>${t(copied ? "copied" : "copy_link")}</button>
      <button class="plain" onClick=${asCsv} title=${t("save_csv")}>CSV</button>
      <button class="plain" onClick=${() => setFiles(seen())} title=${t("save_parquet")}>Parquet</button>
      <button class="plain" onClick=${asPng} title=${t("save_png")}>PNG</button>
      <button class="plain icon" onClick=${whole} aria-label=${t("full_screen")} title=${t("full_screen")}><${Icon} name="full" /></button>
    </span>
    ${live && interval_s < SHORT_S && html`<${Countdown} interval_s=${interval_s} />`}
    ${files && html`<${Files} symbol=${symbol} interval_s=${interval_s} zone=${zone} seen=${files} onClose=${() => setFiles(null)} />`}
  </div>`;
}
