// Runs before anything is drawn, so that the page does not flash in the wrong colours or direction.
(() => {
  // An address with the token, though this browser is logged in: no history keeps it.
  const forget = () => {
    if (location.hash.startsWith("#token=")) history.replaceState(null, "", "#/");
  };
  window.addEventListener("hashchange", forget);
  forget();

  const kept = (name) => {
    try {
      return localStorage.getItem(`radar.${name}`);
    } catch {
      return null;
    }
  };
  const root = document.documentElement;
  const languages = navigator.languages ?? [navigator.language];
  const first = languages.map((each) => each.toLowerCase().split("-")[0]).find((each) => each === "fa" || each === "en");
  const lang = kept("lang") ?? first ?? "en";
  root.lang = lang;
  root.dir = lang === "fa" ? "rtl" : "ltr";
  root.dataset.theme = kept("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
})();
