// Runs in the head of every document: shows what fits the visitor's choice, takes a choice without reloading, and
// keeps pages that come back from a cache up to date. Without it everything is a plain form.
(() => {
  const me = document.currentScript;
  const { path, fingerprint, shown, csp } = me.dataset;
  const nonce = me.nonce;
  const root = document.documentElement;
  /* hint.js */
  // no notice for crawlers (Cubot is a maker of phones), nor where the site takes Global Privacy Control for a refusal
  const unasked = /[^u]bot\b|crawl|spider|slurp|lighthouse/i.test(navigator.userAgent) || ("gpc" in me.dataset && navigator.globalPrivacyControl);
  const chosen = () => granted() || (unasked ? [] : null);
  const key = (ids) => (ids ? ids.join("~") : "?");
  // what runs on this page hears it, and stops at once if its purpose is not among these
  const tell = (ids) => dispatchEvent(new CustomEvent("gem-consent", { detail: ids || [] }));
  const paint = () => {
    const ids = chosen();
    root.dataset.gemConsent = ids ? (ids.length ? "granted" : "denied") : "undecided";
    tell(ids);
    return ids;
  };
  const load = (then) => {
    const script = document.createElement("script");
    script.nonce = nonce;
    script.onload = script.onerror = then || null;
    script.src = path + "/tags";
    document.head.append(script);
  };

  let last = paint();
  let drawn = key(last);

  // A page that comes back, out of the back/forward cache or to the front, may be older than the choice. A revived one
  // becomes visible first (HTML standard, "reactivate a document"), so what it was drawn for is remembered apart.
  const compare = (event) => {
    const before = key(last), now = key(chosen());
    if (document.hidden || (now === before && !event.persisted)) return;
    last = paint();
    if (event.persisted && now !== drawn) location.reload();
    else if (now !== before && csp === undefined) load();
  };
  addEventListener("pageshow", compare);
  addEventListener("visibilitychange", compare);

  // the button that had the focus is gone; and a status is spoken only when it changes while it can be seen
  const settle = () => {
    const control = document.querySelector("#gem-settings");
    if (!control) return;
    control.querySelector("a").focus({ preventScroll: true });
    setTimeout(() => {
      const status = control.querySelector("[role=status]");
      status.textContent = status.dataset.saved;
    }, 200);
  };
  // a reload has come between the press and the word on it
  if ((history.state || {}).gemConsent) {
    history.replaceState({ ...history.state, gemConsent: undefined }, "");
    addEventListener("DOMContentLoaded", settle);
  }

  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  let token = fresh();

  const taken = (answer) => {
    const before = last || [];
    const now = (last = paint()) || [];
    drawn = key(last);
    token = fresh();
    const removed = before.some((id) => !now.includes(id));
    const again = () => {
      history.replaceState({ ...history.state, gemConsent: true }, "");
      location.reload();
    };
    if (!answer.reload) settle();
    // what runs must be stopped before the page goes; what the page's policy forbids must not be started on it
    if (answer.reload && !removed) again();
    else if (removed || now.length) load(answer.reload && again);
  };

  // Captured, so that it comes before the listeners of frameworks that send forms themselves.
  addEventListener("submit", (event) => {
    const form = event.target, button = event.submitter;
    if (event.defaultPrevented || !button || !form.matches("form[data-gem]")) return;
    event.preventDefault();
    if (root.dataset.gemConsent === "saving") return;
    root.dataset.gemConsent = "saving";
    const decision = button.value;
    if (decision !== "grant_all") tell();
    const body = JSON.stringify({
      decision,
      notice: form.elements.notice.value,
      surface: form.elements.surface.value,
      return: form.elements.return.value,
      csp: csp !== undefined,
      key: token,
    });
    // the plain form tells the visitor what the server has against it
    const send = () => {
      const field = Object.assign(document.createElement("input"), { type: "hidden", name: "decision", value: decision });
      form.append(field);
      form.submit();
      field.remove();
    };
    const unsent = () => {
      paint();
      form.querySelector("[role=alert]").textContent = form.dataset.gem;
      button.focus();
    };
    const signal = AbortSignal.timeout && AbortSignal.timeout(1e4);
    fetch(form.action, { method: "POST", headers: { "content-type": "application/json" }, body, keepalive: true, signal })
      .then((response) => (response.ok ? response.json().then(taken, send) : send()), unsent);
  }, true);

  const started = shown === "?" ? [] : shown.split("~");
  if (last && last.some((id) => !started.includes(id))) load();
})();
