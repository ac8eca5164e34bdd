"""A decision as it arrives: its origin, its two spellings, and where it leads back to."""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.decision import InvalidDecision, is_same_origin, local_path, parse_form, parse_json

DIGEST = "0123456789abcdef" * 4


@given(st.text(st.characters(max_codepoint=0x2100)).map(lambda text: "/" + text))
def test_local_path_stays_on_site(value: str) -> None:
    """Whatever is let through leads a browser to the host it is on."""
    if local_path(value):
        parts = urlsplit(urljoin("https://here.example/page", value))
        assert (parts.scheme, parts.netloc) == ("https", "here.example")


@pytest.mark.parametrize("value", ["/", "/a?b=//c", "/a#b", "/" + "x" * 2047])
def test_local_path_is_given_back(value: str) -> None:
    """A path of the site comes back as it is."""
    assert local_path(value) == value


@pytest.mark.parametrize("value", ["", "a", "//a", "/\\a", "/a b", "/\n/a", "/" + "x" * 2048, "http:/a"])
def test_other_addresses_are_dropped(value: str) -> None:
    """Everything else is as if nothing had been given."""
    assert local_path(value) == ""


@given(
    action=st.sampled_from(["grant_all", "deny_all", "save", "withdraw", "grant", "deny"]),
    purposes=st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True), max_size=20),
    surface=st.sampled_from(["", "notice", "settings"]),
)
def test_form_and_json_say_the_same(action: str, purposes: list[str], surface: str) -> None:
    """The same decision is read from a form and from JSON."""
    fields = {"decision": action, "notice": DIGEST, "return": "/a", "surface": surface}
    form = urlencode([*fields.items(), *(("purpose", purpose) for purpose in purposes)]).encode()
    assert parse_form(form) == parse_json(json.dumps({**fields, "purposes": purposes}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No body whatever raises anything but the one error."""
    for parse in (parse_form, parse_json):
        with suppress(InvalidDecision):
            assert parse(body).action


def test_last_button_counts() -> None:
    """Of a field given twice the last counts."""
    assert parse_form(b"decision=grant_all&decision=deny_all").action == "deny_all"


@pytest.mark.parametrize("surface", ["Notice", "a b", "x" * 33, "<script>"])
def test_odd_surface_is_left_out(surface: str) -> None:
    """A surface that is no short name is as if none had been given."""
    assert parse_json(json.dumps({"decision": "deny_all", "surface": surface}).encode()).surface == ""


def test_purposes_have_a_limit() -> None:
    """More than a hundred purposes are refused."""
    body = json.dumps({"decision": "save", "purposes": ["a"] * 101}).encode()
    with pytest.raises(InvalidDecision, match="at most 100"):
        parse_json(body)


@pytest.mark.parametrize("key", ["x" * 15, "x" * 65, "é" * 20, "a b" * 8])
def test_key_must_be_random_enough(key: str) -> None:
    """A key is 16 to 64 safe characters."""
    with pytest.raises(InvalidDecision, match="16 to 64"):
        parse_json(json.dumps({"decision": "grant_all", "key": key}).encode())
    assert parse_json(json.dumps({"decision": "deny_all", "key": key}).encode()).key is None


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        ("https://a.example", "a.example", True),
        ("https://A.example", "a.EXAMPLE", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example:8000", "a.example:8000", True),
        ("http://a.example:8000", "a.example", False),
        ("https://b.example", "a.example", False),
        ("https://a.example.evil", "a.example", False),
        ("https://a.example:99999", "a.example", False),
        ("null", "a.example", False),
        ("", "a.example", False),
        ("https://a.example", "", False),
    ],
)
def test_origin_and_host_must_agree(origin: str, host: str, is_same: bool) -> None:
    """Without Sec-Fetch-Site, host and port of both must be the same."""
    assert is_same_origin(None, origin, host) is is_same


@pytest.mark.parametrize("origin", ["https://a:80", "http://a:443", "ftp://a", "https://x@a", "null", "a"])
def test_odd_origin_is_foreign(origin: str) -> None:
    """Another scheme, somebody's name or a port that is not the scheme's own is not this site."""
    assert not is_same_origin(None, origin, "a")


@pytest.mark.parametrize(
    ("origin", "host"), [("https://a", "a:443"), ("https://a:443", "a"), ("http://a", "a:80")]
)
def test_default_ports_are_the_same(origin: str, host: str) -> None:
    """A scheme's own port may be written or left out."""
    assert is_same_origin(None, origin, host)
