// The pipeline: where messages are on their way, how fast, and where they wait.

import { html, useEffect, useMemo, useRef, useState } from "../../vendor/htm-preact/htm-preact.js";
import { get } from "../api.js";
import { Cell, useCell } from "../cells.js";
import { SeriesChart } from "../charts/series.js";
import { second, serverNow } from "../clock.js";
import { NONE, visible } from "../format.js";
import { follow, status } from "../live.js";
import { ui, zoneText } from "../prefs.js";
import { Choice, Failed, Icon, Later, Loading, Num, useTurn } from "../widgets.js";

const MAIN_DATASETS = ["trades", "depth"];
const STAGES = ["exchange", "connections", "partitions", "workers", "tables"];
const QUIET_S = 10; // it is observed every second; a busy machine takes longer
const MINUTES = [5, 15, 60];
const MOST_POINTS = 4000;
const COLOUR = { trades: "accent", depth: "warn" };

function sum(list, value) {
  return list.reduce((total, each) => total + value(each), 0);
}

function Value({ big, children, name, warn }) {
  return html`<div class="value ${big ? "main" : ""} ${warn ? "warn" : ""}"><dd>${children}</dd><dt>${name}</dt></div>`;
}

/** What each stage of one dataset shows; the same in every dataset. */
function stages(overview, dataset, { t, f }) {
  const flow = overview.flows.find((each) => each.dataset === dataset);
  const producers = overview.producers.filter((each) => each.dataset === dataset);
  const partitions = overview.partitions.filter((each) => each.dataset === dataset);
  const workers = overview.workers.filter((each) => each.dataset === dataset);
  const table = overview.tables.find((each) => each.dataset === dataset);
  const alive = workers.filter((each) => each.alive).length;
  const heard = flow?.heard ?? false;
  const growth = partitions.length ? sum(partitions, (each) => each.lag_per_s ?? 0) : null;
  const lag = flow?.lag;
  const errors = [
    ["invalid", flow?.invalid_frames],
    ["failed", sum(producers, (each) => each.publish_failed)],
  ].filter(([, n]) => n > 0).map(([key, n]) => t(key, { n: f.number(n) }));
  const troubles = [
    ["retries", sum(workers, (each) => each.insert_retries)],
    ["halted", sum(workers, (each) => each.halted_partitions)],
    ["letters_n", flow?.open_letters],
  ].filter(([, n]) => n > 0).map(([key, n]) => t(key, { n: f.number(n) }));
  const reported_at_s = overview.tables_at_s ?? overview.at_s;
  const age = table?.newest_at_s ? Math.max(0, reported_at_s - table.newest_at_s) : NaN;
  const tables_age_s = overview.at_s - reported_at_s;
  const reconnects = sum(producers, (each) => each.reconnects);
  return {
    exchange: html`
      <${Value} big name=${t("received")}><bdi>${f.rate(heard ? flow.frames_per_s : NaN)}</bdi><//>
      <${Value} name=${t("last_frame")} warn=${flow?.silent}><bdi>${f.ago(flow?.last_frame_age_s)}</bdi><//>`,
    connections: html`
      <${Value} big name=${t("published")}><bdi>${f.rate(flow?.published_per_s)}</bdi><//>
      <div><dt class="visually-hidden">${t("note")}</dt><dd>${t("connections_n", { n: f.number(heard ? flow.connections : NaN) })}</dd></div>
      ${reconnects > 0 && html`<div><dt class="visually-hidden">${t("note")}</dt><dd>${t("reconnects", { n: f.number(reconnects) })}</dd></div>`}
      ${errors.map((text) => html`<div class="bad" key=${text}><dt class="visually-hidden">${t("note")}</dt><dd>${text}</dd></div>`)}`,
    partitions: html`
      <${Value} big name=${t("lag_unit")} warn=${flow?.backlog}><bdi>${f.number(lag)}</bdi><//>
      <${Value} name=${t("trend")} warn=${flow?.backlog && flow.trend === "grows"}><${Trend} per_s=${growth} trend=${flow?.trend} /><//>
      <div><dt class="visually-hidden">${t("note")}</dt><dd>${t("partitions_n", { n: f.number(partitions.length) })}</dd></div>`,
    workers: html`
      <${Value} big name=${t("stored")}><bdi>${f.rate(flow?.stored_per_s)}</bdi><//>
      <${Value} name=${t("latency")} warn=${flow?.slow}><bdi>${f.latency(flow?.latency_s)}</bdi><//>
      <div class=${alive < workers.length ? "bad" : ""}><dt class="visually-hidden">${t("note")}</dt><dd>${t("workers_n", { alive: f.number(alive), n: f.number(workers.length) })}</dd></div>
      ${troubles.map((text) => html`<div class="bad" key=${text}><dt class="visually-hidden">${t("note")}</dt><dd>${text}</dd></div>`)}`,
    tables: html`
      <${Value} big name=${t("rows")}><bdi title=${f.number(table?.rows)}>${f.compact(table?.rows)}</bdi><//>
      <${Value} name=${t("newest")}><bdi>${f.ago(age)}</bdi><//>
      <div><dt class="visually-hidden">${t("note")}</dt><dd>${t("rows_minute", { n: f.compact(table?.rows_last_minute) })}</dd></div>
      <div><dt class="visually-hidden">${t("note")}</dt><dd>${f.bytes(table?.size_bytes)}</dd></div>
      ${overview.tables_old && html`<div class="muted"><dt class="visually-hidden">${t("note")}</dt><dd>${t("as_of", { age: f.ago(tables_age_s) })}</dd></div>`}`,
  };
}

