// Deletes cookies and stored keys by name pattern. A deletion must repeat the domain and path that the cookie was set
// with (RFC 6265bis, section 5.7), and scripts cannot read them: so every parent domain and every prefix of the path is tried.
/** @param {string} pattern @param {string} name */
const fits = (pattern, name) => {
  const [before, after] = pattern.split("*");
  if (after === undefined) return name === pattern;
  return name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after);
};
/** @param {string[]} names @param {string[]} keys */
const forget = (names, keys) => {
  const labels = location.hostname.split(".");
  const domains = [""].concat(labels.slice(0, -1).map((_, at) => "; Domain=" + labels.slice(at).join(".")));
  const paths = ["/"];
  location.pathname.split("/").slice(1, 9).reduce((path, part) => {
    const next = path + "/" + part;
    paths.push(next, next + "/");
    return next;
  }, "");
  // names that begin with __Secure- or __Host- are deleted only by a line that is Secure itself
  const secure = location.protocol === "https:" ? "; Secure" : "";
  for (const pair of cookies()) {
    const name = pair.split("=")[0];
    if (!names.some((pattern) => fits(pattern, name))) continue;
    for (const domain of domains) for (const path of paths) {
      document.cookie = name + "=; Max-Age=0; Path=" + path + domain + secure;
    }
  }
  for (const storage of /** @type {const} */ (["localStorage", "sessionStorage"])) {
    try {
      for (const key of Object.keys(window[storage])) {
        if (keys.some((pattern) => fits(pattern, key))) window[storage].removeItem(key);
      }
    } catch (error) {
      // a page may be forbidden its storage; then nothing was kept there
    }
  }
};
