// Is the data complete: what was watched, which gaps there were, what could not be stored.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { useCell } from "../cells.js";
import { second } from "../clock.js";
import { letterName, visible } from "../format.js";
import { follow } from "../live.js";
import { keep, kept, ui, zoneText } from "../prefs.js";
import { usePrinting } from "../print.js";
import { address } from "../route.js";
import { Choice, Command, Empty, Failed, Icon, Loading, Num, useAnswer, useNarrow, useRowsInView } from "../widgets.js";

const DAYS = [7, 14, 30];
const NARROW_DAYS = [7, 14];
const ROW_PX = 34;
const STEPS = [0.9, 0.99, 0.999, 1]; // of the legend; the server tells each day's level
const NAMED = 3;
const FIRST_GAPS = 8;
const EVERY_MS = 20000;

const STATES = ["verified", "repaired", "unverifiable", "missing"];

/** The shares of the four states, of the examined time. */
function proven(proof, { f, t }) {
  if (!proof) return t("not_examined");
  const all = STATES.reduce((total, state) => total + proof[`${state}_s`], 0);
  const parts = STATES.filter((state) => proof[`${state}_s`] > 0).map((state) => t(`state_${state}`, { share: f.share(proof[`${state}_s`] / all) }));
  if (proof.missing > 0) parts.push(t("records_missing", { n: f.number(proof.missing) }));
  if (proof.own_s > 0) parts.push(t("own_stop", { seconds: f.duration(proof.own_s) }));
  return parts.join(t("list_comma"));
}

function Cell({ cell, share, symbol, day, look }) {
  const { f, t } = look;
  if (cell === null || cell === undefined) return html`<td class="heat none" title="${symbol}, ${day}: ${t("not_watched")}"><span>–</span></td>`;
  const text = t("cell", {
    market: symbol, day, watched: f.share(cell.watched_share), complete: f.share(cell.complete_share),
    gaps: f.number(cell.gaps), seconds: f.duration(cell.gaps_s), repaired: f.number(cell.repaired_gaps),
  }) + t("sentence_end") + proven(cell.proof, look);
  if (cell[share] === null) return html`<td class="heat none" title=${text}><span>–</span></td>`;
  return html`<td class="heat h${cell[share.replace("share", "level")]}" title=${text}><span><${Num}>${f.share(cell[share])}<//></span></td>`;
}

/** For how long rows are kept, which day goes first, and how often books are recorded. */
function Kept({ retention: { days, first_day, goes_on, book_interval_s } }) {
  const { t, f } = useCell(ui);
  const books = book_interval_s > 0 ? ` ${t("books_every", { seconds: f.number(book_interval_s) })}` : "";
  if (days === null) return html`<span>${t("kept_for_ever")}${books}</span>`;
  const kept = t("kept_days", { days: f.number(days) });
  return html`<span>${kept}${first_day && ` ${t("first_day_to_go", { day: f.dayOf(first_day), goes: f.dayOf(goes_on) })}`}${books}</span>`;
}

/** Tell whether a market's name is the wanted one, which may lack the exchange or name it. */
function isWanted(market, wanted) {
  const bare = (name) => name.slice(name.indexOf(":") + 1);
  if (!wanted) return true;
  return market.includes(":") && wanted.includes(":") ? market === wanted : bare(market) === bare(wanted);
}

