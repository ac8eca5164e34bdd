"""Whether what a site's own templates give still is a notice: HTML in, what is missing out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["missing_from_notice", "missing_from_preferences", "missing_from_settings"]

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "wbr"})
_HIDING = frozenset({"disabled", "hidden", "inert", "style", "aria-hidden"})
_PREFIX = "@gem:prefix@"


@dataclass
class _Element:
    """One element: what it is, where it stands, and the text of the page before it."""

    tag: str
    attributes: dict[str, str]
    parent: _Element | None = None
    text: list[str] = field(default_factory=list)
    before: str = ""

    def up(self) -> Iterator[_Element]:
        """Give the element and those around it."""
        one: _Element | None = self
        while one is not None:
            yield one
            one = one.parent

    def has(self, tag: str = "", **attributes: str) -> bool:
        """Say whether it is of this tag and has these attributes."""
        return tag in ("", self.tag) and attributes.items() <= self.attributes.items()


class _Outline(HTMLParser):
    """The elements of a page, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[_Element] = []
        self._open: list[_Element] = []
        self._text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        parent = self._open[-1] if self._open else None
        element = _Element(tag, values, parent, before=_squeezed(self._text))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        at = next((at for at in reversed(range(len(self._open))) if self._open[at].tag == tag), None)
        if at is not None:
            del self._open[at:]

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def find(self, tag: str = "", **attributes: str) -> list[_Element]:
        """Give the elements of this tag that have these attributes."""
        return [one for one in self.elements if one.has(tag, **attributes)]


def missing_from_notice(html: str, *, digest: str, privacy_url: str, words: Sequence[str]) -> list[str]:
    """Say what a rendered notice lacks of what the law, the script and the endpoint need.

    Args:
        html: the notice, its slots not filled.
        digest: the notice's own, which its form sends.
        privacy_url: the privacy policy's address.
        words: what has to be read before the buttons: the purposes' names and descriptions.
    """
    page = _Outline(html)
    root = page.find(id="gem-notice")
    if len(root) != 1:
        return ['one element with id="gem-notice"']
    forms = [form for form in page.find("form", method="post", action=_PREFIX) if root[0] in form.up()]
    if len(forms) != 1:
        return ['one <form method="post" action="{{ slots.prefix }}"> in it']
    lacks = [] if root[0].attributes.keys() & {"aria-labelledby", "aria-label"} else ["its accessible name"]
    lacks += _form_gaps(page, forms[0], {"notice": digest, "surface": "notice", "return": "@gem:return_to@"})
    lacks += _button_gaps(page, forms[0], ids=("gem-notice-accept-all", "gem-notice-reject-all"))
    lacks += _link_gaps(page, privacy_url)
    buttons = page.find("button", value="grant_all") + page.find("button", value="deny_all")
    told = min((button.before for button in buttons), key=len, default="")
    return lacks + [f"the words {one!r} before its buttons" for one in words if _squeezed([one]) not in told]


def missing_from_settings(html: str, *, has_control: bool) -> list[str]:
    """Say what the rendered control lacks; where the site has its own only the spoken status is needed."""
    page = _Outline(html)
    statuses = [one for one in page.find(id="gem-status", role="status") if one.attributes.get("data-saved")]
    lacks = [] if statuses else ['an element with id="gem-status", role="status" and data-saved']
    if not has_control:
        return lacks
    root, forms = page.find(id="gem-settings"), page.find("form", method="post", action=_PREFIX)
    if len(root) != 1 or len(forms) != 1 or root[0] not in forms[0].up():
        return [*lacks, 'one element with id="gem-settings", and in it one <form method="post">']
    lacks += _form_gaps(page, forms[0], {"surface": "settings", "return": "@gem:return_to@"})
    if not page.find("button", name="decision", value="withdraw"):
        lacks.append('a <button name="decision" value="withdraw">')
    return lacks + _link_gaps(page, None)


def missing_from_preferences(html: str, *, purposes: Sequence[str]) -> list[str]:
    """Say what the preferences page lacks, rendered for somebody who has granted nothing.

    Args:
        html: the page.
        purposes: the ids of those that are asked about.
    """
    page = _Outline(html)
    forms = [form for form in page.find("form", method="post") if "data-gem" in form.attributes]
    if len(forms) != 1 or not page.find("main"):
        return ['a <main> with one <form method="post" data-gem="…">']
    lacks = _form_gaps(page, forms[0], {"surface": "preferences"}) + _button_gaps(page, forms[0])
    if not page.find("button", name="decision", value="save"):
        lacks.append('a <button name="decision" value="save">')
    for purpose in purposes:
        ticks = page.find("input", type="checkbox", name="purpose", value=purpose)
        if len(ticks) != 1 or "checked" in ticks[0].attributes:
            lacks.append(f"one checkbox for the purpose {purpose!r}, unticked")
    return lacks


def _form_gaps(page: _Outline, form: _Element, values: dict[str, str]) -> list[str]:
    inside = _within(page, form)
    lacks = [] if "data-gem" in form.attributes else ["data-gem on its form"]
    for name, value in values.items():
        if not any(one.has("input", type="hidden", name=name, value=value) for one in inside):
            lacks.append(f'<input type="hidden" name="{name}"> with its value from the slots')
    if not any(one.has(role="alert") for one in inside):
        lacks.append('an empty element with role="alert" in its form')
    return lacks


def _button_gaps(page: _Outline, form: _Element, ids: tuple[str, str] = ("", "")) -> list[str]:
    """Accepting and refusing are one element twice (CNIL recommendation 2020-092, §34)."""
    found = []
    for value, id_ in zip(("grant_all", "deny_all"), ids, strict=True):
        needed = {"type": "submit", "name": "decision", **({"id": id_} if id_ else {})}
        given = [one for one in page.elements if one.attributes.get("value") == value]
        found += given if len(given) == 1 and given[0].has("button", **needed) else []
    if len(found) != 2:
        named = " with the ids " + " and ".join(ids) if ids[0] else ""
        return [f'one <button type="submit" name="decision"> each for grant_all and deny_all{named}']
    accept, reject = found
    if accept.parent is not reject.parent or form not in accept.up():
        return ["both buttons side by side in its form"]
    lacks = [] if _look(accept) == _look(reject) else ["the same attributes on both buttons"]
    if any(_HIDING & one.attributes.keys() for button in found for one in button.up()):
        lacks.append(f"buttons without any of {', '.join(sorted(_HIDING))} on them or around them")
    return lacks


def _look(button: _Element) -> dict[str, str]:
    return {name: value for name, value in button.attributes.items() if name not in ("id", "value")}


def _link_gaps(page: _Outline, privacy_url: str | None) -> list[str]:
    links = [one.attributes.get("href", "") for one in page.find("a")]
    lacks = [] if any(link.startswith(_PREFIX) for link in links) else ["a link to {{ slots.preferences }}"]
    if privacy_url is not None and privacy_url not in links:
        lacks.append("a link to {{ policy.privacy_url }}")
    return lacks


def _within(page: _Outline, around: _Element) -> list[_Element]:
    return [one for one in page.elements if around in one.up()]


def _squeezed(texts: Sequence[str]) -> str:
    return " ".join("".join(texts).split())
