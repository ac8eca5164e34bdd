"""What the rules ask of the notice, the control and the preferences page (CNIL, EDPB, WCAG 2.2), measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from playwright.sync_api import Locator, expect

from browser.pages import SEVERAL, Row, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_DESKTOP = {"width": 1280, "height": 800}
_PHONE = {"width": 320, "height": 480}
_ZOOMED = {"width": 320, "height": 256}  # 1280 x 1024 at 400 %: WCAG 2.2, 1.4.10
_TARGET_PIXELS = 44
_RELATION = "(one, other) => one.compareDocumentPosition(document.querySelector(other))"
_FOLLOWING = 4

_STYLE = """\
(one) => Object.fromEntries(
  [...getComputedStyle(one)].map((name) => [name, getComputedStyle(one).getPropertyValue(name)])
)
"""

# Relative luminance and contrast: WCAG 2.2, "contrast ratio".
_CONTRAST = """\
(one, edge) => {
  const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const ground = (element) => {
    const colour = parts(getComputedStyle(element).backgroundColor);
    const around = element.parentElement || element.getRootNode().host;
    return colour.length === 4 && colour[3] === 0 ? ground(around) : colour;
  };
  const light = (colour) => colour.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const colour = getComputedStyle(one)[edge || "color"];
  const around = edge ? one.parentElement : one;
  const [low, high] = [light(parts(colour)), light(ground(around))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
"""

# Whether the middle of an element is its own, and not under something else.
_IS_CLEAR = """\
(one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  const top = document.elementFromPoint(x + width / 2, y + height / 2);
  return one === top || one.contains(top);
}
"""


@pytest.fixture(params=[_DESKTOP, _PHONE, _ZOOMED], ids=["1280x800", "320x480", "320x256"])
def looking(request: pytest.FixtureRequest, serve: Callable[..., Site], newcomer: Newcomer) -> Visitor:
    """Someone who looks at the notice of a site with two purposes, at each size."""
    visitor = newcomer(serve(SEVERAL), viewport=request.param)
    visitor.visit()
    return visitor


@pytest.mark.rule("L1", "L2", "L3", "L4", "L5")
def test_buttons_are_equal(looking: Visitor) -> None:
    """Accept and reject: same layer, element, style and area, both in sight without scrolling (L1 to L5)."""
    accept, reject = _both(looking)
    assert (accept.count(), reject.count()) == (1, 1)
    for button in (accept, reject):
        expect(button).to_be_in_viewport(ratio=1)
        assert button.evaluate(_IS_CLEAR)
        assert button.evaluate("one => one.tagName + one.type") == "BUTTONsubmit"
        assert button.evaluate(_CONTRAST) >= 4.5
        assert not button.evaluate("one => one.closest('p')")
    assert accept.evaluate(_STYLE) == reject.evaluate(_STYLE)
    assert 0.9 <= _area(accept) / _area(reject) <= 1.1


@pytest.mark.rule("L7", "L9")
def test_purposes_come_first(looking: Visitor) -> None:
    """Each purpose, by title and line, stands before the buttons; the way back is named (L7, L9)."""
    for purpose in SEVERAL.asked:
        title = looking.notice.locator("li", has_text=_english(purpose.name))
        expect(title).to_contain_text(_english(purpose.description))
        assert title.evaluate(_RELATION, "#gem-notice-accept-all") & _FOLLOWING
    words = looking.notice.inner_text()
    services = [service.name for service in SEVERAL.services]
    for needed in ("cookies", *services, "13 months", "withdraw", "Manage my cookies"):
        assert needed in words


@pytest.mark.rule("P7")
def test_notice_leaves_the_page_in_sight(looking: Visitor) -> None:
    """The bar covers half of the screen at most, four fifths of a very low one, and locks nothing (P7)."""
    viewport = looking.page.viewport_size
    box = looking.notice.bounding_box()
    assert viewport is not None
    assert box is not None
    assert box["height"] <= viewport["height"] * (0.8 if viewport["height"] < 300 else 0.5) + 1
    assert looking.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert looking.page.get_by_role("dialog").count() == 0
    assert looking.page.locator("[inert], [aria-hidden=true]").count() == 0


@pytest.mark.rule("X1")
def test_targets_are_large(looking: Visitor) -> None:
    """Buttons and the links beside them measure 44 pixels at least, before the choice and after it."""
    _assert_large(looking.notice.locator("form").locator("button, a"), 3)
    looking.button("Accept all").click()
    looking.control.wait_for()
    _assert_large(looking.control.locator("button, a"), 2)


@pytest.mark.rule("X1")
def test_focus_is_never_hidden(looking: Visitor) -> None:
    """The page's last link, focused, is under neither the notice nor the control (WCAG 2.2, 2.4.11)."""
    for is_decided in (False, True):
        page = looking.visit("/bottom")
        if is_decided:
            looking.button("Accept all").click()
        last = page.get_by_role("link", name="The last link")
        looking.tab_to(last)
        assert last.evaluate(_IS_CLEAR)


@pytest.mark.rule("L4")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(serve: Callable[..., Site], newcomer: Newcomer, scheme: str) -> None:
    """Every text has a contrast of 4.5 at least: in the notice, the control and the preferences page (L4)."""
    visitor = newcomer(serve(SEVERAL), color_scheme=scheme)
    visitor.visit()
    _assert_readable(visitor.notice)
    visitor.accept()
    _assert_readable(visitor.control)
    _assert_readable(visitor.open_preferences(visitor.control.get_by_role("link")))
    visitor.page.goto(visitor.site.url("/privacy-choices"))
    _assert_readable(visitor.page.locator("body"))


@pytest.mark.rule("L4")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_buttons_stand_out(site: Site, newcomer: Newcomer, scheme: str) -> None:
    """Edge, ground and focus ring of both buttons have a contrast of 3 at least around them (WCAG 1.4.11)."""
    visitor = newcomer(site, color_scheme=scheme)
    visitor.visit()
    for button in _both(visitor):
        visitor.tab_to(button)
        for part in ("borderTopColor", "backgroundColor", "outlineColor"):
            assert button.evaluate(_CONTRAST, part) >= 3, part


def test_notice_comes_first_by_keyboard(looking: Visitor) -> None:
    """The first Tab lands in the notice; focus follows the words, can be seen, and is not trapped."""
    order = []
    for _ in range(8):
        looking.page.keyboard.press("Tab")
        focused = looking.page.locator(":focus")
        order.append(focused.evaluate("one => one.closest('#gem-notice') ? one.textContent.trim() : 'page'"))
        if order[-1] not in ("page", ""):
            assert focused.evaluate("one => parseFloat(getComputedStyle(one).outlineWidth)") >= 2
    named = [one for one in order if len(one) < 40]
    assert named[:5] == ["Privacy policy", "Accept all", "Reject all", "Choose in detail", "page"]


@pytest.mark.rule("L8", "S3")
def test_links_lead_somewhere(visitor: Visitor) -> None:
    """Details and privacy policy are one click away and answer; the two buttons are there too (L8, S3)."""
    visitor.visit()
    with visitor.page.expect_response(lambda response: response.request.is_navigation_request()) as answer:
        visitor.leave_by(visitor.notice.get_by_role("link", name="Privacy policy"))
    assert answer.value.status == 200
    visitor.visit()
    shown = visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail"))
    accept, reject = (shown.get_by_role("button", name=name) for name in ("Accept all", "Reject all"))
    assert 0.9 <= _area(accept) / _area(reject) <= 1.1
    for heading in ("Manage my cookies", "Your data and your rights", "Your history"):
        expect(visitor.page.get_by_role("heading", name=heading)).to_be_visible()
    expect(visitor.page.get_by_text("No choice of yours has been recorded")).to_be_visible()


@pytest.mark.rule("L6", "L12")
def test_language_is_the_pages(visitor: Visitor) -> None:
    """The notice speaks the page's language, and so does the preferences page behind it (L6, L12)."""
    visitor.visit("/lang/fr")
    notice = visitor.page.get_by_role("region", name=re.compile("Cookies.: votre choix"))
    assert notice.get_attribute("lang") == "fr"
    names = [button.inner_text() for button in notice.get_by_role("button").all()]
    assert names == ["Tout accepter", "Tout refuser"]
    with visitor.page.expect_response("**/privacy-choices?**") as answer:
        notice.get_by_role("link", name="Personnaliser mes choix").click()
    assert answer.value.headers["content-language"] == "fr"


@pytest.mark.rule("W1", "W2", "W7")
def test_withdrawal_takes_one_press(visitor: Visitor, site: Site) -> None:
    """From any page withdrawing takes one press, as accepting did (W1, W2)."""
    paths = ["/", "/two", "/fr/page", *(["/shared"] if visitor.has_script else [])]
    for path in paths:
        visitor.visit()
        visitor.accept()
        visitor.visit(path)
        expect(visitor.page.get_by_role("link", name="Manage my cookies")).to_be_visible()
        visitor.withdraw()
        visitor.context.clear_cookies()
    assert [row.state for row in site.rows()] == ["given", "withdrawn"] * len(paths)


def test_preferences_withdraw_and_remember(visitor: Visitor, site: Site) -> None:
    """The preferences page shows the stored choice and the visitor's history, and withdraws in one press."""
    visitor.visit("/two")
    visitor.accept()
    way_in = visitor.page.get_by_role("link", name="Manage my cookies")
    shown = visitor.open_preferences(way_in)
    tick = visitor.page.get_by_role("checkbox", name="Audience measurement")
    expect(tick).to_be_checked()
    visitor.leave_by(shown.get_by_role("button", name="Withdraw my agreement"))
    if visitor.has_script:
        visitor.open_preferences(way_in)
    expect(tick).not_to_be_checked()
    rows = visitor.page.get_by_role("region", name="Your history").get_by_role("row")
    expect(rows).to_have_count(3)
    assert site.rows()[1] == Row("withdrawn", "withdraw", "preferences", '{"analytics":false}')
    assert not {"_ga", "_ga_XXXXXXXXXX"} & visitor.cookies().keys()


def test_site_styles_stay_outside(site: Site, newcomer: Newcomer) -> None:
    """A site that styles all its headings, buttons and links does not change those of the notice."""
    visitor = newcomer(site)
    inside = ("", " h2", " p", " li", " a", " button")
    parts = [f"#gem-notice{part}" for part in inside]
    styles = []
    for path in ("/", "/hostile"):
        page = visitor.visit(path)
        styles.append([page.locator(part).first.evaluate(_STYLE) for part in parts])
    for part, plain, hostile in zip(parts, *styles, strict=True):
        changed = {name: (plain[name], value) for name, value in hostile.items() if plain[name] != value}
        assert not changed, part


def _english(text: str | Mapping[str, str]) -> str:
    return text if isinstance(text, str) else text["en"]


def _both(visitor: Visitor) -> tuple[Locator, Locator]:
    return visitor.button("Accept all"), visitor.button("Reject all")


def _area(element: Locator) -> float:
    box = element.bounding_box()
    assert box is not None
    return box["width"] * box["height"]


def _assert_large(elements: Locator, count: int) -> None:
    expect(elements).to_have_count(count)
    for element in elements.all():
        box = element.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= _TARGET_PIXELS, element


def _assert_readable(part: Locator) -> None:
    for element in part.locator(
        "h1, h2, p, li, a, button, strong, label, legend, summary, dt, dd, td, th"
    ).all():
        if element.is_visible() and re.search(r"\w", element.inner_text()):
            assert element.evaluate(_CONTRAST) >= 4.5, element.inner_text()
