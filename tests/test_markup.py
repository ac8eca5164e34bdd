"""Templates of the site's own: what makes a notice one is checked where the site starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asgi import make_policy

from gem_consent import ConfigurationError
from gem_consent.consent import UNDECIDED
from gem_consent.rendering import Appearance, Renderer, Slots, View

OWN = Path(__file__).parent.parent / "gem_consent" / "templates"
ACCEPT = '<button type="submit" name="decision" value="grant_all" id="gem-notice-accept-all">'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def start(folder: Path, **options: object) -> Renderer:
    """Start with the templates in this folder."""
    return Renderer(make_policy(languages=["en"]), Appearance(templates=folder, **options))  # type: ignore[arg-type]


def change(folder: Path, name: str, old: str, new: str) -> None:
    """Save the library's own template with one change."""
    text = (OWN / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), "utf-8")


def test_site_says_it_its_way(folder: Path) -> None:
    """A template of the site's own is used, and kept in the ledger as it is."""
    change(folder, "notice.html", "</h2>", " &amp; biscuits</h2>")
    renderer = start(folder)
    shown = renderer.notice(View(is_shared=False), "en", Slots("/p"))
    assert b"Your choice about cookies &amp; biscuits" in shown
    assert b"biscuits" in renderer.notices["en"].html
    assert renderer.notices["en"].digest != Renderer(make_policy(languages=["en"])).notices["en"].digest


def test_library_templates_are_whole(folder: Path) -> None:
    """An empty folder changes nothing, with the control and without."""
    for has_control in (True, False):
        assert start(folder, has_control=has_control).notices


def test_own_page_needs_no_base(folder: Path) -> None:
    """A page of the site's own may be a whole document by itself, as well as a part of the library's."""
    text = (OWN / "preferences.html").read_text("utf-8")
    head, body = text.split("{% block body %}\n")
    whole = f"{head.partition('{% block head %}')[0]}<!doctype html><title>Own</title>{body}"
    whole = whole.replace('{% extends "document.html" %}\n', "").replace("{% endblock %}\n", "")
    (folder / "preferences.html").write_text(whole, "utf-8")
    page, _ = start(folder).preferences("en", UNDECIDED, Slots("/p"), history=None)
    assert page.count(b"<!doctype html>") == 1
    assert b"<title>Own</title><main>" in page


@pytest.mark.parametrize(
    ("name", "old", "new", "lacking"),
    [
        ("notice.html", 'id="gem-notice"', 'id="banner"', 'one element with id="gem-notice"'),
        ("notice.html", 'method="post"', 'method="get"', "one <form method="),
        ("notice.html", ACCEPT, ACCEPT.replace(" id=", ' class="big" id='), "the same attributes on both"),
        ("notice.html", ACCEPT, ACCEPT.replace("button", "a"), "one <button type="),
        (
            "notice.html",
            'Accept all") }}</button>',
            'Accept all") }}</button><p>',
            "both buttons side by side",
        ),
        ("notice.html", "<form ", "<form hidden ", "buttons without any of"),
        ("notice.html", 'value="deny_all"', 'value="save"', "one <button type="),
        ("notice.html", 'name="return"', 'name="back"', '<input type="hidden" name="return">'),
        ("notice.html", 'value="{{ slots.digest }}"', 'value="x"', '<input type="hidden" name="notice">'),
        ("notice.html", "{{ text(purpose.description) }}", "", "the words 'Know which pages"),
        ("notice.html", "{{ slots.preferences }}", "/x", "a link to {{ slots.preferences }}"),
        ("notice.html", "{{ policy.privacy_url }}", "/x", "a link to {{ policy.privacy_url }}"),
        ("notice.html", 'role="alert"', "", 'an empty element with role="alert"'),
        ("settings.html", 'value="withdraw"', 'value="save"', 'a <button name="decision" value="withdraw">'),
        ("settings.html", 'role="status"', "", 'an element with id="gem-status"'),
        ("preferences.html", 'value="deny_all"', 'value="withdraw"', "one <button type="),
        ("purposes.html", '" checked" if', '" checked" if 1 or', "one checkbox for the purpose 'analytics'"),
    ],
)
def test_broken_template_is_refused(folder: Path, name: str, old: str, new: str, lacking: str) -> None:
    """What is missing is named, with the template and its folder."""
    change(folder, name, old, new)
    with pytest.raises(
        ConfigurationError, match=rf"(?s){re.escape(str(folder))} lacks.*{re.escape(lacking)}"
    ):
        start(folder)
