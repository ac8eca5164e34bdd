"""One Chromium for all browser tests, a site for each test, and visitors to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright
from server import serving

from browser.google import play_google
from browser.pages import POLICY, Site
from browser.visitor import Newcomer, Visitor
from gem_consent import Policy

_INSTALLED = ("chromium", "chromium-browser", "google-chrome")
_HOSTS = ("example.com", "*.example.com", "www.shop.co.uk")
_RULES = ", ".join([*(f"MAP {host} 127.0.0.1" for host in _HOSTS), "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"])
_ARGUMENTS = (
    "--no-sandbox",  # tests run as root, too
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    f"--host-resolver-rules={_RULES}",
)
_WAIT_MILLISECONDS = 10_000


# not for the session: Playwright's event loop runs in this thread for as long as it lives
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser: the one that GEM_CONSENT_CHROMIUM names, else an installed one, else Playwright's own."""
    with sync_playwright() as playwright, ExitStack() as stack:
        named = os.environ.get("GEM_CONSENT_CHROMIUM")
        reasons = []
        for path in (named,) if named else (*filter(None, map(shutil.which, _INSTALLED)), None):
            try:
                browser = stack.enter_context(_launch(playwright, path))
                break
            except Error as error:
                reasons.append(error.message.splitlines()[0])
        else:
            pytest.skip("no Chromium: " + "; ".join(reasons))
        yield browser


def _launch(playwright: Playwright, path: str | None) -> Browser:
    return playwright.chromium.launch(
        executable_path=path,
        args=_ARGUMENTS,
        # the back/forward cache is part of what is tested
        ignore_default_args=["--disable-back-forward-cache"],
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serves sites; takes a policy, and what else the middleware is told."""
    with ExitStack() as stack:

        def start(policy: Policy = POLICY, **options: Any) -> Site:
            site = Site(tmp_path / "ledger.db", policy, options=options)
            site.port = stack.enter_context(serving(site.app()))
            return site

        yield start


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """The site, with Google Analytics as its only service."""
    return serve()


@pytest.fixture
def newcomer(browser: Browser) -> Iterator[Newcomer]:
    """Makes visitors whose requests to Google are answered here; any other that leaves the site fails."""
    visitors: list[Visitor] = []

    def make(site: Site, *, has_script: bool = True, is_watched: bool = True, **options: Any) -> Visitor:
        context = browser.new_context(locale="en-GB", java_script_enabled=has_script, **options)
        context.set_default_timeout(_WAIT_MILLISECONDS)
        if is_watched:  # which costs the context its HTTP cache
            play_google(context)
        visitors.append(Visitor(context, site, has_script=has_script))
        return visitors[-1]

    yield make
    for visitor in visitors:
        for page in visitor.context.pages:
            _leave(page)
        visitor.context.close()
    assert [url for visitor in visitors for url in visitor.strangers()] == []


def _leave(page: Page) -> None:
    """Leave a page, whatever it still loads: Chromium may never close a context amid a navigation."""
    try:
        page.goto("about:blank")
    except Error:  # the page's own navigation came in between
        page.wait_for_url("about:blank")


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def has_script(request: pytest.FixtureRequest) -> bool:
    """Whether the visitor's browser runs JavaScript: a test that asks runs both ways."""
    return bool(request.param)


@pytest.fixture
def visitor(site: Site, newcomer: Newcomer, has_script: bool) -> Visitor:
    """Someone who has never been here, with JavaScript and without."""
    return newcomer(site, has_script=has_script)
