// Runs in the head of every document: shows what fits the visitor's choice, takes a press at once, and keeps pages
// that come back from a cache up to date. What only a press needs is fetched by it (press.js). Without any of it
// everything is a plain form.
(() => {
  // a page that is drawn anew by a script (Turbo) may run this a second time
  if (window.gemConsent) return;
  let { nonce, dataset: { path: at, fingerprint, shown, csp, press, gpc, quiet } } = /** @type {NoticeScript} */ (document.currentScript);
  // a <base> of the page may name another host
  const path = location.origin + at;
  const root = document.documentElement;
  /* hint.js */
  // no notice for crawlers (Cubot is a maker of phones), nor where the site takes Global Privacy Control for a refusal
  const unasked = /[^u]bot\b|crawl|spider|slurp|lighthouse/i.test(navigator.userAgent) || (gpc && navigator.globalPrivacyControl);
  /** @param {string[] | null | undefined} ids */
  const key = (ids) => (ids ? ids.join("~") : "?");
  // what runs on this page hears it, and stops at once if its purpose is not among these
  /** @param {string[] | null} [ids] */
  const tell = (ids) => dispatchEvent(new CustomEvent("gem-consent", { detail: ids || [] }));
  let /** @type {Granted | null | undefined} */ last, /** @type {string | undefined} */ drawn,
    /** @type {string | 0 | undefined} */ token, /** @type {Promise<Press> | undefined} */ parts, /** @type {BroadcastChannel} */ tabs;
  // The page's policy keeps out what is fetched: by the server's word, or by a <meta>, which only the browser has before
  // it. In doubt it does, since the plain form always works.
  const isBarred = () => quiet || [...document.querySelectorAll("[http-equiv*=security i]")].some((meta) => /(default|script|connect)-src(?![^;]*'self')|require-t/i.test(/** @type {HTMLMetaElement} */ (meta).content));
  const paint = () => {
    last = granted() || (unasked ? [] : null);
    root.dataset.gemConsent = last ? (last.length ? "granted" : "denied") : "undecided";
    tell(last);
    return key(last);
  };
  /** @param {string} file @param {() => void} [then] */
  const load = (file, then) => {
    const script = document.createElement("script");
    script.nonce = nonce;
    script.onload = script.onerror = /** @type {any} */ (then);
    script.src = path + file;
    document.head.append(script);
    return script;
  };
  /** @param {() => void} [then] */
  const start = (then) => isBarred() || load("/tags", then);
  // a page out of a cache may ask under a policy that has changed since: a press is answered under the present one
  /** @param {string} [print] @returns {[before: string[], now: string[]]} */
  const renew = (print) => {
    const before = last || [];
    fingerprint = print || fingerprint;
    token = 0;
    drawn = paint();
    return [before, last || []];
  };
  renew();

  // A page that comes back, out of the back/forward cache or to the front, may be older than the choice, and another tab
  // says when it takes one. A revived page becomes visible first (HTML standard, "reactivate a document"), so what it was
  // drawn for is remembered apart.
  /** @param {Event & { persisted?: boolean }} event */
  const compare = ({ persisted }) => {
    const before = key(last), now = paint();
    if (persisted && now !== drawn) location.reload();
    else if (now !== before && !csp) start();
  };
  // an open channel would keep the page out of the back/forward cache
  addEventListener("pagehide", () => tabs.close());
  addEventListener("pageshow", (event) => {
    tabs = new BroadcastChannel("gem-consent");
    tabs.onmessage = compare;
    compare(event);
  });
  addEventListener("visibilitychange", compare);
  // and a script that draws the whole page anew may take the attribute off
  new MutationObserver(() => root.dataset.gemConsent || paint()).observe(root, { attributes: true });

  /** @type {<K extends keyof Press>(name: K, ...given: Parameters<Press[K]>) => Promise<any>} */
  const ask = async (name, ...given) => {
    if (isBarred()) throw Error("gem_consent: barred");
    parts ||= new Promise((resolve, reject) => {
      load("/assets/" + press, reject).gem = (make) => resolve(make({ path, granted, renew, start, send, plain }));
    });
    return /** @type {any} */ (await parts)[name](...given);
  };
  // the plain form tells the visitor what the server has against it
  /** @param {HTMLFormElement} form @param {HTMLButtonElement} button */
  const plain = (form, button) => {
    quiet = "1";
    form.requestSubmit(button);
  };
  /** @param {HTMLFormElement} form @param {HTMLButtonElement} button */
  const unsent = (form, button) => {
    paint();
    const alert = form.querySelector("[role=alert]");
    if (alert) alert.textContent = /** @type {string} */ (form.dataset.gem);
    button.focus();
  };
  /** @param {HTMLFormElement} form @param {HTMLButtonElement} button */
  const send = (form, button) => {
    if (root.dataset.gemConsent === "saving") return null;
    root.dataset.gemConsent = "saving";
    if (!button.value.startsWith("grant")) tell();
    const fields = new FormData(form);
    const body = JSON.stringify({
      ...Object.fromEntries(fields),
      decision: button.value,
      purposes: fields.getAll("purpose"),
      return: location.pathname + location.search,
      csp: !!csp,
      // one for one choice, however often it has to be sent; plain http has no way to make one
      key: token ||= crypto.randomUUID?.(),
    });
    const headers = { "content-type": "application/json" };
    // the notice goes first, in this frame
    return new Promise((go) => setTimeout(go))
      .then(() => fetch(path, { method: "POST", headers, body, keepalive: true, signal: AbortSignal.timeout?.(1e4) }))
      .then((response) => ask("answered", response, form, button).catch(() => plain(form, button)), () => unsent(form, button));
  };
  // Captured, so that it comes before the listeners of frameworks that send forms themselves.
  addEventListener("submit", (event) => {
    const { target, submitter } = /** @type {ChoiceEvent} */ (event);
    if (!target.matches("form[data-gem]")) return;
    target.action = path;
    // what runs here would hear of the press
    if (isBarred() || !submitter) return tell();
    event.preventDefault();
    event.stopPropagation();
    send(target, submitter);
  }, true);
  addEventListener("click", (event) => {
    /** @type {HTMLAnchorElement | null} */
    const from = /** @type {Element} */ (event.target).closest?.(":not(form)[data-gem]");
    if (!from) return;
    if (from.search !== undefined) from.href = path + from.search;
    if (isBarred() || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    ask(/** @type {"open" | "once"} */ (from.dataset.gem), from).catch(() => location.assign(from.href));
  });

  // a reload has come between the press and the word on it
  if (history.state?.gemConsent) {
    history.replaceState({ ...history.state, gemConsent: 0 }, "");
    addEventListener("DOMContentLoaded", () => ask("settle"));
  }
  // a page that is older than the grant: its policy may not let in what that allows
  if (!csp && last && last.some((id) => !shown.split("~").includes(id))) start();
  // a document for everyone leaves the control's style to be fetched by those who see it
  if (last && shown === "?" && !isBarred()) ask("dress");

  window.gemConsent = {
    get granted() {
      return granted();
    },
    on: (heed) => addEventListener("gem-consent", (event) => heed(event.detail)),
    open: () => ask("open"),
    grant: (...purposes) => ask("decide", "grant", purposes),
    deny: (...purposes) => ask("decide", "deny", purposes),
  };
})();
