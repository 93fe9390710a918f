// Takes the token out of an address that ends with #token=…, a part that reaches no server, and sends
// the token as the form would.

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
