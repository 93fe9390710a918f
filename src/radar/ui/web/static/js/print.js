// Paper: what the pages do before they are printed.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact/htm-preact.js";
import { useCell } from "./cells.js";
import { serverNow } from "./clock.js";
import { ui, zoneText } from "./prefs.js";

/**
 * Call `change(true)` before the page is printed and `change(false)` afterwards; returns what ends that.
 *
 * The browser prints when the call returns: frames and effects that run later come too late.
 */
export function onPrint(change) {
  const media = matchMedia("print");
  const before = () => change(true);
  const after = () => change(false);
  const changed = () => change(media.matches);
  window.addEventListener("beforeprint", before);
  window.addEventListener("afterprint", after);
  media.addEventListener("change", changed);
  return () => {
    window.removeEventListener("beforeprint", before);
    window.removeEventListener("afterprint", after);
    media.removeEventListener("change", changed);
  };
}

/** Tell whether the page is printed; what depends on it is drawn in time. */
export function usePrinting() {
  const [printing, setPrinting] = useState(false);
  useEffect(() => onPrint(setPrinting), []);
  return printing;
}

/** When the page was printed, and where it is; only on paper. */
export function Printed() {
  const look = useCell(ui);
  const place = useRef(null);
  useEffect(() => {
    const write = () => {
      place.current.textContent = `${look.f.dateTime(serverNow())} (${zoneText(look)})\n${location.href}`;
    };
    write();
    return onPrint((printing) => printing && write());
  }, [look]);
  return html`<p class="print-only printed" dir="ltr" ref=${place} />`;
}
