// An embed that the visitor wants to see now: nothing is stored, and the next page asks again.
/** @param {HTMLFormElement} form @returns {HTMLIFrameElement | null} */
const embedded = (form) => {
  const embed = form.closest(".gem-embed");
  return embed && embed.querySelector("iframe");
};
/** @param {HTMLElement} button */
const once = (button) => {
  /** @type {Embed} */
  const frame = /** @type {any} */ (button.closest(".gem-embed")).querySelector("iframe");
  // where the page's policy keeps the frame out, it is shown beside the page
  if (!isAllowed(frame.title, { "frame-src": [new URL(frame.dataset.src).origin] }, "")) {
    window.open(frame.dataset.src, "_blank", "noopener");
    return;
  }
  frame.src = frame.dataset.src;
  frame.focus();
};
