// What a viewer has chosen. It stays in this browser.

import { Cell } from "./cells.js";
import { formatter } from "./format.js";
import { translator } from "./i18n.js";
import { zoneChoice, zoneName } from "./zones.js";

function read(name) {
  try {
    return localStorage.getItem(`radar.${name}`);
  } catch {
    return null; // the browser keeps nothing: choices last as long as the page
  }
}

/** Keep a choice, a text. */
export function keep(name, value) {
  try {
    localStorage.setItem(`radar.${name}`, value);
  } catch {
    // See read.
  }
}

/** Return a kept choice, or what it is otherwise. */
export function kept(name, otherwise) {
  return read(name) ?? otherwise;
}

const choices = { zone: null }; // for a browser that keeps nothing

function look() {
  const lang = document.documentElement.lang;
  const zone = zoneChoice(read("zone") ?? choices.zone, lang);
  const f = formatter(lang, zoneName(zone, Intl.DateTimeFormat().resolvedOptions().timeZone));
  return { lang, zone, theme: document.documentElement.dataset.theme, t: translator(lang), f };
}

/** Language, theme, time zone, and what says (`t`) and formats (`f`) in that language and zone. */
export const ui = new Cell(look());

export function setLanguage(lang) {
  keep("lang", lang);
  document.documentElement.lang = lang;
  document.documentElement.dir = lang === "fa" ? "rtl" : "ltr";
  ui.set(look());
}

export function setTheme(theme, isChoice = true) {
  if (isChoice) keep("theme", theme);
  document.documentElement.dataset.theme = theme;
  ui.set(look());
}

/** Write times in another zone: "utc", "tehran" or "browser". */
export function setZone(zone) {
  choices.zone = zone;
  keep("zone", zone);
  ui.set(look());
}

/** Return what names the zone of times. */
export function zoneText({ t, f }) {
  const name = f.zone === "UTC" ? "UTC" : f.zone === "Asia/Tehran" ? t("zone_tehran") : f.zone.split("/").at(-1).replaceAll("_", " ");
  return t("zone", { name });
}

/** Follow the system's colours until somebody chooses. */
export function followSystemTheme() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
    if (read("theme") === null) setTheme(event.matches ? "dark" : "light", false);
  });
}

export const favourites = new Cell(new Set((read("favourites") ?? "").split(",").filter(Boolean)));

export function toggleFavourite(symbol) {
  const chosen = new Set(favourites.value);
  if (!chosen.delete(symbol)) chosen.add(symbol);
  keep("favourites", [...chosen].join(","));
  favourites.set(chosen);
}
