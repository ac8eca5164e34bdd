"""Google's hosts, answered by the test: a gtag.js that does what matters of the real one, eagerly."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Route

__all__ = ["ID", "TAG", "is_google", "is_hit", "play_google", "signals_of"]

ID = "G-XXXXXXXXXX"

TAG = """\
(() => {
  const id = new URL(document.currentScript.src).searchParams.get("id");
  const consent = {};
  let config = null;
  const isAllowed = () => window["ga-disable-" + id] !== true;

  // cookie_domain "auto": the widest domain that the browser takes, else the host alone
  const keep = (name, value) => {
    const has = (start) => document.cookie.split("; ").some((pair) => pair.startsWith(start));
    if (has(name + "=") && config.cookie_update === false) return;
    const labels = location.hostname.split(".");
    const domains = labels.map((_, at) => "; Domain=" + labels.slice(at).join(".")).reverse();
    for (const domain of [...domains, ""]) {
      const { cookie_expires: age, cookie_flags: flags } = config;
      document.cookie = `${name}=${value}; Max-Age=${age}; Path=/; ${flags}${domain}`;
      if (has(`${name}=${value}`)) return;
    }
  };

  const hit = (event) => {
    if (!config || !isAllowed()) return;
    const isMeasured = consent.analytics_storage === "granted";
    if (isMeasured) {
      keep("_ga", "GA1.1." + Date.now());
      keep("_ga_" + id.slice(2), "GS2.1." + Date.now());
    }
    const gcs = "G1" + +(consent.ad_storage === "granted") + +isMeasured;
    fetch(`https://region1.google-analytics.com/g/collect?v=2&tid=${id}&gcs=${gcs}&en=${event}`, {
      method: "POST", mode: "no-cors",
    }).catch(() => {});
  };

  const obey = ([command, target, values]) => {
    if (command === "consent") Object.assign(consent, values);
    if (command !== "config") return;
    config = values;
    hit("page_view");
  };
  const layer = (window.dataLayer = window.dataLayer || []);
  layer.push = (...given) => (given.forEach(obey), Array.prototype.push.apply(layer, given));
  layer.forEach(obey);

  // restless, so that a withdrawal that does not stop it is seen
  window.tagBeats = 0;
  setInterval(() => (hit("user_engagement"), window.tagBeats++), 100);
  // as enhanced measurement does
  document.addEventListener("submit", () => hit("form_submit"));
  addEventListener("pageshow", (event) => event.persisted && hit("revived"));
})();
"""


def play_google(context: BrowserContext) -> None:
    """Answer every request to Google's hosts from this context; the rest of the outside world stays away."""
    context.route("https://**/*", _answer)


def is_google(url: str) -> bool:
    """Say whether an address is one of Google's."""
    host = urlsplit(url).hostname or ""
    return host.endswith(("googletagmanager.com", "google-analytics.com"))


def is_hit(url: str) -> bool:
    """Say whether a request measures something."""
    return urlsplit(url).path == "/g/collect"


def signals_of(url: str) -> str:
    """Give the consent signals (``gcs``) that a hit carries: G1, then advertising, then analytics."""
    return parse_qs(urlsplit(url).query)["gcs"][0]


def _answer(route: Route) -> None:
    url = route.request.url
    if not is_google(url):
        route.abort()
    elif is_hit(url):
        route.fulfill(status=204, headers={"access-control-allow-origin": "*"})
    else:
        route.fulfill(content_type="text/javascript", body=TAG)