function Coverage({ answer, days, setDays, narrow, wanted }) {
  const look = useCell(ui);
  const { t, f } = look;
  const [dataset, setDataset] = useState(() => kept("coverage.dataset", "trades"));
  const [share, setShare] = useState(() => kept("coverage.share", "watched_share"));
  const [order, setOrder] = useState("worst");
  const { data, error, again } = answer;
  const box = useRef(null);
  const rows = useMemo(() => {
    const found = (data?.markets ?? []).filter((each) => each.dataset === dataset && isWanted(each.market, wanted));
    const mean = ({ days: cells }) => {
      const known = cells.filter((each) => each !== null && each[share] !== null);
      return known.length ? known.reduce((total, each) => total + each[share], 0) / known.length : 2;
    };
    const keyed = found.map((row) => [order === "worst" ? mean(row) : 0, row]);
    keyed.sort(([a, x], [b, y]) => a - b || (x.market < y.market ? -1 : 1));
    return keyed.map(([, row]) => row);
  }, [data, dataset, share, order, wanted]);
  const printing = usePrinting();
  const [list, inView, viewEnd] = useRowsInView(rows.length, ROW_PX, box);
  const [first, end] = printing ? [0, rows.length] : [inView, viewEnd];
  useLayoutEffect(() => {
    // The newest day is what people look for first.
    if (box.current) box.current.scrollLeft = (document.documentElement.dir === "rtl" ? -1 : 1) * box.current.scrollWidth;
  }, [data === null, days, document.documentElement.dir]);
  const shares = [["watched_share", t("watched")], ["complete_share", t("complete")], ["proven_share", t("proven")]];

  let content;
  if (!data) content = error ? html`<${Failed} error=${error} onRetry=${again} />` : html`<${Loading} />`;
  else if (rows.length === 0) content = html`<${Empty} title=${t("no_coverage")} />`;
  else {
    content = html`<table class="heat-map" aria-rowcount=${rows.length + 1} style=${{ minWidth: `${110 + data.days.length * (narrow ? 50 : 56)}px` }}>
      <thead><tr><th scope="col">${t("market")}</th>${data.days.map((day) => html`<th key=${day} scope="col"><bdi>${f.dayOf(day)}</bdi></th>`)}</tr></thead>
      <tbody ref=${list}>
        ${first > 0 && html`<tr key="above" aria-hidden="true"><td colspan=${data.days.length + 1} style=${{ height: `${first * ROW_PX}px`, padding: 0 }} /></tr>`}
        ${rows.slice(first, end).map((row, n) => html`<tr key=${row.market} aria-rowindex=${first + n + 2}>
          <th scope="row"><a href="#/market/${encodeURIComponent(row.market)}"><bdi>${row.market}</bdi></a></th>
          ${row.days.map((cell, n) => html`<${Cell} key=${data.days[n]} cell=${cell} share=${share} symbol=${row.market} day=${f.dayOf(data.days[n])} look=${look} />`)}
        </tr>`)}
        ${end < rows.length && html`<tr key="below" aria-hidden="true"><td colspan=${data.days.length + 1} style=${{ height: `${(rows.length - end) * ROW_PX}px`, padding: 0 }} /></tr>`}
      </tbody>
    </table>`;
  }
  return html`<section class="card coverage" aria-label=${t("coverage")}>
    <header><div><h2>${t("coverage")}</h2><p class="note">${t("coverage_lead")} ${data && html`<${Kept} retention=${data.retention} />`}</p></div>
      <div class="end choices">
        <${Choice} label=${t("dataset")} value=${dataset} options=${[["trades", t("dataset_trades")], ["depth", t("dataset_depth")]]} onChange=${(next) => {
          keep("coverage.dataset", next);
          setDataset(next);
        }} />
        <${Choice} label=${t("coverage")} value=${share} options=${shares} onChange=${(next) => {
          keep("coverage.share", next);
          setShare(next);
        }} />
        <${Choice} label=${t("coverage")} value=${days} options=${(narrow ? NARROW_DAYS : DAYS).map((n) => [n, t("last_days", { n: f.number(n) })])} onChange=${setDays} />
        <${Choice} label=${t("sort_by", { column: "" })} value=${order} options=${[["worst", t("worst_first")], ["name", t("by_name")]]} onChange=${setOrder} />
      </div>
    </header>
    <div class="heat-legend note"><span>${t(share.replace("share", "help"))}</span>
      <span class="end scale" dir="ltr">${[0, 1, 2, 3, 4].map((step) => html`<i key=${step} class="heat-swatch h${step}" />${step < 4 && html`<${Num}>${step === 3 ? f.percent(1, 0) : f.share(STEPS[step])}<//>`}`)}</span></div>
    <div class="heat-scroll" ref=${box} tabindex="0" aria-label=${t("coverage")}>${content}</div>
  </section>`;
}

/** Offsets of Kafka that are no rows; in the list of gaps, as they are missing too. */
function DeliveryGaps({ answer }) {
  const { t, f } = useCell(ui);
  const { data, error, again } = answer;
  if (!data) return error ? html`<${Failed} error=${error} onRetry=${again} />` : null;
  if (data.delivery_gaps === null) return html`<h3 class="sub">${t("delivery_gaps")}</h3><p class="note">${t("not_known")}</p>`;
  if (data.delivery_gaps.length === 0) return null;
  return html`<h3 class="sub">${t("delivery_gaps")}</h3><div class="scroll" tabindex="0"><table class="list gaps">
    <thead><tr><th scope="col">${t("recorded")}</th><th scope="col">${t("topic")}</th><th scope="col">${t("offsets")}</th><th scope="col">${t("cause")}</th></tr></thead>
    <tbody>${data.delivery_gaps.map((gap) => html`<tr key=${gap.topic + gap.partition + gap.first + gap.recorded_at_s}>
      <th scope="row"><bdi>${f.dateTime(gap.recorded_at_s)}</bdi></th>
      <td><bdi dir="ltr" class="mono">${visible(gap.topic)}/${gap.partition}</bdi></td>
      <td><bdi dir="ltr">${gap.first}–${gap.last}</bdi></td>
      <td class="wrap"><bdi dir="auto">${visible([gap.cause, gap.explanation].filter(Boolean).join(": "))}</bdi></td>
    </tr>`)}</tbody>
  </table></div>`;
}

