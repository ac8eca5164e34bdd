// Starts what is granted and stops what is not. Constant for a policy and a set of grants: whether it may act is read
// from the hint when it runs, so that a page revived from a cache after a withdrawal stays silent.
(() => {
  const fingerprint = "/* fingerprint */";
  let nonce = /** @type {NoticeScript} */ (document.currentScript).nonce;
  /* hint.js */
  /* forget.js */
  /* allowed.js */
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
  // a <meta> may hold a policy, and a nonce in it, so that nothing starts before the whole head is there
  /** @param {() => void} run */
  const afterHead = (run) => {
    /** @param {unknown} [_] @param {MutationObserver} [watch] */
    const look = (_, watch) => {
      if (!document.body) return false;
      if (watch) watch.disconnect();
      nonce = nonce || (/'nonce-([^']+)'/i.exec(metas().join()) || ["", ""])[1];
      run();
      return true;
    };
    if (!look()) new MutationObserver(look).observe(document.documentElement, { childList: true });
  };
  /** @type {(id: string, purpose: string, hosts: Record<string, string[]>, run: (secondsLeft: number) => void, cease?: () => void) => void} */
  const start = (id, purpose, hosts, run, cease) => afterHead(() => {
    const ids = granted();
    if (!ids || !ids.includes(purpose) || started[id] || !isAllowed(id, hosts, nonce)) return;
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
  });
  /** @param {string} id @param {string} purpose @param {string[]} names @param {string[]} keys @param {() => void} run */
  const stop = (id, purpose, names, keys, run) => {
    const ids = granted();
    if (ids && ids.includes(purpose)) return;
    // what has ceased on this page has told its vendor already
    if (started[id] !== false) attempt(run);
    forget(names, keys);
  };
  /* services */
  /* waiting */
})();
