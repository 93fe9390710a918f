// Keys, unless somebody types into a field.

const listeners = [];

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (typing && !["Escape", "ArrowDown", "ArrowUp", "Enter"].includes(event.key)) return;
  const key = ON_PERSIAN_LAYOUT.get(event.key) ?? event.key;
  // The newest first: what lies on top gets it.
  for (const listener of [...listeners].reverse()) {
    if (listener(key, event)) {
      event.preventDefault();
      return;
    }
  }
});

// The same keys while the Persian layout is on.
const ON_PERSIAN_LAYOUT = new Map(Object.entries({
  ت: "j", ن: "k", ب: "f", ف: "t", م: "l", "؟": "?", ج: "[", چ: "]", ح: "p", د: "n", و: ",",
  "۱": "1", "۲": "2", "۳": "3", "۴": "4",
}));

/** Call `listener(key, event)` for each key until the returned function is called; true: it was used. */
export function onKey(listener) {
  listeners.push(listener);
  return () => listeners.splice(listeners.indexOf(listener), 1);
}
