"""The browser's part: what a page gains, beside three notices from npm, on one page in one Chromium."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from server import serving
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bench.figures import Figure, Run, at_most, shown
from gem_consent import ConsentMiddleware, Controller, GoogleAnalytics, Policy

TITLE = "The browser"

NOTES = """
The same page with each notice, one purpose, Google Analytics, all files from one server, in gzip. *Bytes*
and *requests*: what the notice adds until a visitor has chosen. *After the first paint*: how long after the
page's first contentful paint the notice is seen. *The press*: the longest event of a click on "accept" (Event
Timing), with the CPU slowed four times, until the next frame. Middle of the rounds; times depend on the
machine. Pictures of the last round, in a window of 360 × 640:
[gem_consent](pictures/compare-gem-consent.png),
[vanilla-cookieconsent](pictures/compare-vanilla-cookieconsent.png),
[tarteaucitronjs](pictures/compare-tarteaucitronjs.png), [klaro](pictures/compare-klaro.png).
"""

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_PACKAGES = ("vanilla-cookieconsent@3", "tarteaucitronjs@1", "klaro@0.7")
_WORDS = "<p>Words that a visitor came for, as many as fill some lines of the page.</p>" * 30
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
    "%s</head><body><h1>Page</h1>%s%s</body></html>"
)

_VANILLA = """\
CookieConsent.run({ hideFromBots: false,
  categories: { necessary: { enabled: true, readOnly: true }, analytics: {} },
  language: { default: "en", translations: { en: {
    consentModal: { title: "Your choice about cookies", description: "With your agreement we measure.",
      acceptAllBtn: "Accept all", acceptNecessaryBtn: "Reject all", showPreferencesBtn: "Choose in detail" },
    preferencesModal: { title: "Choose", acceptAllBtn: "Accept all", acceptNecessaryBtn: "Reject all",
      savePreferencesBtn: "Save", sections: [{ title: "Audience", linkedCategory: "analytics" }] } } } } });
"""
_TARTEAUCITRON = """\
tarteaucitron.init({ privacyUrl: "/privacy", orientation: "bottom", highPrivacy: true, AcceptAllCta: true,
  DenyAllCta: true, showIcon: false, cookieslist: false, closePopup: false });
tarteaucitron.user.gtagUa = "G-XXXXXXXXXX";
(tarteaucitron.job = tarteaucitron.job || []).push("gtag");
"""
_KLARO = """\
window.klaroConfig = { acceptAll: true, privacyPolicy: "/privacy", lang: "en",
  services: [{ name: "analytics", title: "Audience measurement", purposes: ["analytics"] }],
  translations: { en: { purposes: { analytics: "Audience measurement" } } } };
"""

_WATCH = """\
window.seen = { shift: 0, press: 0, paint: 0, notice: 0 };
const watch = (type, heed, more) => new PerformanceObserver((list) => list.getEntries().forEach(heed))
  .observe({ type, buffered: true, ...more });
