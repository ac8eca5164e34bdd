// The purposes that the visitor grants now, by the hint cookie, or null while undecided. Of several hints (one may
// have been set for a parent domain) only what all of them grant counts.
const cookies = () => {
  try {
    return document.cookie.split("; ");
  } catch {
    // a sandboxed frame has no cookies and may not even ask: HTML standard, "cookie-averse Document"
    return [];
  }
};
/** @returns {Granted | null} */
const granted = () => {
  /** @type {Granted | null} */
  let found = null;
  for (const pair of cookies()) {
    if (!pair.startsWith("gem_consent_hint=")) continue;
    const [print, ids, end] = pair.slice(17).split(".");
    const left = /** @type {any} */ (end) - Date.now() / 1000;
    if (print !== fingerprint || !(left > 0)) continue;
    const these = ids.split("~").filter(Boolean);
    found = found ? found.filter((id) => these.includes(id)) : these;
    found.secondsLeft = Math.floor(left);
  }
  return found;
};
