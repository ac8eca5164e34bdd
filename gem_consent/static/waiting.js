// What waits in the page for a purpose, of sites that do not render with this library, starts with it:
// <script type="text/plain" data-consent="analytics">, <iframe data-consent="media" data-src="…">.
/** @type {WeakSet<Waiting>} */
const barred = new WeakSet();
/** @param {Waiting} one */
const mayBegin = (one) => {
  const from = one.dataset.src || one.src, directive = one.localName === "iframe" ? "frame-src" : one.localName + "-src";
  const may = isAllowed(from || one.localName, { [directive]: [from ? Object.assign(document.createElement("a"), { href: from }).origin : "'unsafe-inline'"] }, nonce);
  if (!may) barred.add(one);
  return may;
};
/** @param {Waiting} one */
const begin = (one) => {
  const isFrame = one.dataset.src && !one.src, isScript = one.type === "text/plain";
  if (!isFrame && !isScript || barred.has(one) || !(granted() || []).includes(one.dataset.consent) || !mayBegin(one)) return;
  if (isFrame) one.src = /** @type {any} */ (one.dataset.src);
  if (!isScript) return;
  // a script that was once in a document does not run when its type changes: HTML standard, "already started"
  const script = document.createElement("script");
  for (const { name, value } of one.attributes) if (name !== "type" && name !== "data-consent") script.setAttribute(name, value);
  script.async = one.hasAttribute("async");
  script.nonce = nonce;
  script.text = one.text;
  one.replaceWith(script);
};
const look = () => /** @type {NodeListOf<Waiting>} */ (document.querySelectorAll("[data-consent]")).forEach(begin);
afterHead(() => {
  look();
  // what is added later waits no longer than a frame; parts of a page that come later still are added in this sense
  if (started[""]) return;
  started[""] = true;
  new MutationObserver((changes) => changes.some((change) => change.addedNodes.length) && look()).observe(document, { childList: true, subtree: true });
});
