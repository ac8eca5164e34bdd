// Starts what is granted and stops what is not. Constant for a policy and a set of grants: whether it may act is read
// from the hint when it runs, so that a page revived from a cache after a withdrawal stays silent.
(() => {
  const fingerprint = "/* fingerprint */";
  const nonce = /** @type {HTMLScriptElement} */ (document.currentScript).nonce;
  /* hint.js */
  /* forget.js */
  const ids = granted();
  /** @type {Record<string, boolean>} */
  const started = (window.gemConsentStarted = window.gemConsentStarted || {});
  // one service that fails must not keep the others from starting, or from being stopped
  /** @param {() => void} run */
  const attempt = (run) => {
    try {
      run();
    } catch (error) {
      console.error(error);
    }
  };
  /** @type {(id: string, purpose: string, run: (secondsLeft: number) => void, cease?: () => void) => void} */
  const start = (id, purpose, run, cease) => {
    if (!ids || !ids.includes(purpose) || started[id]) return;
    started[id] = true;
    attempt(() => run(/** @type {number} */ (ids.secondsLeft)));
    // notice.js says which purposes are granted whenever that may have changed
    /** @param {CustomEvent<string[]>} event */
    const heed = (event) => {
      if (!cease || event.detail.includes(purpose)) return;
      removeEventListener("gem-consent", heed);
      started[id] = false;
      attempt(cease);
    };
    addEventListener("gem-consent", heed);
  };
  /** @param {string} id @param {string} purpose @param {string[]} names @param {string[]} keys @param {() => void} run */
  const stop = (id, purpose, names, keys, run) => {
    if (ids && ids.includes(purpose)) return;
    // what has ceased on this page has told its vendor already
    if (started[id] !== false) attempt(run);
    forget(names, keys);
  };
  /* services */
  /* waiting */
})();
