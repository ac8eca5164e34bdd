"""The four layouts: none hides what has the focus, shifts or locks the page, or loses its buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.pages import SEVERAL, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_LAYOUTS = ("bar", "box", "top", "dialog")
_PHONE = {"width": 320, "height": 480}
_DESKTOP = {"width": 1280, "height": 800}

# Whether some part of an element is its own, and not under something else.
_IS_SEEN = """\
(one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  const isOwn = (across) => one.contains(document.elementFromPoint(x + width * across, y + height / 2));
  return [.5, .1, .9].some(isOwn);
}
"""

_SHIFTS = """\
window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((one) => {
  const from = one.sources.map((source) => String(source.node && source.node.outerHTML).slice(0, 60));
  if (!one.hadRecentInput) window.shifts.push([one.value, ...from]);
})).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(params=_LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """Each layout in turn."""
    return str(request.param)


@pytest.fixture(params=[_PHONE, _DESKTOP], ids=["320x480", "1280x800"])
def looking(
    request: pytest.FixtureRequest, layout: str, serve: Callable[..., Site], newcomer: Newcomer
) -> Visitor:
    """Someone who looks at a site with two purposes in each layout, on a phone and on a desktop."""
    visitor = newcomer(serve(SEVERAL, layout=layout), viewport=request.param)
    visitor.context.add_init_script(_SHIFTS)
    return visitor


def test_layout_keeps_its_measure(looking: Visitor) -> None:
    """Half of the window at most; both buttons whole, in view and large; nothing is locked or shifts."""
    page = looking.visit("/bottom")
    viewport, box = page.viewport_size, looking.notice.bounding_box()
    assert viewport
    assert box
    assert box["height"] <= viewport["height"] / 2 + 1
    for name in ("Accept all", "Reject all"):
        button = looking.button(name)
        expect(button).to_be_in_viewport(ratio=1)
        assert button.evaluate(_IS_SEEN)
        size = button.bounding_box()
        assert size
        assert min(size["width"], size["height"]) >= 44
    words = page.locator("#gem-notice .gem-words")
    assert words.evaluate(
        "one => (one.scrollTo(0, 9999), one.scrollTop + one.clientHeight + 1 >= one.scrollHeight)"
    )
    page.mouse.wheel(0, 400)
    page.wait_for_function("scrollY > 0")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("window.shifts") == []


def test_growing_page_shifts_nothing(looking: Visitor) -> None:
    """The room at the end of a page that is still coming in moves down with its end, unseen."""
    page = looking.visit("/")
    page.add_style_tag(
        content="html { overflow-y: scroll }"
    )  # a scroll bar that comes moves all that is fixed
    page.evaluate("() => new Promise(requestAnimationFrame).then(() => (window.shifts.length = 0))")
    page.evaluate(
        """() => new Promise((done) => {
          let left = 5;
          const grow = () => {
            const more = document.createElement("p");
            more.innerText = "More";
            document.querySelector("main").append(more);
            if (left--) setTimeout(() => requestAnimationFrame(grow), 100);
            else setTimeout(done, 100);
          };
          grow();
        })"""
    )
    assert page.evaluate("window.shifts") == []


def test_half_a_notice_is_not_seen(site: Site, newcomer: Newcomer) -> None:
    """A notice of which only the beginning has come in waits unseen, so that it does not grow (CLS)."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.page.evaluate("document.querySelector('#gem-notice form').remove()")
    expect(visitor.page.locator("#gem-notice")).to_be_hidden()


def test_layout_hides_no_focus(looking: Visitor) -> None:
    """Through all links of a page, there and back, the one that has the focus is in sight (2.4.11)."""
    page = looking.visit("/bottom")
    looking.tab_to(page.get_by_role("link", name="The last link"))
    for _ in range(6):
        focused = page.locator("main :focus")
        if focused.count():
            assert focused.evaluate(_IS_SEEN), focused.evaluate("one => one.outerHTML")
        page.keyboard.press("Shift+Tab")


def test_layout_goes_with_the_choice(looking: Visitor) -> None:
    """After a press the notice is gone, the control small and in a corner, and nothing shifts by itself."""
    page = looking.visit("/bottom")
    looking.reject()
    expect(looking.notice).to_be_hidden()
    box = looking.control.bounding_box()
    assert box
    assert box["width"] * box["height"] < 200 * 60
    assert page.evaluate("window.shifts") == []


def test_right_to_left_mirrors(layout: str, serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """In a page that runs from right to left the notice does too, and stays in the window."""
    visitor = newcomer(serve(SEVERAL, layout=layout), viewport=_DESKTOP)
    page = visitor.visit()
    page.evaluate(
        "document.documentElement.dir = 'rtl';"
        "for (const one of document.querySelectorAll('#gem-notice, #gem-settings')) one.dir = 'rtl'"
    )
    accept, reject = (visitor.button(name).bounding_box() for name in ("Accept all", "Reject all"))
    box = visitor.notice.bounding_box()
    assert accept
    assert reject
    assert box
    assert accept["x"] > reject["x"] or accept["y"] < reject["y"]
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280
    if layout == "box":
        assert box["x"] < 100
    visitor.reject()
    control = visitor.control.bounding_box()
    assert control
    assert control["x"] > 640


def test_site_leaves_out_the_control(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """With a link of its own the site has no control; the link opens the preferences, the choice is told."""
    visitor = newcomer(serve(SEVERAL, settings="site"))
    page = visitor.visit("/link")
    visitor.button("Reject all").click()
    expect(visitor.status).to_have_text("Your choice is saved.")
    assert page.locator("#gem-settings").count() == 0
    visitor.open_preferences(page.get_by_role("link", name="Our cookies"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Our cookies")).to_be_focused()


@pytest.mark.parametrize(("scheme", "light"), [("light", True), ("dark", False)])
def test_scheme_is_the_systems(site: Site, newcomer: Newcomer, scheme: str, light: bool) -> None:
    """Light or dark as the visitor's system is, unless the page says otherwise."""
    visitor = newcomer(site, color_scheme=scheme)
    visitor.visit("/")
    assert (_lightness(visitor) > 200) is light
    visitor.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert _lightness(visitor) < 60
    visitor.page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert _lightness(visitor) > 200


def test_brand_takes_five_lines(site: Site, newcomer: Newcomer) -> None:
    """A site's own colour, font, corners and scheme reach both buttons alike."""
    visitor = newcomer(site, color_scheme="dark")
    visitor.visit("/brand")
    for name in ("Accept all", "Reject all"):
        style = visitor.button(name).evaluate(
            "one => (({ backgroundColor, fontFamily, borderRadius }) =>"
            " [backgroundColor, fontFamily, borderRadius])(getComputedStyle(one))"
        )
        assert style == ["rgb(11, 107, 79)", "Georgia, serif", "0px"]
    assert _lightness(visitor) > 200


def test_print_leaves_it_out(site: Site, newcomer: Newcomer) -> None:
    """Nothing of ours is printed."""
    visitor = newcomer(site)
    page = visitor.visit()
    page.emulate_media(media="print")
    expect(visitor.notice).to_be_hidden()
    page.emulate_media(media="screen")
    visitor.reject()
    page.emulate_media(media="print")
    expect(visitor.control).to_be_hidden()


def test_forced_colours_keep_edges(site: Site, newcomer: Newcomer) -> None:
    """Where the system forces its colours, buttons keep a border and the notice an edge."""
    visitor = newcomer(site, forced_colors="active")
    visitor.visit()
    for name in ("Accept all", "Reject all"):
        assert visitor.button(name).evaluate("one => getComputedStyle(one).borderTopWidth") == "1px"
    assert visitor.notice.evaluate("one => getComputedStyle(one).borderTopWidth") == "1px"


def _lightness(visitor: Visitor) -> float:
    colour: Any = visitor.notice.evaluate("one => getComputedStyle(one).backgroundColor.match(/[0-9]+/g)")
    return sum(map(int, colour[:3])) / 3
