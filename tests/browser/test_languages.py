"""The notice in every language: what fits, what is equal, and from which side it is read."""

from __future__ import annotations

from typing import Any

import pytest
from test_catalogues import LANGUAGES

from browser.pages import Site
from browser.visitor import Newcomer
from gem_consent.translation import Translation

pytestmark = pytest.mark.browser

_LOOK = """\
() => {
  const notice = document.querySelector("#gem-notice");
  const buttons = [...notice.querySelectorAll("button")];
  const box = (one) => {
    const { left, bottom, width, height } = one.getBoundingClientRect();
    return { left, bottom, width, height };
  };
  const { scrollWidth } = document.documentElement;
  return {
    notice: box(notice), accept: box(buttons[0]), refuse: box(buttons[1]), window: innerHeight,
    direction: getComputedStyle(notice).direction,
    overflows: scrollWidth > innerWidth || buttons.some((one) => one.scrollWidth > one.clientWidth),
  };
}
"""


@pytest.mark.rule("L3")
@pytest.mark.parametrize(("width", "height"), [(320, 568), (768, 1024), (1280, 800)])
def test_every_language_fits(site: Site, newcomer: Newcomer, width: int, height: int) -> None:
    """Nothing overflows, the two buttons are of one size and in view, and half of the window stays free."""
    visitor = newcomer(site, viewport={"width": width, "height": height})
    for language in LANGUAGES:
        seen: dict[str, Any] = visitor.visit(f"/lang/{language}").evaluate(_LOOK)
        accept, refuse = seen["accept"], seen["refuse"]
        assert not seen["overflows"], language
        assert (accept["width"], accept["height"]) == (refuse["width"], refuse["height"]), language
        assert accept["height"] >= 44, language
        assert refuse["bottom"] <= seen["window"], language
        assert seen["notice"]["height"] <= seen["window"] / 2 + 1, language
        assert seen["direction"] == Translation(language, language).direction
        # the first of the two is where reading begins, or above
        is_beside = accept["left"] != refuse["left"]
        assert not is_beside or (accept["left"] < refuse["left"]) == (seen["direction"] == "ltr"), language


def test_notice_keeps_its_direction(site: Site, newcomer: Newcomer) -> None:
    """On a page that is written from the other side the notice is read from its own."""
    page = newcomer(site).visit()
    page.evaluate("document.documentElement.dir = 'rtl'")
    assert page.evaluate(_LOOK)["direction"] == "ltr"


def test_machine_names_read_from_the_left(site: Site, newcomer: Newcomer) -> None:
    """The names of cookies keep their order on a page that is read from the right."""
    page = newcomer(site).visit("/privacy-choices?lang=ar")
    names = page.locator("code")
    assert set(names.evaluate_all("all => all.map((one) => getComputedStyle(one).direction)")) == {"ltr"}
