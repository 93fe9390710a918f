// Which trades the list shows: of a side, of at least some value. Pure but for its fields.

import { html } from "../../vendor/htm-preact/htm-preact.js";
import { useCell } from "../cells.js";
import { folded } from "../format.js";
import { ui } from "../prefs.js";
import { Choice } from "../widgets.js";

export const ALL_TRADES = { side: "all", least: 0 };

/** Tell whether a trade passes: its side, and its amount at least `least` of the base. */
export function passes(trade, { side, least }) {
  return (side === "all" || trade.side === side) && Number(trade.amount) >= least;
}

/** Return the amount that a text names, in either language's digits; 0: none. */
export function amountOf(text) {
  const found = Number(folded(text).replace(/٫/g, ".").replace(/[٬,]/g, ""));
  return Number.isFinite(found) && found > 0 ? found : 0;
}

export function TapeFilter({ filter, setFilter }) {
  const { t } = useCell(ui);
  return html`<div class="tape-filter">
    <${Choice} label=${t("side")} value=${filter.side} options=${["all", "buy", "sell"].map((each) => [each, t(each)])} onChange=${(side) => setFilter({ ...filter, side })} />
    <input type="text" inputmode="decimal" dir="ltr" placeholder=${t("least_amount")} aria-label=${t("least_amount")}
      onInput=${(event) => setFilter({ ...filter, least: amountOf(event.target.value) })} />
  </div>`;
}
