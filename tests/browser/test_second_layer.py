"""What lies behind the notice: nothing but consent, exactly what is shown, everybody who receives data."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from browser.pages import MEDIA, SEVERAL, Site
from browser.visitor import Newcomer, Visitor
from gem_consent.services.itself import own_service

pytestmark = pytest.mark.browser

_COUNT = "addEventListener('click', (event) => event.isTrusted && reportPress(), true);"


@pytest.mark.rule("R4", "W2")
def test_no_way_out_is_longer(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """Refusing, on either layer, and withdrawing take no press more than accepting: one, or two behind it."""
    visitor = newcomer(serve(SEVERAL))
    presses: list[None] = []
    visitor.context.expose_binding("reportPress", lambda _: presses.append(None))
    visitor.context.add_init_script(_COUNT)

    def behind(name: str) -> None:
        shown = visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail"))
        shown.get_by_role("button", name=name).click()
        visitor.control.wait_for()

    def presses_of(decide: Callable[[], None], state: str, *, is_new: bool = True) -> int:
        if is_new:
            visitor.context.clear_cookies()
        visitor.visit()
        presses.clear()
        decide()
        assert visitor.site.rows()[-1].state == state
        return len(presses)

    assert presses_of(visitor.reject, "refused") == 1
    assert presses_of(visitor.accept, "given") == 1
    assert presses_of(visitor.withdraw, "withdrawn", is_new=False) == 1
    assert presses_of(lambda: behind("Reject all"), "refused") == 2
    assert presses_of(lambda: behind("Accept all"), "given") == 2


@pytest.mark.rule("S1", "S2", "S3")
def test_consent_is_the_only_ground(serve: Callable[..., Site], newcomer: Newcomer, has_script: bool) -> None:
    """One empty box for each purpose that is asked about, and none beside; refusing all grants nothing."""
    visitor = newcomer(serve(SEVERAL), has_script=has_script)
    visitor.visit()
    shown = visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail"))
    boxes = shown.locator("input:not([type=hidden]), [role=switch], select")
    asked = [purpose.id for purpose in SEVERAL.asked]
    assert boxes.evaluate_all("all => all.map((one) => [one.type, one.value, one.checked])") == [
        ["checkbox", id_, False] for id_ in asked
    ]
    expect(shown.get_by_role("group", name="Necessary")).to_contain_text("Always on")
    assert "legitimate" not in shown.inner_text().lower()
    expect(shown.get_by_role("button", name="Accept all")).to_have_count(1)
    if has_script:
        shown.get_by_role("button", name="Reject all").click()
        visitor.control.wait_for()
    else:
        visitor.leave_by(shown.get_by_role("button", name="Reject all"))
    assert [json.loads(row.purposes) for row in visitor.site.rows()] == [dict.fromkeys(asked, False)]


@pytest.mark.rule("S4", "S5")
def test_saving_grants_each_selection(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """Whichever boxes are ticked when it is saved, the row says the same, and so do the boxes afterwards."""
    visitor = newcomer(serve(SEVERAL), has_script=False)
    asked = [purpose.id for purpose in SEVERAL.asked]
    selections = [{"map"}, set(asked), {"analytics"}, set(), {"analytics"}, {"map"}, set(asked)]
    visitor.visit("/privacy-choices")
    for selection in selections:
        for id_ in asked:
            visitor.page.locator(f"[name=purpose][value={id_}]").set_checked(id_ in selection)
        visitor.leave_by(visitor.button("Save these choices"))
        row = visitor.site.rows()[-1]
        assert json.loads(row.purposes) == {id_: id_ in selection for id_ in asked}
        boxes = visitor.page.locator("[name=purpose]:checked")
        assert set(boxes.evaluate_all("all => all.map((one) => one.value)")) == selection
    assert len(visitor.site.rows()) == len(selections)


@pytest.mark.rule("L8")
def test_every_recipient_is_one_press_away(
    serve: Callable[..., Site], newcomer: Newcomer, has_script: bool
) -> None:
    """Each service that is declared stands there, with its provider, recipients and privacy policy."""
    visitor: Visitor = newcomer(serve(MEDIA), has_script=has_script)
    visitor.visit()
    shown = visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail"))
    services = [own_service(MEDIA), *MEDIA.services]
    expect(shown.locator("summary")).to_have_count(len(services))
    for service in services:
        entry = shown.locator("details", has=visitor.page.locator("summary", has_text=service.name))
        entry.locator("summary").click()
        for name in (service.provider, *service.recipients):
            expect(entry.locator("dl")).to_contain_text(name)
        if service.privacy_url:
            expect(entry.get_by_role("link")).to_have_attribute("href", service.privacy_url)
    with visitor.page.expect_response(lambda response: response.request.is_navigation_request()) as answer:
        visitor.leave_by(shown.get_by_role("link", name="Privacy policy", exact=True))
    assert answer.value.status == 200
