// The frame around the pages: navigation, state of the connection, language, theme, keys.

import { html, render, useEffect, useRef, useState } from "../vendor/htm-preact/htm-preact.js";
import { ReachedAlerts } from "./alerts.js";
import { get, whenReachable } from "./api.js";
import { useCell } from "./cells.js";
import { second, serverNow } from "./clock.js";
import { onKey } from "./keys.js";
import { status } from "./live.js";
import { liveness } from "./liveness.js";
import { route } from "./navigation.js";
import { Markets } from "./pages/markets.js";
import { followSystemTheme, kept, setLanguage, setTheme, setZone, ui, zoneText } from "./prefs.js";
import { Printed } from "./print.js";
import { address } from "./route.js";
import { Empty, Failed, Icon, Loading, Modal, useEscape } from "./widgets.js";
import { ZONES } from "./zones.js";

const FALLBACK_MARKET = "USDTTMN";

// Charts come with the pages that have some, so that the first page is there at once.
const PAGES = new Map([
  ["markets", async () => Markets],
  ["market", async () => (await import("./pages/market.js")).MarketPage],
  ["pipeline", async () => (await import("./pages/pipeline.js")).PipelinePage],
  ["quality", async () => (await import("./pages/quality.js")).QualityPage],
]);

const ICONS = { markets: "list", market: "candles", pipeline: "flow", quality: "grid" };

/** The address of a page's tab; that of a market is the one seen last. */
function tabAddress(page) {
  return address({ page, symbol: page === "market" ? kept("market", FALLBACK_MARKET) : "" });
}

function useLiveness() {
  const now = useCell(status);
  useCell(second);
  return now.state === "idle" ? null : { ...liveness(now, Date.now(), serverNow()), quiet_s: (Date.now() - now.at_ms) / 1000 };
}

/** What a banner or a mark names, in words. */
function worded({ age, dataset, text }, { t, f }) {
  return { age: f.duration(age ?? NaN), dataset: dataset && t(`dataset_${dataset}`), text };
}

function Connection() {
  const look = useCell(ui);
  const { t, f } = look;
  const found = useLiveness();
  if (!found) return null;
  const { state, values, quiet_s } = found;
  const words = t(state === "still" ? "still_mark" : state, worded(values, look));
  return html`<span class="connection" data-state=${state} title=${t("live_title", { age: f.ago(quiet_s) })}>
    <i class="dot" /><span class="long" aria-hidden="true">${words}</span><span class="short" aria-hidden="true">${t(state)}</span><span class="visually-hidden" role="status">${t(state)}</span>
  </span>`;
}

/** The time zone of all times that the pages write. */
function Zone() {
  const look = useCell(ui);
  const { t } = look;
  return html`<select class="zone" aria-label=${t("time_zone")} title="${t("time_zone")}: ${zoneText(look)}" value=${look.zone} onChange=${(event) => setZone(event.target.value)}>
    ${ZONES.map((each) => html`<option key=${each} value=${each} selected=${each === look.zone}>${t(`zone_${each}_short`)}</option>`)}
  </select>`;
}

function Banner() {
  const look = useCell(ui);
  const found = useLiveness();
  if (!found?.banner) return null;
  // Not announced: its age changes every second. The state beside the pages' names is.
  return html`<div class="banner" data-state=${found.state}>${look.t(found.banner, worded(found.values, look))}</div>`;
}

const KEYS = [
  ["/", "keys_search"], ["↑ ↓  j k", "keys_move"], ["Enter", "keys_open"], ["Esc", "keys_back"],
  ["1 2 3 4", "keys_pages"], ["f", "keys_favourite"], ["[ ]", "keys_interval"],
  ["p", "keys_play"], [", .", "keys_step"], ["n", "keys_now"], ["t", "keys_theme"], ["l", "keys_language"], ["z", "keys_zone"], ["?", "keys_help"],
];

function Help({ about, onClose }) {
  const look = useCell(ui);
  const { t } = look;
  return html`<${Modal} title=${t("help")} onClose=${onClose}>
    <dl class="keys">
      ${KEYS.map(([keys, name]) => html`<div key=${name}>
        <dt>${keys.split(" ").filter(Boolean).map((key) => html`<kbd>${key}</kbd>`)}</dt>
        <dd>${t(name)}</dd>
      </div>`)}
    </dl>
    <p class="note"><bdi dir="ltr">radar ${about?.version ?? ""}</bdi> · ${t("times", { zone: zoneText(look) })}</p>
    <p class="note">${t("made_with")} <a href="https://www.tradingview.com/" rel="noreferrer" target="_blank">tradingview.com</a></p>
  <//>`;
}

