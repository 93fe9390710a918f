// Price alerts of this browser: kept, looked at by one of its tabs, and shown by all.

import { html, useEffect } from "../vendor/htm-preact/htm-preact.js";
import { alertsOf, askedFor, looked, MOST_ALERTS, newAlert } from "./alert_rules.js";
import { get } from "./api.js";
import { Cell, useCell } from "./cells.js";
import { serverNow } from "./clock.js";
import { visible } from "./format.js";
import { keep, kept, ui } from "./prefs.js";
import { address } from "./route.js";
import { Icon } from "./widgets.js";

const EVERY_MS = 5000;
const NAME = "alerts";

export const alerts = new Cell(alertsOf(kept(NAME, "[]")));

function take(next) {
  keep(NAME, JSON.stringify(next));
  alerts.set(next);
}

/** Another tab may have changed them meanwhile. */
function current() {
  const found = kept(NAME, null);
  return found === null ? alerts.value : alertsOf(found);
}

window.addEventListener("storage", ({ key }) => {
  if (key === `radar.${NAME}`) alerts.set(current());
});

/** Keep an alert; returns false if there are too many. Asks for leave to notify. */
export function addAlert(market, price, last_price) {
  const known = current();
  if (known.length >= MOST_ALERTS) return false;
  take([...known, newAlert(market, price, last_price, serverNow())]);
  if (window.Notification?.permission === "default") Notification.requestPermission();
  return true;
}

export function removeAlert(id) {
  take(current().filter((each) => each.id !== id));
}

function text(alert, { t, f }) {
  return t(alert.above ? "alert_risen" : "alert_fallen", { market: visible(alert.market), price: f.price(alert.price), time: f.clock(alert.reached_s) });
}

/** Show an alert outside the page, where the browser allows it; the page shows it in any case. */
function notify(alert) {
  if (window.Notification?.permission !== "granted") return;
  try {
    new Notification("radar", { body: text(alert, ui.value), tag: alert.id, icon: "icon.svg" });
  } catch {
    // Some phones allow notifications to service workers only.
  }
}

/** Look at the prices of all markets that have alerts. */
async function look() {
  const waiting = current().filter((each) => each.reached_s === null);
  for (const market of new Set(waiting.map((each) => each.market))) {
    const own = waiting.filter((each) => each.market === market);
    const asked = askedFor(Math.min(...own.map((each) => each.checked_s)), serverNow());
    const { candles } = await get("candles", { symbol: market, ...asked });
    const after = new Map(own.map((each) => [each.id, looked(each, candles, asked.interval_s)]));
    take(current().map((each) => after.get(each.id) ?? each));
    for (const each of after.values()) if (each.reached_s !== null) notify(each);
  }
}

/** Look again and again, in one tab of the browser. */
export function watchAlerts() {
  const begin = () => {
    let busy = false;
    setInterval(() => {
      if (busy) return;
      busy = true;
      look().catch(() => {}).finally(() => (busy = false)); // the next look covers the time of this one
    }, EVERY_MS);
    return new Promise(() => {}); // until the tab ends
  };
  if (navigator.locks) navigator.locks.request("radar-alerts", begin);
  else begin();
}

/** The alerts that were reached, on every page, until they are dismissed. */
export function ReachedAlerts() {
  const look = useCell(ui);
  const reached = useCell(alerts).filter((each) => each.reached_s !== null);
  useEffect(() => watchAlerts(), []);
  return html`<div class="alerts" role="alert">${reached.map((each) => html`<p key=${each.id} class="alert">
    <a href=${address({ page: "market", symbol: each.market })}>${text(each, look)}</a>
    <button class="plain icon" aria-label="${look.t("close")}: ${text(each, look)}" onClick=${() => removeAlert(each.id)}><${Icon} name="close" /></button>
  </p>`)}</div>`;
}
