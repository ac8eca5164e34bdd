"""Turbo and htmx, the real ones, swap pages under the notice: what is shown and runs follows the choice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import expect

from browser.google import is_hit
from browser.pages import Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_MODULES = Path(sys.prefix) / "node" / "node_modules"
_FILES = {
    "turbo": _MODULES / "@hotwired" / "turbo" / "dist" / "turbo.es2017-umd.js",
    "htmx": _MODULES / "htmx.org" / "dist" / "htmx.min.js",
}
# links and forms of the whole page, as its documentation says
_BOOST = "document.body.setAttribute('hx-boost', 'true'); htmx.process(document.body);"


class Swapper(NamedTuple):
    """Someone who looks at a site whose pages a library swaps."""

    visitor: Visitor
    library: str

    def go(self, path: str) -> None:
        """Follow a link; the page is swapped, not loaded."""
        page = self.visitor.page
        if not page.evaluate("window.isSwapping"):
            page.add_script_tag(path=_FILES[self.library])
            page.evaluate(f"window.isSwapping = true; {_BOOST if self.library == 'htmx' else ''}")
        page.get_by_role("link", name=path, exact=True).click()
        expect(page.get_by_role("heading", name=path, exact=True)).to_be_visible()
        assert page.evaluate("window.isSwapping")


@pytest.fixture(params=sorted(_FILES))
def swapper(request: pytest.FixtureRequest, site: Site, newcomer: Newcomer) -> Swapper:
    """Someone whose pages Turbo swaps, and someone whose pages htmx does."""
    if not _FILES[request.param].is_file():
        pytest.skip(f"{request.param} is not installed: pages that it swaps are not checked")
    return Swapper(newcomer(site), request.param)


def _tags(visitor: Visitor) -> int:
    return sum("/gtag/js" in url for url in visitor.requests)


@pytest.mark.parametrize("path", ["/two", "/shared"])
def test_refusal_holds_on_swapped_pages(swapper: Swapper, site: Site, path: str) -> None:
    """The notice is on the swapped page, once, until it is refused there; then the control is, on each."""
    visitor = swapper.visitor
    visitor.visit("/")
    swapper.go(path)
    expect(visitor.notice).to_be_visible()
    assert visitor.page.locator("#gem-notice").count() == 1
    visitor.reject()
    for there in ("/", path):
        swapper.go(there)
        expect(visitor.control).to_be_visible()
        expect(visitor.notice).to_be_hidden()
    assert (visitor.outside(), visitor.troubles) == ([], [])
    assert [row.state for row in site.rows()] == ["refused"]


@pytest.mark.parametrize("path", ["/two", "/shared"])
def test_grant_measures_swapped_pages(swapper: Swapper, site: Site, path: str) -> None:
    """The tag is loaded once, by the grant on a swapped page, and goes on; a withdrawal there ends it."""
    visitor = swapper.visitor
    visitor.visit("/")
    swapper.go(path)
    visitor.accept()
    for there in ("/", path):
        swapper.go(there)
        expect(visitor.control).to_be_visible()
        expect(visitor.notice).to_be_hidden()
    visitor.beat(1)
    assert _tags(visitor) == 1
    visitor.withdraw()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    visitor.requests.clear()
    swapper.go("/")
    expect(visitor.control).to_be_visible()
    assert (visitor.outside(), visitor.troubles) == ([], [])
    assert [row.state for row in site.rows()] == ["given", "withdrawn"]


def test_earlier_grant_measures_at_once(swapper: Swapper) -> None:
    """A visitor who comes back is measured from the first page, and the tag is not loaded again by a swap."""
    visitor = swapper.visitor
    visitor.visit("/")
    visitor.accept()
    visitor.requests.clear()
    with visitor.page.expect_request(lambda request: is_hit(request.url)):
        visitor.visit("/two")
    swapper.go("/shared")
    swapper.go("/")
    visitor.beat(1)
    assert (_tags(visitor), visitor.troubles) == (1, [])
