// The newest trades, and the times in which none were recorded.

import { html, useState } from "../../vendor/htm-preact/htm-preact.js";
import { useCell } from "../cells.js";
import { ui, zoneText } from "../prefs.js";
import { Empty, Loading, Num } from "../widgets.js";
import { ALL_TRADES, TapeFilter, passes } from "./tape_filter.js";
import { isLarge, tapeRows } from "./tape_rows.js";

/** What is said of a gap: when, why, and whether its trades were fetched. */
export function gapText(gap, { t, f }) {
  const times = `${f.dateTime(gap.began_at_s)} – ${f.clock(gap.ended_at_s)}`;
  const cause = `${times}: ${t(`cause_${gap.cause}`)}`;
  if (gap.dataset !== "trades") return cause; // no exchange sends an old book again
  return `${cause}${t("list_comma")}${t(gap.repaired ? "fetched" : "not_fetched")}`;
}

function Gap({ gap }) {
  const look = useCell(ui);
  const { t, f } = look;
  return html`<tr class="tape-gap ${gap.repaired ? "fetched" : ""}"><td colspan="3" title=${gapText(gap, look)}>
    <b>${t("not_recorded")}</b> <bdi>${f.clock(gap.began_at_s)}–${f.clock(gap.ended_at_s)}</bdi>
    <small>${t(`cause_${gap.cause}`)} · ${t(gap.repaired ? "fetched" : "not_fetched")}</small></td></tr>`;
}

export function Tape({ model }) {
  const look = useCell(ui);
  const { t, f } = look;
  const trades = useCell(model.trades);
  const decimals = useCell(model.decimals);
  const recorded = useCell(model.recorded);
  const large = useCell(model.large_amount);
  useCell(model.at_s);
  const gaps = (recorded?.gaps ?? []).filter((gap) => gap.dataset === "trades");
  const [filter, setFilter] = useState(ALL_TRADES);
  // Gaps are put between all trades: a filter must not make one look longer.
  const rows = (trades ? tapeRows(trades, gaps, model.now()) : []).filter(({ trade }) => trade === null || passes(trade, filter));
  return html`<section class="card tape" aria-label=${t("tape")}>
    <header><h2>${t("tape")}</h2><${TapeFilter} filter=${filter} setFilter=${setFilter} /></header>
    ${trades === null ? html`<${Loading} />` : rows.length === 0 ? html`<${Empty} title=${t(trades.length ? "no_such_trades" : "no_trades")} />` : html`
    <div class="tape-rows" tabindex="0"><table>
      <thead><tr><th scope="col">${t("price")}</th><th scope="col">${t("amount")}</th><th scope="col">${t("time", { zone: zoneText(look) })}</th></tr></thead>
      <tbody>${rows.map(({ trade, gap }) => (trade === null
        ? html`<${Gap} key=${`gap ${gap.began_at_s} ${gap.cause}`} gap=${gap} />`
        : html`<tr key=${trade.id} class="${gap ? "in-gap" : ""} ${isLarge(trade, large) ? "is-large" : ""}" title=${isLarge(trade, large) ? t("large_trade", { amount: f.amount(large) }) : null}>
        <td><${Num} class=${trade.side === "buy" ? "up" : "down"} title=${t(trade.side)}><i class="side" aria-label=${t(trade.side)}>${trade.side === "buy" ? "▲" : "▼"}</i>${f.price(trade.price, decimals)}<//></td>
        <td>${isLarge(trade, large) && html`<i class="large" role="img" aria-label=${t("large_trade", { amount: f.amount(large) })}>●</i>`}<${Num}>${f.amount(trade.amount)}<//></td>
        <td class="muted"><${Num}>${f.clock(trade.at_s)}<//></td>
      </tr>`))}</tbody>
    </table></div>`}
  </section>`;
}