/** The markets of a gap that are named, the wanted one first. */
function named(markets, wanted) {
  if (!wanted) return markets.slice(0, NAMED);
  return [...markets].sort((a, b) => isWanted(b, wanted) - isWanted(a, wanted)).slice(0, NAMED);
}

function Gaps({ answer, delivery, wanted }) {
  const look = useCell(ui);
  const { t, f } = look;
  const [more, setAll] = useState(false);
  const printing = usePrinting();
  const all = more || printing;
  const { data, error, again } = answer;
  let content;
  if (!data) content = error ? html`<${Failed} error=${error} onRetry=${again} />` : html`<${Loading} />`;
  else if (data.gaps.length === 0) content = html`<p class="calm"><${Icon} name="check" />${t("no_gaps")}</p>`;
  else {
    const shown = all ? data.gaps : data.gaps.slice(0, FIRST_GAPS);
    content = html`<div class="scroll" tabindex="0"><table class="list gaps">
      <thead><tr><th scope="col">${t("from", { zone: zoneText(look) })}</th><th scope="col">${t("to")}</th><th scope="col" class="n">${t("lasted")}</th><th scope="col">${t("dataset")}</th><th scope="col">${t("cause")}</th><th scope="col">${t("markets")}</th><th scope="col">${t("repaired")}</th></tr></thead>
      <tbody>${shown.map((gap, n) => html`<tr key=${n}>
        <th scope="row"><bdi>${f.dateTime(gap.began_at_s)}</bdi></th>
        <td><bdi>${f.clock(gap.ended_at_s)}</bdi></td>
        <td class="n"><bdi>${f.duration(gap.ended_at_s - gap.began_at_s)}</bdi></td>
        <td>${t(`dataset_${gap.dataset}`)}</td>
        <td>${t(`cause_${gap.cause}`)}</td>
        <td class="wrap" title=${gap.markets.join(", ")}>${named(gap.markets, wanted).map((symbol) => html`<a key=${symbol} class="chip" href=${address({ page: "market", symbol, at_s: Math.floor(gap.began_at_s) })} title=${t("see_moment")}><bdi>${symbol}</bdi></a>`)}
          ${gap.markets.length > NAMED && html`<span class="muted">${t("and_more", { n: f.number(gap.markets.length - NAMED) })}</span>`}</td>
        <td>${gap.repaired ? html`<span class="is-good" title=${t("fetched")}><${Icon} name="check" />${t("repaired")}</span>` : html`<span class="is-open"><i class="dot" />${t("not_repaired")}</span>`}</td>
      </tr>`)}</tbody>
    </table></div>
    ${!all && data.gaps.length > FIRST_GAPS && html`<p class="more"><button class="button" onClick=${() => setAll(true)}>${t("and_more_gaps", { n: f.number(data.gaps.length - FIRST_GAPS) })}</button></p>`}
    ${data.more && (all || data.gaps.length <= FIRST_GAPS) && html`<p class="more note">${t("more_gaps")} <${Command} text=${`radar query "SELECT * FROM symbol_gaps ORDER BY began_at DESC"`} /></p>`}`;
  }
  return html`<section class="card" aria-label=${t("gaps")}>
    <header><div><h2>${t("gaps")}</h2><p class="note">${t("gaps_lead")}</p></div></header>${content}<${DeliveryGaps} answer=${delivery} />
  </section>`;
}

function Letters({ answer }) {
  const { t, f } = useCell(ui);
  const { data, error, again } = answer;
  let content;
  if (!data) content = error ? html`<${Failed} error=${error} onRetry=${again} />` : html`<${Loading} />`;
  else if (data.letters.length === 0) content = html`<p class="calm"><${Icon} name="check" />${t("no_letters")}</p>`;
  else {
    content = html`<ul class="letters">${data.letters.map((each) => {
      const name = letterName(each);
      return html`<li key=${`${each.topic}:${each.partition}:${each.offset}`}>
        <div><b class="mono reason-word">${visible(each.reason)}</b> <span class="muted">${t(`dataset_${each.dataset}`)} · <bdi>${f.dateTime(each.at_s)}</bdi></span>
          <p dir="auto">${visible(each.detail)}</p></div>
        <div class="letter-do">${each.replayed
          ? html`<span class="is-good"><${Icon} name="check" />${t("replayed")}</span>`
          : name && html`<label><span class="note">${t("look")}</span><${Command} text="radar dlq show ${name}" /></label><label><span class="note">${t("replay")}</span><${Command} text="radar dlq replay ${name}" /></label>`}</div>
      </li>`;
    })}</ul>`;
  }
  const open = (data?.letters ?? []).some((each) => !each.replayed);
  return html`<section class="card" aria-label=${t("letters")}>
    <header><div><h2>${t("letters")}</h2><p class="note">${t("letters_lead")}</p></div>
      ${open && html`<div class="end letter-all"><span class="note">${t("replay_all")}</span><${Command} text="radar dlq replay" /></div>`}</header>${content}
  </section>`;
}

