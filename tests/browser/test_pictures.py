"""Pictures of the notice, the control and the preferences page, in ``.screenshots/`` to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from browser.pages import SEVERAL, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_FOLDER = Path(__file__).parents[2] / ".screenshots"
_SIZES = {"1280": (1280, 800), "320": (320, 640)}
_CASES = [
    *product(["en", "fr"], _SIZES, ["light", "dark"]),
    ("de", "320", "dark"),
    ("el", "320", "light"),
    ("ar", "320", "dark"),
    ("ar", "1280", "light"),
]

# Elements that stick out of the window, whose words are cut off, or boxes to tick that words have squeezed.
_OVERFLOWING = """\
() => [...document.querySelectorAll("#gem-notice *, #gem-settings, #gem-settings *, main *")]
  .filter((one) => one.checkVisibility() && !one.closest("[role=status], .gem-hidden, .gem-table > *"))
  .filter((one) => {
    const { left, right } = one.getBoundingClientRect();
    const isCut = one.clientWidth && one.scrollWidth > one.clientWidth + 1;
    const isOpen = getComputedStyle(one).overflowX === "visible";
    const isSqueezed = one.type === "checkbox" && (one.clientWidth < 24 || one.clientHeight < 24);
    return left < -1 || right > innerWidth + 1 || (isCut && isOpen) || isSqueezed;
  })
  .map((one) => one.outerHTML.slice(0, 80))
"""


@pytest.mark.parametrize(("language", "width", "scheme"), _CASES)
def test_nothing_overflows(
    serve: Callable[..., Site], newcomer: Newcomer, language: str, width: str, scheme: str
) -> None:
    """Nothing scrolls sideways, sticks out or is cut off, whatever the language, scheme and width."""
    size = dict(zip(("width", "height"), _SIZES[width], strict=True))
    site = serve(SEVERAL)
    visitor = newcomer(site, viewport=size, color_scheme=scheme)
    page = visitor.visit(f"/lang/{language}")
    _look(visitor, f"notice-{language}-{width}-{scheme}")
    visitor.tab_to(page.locator("#gem-notice-reject-all"))
    _look(visitor, f"focus-{language}-{width}-{scheme}")
    page.locator("#gem-notice-accept-all").click()
    page.locator("#gem-settings").wait_for()
    _look(visitor, f"settings-{language}-{width}-{scheme}")
    page.goto(site.url(f"/privacy-choices?lang={language}&return=/two"))
    page.locator("summary").nth(1).click()
    _look(visitor, f"preferences-{language}-{width}-{scheme}", full_page=True)


def _look(visitor: Visitor, name: str, **options: Any) -> None:
    _FOLDER.mkdir(exist_ok=True)
    visitor.page.screenshot(path=_FOLDER / f"{name}.png", **options)
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert visitor.page.evaluate(_OVERFLOWING) == [], name
