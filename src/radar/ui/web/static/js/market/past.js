// The time machine of a market's page: which moment is seen, and the keys that move through time.

import { html } from "../../vendor/htm-preact/htm-preact.js";
import { useCell } from "../cells.js";
import { ui, zoneText } from "../prefs.js";
import { momentOf } from "../route.js";
import { Icon } from "../widgets.js";
import { aheadOfUtc_s, momentOfClock } from "../zones.js";
import { SPEEDS } from "./playback.js";

const SECOND_TEXT = 19; // characters of 2026-11-20T09:31:07

/** The text of a field for a date and a time, in the viewer's zone. */
function fieldText(at_s, f) {
  return new Date((at_s + aheadOfUtc_s(f.zone, at_s)) * 1000).toISOString().slice(0, SECOND_TEXT);
}

function Picker({ at_s, onPick }) {
  const look = useCell(ui);
  const { t, f } = look;
  const name = `${t("moment")} (${zoneText(look)})`;
  const take = (event) => {
    event.preventDefault();
    const text = event.target.elements.moment.value;
    const found_s = momentOf(`${text}Z`);
    if (found_s !== null) onPick(momentOfClock(f.zone, found_s));
  };
  return html`<form class="picker" onSubmit=${take}>
    <label><span class="visually-hidden">${t("moment")}</span>
      <input name="moment" type="datetime-local" step="1" dir="ltr" required aria-label=${name} title=${name}
        max="2100-01-01T00:00:00" defaultValue=${fieldText(at_s, f)} key=${`${Math.floor(at_s)} ${f.zone}`} /></label>
    <button class="button small">${t("show_moment")}</button>
  </form>`;
}

/**
 * What is seen: now, or the past with its controls.
 *
 * `play` is {playing, waiting, error, speed}; `on` has pick(at_s), now(), step(seconds), toggle(),
 * speed(n).
 */
export function PastBar({ model, interval_s, play, on }) {
  const look = useCell(ui);
  const { t, f } = look;
  const at_s = useCell(model.at_s);
  if (at_s === null) {
    return html`<section class="past is-now" aria-label=${t("time_travel")}>
      <span class="muted">${t("see_past")}</span><${Picker} at_s=${Math.floor(model.now())} onPick=${on.pick} />
    </section>`;
  }
  const button = (name, icon, act) => html`<button class="plain icon" aria-label=${t(name)} title=${t(name)} onClick=${act}><${Icon} name=${icon} /></button>`;
  return html`<section class="past is-past" aria-label=${t("time_travel")}>
    <b class="past-mark"><${Icon} name="clock" />${t("past")}</b>
    <bdi class="past-time">${f.date(at_s)}${f.lang === "fa" ? "، " : ", "}${f.clock(at_s)} <span class="muted">${zoneText(look)}</span></bdi>
    <span class="past-keys" dir="ltr" role="group" aria-label=${t("time_travel")}>
      ${button("candle_back", "candle_back", () => on.step(-interval_s))}
      ${button("second_back", "second_back", () => on.step(-1))}
      ${button(play.playing ? "pause" : "play", play.playing ? "pause" : "play", on.toggle)}
      ${button("second_on", "second_on", () => on.step(1))}
      ${button("candle_on", "candle_on", () => on.step(interval_s))}
    </span>
    <label class="speed"><span class="visually-hidden">${t("speed")}</span>
      <select aria-label=${t("speed")} value=${play.speed} onChange=${(event) => on.speed(Number(event.target.value))}>
        ${SPEEDS.map((n) => html`<option key=${n} value=${n} selected=${n === play.speed}>${f.number(n)}×</option>`)}
      </select></label>
    ${play.waiting && html`<span class="muted" role="status">${t("loading")}</span>`}
    ${play.error && html`<span class="down" role="alert">${play.error.message || t("error_network")}</span>`}
    <${Picker} at_s=${at_s} onPick=${on.pick} />
    <button class="button small to-now" onClick=${on.now}>${t("back_to_now")}</button>
  </section>`;
}
