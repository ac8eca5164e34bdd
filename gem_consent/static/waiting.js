// What waits in the page for a purpose, of sites that do not render with this library, starts with it:
// <script type="text/plain" data-consent="analytics">, <iframe data-consent="media" data-src="…">.
/** @param {Waiting} one */
const begin = (one) => {
  if (!(granted() || []).includes(one.dataset.consent)) return;
  if (one.dataset.src && !one.src) one.src = one.dataset.src;
  if (one.type !== "text/plain") return;
  // a script that was once in a document does not run when its type changes: HTML standard, "already started"
  const script = document.createElement("script");
  for (const { name, value } of one.attributes) if (name !== "type" && name !== "data-consent") script.setAttribute(name, value);
  script.async = one.hasAttribute("async");
  script.nonce = nonce;
  script.text = one.text;
  one.replaceWith(script);
};
const look = () => /** @type {NodeListOf<Waiting>} */ (document.querySelectorAll("[data-consent]")).forEach(begin);
look();
// what is added later waits no longer than a frame; parts of a page that come later still are added in this sense
if (!started[""]) {
  started[""] = true;
  new MutationObserver((changes) => changes.some((change) => change.addedNodes.length) && look()).observe(document, { childList: true, subtree: true });
}
