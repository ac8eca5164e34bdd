// What a press needs, fetched by the first one: the answer to a choice, the preferences in place, embeds, and the rest of
// the interface for the site's own scripts. notice.js hands over what it shares.
/** @type {HTMLScriptElement} */ (document.currentScript).gem(({ path, granted, renew, start, send, plain }) => {
  /* allowed.js */
  /* preferences.js */
  /* once.js */
  /* answer.js */
  return { answered, settle, open, decide, once, dress };
});
