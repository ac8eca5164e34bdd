"""A visitor: one browser context with nothing kept, and everything that left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page

from browser.google import is_google, is_hit
from browser.pages import Site

__all__ = ["Newcomer", "Visitor"]

Newcomer = Callable[..., "Visitor"]
"""Makes a visitor; takes the options of a browser context."""

_WATCH = """\
addEventListener("securitypolicyviolation", (event) =>
  reportTrouble(`${event.violatedDirective} blocked ${event.blockedURI} on ${location.pathname}`));
"""


class Visitor:
    """Someone who looks at a site.

    Args:
        context: a fresh one.
        site: where they go.
        has_script: whether their browser runs JavaScript.
    """

    def __init__(self, context: BrowserContext, site: Site, *, has_script: bool = True) -> None:
        self.context = context
        self.site = site
        self.has_script = has_script
        self.requests: list[str] = []
        self.troubles: list[str] = []
        self.vendors: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self._listen)
        context.on("weberror", lambda error: self.troubles.append(str(error.error)))
        context.expose_binding("reportTrouble", lambda _, trouble: self.troubles.append(trouble))
        context.add_init_script(_WATCH)
        self.page = context.new_page()

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.troubles.append(message.text)

    def visit(self, path: str = "/", host: str = "127.0.0.1") -> Page:
        """Go to a page, and wait until all of it is there."""
        self.page.goto(self.site.url(path, host), wait_until="load")
        return self.page

    @property
    def notice(self) -> Locator:
        """The notice, by its role and name."""
        return self.page.get_by_role("region", name="Your choice about cookies")

    @property
    def control(self) -> Locator:
        """The settings control, by its role and name."""
        return self.page.get_by_role("region", name="Cookies", exact=True)

    @property
    def status(self) -> Locator:
        """Where it is said that a choice is saved."""
        return self.page.locator("#gem-status")

    @property
    def preferences(self) -> Locator:
        """The preferences, in place."""
        return self.page.get_by_role("dialog", name="Manage my cookies")

    def button(self, name: str) -> Locator:
        """A button, by its name."""
        return self.page.get_by_role("button", name=name)

    def accept(self) -> None:
        """Press the button, and wait until the tag runs, or without JavaScript until the page is back."""
        if not self.has_script:
            self.leave_by(self.button("Accept all"))
            return
        with self.page.expect_request(lambda request: is_hit(request.url)):
            self.button("Accept all").click()

    def accept_only(self, *purposes: str) -> None:
        """Save these purposes and no others, by the preferences in place."""
        shown = self.open_preferences(self.page.locator("#gem-notice [data-gem=open]"))
        for purpose in purposes:
            shown.locator(f"[name=purpose][value={purpose}]").check()
        shown.get_by_role("button", name="Save these choices").click()
        self.control.wait_for()

    def reject(self) -> None:
        """Press the button, and wait until the choice is in force."""
        if not self.has_script:
            self.leave_by(self.button("Reject all"))
            return
        self.button("Reject all").click()
        self.control.wait_for()

    def withdraw(self) -> None:
        """Press the button, and wait for the page that follows."""
        self.leave_by(self.button("Withdraw my agreement"))

    def open_preferences(self, way_in: Locator) -> Locator:
        """Press a link to the preferences; give them, in place where there is a script, else as a page."""
        if not self.has_script:
            self.leave_by(way_in)
            return self.page.locator("main")
        way_in.click()
        self.preferences.wait_for()
        return self.preferences

    def leave_by(self, element: Locator) -> None:
        """Press something that loads a page, and wait for all of it."""
        # not a navigation: a note in the page's history counts as one
        with self.page.expect_event("load"):
            element.click()

    def outside(self) -> list[str]:
        """The requests that left for another server than the site's."""
        return [url for url in self.requests if self._is_outside(url)]

    def hits(self) -> list[str]:
        """The requests that measured something."""
        return [url for url in self.requests if is_hit(url)]

    def strangers(self) -> list[str]:
        """The requests to neither the site nor Google: there must never be any."""
        return [
            url for url in self.outside() if not is_google(url) and not url.startswith(tuple(self.vendors))
        ]

    def _is_outside(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https", "ws", "wss") and parts.port != self.site.port

    def cookies(self) -> Mapping[str, Any]:
        """The cookies that the browser holds, by name."""
        return {cookie["name"]: cookie for cookie in self.context.cookies()}

    def beat(self, times: int = 5) -> None:
        """Wait until the tag's own timer has fired so often."""
        seen = self.page.evaluate("window.tagBeats")
        self.page.wait_for_function("least => window.tagBeats >= least", arg=seen + times)

    def tab_to(self, element: Locator) -> int:
        """Press Tab until an element has the focus; give how often."""
        for presses in range(1, 40):
            self.page.keyboard.press("Tab")
            if element.evaluate("one => one === document.activeElement"):
                return presses
        raise AssertionError("the keyboard does not reach it")
