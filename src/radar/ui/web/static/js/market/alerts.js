// The dialog with the price alerts of a market.

import { html, useState } from "../../vendor/htm-preact/htm-preact.js";
import { MOST_ALERTS } from "../alert_rules.js";
import { addAlert, alerts, removeAlert } from "../alerts.js";
import { useCell } from "../cells.js";
import { ui } from "../prefs.js";
import { Icon, Modal, Num } from "../widgets.js";
import { amountOf } from "./tape_filter.js";

function Dialog({ model, onClose }) {
  const { t, f } = useCell(ui);
  const row = useCell(model.market);
  const decimals = useCell(model.decimals);
  const all = useCell(alerts);
  const [problem, setProblem] = useState("");
  const market = `${row.source}:${row.symbol}`;
  const own = all.filter((each) => each.market === market && each.reached_s === null);
  const take = (event) => {
    event.preventDefault();
    const field = event.target.elements.price;
    const price = amountOf(field.value);
    if (!price) setProblem(t("alert_wrong"));
    else if (!addAlert(market, price, row.last_price)) setProblem(t("alert_too_many", { n: f.number(MOST_ALERTS) }));
    else {
      field.value = "";
      setProblem("");
    }
  };
  return html`<${Modal} title=${t("alerts")} onClose=${onClose}>
    <p>${t("last_price")}: <${Num}>${f.price(row.last_price, decimals)}<//></p>
    <form class="alert-form" onSubmit=${take}>
      <label>${t("price")} <input name="price" type="text" inputmode="decimal" dir="ltr" required autocomplete="off" /></label>
      <button class="button">${t("alert_add")}</button>
    </form>
    ${problem && html`<p class="down" role="alert">${problem}</p>`}
    <ul class="alert-list">${own.map((each) => html`<li key=${each.id}>
      <span>${t(each.above ? "alert_above" : "alert_below")} <${Num}>${f.price(each.price, decimals)}<//></span>
      <button class="plain icon" aria-label="${t("alert_remove")}: ${f.price(each.price, decimals)}" onClick=${() => removeAlert(each.id)}><${Icon} name="close" /></button>
    </li>`)}</ul>
    <p class="note">${t("alerts_note")}</p>
  <//>`;
}

/** The key that opens it; the market's row must be known, as alerts begin at its last price. */
export function AlertKey({ model }) {
  const { t } = useCell(ui);
  const row = useCell(model.market);
  const [open, setOpen] = useState(false);
  const known = row?.last_price > 0;
  return html`<button class="plain alert-key" disabled=${!known} onClick=${() => setOpen(true)}>${t("alerts")}</button>
    ${open && known && html`<${Dialog} model=${model} onClose=${() => setOpen(false)} />`}`;
}