function WrongAddress() {
  const { t } = useCell(ui);
  return html`<${Empty} title=${t("wrong_address")} text=${t("wrong_address_text")} /><p class="center"><a class="button" href="#/">${t("back")}</a></p>`;
}

function App() {
  const { lang, theme, t } = useCell(ui);
  const where = useCell(route);
  const { page, symbol } = where;
  const [View, setView] = useState(() => (page === "markets" ? Markets : null));
  const [shown, setShown] = useState(page);
  const [failed, setFailed] = useState(false);
  const [round, setRound] = useState(0);
  const [about, setAbout] = useState(null);
  const [helping, setHelping] = useState(false);

  useEffect(() => {
    let current = true;
    setFailed(false);
    const load = PAGES.get(page) ?? (async () => WrongAddress);
    load().then((found) => {
      if (!current) return;
      setView(() => found);
      setShown(page);
    }, () => current && setFailed(true));
    return () => {
      current = false;
    };
  }, [page, round]);

  useEffect(() => {
    if (!failed) return undefined;
    // Some browsers remember that a module failed, so the whole page is loaded again.
    return whenReachable(() => location.reload());
  }, [failed]);

  useEffect(() => {
    get("about").then(setAbout, () => {});
  }, []);

  useEffect(() => {
    document.title = page === "market" ? `${symbol} · radar` : `${t(page)} · radar`;
  }, [page, symbol, lang]);

  // After another page came, the keyboard and the screen reader begin at its content.
  const arrived = useRef(false);
  useEffect(() => {
    if (shown !== page) return;
    if (arrived.current) document.getElementById("content").focus({ preventScroll: true });
    arrived.current = true;
  }, [shown, page, symbol]);

  useEffect(() => onKey((key) => {
    const pages = [...PAGES.keys()];
    if (key >= "1" && key <= String(pages.length)) location.hash = tabAddress(pages[key - 1]);
    else if (key === "?") setHelping((is) => !is);
    else if (key === "t") setTheme(ui.value.theme === "dark" ? "light" : "dark");
    else if (key === "z") setZone(ZONES[(ZONES.indexOf(ui.value.zone) + 1) % ZONES.length]);
    else if (key === "l") setLanguage(ui.value.lang === "fa" ? "en" : "fa");
    else return false;
    return true;
  }), []);

  useEscape(!helping && page !== "markets", () => {
    location.hash = "#/";
  });

  return html`
    <a class="skip" href="#content" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("content").focus();
    }}>${t("skip")}</a>
    <header class="top">
      <a class="brand" href="#/" aria-label="radar"><img src="icon.svg" alt="" width="26" height="26" /><b>radar</b></a>
      <nav aria-label=${t("pages")}>
        ${[...PAGES.keys()].map((each, n) => html`
          <a key=${each} href=${tabAddress(each)} aria-current=${each === page ? "page" : null} aria-keyshortcuts=${n + 1}>
            <${Icon} name=${ICONS[each]} /><span>${t(each)}</span>
          </a>`)}
      </nav>
      <div class="tools">
        ${about?.simulated && html`<span class="tag">${t("simulated")}</span>`}
        <${Connection} />
        <${Zone} />
        <button class="plain" lang=${lang === "fa" ? "en" : "fa"} title=${t("keys_language")} onClick=${() => setLanguage(lang === "fa" ? "en" : "fa")}>${t("other_language")}</button>
        <button class="plain icon" aria-label=${t(theme === "dark" ? "theme_light" : "theme_dark")} title=${t(theme === "dark" ? "theme_light" : "theme_dark")}
          onClick=${() => setTheme(theme === "dark" ? "light" : "dark")}><${Icon} name=${theme === "dark" ? "sun" : "moon"} /></button>
        <button class="plain icon wide" aria-label=${t("help")} title=${t("help")} onClick=${() => setHelping(true)}><${Icon} name="help" /></button>
      </div>
    </header>
    ${about?.simulated && html`<div class="strip">${t("simulated")}</div>`}
    <${Printed} />
    <${Banner} />
    <${ReachedAlerts} />
    <main id="content" tabindex="-1" data-page=${page}>
      ${failed ? html`<${Failed} error=${{ status: 0 }} onRetry=${() => setRound((n) => n + 1)} />`
        : View && shown === page ? html`<${View} key=${page + symbol} symbol=${symbol} route=${where} />` : html`<${Loading} />`}
    </main>
    ${helping && html`<${Help} about=${about} onClose=${() => setHelping(false)} />`}`;
}

followSystemTheme();
// Canvases do not wait for fonts: have them before the first chart.
for (const text of ["0", "۰"]) document.fonts.load("400 12px Vazirmatn", text);
render(html`<${App} />`, document.getElementById("app"));