function Trend({ per_s, trend }) {
  const { t, f } = useCell(ui);
  if (!trend) return html`<bdi>–</bdi>`;
  if (trend === "steady") return html`<bdi class="muted">${t("steady")}</bdi>`;
  const grows = trend === "grows";
  return html`<bdi class=${grows ? "grows" : ""} title=${t(trend)}>${grows ? "↑" : "↓"} ${f.rate(Math.abs(per_s))}</bdi>`;
}

// How the verdict of the server looks.
const VERDICTS = {
  stuck: ["warn", "warning"], unknown: ["warn", "help"], warns: ["warn", "warning"],
  passes: ["passing", "warning"], idle: ["warn", "warning"], flows: ["fine", "check"],
};

/** The verdict of the server, for as long as its facts are evidence. */
function useVerdict(overview) {
  useCell(second);
  const { state } = useCell(status);
  const old = state === "lost" || serverNow() - overview.at_s > overview.holds_s;
  return old ? "unknown" : overview.verdict;
}

function placeOf({ stage, dataset }, t) {
  return dataset ? t("bottleneck_at", { stage: t(`stage_${stage}`), dataset: t(`dataset_${dataset}`) }) : t(`stage_${stage}`);
}

function Flow({ overview }) {
  const look = useCell(ui);
  const { t, f, lang } = look;
  const { bottleneck } = overview;
  const stuck = overview.obstacles;
  const verdict = useVerdict(overview);
  const datasets = overview.flows.map((each) => each.dataset);
  const explained = bottleneck ? t(`bottleneck_explain_${bottleneck.stage}`) : "";
  const [box, icon] = VERDICTS[verdict] ?? VERDICTS.unknown;
  return html`<section class="card flow" aria-label=${t("flow")}>
    <header><h2>${t("flow")}</h2>
      ${overview.uptime_s !== null && html`<span class="end muted">${t("uptime", { age: f.duration(overview.uptime_s) })}</span>`}</header>
    ${bottleneck && verdict === overview.verdict
      ? html`<div class="verdict ${box}" data-verdict=${verdict} role="status"><${Icon} name=${icon} /><div>
          <b>${t(`severity_${bottleneck.severity}`)}: ${placeOf(bottleneck, t)}</b>
          ${explained && bottleneck.severity === "problem" && html`<p>${explained}</p>`}
          <p class=${lang === "fa" ? "foreign" : ""} dir="ltr" lang="en">${visible(bottleneck.text)}</p>
          ${stuck.slice(1, 4).map((each) => html`<p class="also" key=${each.text}><span>${t("also")} ${placeOf(each, t)}: </span><bdi dir="ltr" lang="en">${visible(each.text)}</bdi></p>`)}</div></div>`
      : html`<div class="verdict ${box}" data-verdict=${verdict} role="status"><${Icon} name=${icon} /><div>${t(`verdict_${verdict}`)}</div></div>`}
    ${[["Kafka", overview.kafka_error], ["ClickHouse", overview.clickhouse_error]].filter(([, text]) => text).map(([name, text]) => html`<div class="verdict warn" key=${name} role="alert"><${Icon} name="warning" /><div><b>${t("does_not_answer", { name })}</b><p dir="ltr" lang="en">${visible(text)}</p></div></div>`)}
    <div class="lanes">
      ${MAIN_DATASETS.filter((dataset) => datasets.includes(dataset)).map((dataset) => {
        const shown = stages(overview, dataset, look);
        return html`<div class="lane" key=${dataset}>
          <h3><i class="swatch" style=${{ color: `var(--${COLOUR[dataset] === "warn" ? "warn-line" : "accent"})` }} />${t(`dataset_${dataset}`)}</h3>
          <ol>${STAGES.map((stage) => {
            const here = (each) => each?.stage === stage && (each.dataset === dataset || each.dataset === "");
            const marked = here(bottleneck);
            const also = !marked && stuck.some(here);
            return html`<li key=${stage} class="stage ${marked ? "marked" : also ? "also" : ""}" data-stage=${stage}>
              <h4>${stage === "exchange" ? html`${t("stage_exchange")} <bdi class="muted">${overview.exchange}</bdi>` : t(`stage_${stage}`)}${marked && html`<span class="mark">${t("bottleneck")}</span>`}</h4>
              <dl>${shown[stage]}</dl>
            </li>`;
          })}</ol>
        </div>`;
      })}
    </div>
    <div class="minor">${overview.flows.filter((each) => !MAIN_DATASETS.includes(each.dataset)).map((flow) => html`<span key=${flow.dataset}>
      <b>${t(`dataset_${flow.dataset}`)}</b> ${t("stored")}: <${Num}>${f.number(flow.stored)}<//> · ${t("lag")}: <${Num}>${f.number(flow.lag)}<//></span>`)}</div>
  </section>`;
}

const CHARTS = [
  { key: "throughput", format: (f) => f.compact, axis: (f) => f.axis, fields: ["published_per_s", "stored_per_s"] },
  { key: "latency_chart", format: (f) => f.latency, axis: (f) => f.latencyAxis, fields: ["latency_s"] },
  { key: "lag_chart", format: (f) => f.compact, axis: (f) => f.axis, fields: ["lag"] },
];

/** The measured past, to which the live stream adds; bounded. */
class History {
  constructor() {
    this.period_s = 1;
    this.at_s = [];
    this.datasets = {};
  }

  take({ period_s, at_s, datasets }) {
    this.period_s = period_s;
    this.at_s = at_s.slice();
    this.datasets = {};
    for (const dataset of MAIN_DATASETS) {
      this.datasets[dataset] = {};
      for (const { fields } of CHARTS) {
        for (const field of fields) this.datasets[dataset][field] = datasets[dataset]?.[field]?.slice() ?? at_s.map(() => null);
      }
    }
  }

  /** Add what an overview says, at most once a period. */
  add(overview) {
    if (!this.datasets.trades || overview.at_s < (this.at_s.at(-1) ?? 0) + this.period_s * 0.9) return false;
    this.at_s.push(overview.at_s);
    for (const [dataset, fields] of Object.entries(this.datasets)) {
      const flow = overview.flows.find((each) => each.dataset === dataset);
      for (const [field, values] of Object.entries(fields)) values.push(flow?.[field] ?? null);
    }
    if (this.at_s.length > MOST_POINTS) {
      this.at_s.shift();
      for (const fields of Object.values(this.datasets)) for (const values of Object.values(fields)) values.shift();
    }
    return true;
  }

  /** The last minutes of some fields, as uPlot wants them. */
  data(fields, minutes) {
    const from_s = (this.at_s.at(-1) ?? 0) - minutes * 60;
    let first = this.at_s.findIndex((at_s) => at_s >= from_s);
    if (first < 0) first = 0;
    return [
      this.at_s.slice(first),
      ...MAIN_DATASETS.flatMap((dataset) => fields.map((field) => this.datasets[dataset]?.[field].slice(first) ?? [])),
    ];
  }
}

function Series({ chart, cell, minutes, turn }) {
  const { t, f, theme } = useCell(ui);
  const place = useRef(null);
  const drawn = useRef({ data: [[]] });
  const values = useMemo(() => new Cell([]), []);
  const lines = MAIN_DATASETS.flatMap((dataset) => chart.fields.map((field) => ({
    dataset, colour: COLOUR[dataset], dashed: field === "published_per_s", fill: field !== "published_per_s",
    name: chart.fields.length > 1 ? t(field === "published_per_s" ? "series_published" : "series_stored", { dataset: t(`dataset_${dataset}`) }) : t(`dataset_${dataset}`),
  })));

  const isTurn = useTurn(turn);

  useEffect(() => {
    if (!isTurn) return undefined;
    const format = chart.format(f);
    const point = (index) => {
      const data = drawn.current.data;
      const at = index ?? data[0].length - 1;
      values.set([index === null ? "" : f.clock(data[0][at]), ...data.slice(1).map((column) => format(column[at] ?? NaN))]);
    };
    const made = new SeriesChart(place.current, { f, lines, axis: chart.axis(f), point });
    const draw = () => {
      drawn.current.data = cell.value.data(chart.fields, minutes);
      made.show(drawn.current.data);
      point(made.plot.cursor.idx ?? null);
    };
    const end = cell.follow(draw);
    draw();
    return () => {
      end();
      made.end();
    };
  }, [f, theme, minutes, isTurn]);

  return html`<section class="card series" aria-label=${t(chart.key)}>
    <header><h3>${t(chart.key)}</h3></header>
    <${SeriesLegend} lines=${lines} values=${values} />
    <div ref=${place} class="series-place" dir="ltr" role="img" aria-label=${t(chart.key)} />
  </section>`;
}

function SeriesLegend({ lines, values }) {
  const { t } = useCell(ui);
  const [time, ...shown] = useCell(values);
  if (shown.length > 0 && shown.every((each) => each === NONE)) return html`<div class="series-legend">${t("no_history")}</div>`;
  return html`<div class="series-legend">
    ${lines.map((line, n) => html`<span key=${n}><i class="swatch ${line.dashed ? "dashed" : ""}" style=${{ color: `var(--${line.colour === "warn" ? "warn-line" : "accent"})` }} />${line.name} <bdi>${shown[n] ?? ""}</bdi></span>`)}
    <bdi class="muted">${time}</bdi>
  </div>`;
}

function Partitions({ overview }) {
  const { t, f } = useCell(ui);
  const most = Math.max(1, ...overview.partitions.map((each) => each.lag));
  return html`<section class="card wide-table" aria-label=${t("partitions")}>
    <header><h2>${t("partitions")}</h2></header>
    <div class="scroll" tabindex="0"><table class="list">
      <thead><tr><th scope="col">${t("topic")}</th><th scope="col" class="n">${t("lag")}</th><th scope="col">${t("trend")}</th><th scope="col" class="n">${t("in_rate")}</th><th scope="col" class="n">${t("out_rate")}</th><th scope="col">${t("owner")}</th></tr></thead>
      <tbody>${overview.partitions.map((each) => html`<tr key=${each.topic + each.partition}>
        <th scope="row"><bdi dir="ltr" class="mono">${each.topic}<span class="muted">/${each.partition}</span></bdi></th>
        <td class="n"><span class="meter" aria-hidden="true"><i style=${{ transform: `scaleX(${each.lag / most})` }} /></span><${Num}>${f.number(each.lag)}<//></td>
        <td><${Trend} per_s=${each.lag_per_s} trend=${each.trend} /></td>
        <td class="n"><bdi>${f.rate(each.published_per_s)}</bdi></td>
        <td class="n"><bdi>${f.rate(each.stored_per_s)}</bdi></td>
        <td>${each.owner === null ? html`<span class=${each.owner_known ? "bad" : "muted"}>${t(each.owner_known ? "nobody" : "not_known")}</span>` : html`<bdi dir="ltr" class="mono">${visible(each.owner)}</bdi>`}</td>
      </tr>`)}</tbody>
    </table></div>
  </section>`;
}

function State({ condition, reasons, warnings, restarts }) {
  const { t, f } = useCell(ui);
  return html`<span class="process-state ${condition}"><i class="dot" />${t(`condition_${condition}`)}</span>
    ${restarts > 0 && html` <span class="muted">· ${t("restarts", { n: f.number(restarts) })}</span>`}
    ${[...reasons, ...(warnings ?? [])].map((text) => html`<p class="reason" dir="auto" key=${text}>${visible(text)}</p>`)}`;
}

function Processes({ overview }) {
  const { t, f } = useCell(ui);
  const measured = [
    ...overview.producers.map((each) => ({ ...each, rate: each.published_per_s })),
    ...overview.workers.map((each) => ({ ...each, rate: each.rows_per_s })),
  ];
  // A process may store several datasets.
  const known = new Map();
  for (const each of measured) known.set(each.name, { ...each, rate: each.rate + (known.get(each.name)?.rate ?? 0) });
  const all = overview.processes.map((each) => ({ ...known.get(each.name), ...each }));
  return html`<section class="card wide-table" aria-label=${t("processes")}>
    <header><h2>${t("processes")}</h2></header>
    <div class="scroll" tabindex="0"><table class="list">
      <thead><tr><th scope="col">${t("process")}</th><th scope="col">${t("state")}</th><th scope="col" class="n">${t("rate")}</th><th scope="col" class="n">${t("latency")}</th><th scope="col" class="n">${t("memory")}</th><th scope="col" class="n" title=${t("clock_offset_help")}>${t("clock_offset")}</th><th scope="col">${t("address")}</th></tr></thead>
      <tbody>${all.map((each) => html`<tr key=${each.name}>
        <th scope="row"><bdi dir="ltr" class="mono">${each.name}</bdi></th>
        <td class="wrap"><${State} ...${each} /></td>
        <td class="n"><bdi>${f.rate(each.rate)}</bdi></td>
        <td class="n"><bdi>${f.latency(each.latency_s)}</bdi></td>
        <td class="n"><bdi>${f.bytes(each.memory_bytes)}</bdi></td>
        <td class="n ${each.clock_differs ? "bad" : ""}"><bdi>${each.clock_differs === null ? t("not_known") : f.offset(each.clock_offset_s, each.clock_uncertainty_s)}</bdi></td>
        <td><bdi dir="ltr" class="mono muted">${each.address}</bdi></td>
      </tr>`)}</tbody>
    </table></div>
  </section>`;
}

function Connections({ overview }) {
  const { t, f } = useCell(ui);
  const all = overview.producers.flatMap((each) => each.connections);
  return html`<section class="card wide-table" aria-label=${t("connections")}>
    <header><h2>${t("connections")}</h2></header>
    <div class="scroll" tabindex="0"><table class="list">
      <thead><tr><th scope="col">${t("connection")}</th><th scope="col" class="n">${t("markets")}</th><th scope="col" class="n">${t("open_for")}</th><th scope="col" class="n">${t("last_frame")}</th><th scope="col" class="n">${t("frames")}</th></tr></thead>
      <tbody>${all.map((each) => html`<tr key=${each.producer + each.name}>
        <th scope="row"><bdi dir="ltr" class="mono"><span class="muted">${each.producer} </span>${each.name}</bdi></th>
        <td class="n"><${Num}>${f.number(each.markets)}<//></td>
        <td class="n"><bdi>${f.duration(each.age_s)}</bdi></td>
        <td class="n ${each.stale ? "bad" : ""}"><bdi>${f.ago(each.last_frame_age_s)}</bdi></td>
        <td class="n"><${Num}>${f.compact(each.frames)}<//></td>
      </tr>`)}</tbody>
    </table></div>
  </section>`;
}

function Ago({ at_s }) {
  const { f } = useCell(ui);
  useCell(second);
  return html`<bdi class="muted when" title=${f.dateTime(at_s)}>${f.ago(serverNow() - at_s)}</bdi>`;
}

function Problems({ overview }) {
  const { t } = useCell(ui);
  return html`<section class="card" aria-label=${t("problems")}>
      <header><h2>${t("problems")}</h2></header>
      ${overview.problems.length === 0 ? html`<p class="calm"><${Icon} name="check" />${t("no_problems")}</p>` : html`<ul class="notes">
        ${overview.problems.slice(-30).reverse().map((each) => html`<li key=${each.at_s + each.text}><p><bdi dir="ltr" class="mono">${each.process}</bdi><${Ago} at_s=${each.at_s} /></p><p dir="auto">${visible(each.code ? t(`problem_${each.code}`, each.values) : each.text)}</p></li>`)}</ul>`}
    </section>`;
}

/** That there is nothing, if a fresh answer says so. */
function Nothing({ overview, subject, text }) {
  const { t } = useCell(ui);
  const known = overview.probes.some((each) => each.subject === subject && each.holds && !each.error);
  return known ? html`<p class="calm"><${Icon} name="check" />${text}</p>` : html`<p class="muted calm">${t("not_known")}</p>`;
}

function Troubles({ overview }) {
  const { t, f } = useCell(ui);
  return html`
    <section class="card" aria-label=${t("letters")}>
      <header><h2>${t("letters")}</h2><a class="end button small" href="#/quality">${t("quality")}</a></header>
      ${overview.letters.length === 0 ? html`<${Nothing} overview=${overview} subject="letters" text=${t("no_letters")} />` : html`<ul class="notes">
        ${overview.letters.slice(0, 8).map((each) => html`<li key=${each.topic + each.partition + each.offset}><p><b class="mono">${visible(each.reason)}</b> <bdi dir="ltr" class="mono muted">${visible(each.topic)}:${each.partition}:${each.offset}</bdi><${Ago} at_s=${each.at_s} /></p><p dir="auto">${visible(each.detail)}</p></li>`)}</ul>`}
    </section>
    <section class="card" aria-label=${t("stalest")}>
      <header><h2>${t("stalest")}</h2></header>
      ${overview.stalest.length === 0 ? html`<${Nothing} overview=${overview} subject="markets" text=${t("no_stalest")} />` : html`<ul class="notes">
        ${overview.stalest.slice(0, 12).map((each) => html`<li key=${each.dataset + each.symbol} class="line"><a href="#/market/${encodeURIComponent(each.symbol)}"><b><bdi>${each.symbol}</bdi></b> <span class="muted">${t(`dataset_${each.dataset}`)}</span></a><span class="end">${each.age_s === null ? t("never") : t("since", { age: f.duration(each.age_s) })}</span></li>`)}</ul>`}
    </section>`;
}

export function PipelinePage() {
  const look = useCell(ui);
  const { t, f } = look;
  const cell = useMemo(() => new Cell(null), []);
  const history = useMemo(() => new Cell(new History()), []);
  const overview = useCell(cell);
  const [error, setError] = useState(null);
  const [minutes, setMinutes] = useState(15);
  const [round, setRound] = useState(0);

  useEffect(() => {
    const aborter = new AbortController();
    const past = () => get("pipeline/history", { minutes: MINUTES.at(-1) }, aborter.signal).then((answer) => {
      history.value.take(answer);
      history.touch();
    }, () => {});
    get("pipeline", {}, aborter.signal).then((answer) => {
      if (cell.value === null) cell.set(answer);
    }, (failure) => {
      if (!aborter.signal.aborted) setError(failure);
    });
    past();
    const end = follow({ page: "pipeline" }, {
      pipeline: (news) => {
        setError(null);
        cell.set(news);
        if (history.value.add(news)) history.touch();
      },
    }, { quiet_s: QUIET_S, onReturn: past });
    return () => {
      aborter.abort();
      end();
    };
  }, [round]);

  if (overview === null) {
    return error ? html`<${Failed} error=${error} onRetry=${() => {
      setError(null);
      setRound((n) => n + 1);
    }} />` : html`<${Loading} />`;
  }
  return html`
    <h1 class="visually-hidden">${t("pipeline")}</h1>
    <${Flow} overview=${overview} />
    <div class="section-head"><h2>${t("over_time")} <small class="note">${zoneText(look)}</small></h2>
      <${Choice} label=${t("over_time")} value=${minutes} onChange=${setMinutes} options=${MINUTES.map((n) => [n, t("minutes", { n: f.number(n) })])} /></div>
    <div class="three">${CHARTS.map((chart, n) => html`<${Series} key=${chart.key} turn=${n + 1} chart=${chart} cell=${history} minutes=${minutes} />`)}</div>
    <div class="two">
      <div class="stack"><${Later} frames=${4} draw=${() => html`<${Partitions} overview=${overview} /><${Problems} overview=${overview} />`} /></div>
      <div class="stack"><${Later} frames=${5} draw=${() => html`<${Processes} overview=${overview} /><${Connections} overview=${overview} />`} /></div>
    </div>
    <div class="two"><${Later} frames=${6} draw=${() => html`<${Troubles} overview=${overview} />`} /></div>`;
}
