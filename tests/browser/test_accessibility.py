"""WCAG 2.2 AA: by axe-core, by the accessibility tree that screen readers use, and by keyboard (X1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from browser.pages import MEDIA, SEVERAL, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_LAYOUTS = ("bar", "box", "top", "dialog")

# WCAG 2.2, 1.4.12
_SPACING = """\
* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }
p { margin-bottom: 2em !important }
"""


def _faults(page: Page, *, scope: str = "") -> list[str]:
    """Give what axe-core finds in the parts of ours, or in a whole page of ours."""
    options: dict[str, Any] = {"runOnly": _WCAG, "resultTypes": ["violations"]}
    context: Any = {"include": [[scope]]} if scope else None
    response = Axe().run(page, context=context, options=options).response
    return [
        f"{one['id']}: {node['html'][:90]} {node['failureSummary'][:160]}"
        for one in response["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.rule("X1")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("layout", _LAYOUTS)
def test_x1_axe_finds_nothing(
    serve: Callable[..., Site], newcomer: Newcomer, layout: str, scheme: str
) -> None:
    """axe-core finds nothing in the notice, in the preferences in place, and in the control."""
    visitor = newcomer(serve(SEVERAL, layout=layout), color_scheme=scheme)
    page = visitor.visit()
    assert _faults(page, scope="#gem-notice") == []
    visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail"))
    assert _faults(page, scope="#gem-preferences") == []
    page.keyboard.press("Escape")
    visitor.accept()
    assert _faults(page, scope="#gem-settings") == []


@pytest.mark.rule("X1")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_x1_axe_finds_nothing_on_the_page(
    serve: Callable[..., Site], newcomer: Newcomer, scheme: str
) -> None:
    """axe-core finds nothing on the preferences page: undecided, saved with details open, after an error."""
    visitor = newcomer(serve(MEDIA), color_scheme=scheme, has_script=True)
    page = visitor.visit("/privacy-choices")
    assert _faults(page) == []
    visitor.leave_by(page.get_by_role("button", name="Accept all"))
    for summary in page.locator("summary").all():
        summary.click()
    assert _faults(page) == []
    page.locator("[name=notice]").first.evaluate("field => field.value = '0'.repeat(64)")
    page.get_by_role("checkbox").first.uncheck()
    visitor.leave_by(page.get_by_role("button", name="Reject all"))
    assert _faults(page) == []


@pytest.mark.rule("X1")
def test_x1_axe_finds_nothing_in_embeds(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """axe-core finds nothing in the placeholder of an embed."""
    visitor = newcomer(serve(MEDIA))
    page = visitor.visit("/embed")
    assert _faults(page, scope=".gem-embed") == []


@pytest.mark.rule("X1")
def test_x1_tree_says_what_is_seen(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """The notice is a named region: heading, words, purposes, then two buttons and a link, in that order."""
    visitor = newcomer(serve(SEVERAL))
    visitor.visit()
    expect(visitor.notice).to_match_aria_snapshot(
        """
        - region "Your choice about cookies":
          - heading "Your choice about cookies" [level=2]
          - paragraph
          - list:
            - listitem:
              - strong: Audience measurement
            - listitem:
              - strong: Map
          - paragraph:
            - link "Privacy policy"
          - button "Accept all"
          - button "Reject all"
          - link "Choose in detail"
          - alert
        """
    )


@pytest.mark.rule("X1")
def test_x1_tree_of_preferences(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """In place: a named dialog, modal, whose boxes are named by their purpose and say their state."""
    visitor = newcomer(serve(SEVERAL))
    page = visitor.visit()
    visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail"))
    expect(visitor.preferences).to_match_aria_snapshot(
        """
        - dialog "Manage my cookies":
          - paragraph:
            - button "Back to the site"
          - heading "Manage my cookies" [level=1]
          - button "Accept all"
          - button "Reject all"
          - group "Necessary"
          - group "Audience measurement":
            - checkbox "I agree – Audience measurement" [checked=false]
          - group "Map":
            - checkbox "I agree – Map" [checked=false]
          - button "Save these choices"
        """
    )
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node["name"]["value"]): node for node in nodes if node.get("name")}
    dialog = named["dialog", "Manage my cookies"]
    assert {"name": "modal", "value": {"type": "boolean", "value": True}} in dialog["properties"]
    # the rest of the page is out of reach while it is open
    assert ("link", "The last link") not in named


@pytest.mark.rule("X1")
def test_x1_focus_goes_in_and_comes_back(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """By keyboard alone: into the preferences, round in them, out by Escape to where it was."""
    site = serve(SEVERAL)
    visitor = newcomer(site)
    page = visitor.visit()
    link = visitor.notice.get_by_role("link", name="Choose in detail")
    visitor.tab_to(link)
    page.keyboard.press("Enter")
    expect(visitor.preferences.get_by_role("heading", level=1)).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "[document.body, document.querySelector('#gem-preferences > div')]"
            ".includes(document.activeElement) || !document.activeElement.closest('main')"
        )
    page.keyboard.press("Escape")
    expect(link).to_be_focused()
    assert site.rows() == []


@pytest.mark.rule("X1")
def test_x1_saved_choice_is_spoken(site: Site, newcomer: Newcomer) -> None:
    """The status is there before it speaks, is polite, and says once that the choice is saved."""
    visitor = newcomer(site)
    page = visitor.visit()
    page.evaluate(
        """() => {
          window.said = [];
          const status = document.querySelector("[role=status]");
          new MutationObserver(() => said.push([status.checkVisibility(), status.textContent]))
            .observe(status, { childList: true, subtree: true });
        }"""
    )
    visitor.button("Reject all").focus()
    page.keyboard.press("Space")
    expect(visitor.status).to_have_text("Your choice is saved.")
    assert page.evaluate("window.said") == [[True, "Your choice is saved."]]
    expect(page.get_by_role("link", name="Manage my cookies")).to_be_focused()


@pytest.mark.rule("X1")
@pytest.mark.parametrize("layout", _LAYOUTS)
@pytest.mark.parametrize(
    ("size", "style"),
    [
        ((640, 400), "html { font-size: 200% }"),
        ((320, 256), ""),
        ((1280, 800), _SPACING),
        ((320, 480), _SPACING),
    ],
    ids=["200 %", "400 %", "spacing", "spacing on a phone"],
)
def test_x1_larger_text_loses_nothing(
    serve: Callable[..., Site], newcomer: Newcomer, layout: str, size: tuple[int, int], style: str
) -> None:
    """At 200 and 400 % and with wider text, every word can be reached and both buttons stay in view."""
    visitor = newcomer(serve(SEVERAL, layout=layout), viewport={"width": size[0], "height": size[1]})
    page = visitor.visit()
    if style:
        page.add_style_tag(content=style)
    for name in ("Accept all", "Reject all"):
        expect(visitor.button(name)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = page.evaluate(
        "() => [...document.querySelectorAll('#gem-notice *')].filter((one) =>"
        " one.scrollWidth > one.clientWidth + 1 && one.clientWidth).map((one) => one.outerHTML)"
    )
    assert cut == []
    link = visitor.notice.get_by_role("link", name="Privacy policy")
    link.scroll_into_view_if_needed()
    expect(link).to_be_in_viewport()


@pytest.mark.rule("P6", "X1")
def test_x1_nothing_ends_by_itself(site: Site, newcomer: Newcomer) -> None:
    """Nothing moves, and nothing goes away by itself: no timer, no animation (P6; WCAG 2.2.1, 2.3.3)."""
    visitor = newcomer(site)
    visitor.context.clock.install()
    page = visitor.visit()
    page.clock.run_for(61_000)
    expect(visitor.notice).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    assert visitor.requests == [site.url()]
    assert not visitor.cookies()


@pytest.mark.rule("X1")
def test_x1_names_hold_what_is_read(visitor: Visitor) -> None:
    """The name of every control holds its visible words (2.5.3)."""
    visitor.visit()
    for control in visitor.notice.locator("a, button").all():
        seen, name = control.inner_text(), control.get_attribute("aria-label")
        assert name is None or seen in name