watch("layout-shift", (one) => one.hadRecentInput || (seen.shift += one.value));
watch("event", (one) => (seen.press = Math.max(seen.press, one.duration)), { durationThreshold: 16 });
watch("paint", (one) => one.name === "first-contentful-paint" && (seen.paint = one.startTime));
(function look(time) {
  const notice = document.querySelector(SELECTOR);
  const box = notice && notice.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && notice.getBoundingClientRect();
  if (box && box.height && box.top < innerHeight) seen.notice = time;
  else requestAnimationFrame(look);
})(0);
"""


@dataclass(frozen=True)
class Contender:
    """One notice: where its page is, and what to look at and press there."""

    name: str
    path: str
    notice: str
    accept: str


_CONTENDERS = (
    Contender("gem_consent", "/gem", "#gem-notice", "#gem-notice-accept-all"),
    Contender("vanilla-cookieconsent", "/vanilla", "#cc-main .cm", "#cc-main [data-role=all]"),
    Contender("tarteaucitronjs", "/tarteaucitron", "#tarteaucitronAlertBig", "#tarteaucitronPersonalize2"),
    Contender("klaro", "/klaro", ".klaro .cookie-notice", ".klaro .cm-btn-success"),
)


@dataclass(frozen=True)
class Seen:
    """What one round saw of one notice."""

    requests: int
    size: int
    late: float
    shift: float
    press: float


def figures(run: Run) -> Iterator[Figure]:
    """Measure the four notices in turn, in one browser."""
    folder = _installed(run.folder)
    rounds: dict[str, list[Seen]] = {one.name: [] for one in _CONTENDERS}
    with ExitStack() as stack:
        origin = f"http://127.0.0.1:{stack.enter_context(serving(_site(folder, run.folder)))}"
        browser = _browser(stack)
        for number in range(run.pick(1, 7)):
            for one in _CONTENDERS:
                is_last = number and number == run.pick(1, 7) - 1
                rounds[one.name].append(_round(browser, origin, one, is_last=bool(is_last)))
    middle = {name: _middle(seen) for name, seen in rounds.items()}
    ours = middle.pop("gem_consent")
    yield at_most("requests that gem_consent adds before a choice", 0, ours.requests)
    yield at_most("gzip bytes that it adds in all for an undecided visitor", 4_096, ours.size)
    yield at_most("visible after the first paint by, ms (one frame is 17)", 17, ours.late)
    yield at_most("cumulative layout shift", 0, ours.shift)
    yield at_most("the press, CPU slowed four times, ms", 50, ours.press)
    for name, seen in middle.items():
        told = (
            f"{seen.requests} requests, {seen.size:,} bytes, {shown(seen.late)} ms after the first paint, "
            f"shift {shown(seen.shift)}, press {shown(seen.press)} ms"
        )
        yield Figure(f"{name} {_version(folder, name)}", told)


def _middle(seen: list[Seen]) -> Seen:
    def of(field: str) -> Any:
        return median(getattr(one, field) for one in seen)

    return Seen(int(of("requests")), int(of("size")), of("late"), of("shift"), of("press"))


def _installed(folder: Path) -> Path:
    """Fetch the others by npm, without running what they would run."""
    place = folder / "npm"
    command = ["npm", "install", "--prefix", str(place), "--no-package-lock", "--ignore-scripts", *_PACKAGES]
    subprocess.run([*command, "--no-audit", "--no-fund", "--silent"], check=True)
    return place / "node_modules"


def _version(folder: Path, name: str) -> str:
    import json

    return str(json.loads((folder / name / "package.json").read_text("utf-8"))["version"])


def _site(modules: Path, folder: Path) -> Any:
    policy = Policy(
        controller=Controller("Example", "dpo@example.com"),
        privacy_url="/privacy",
        services=[GoogleAnalytics("G-XXXXXXXXXX")],
    )

    def page(head: str = "", foot: str = "") -> Any:
        async def show(request: Request) -> Response:
            return HTMLResponse(_PAGE % (head, _WORDS, foot))

        return show

    consenting = ConsentMiddleware(
        Starlette(routes=[Route("/gem", page())]),
        policy=policy,
        secret_key="only a benchmark signs with this key",
        ledger=f"sqlite:///{folder}/browser.db",
    )
    vanilla = "/npm/vanilla-cookieconsent/dist/cookieconsent"
    routes = [
        Mount("/npm", StaticFiles(directory=modules)),
        Route("/bare", page()),
        Route(
            "/vanilla",
            page(
                f'<link rel="stylesheet" href="{vanilla}.css">',
                f'<script src="{vanilla}.umd.js"></script><script>{_VANILLA}</script>',
            ),
        ),
        Route(
            "/tarteaucitron",
            page(
                '<script src="/npm/tarteaucitronjs/tarteaucitron.min.js"></script>'
                f"<script>{_TARTEAUCITRON}</script>"
            ),
        ),
        Route(
            "/klaro",
            page(f'<script>{_KLARO}</script><script defer src="/npm/klaro/dist/klaro.js"></script>'),
        ),
        Mount("/", consenting),
    ]
    return GZipMiddleware(Starlette(routes=routes), minimum_size=0)


def _browser(stack: ExitStack) -> Browser:
    playwright = stack.enter_context(sync_playwright())
    named = (
        os.environ.get("GEM_CONSENT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    arguments = ["--no-sandbox", "--disable-background-networking", "--no-first-run", rules]
    return stack.enter_context(playwright.chromium.launch(executable_path=named, args=arguments))


def _round(browser: Browser, origin: str, contender: Contender, *, is_last: bool) -> Seen:
    context = browser.new_context(viewport={"width": 360, "height": 640}, locale="en-GB")
    try:
        page = context.new_page()
        page.add_init_script(_WATCH.replace("SELECTOR", repr(contender.notice)))
        sizes: dict[str, int] = {}
        page.on("response", lambda response: sizes.update(_size_of(response)))
        page.goto(origin + contender.path, wait_until="load")
        page.locator(contender.notice).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)
        before = page.evaluate("seen")
        added = dict(sizes)
        if is_last:
            PICTURES.mkdir(exist_ok=True)
            page.screenshot(path=PICTURES / f"compare-{contender.name.replace('_', '-')}.png")
        press = _press(page, contender)
        bare = len(gzip.compress((_PAGE % ("", _WORDS, "")).encode(), 9))
        late = max(0.0, before["notice"] - before["paint"])
        return Seen(len(added) - 1, sum(added.values()) - bare, late, before["shift"], press)
    finally:
        context.close()


def _size_of(response: Any) -> dict[str, int]:
    if not response.url.startswith("http://127.0.0.1") or response.status != 200:
        return {}
    return {response.url: len(gzip.compress(response.body(), 9))}


def _press(page: Page, contender: Contender) -> float:
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.evaluate("seen.press = 0")
    page.locator(contender.accept).first.click()
    page.wait_for_timeout(700)
    return float(page.evaluate("seen.press"))
