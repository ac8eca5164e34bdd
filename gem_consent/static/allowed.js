// What the page's policies in <meta> elements leave out of what a service needs. Only the browser has them all before it:
// they may come in a later chunk, or of a script. In doubt it is left out: paths and ports are not weighed.
const metas = () => /** @type {HTMLMetaElement[]} */ ([...document.querySelectorAll("meta[http-equiv=content-security-policy i]")]).map((meta) => meta.content);

/** @param {string} source @returns {string[]} */
const letting = (source) => {
  const [scheme, host] = source.split("://");
  if (!host) return [source];
  const labels = host.split(".");
  const hosts = [host].concat(labels.slice(1).map((_, at) => "*." + labels.slice(at + 1).join(".")));
  // a source for http or ws lets https or wss through: CSP Level 3, "scheme-part match"
  const schemes = [scheme, scheme.replace(/s$/, "")];
  const full = schemes.flatMap((one) => [one + ":"].concat(hosts.map((name) => one + "://" + name)));
  return full.concat("*", scheme[0] === "w" ? [] : hosts, source === location.origin ? "'self'" : []);
};
/** @param {Record<string, string[]>} needed directive to sources @param {string} nonce @returns {string[]} */
const lacking = (needed, nonce) => metas().flatMap((content) => {
  /** @type {Record<string, string[]>} */
  const policy = {};
  for (const part of content.toLowerCase().split(";")) {
    const [name, ...sources] = part.trim().split(/\s+/);
    policy[name] = policy[name] || sources;
  }
  if (policy["require-trusted-types-for"]) return ["no require-trusted-types-for"];
  return Object.entries(needed).flatMap(([directive, sources]) => {
    const own = policy[directive + "-elem"] || policy[directive] || (directive === "frame-src" && policy["child-src"]);
    const given = own || policy["default-src"];
    /** @param {string} source */
    const lets = (source) => {
      const more = directive === "script-src" ? ["'nonce-" + nonce.toLowerCase() + "'"].concat(source[0] === "'" ? [] : "'strict-dynamic'") : [];
      return !given || letting(source).concat(more).some((one) => given.includes(one));
    };
    return sources.filter((source) => !lets(source)).map((source) => directive + " " + source);
  });
});
/** @param {string} name @param {Record<string, string[]>} needed @param {string} nonce */
const isAllowed = (name, needed, nonce) => {
  const lacks = lacking(needed, nonce);
  if (lacks.length) console.warn("gem_consent: " + name + " is not started, for the policy in a <meta> of this page forbids it; needed: " + lacks.join("; "));
  return !lacks.length;
};
