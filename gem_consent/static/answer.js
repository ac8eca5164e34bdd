// What follows a press: the page shows the choice, other tabs hear of it, what was granted starts.
const css = /* style */;
// Among the rules of the notice's own style: before the site's own, which may say otherwise, and whatever a policy in a
// <meta> says of further style elements.
/** @type {WeakSet<CSSStyleSheet>} */
const dressed = new WeakSet();
const dress = () => {
  const style = /** @type {HTMLStyleElement | null | undefined} */ (document.querySelector("script[data-press]")?.previousElementSibling), sheet = style?.sheet;
  if (!sheet || dressed.has(sheet)) return;
  dressed.add(sheet);
  sheet.insertRule("@media all{" + css + "}", sheet.cssRules.length);
};
dress();

// a status is spoken only when it changes while it can be seen; the button that had the focus is gone
/** @param {unknown} [isQuiet] */
const settle = (isQuiet) => {
  const /** @type {HTMLElement | null} */ control = document.querySelector("#gem-settings a"), /** @type {StatusLine | null} */ status = document.querySelector("#gem-status");
  if (control && !isQuiet) control.focus({ preventScroll: true });
  if (status) setTimeout(() => (status.textContent = status.dataset.saved), 200);
};

/** @param {ChoiceAnswer} answer @param {HTMLFormElement} form */
const taken = (answer, form) => {
  const [before, now] = renew(answer.fingerprint.slice(0, 8));
  /* tabs.js */
  const removed = before.some((id) => !now.includes(id));
  const again = () => {
    history.replaceState({ ...history.state, gemConsent: 1 }, "");
    location.reload();
  };
  const frame = embedded(form);
  if (!answer.reload) settle(frame || form.hidden);
  // what runs must be stopped before the page goes; what the page's policy forbids must not be started on it
  if (answer.reload && !removed) again();
  else if (removed || now.length) start(() => answer.reload ? again() : frame && frame.focus());
  return true;
};

/** @type {Press["answered"]} */
const answered = (response, form, button) =>
  response.ok ? response.json().then((answer) => taken(answer, form)) : plain(form, button);

// A choice that the site's own script takes from the visitor, by a form like any other.
/** @type {Press["decide"]} */
const decide = async (decision, purposes) => {
  // in the page's language, as the notice that stands on it
  const state = await (await fetch(path + "/state?" + new URLSearchParams({ lang: document.documentElement.lang }))).json();
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: path, hidden: true });
  const fields = [["notice", state.notice], ["surface", "site"], ["return", location.pathname + location.search]];
  for (const [name, value] of fields.concat(purposes.map((id) => ["purpose", id]))) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  document.body.append(form);
  const button = Object.assign(document.createElement("button"), { name: "decision", value: purposes.length ? decision : decision + "_all" });
  form.append(button);
  const isTaken = await send(form, button);
  form.remove();
  if (!isTaken) throw new Error("gem_consent: the choice could not be sent");
  return granted();
};