function Tile({ value, name, note, state }) {
  return html`<div class="card tile ${state}"><dd>${value}</dd><dt>${name}</dt>${note && html`<dd class="note">${note}</dd>`}</div>`;
}

/** The answer at a glance: how much is there, how often something was missed, what waits. */
function Summary({ summary, gaps, delivery, letters, days, wanted }) {
  const { t, f } = useCell(ui);
  const of = t("dataset_trades") + (wanted ? ` · ${t("all_markets")}` : "");
  const unrepaired = gaps?.gaps.filter((each) => !each.repaired).length;
  const waiting = letters?.filter((each) => !each.replayed).length;
  const n = f.number(days);
  const gapNote = gaps && (gaps.gaps.length === 0 ? "" : unrepaired ? t("summary_open", { n: f.number(unrepaired) }) : t("summary_all_repaired"));
  return html`<dl class="tiles">
    <${Tile} value=${html`<${Num}>${f.share(summary?.watched_share)}<//>`} name=${t("summary_watched", { days: n })} note=${of} state=${summary && !summary.watched_good ? "warn" : ""} />
    <${Tile} value=${html`<${Num}>${f.share(summary?.complete_share)}<//>`} name=${t("summary_complete", { days: n })} note=${of} state=${summary && !summary.complete_good ? "warn" : ""} />
    <${Tile} value=${html`<${Num}>${f.number(gaps?.gaps.length)}${gaps?.more ? "+" : ""}<//>`} name=${t("summary_gaps", { days: n })} note=${gapNote} state=${unrepaired || delivery?.length ? "warn" : ""} />
    <${Tile} value=${html`<${Num}>${f.number(waiting)}<//>`} name=${t("summary_letters")} state=${waiting ? "warn" : ""} />
    <${Tile} value=${html`<${Num}>${f.share(summary?.proven_share)}<//>`} name=${t("summary_proven", { days: n })} note=${summary && proven(summary.proof, { f, t })} state=${summary?.proof?.missing_s ? "warn" : ""} />
  </dl>`;
}

/** When the page was asked for, and of which market it is. */
function Asked({ answers, wanted }) {
  const { t, f } = useCell(ui);
  useCell(second);
  const oldest_ms = Math.min(...answers.map(({ at_ms }) => at_ms));
  const failed = answers.find(({ error, data }) => error && data);
  return html`<p class="asked note">
    ${wanted && html`<a class="chip" href="#/quality" aria-label=${t("all_markets_again")} title=${t("all_markets_again")}><bdi>${visible(wanted)}</bdi> ✕</a>
      <a class="link" href=${address({ page: "market", symbol: wanted })}>${t("to_market")}</a>`}
    <span>${oldest_ms > 0 && t("as_of_time", { time: f.dateTime(oldest_ms / 1000), age: f.ago((Date.now() - oldest_ms) / 1000) })}</span>
    ${failed && html`<span class="down" role="alert">${failed.error.message || t("error_network")}</span>`}
  </p>`;
}

export function QualityPage({ symbol: wanted }) {
  const { t } = useCell(ui);
  const narrow = useNarrow(760);
  const [days, setDays] = useState(7);
  const coverage = useAnswer((signal) => get("coverage", { days }, signal), [days], EVERY_MS);
  const gaps = useAnswer((signal) => get("gaps", { days, symbol: wanted }, signal), [days, wanted], EVERY_MS);
  const delivery = useAnswer((signal) => get("delivery-gaps", {}, signal), [], EVERY_MS);
  const letters = useAnswer((signal) => get("letters", {}, signal), [], EVERY_MS);
  useEffect(() => follow({ page: "pulse" }, {}), []);
  return html`
    <h1 class="visually-hidden">${t("quality")}</h1>
    <${Asked} answers=${[coverage, gaps, delivery, letters]} wanted=${wanted} />
    <${Summary} summary=${coverage.data?.summary} gaps=${gaps.data} delivery=${delivery.data?.delivery_gaps} letters=${letters.data?.letters} days=${days} wanted=${wanted} />
    <${Gaps} answer=${gaps} delivery=${delivery} wanted=${wanted} />
    <${Coverage} answer=${coverage} days=${days} setDays=${setDays} narrow=${narrow} wanted=${wanted} />
    <${Letters} answer=${letters} />`;
}
