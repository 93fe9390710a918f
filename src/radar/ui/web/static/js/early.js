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
  // A page whose script does not arrive says so, and loads again when the server answers.
  const RETRY_MS = 3000;
  const LATE_MS = 20000;
  const WORDS = {
    en: "This page could not be loaded: the server does not answer. It loads by itself as soon as it does.",
    fa: "این صفحه بارگذاری نشد: سرور پاسخ نمی‌دهد. همین که پاسخ دهد، صفحه خودبه‌خود بارگذاری می‌شود.",
  };
  let failed = false;
  const fail = () => {
    const app = document.getElementById("app");
    if (failed || !app || app.childElementCount > 0) return;
    failed = true;
    const said = document.createElement("p");
    said.className = "state failed";
    said.setAttribute("role", "alert");
    said.textContent = WORDS[root.lang] ?? WORDS.en;
    app.append(said);
    const again = () => fetch("api/about").then((answer) => answer.ok && location.reload(), () => {});
    setInterval(again, RETRY_MS);
    window.addEventListener("online", again);
  };
  window.addEventListener("error", (event) => {
    if (event.target instanceof HTMLScriptElement) fail();
  }, true);
  window.addEventListener("load", () => setTimeout(fail, LATE_MS));

  root.dataset.theme = kept("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
})();
