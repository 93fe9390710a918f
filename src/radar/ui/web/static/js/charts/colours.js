// The colours of the style sheet, for what is painted on a canvas.

const NAMES = {
  surface: "--surface", line: "--line", soft: "--line-soft", text: "--text", muted: "--muted",
  faint: "--faint", accent: "--accent", up: "--up", down: "--down", upSoft: "--up-soft",
  downSoft: "--down-soft", warn: "--warn-line",
};

export const FONT = "Vazirmatn, system-ui, sans-serif";

/** Return the colours of the theme that is on. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.entries(NAMES).map(([name, key]) => [name, style.getPropertyValue(key).trim()]));
}

/** The same colour, less of it: `alpha` from 0 to 1. */
export function faded(colour, alpha) {
  return `${colour}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}
