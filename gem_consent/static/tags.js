// Starts what is granted and stops what is not. Constant for a policy and a set of grants: whether it may act is read
// from the hint when it runs, so that a page revived from a cache after a withdrawal stays silent.
(() => {
  const fingerprint = "/* fingerprint */";
  const nonce = document.currentScript.nonce;
  /* hint.js */
  /* forget.js */
  const ids = granted();
  const started = (window.gemConsentStarted = window.gemConsentStarted || {});
  // one service that fails must not keep the others from starting, or from being stopped
  const attempt = (run) => {
    try {
      run();
    } catch (error) {
      console.error(error);
    }
  };
  const start = (id, purpose, run, cease) => {
    if (!ids || !ids.includes(purpose) || started[id]) return;
    started[id] = true;
    attempt(() => run(ids.secondsLeft));
    // notice.js says which purposes are granted whenever that may have changed
    const heed = (event) => {
      if (!cease || event.detail.includes(purpose)) return;
      removeEventListener("gem-consent", heed);
      started[id] = false;
      attempt(cease);
    };
    addEventListener("gem-consent", heed);
  };
  const stop = (purpose, names, keys, run) => {
    if (ids && ids.includes(purpose)) return;
    attempt(run);
    forget(names, keys);
  };
  /* services */
  /* waiting */
})();
