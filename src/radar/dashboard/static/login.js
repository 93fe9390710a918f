// Takes the token out of an address like http://127.0.0.1:8080/#token=…, which reaches no server, and
// sends it as the form would.

(() => {
  const logIn = () => {
    const found = /^#token=(.+)$/.exec(location.hash);
    if (!found) return;
    // Neither the history nor a bookmark keeps it.
    history.replaceState(null, "", location.pathname);
    document.getElementById("token").value = found[1];
    document.querySelector("form").submit();
  };
  window.addEventListener("hashchange", logIn);
  logIn();
})();
