"""A decision as it arrives: where it may come from, how it is written, where it leads back to. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args
from urllib.parse import parse_qs, urlsplit

from gem_consent.consent import Action

__all__ = [
    "MAX_BODY_BYTES",
    "Decision",
    "InvalidDecision",
    "is_same_origin",
    "local_path",
    "parse_erasure",
    "parse_form",
    "parse_json",
]

MAX_BODY_BYTES = 16 * 1024
_MAX_RETURN_CHARACTERS = 2048
_MAX_PURPOSES = 100
_REFUSALS = ("deny_all", "withdraw")
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SURFACE = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidDecision(ValueError):
    """A request that is no decision: its message tells the sender what to correct."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was sent.

    Args:
        action: what was pressed.
        purposes: what was ticked, with ``save``.
        notice: the digest of the notice that is answered; empty if none was named.
        return_to: the local path to come back to; empty if none was named, or one that is not local.
        surface: where it was pressed.
        key: the script's own random id for this request; a repeated one counts once.
        is_page_restricted: the page's Content-Security-Policy forbids what a grant starts.
    """

    action: Action
    purposes: frozenset[str] = frozenset()
    notice: str = ""
    return_to: str = ""
    surface: str = ""
    key: str | None = None
    is_page_restricted: bool = False


def is_same_origin(
    fetch_site: str | None, origin: str | None, host: str | None, domain: str | None = None
) -> bool:
    """Say whether a request comes from a page of this very site.

    ``Sec-Fetch-Site`` decides where a browser sends it (W3C Fetch Metadata); else ``Origin`` and ``Host``
    must name the same host and port; a request with neither is refused.

    Args:
        domain: the domain whose sub-domains share a choice: their pages are this site's, too.
    """
    if fetch_site is not None and not (domain and fetch_site == "same-site"):
        return fetch_site == "same-origin"
    if not origin or not host:
        return False
    try:
        parts = urlsplit(origin)
        here = urlsplit(f"//{host}")
        if parts.scheme not in _DEFAULT_PORTS or "@" in origin or "@" in host:
            return False
        # behind a proxy the browser's scheme is unknown here: either default port in Host means "none given"
        origin_port = parts.port if parts.port != _DEFAULT_PORTS[parts.scheme] else None
        host_port = here.port if here.port not in _DEFAULT_PORTS.values() else None
    except ValueError:
        return False
    if domain and parts.hostname and f".{parts.hostname}".endswith(f".{domain}"):
        return True
    return parts.hostname is not None and parts.hostname == here.hostname and origin_port == host_port


def local_path(value: str) -> str:
    """Give the path back if it is one of this site, else an empty string.

    ``//host``, ``/\\host``, schemes, control characters and over-long values are not; browsers drop tabs and
    newlines before they read an address (URL standard, section 4.4).
    """
    is_local = value.startswith("/") and not value.startswith("//") and len(value) <= _MAX_RETURN_CHARACTERS
    return value if is_local and re.search(r"[\x00-\x20\x7f-\x9f\\]", value) is None else ""


def parse_form(body: bytes) -> Decision:
    """Read a form, ``application/x-www-form-urlencoded``.

    Raises:
        InvalidDecision: a field is missing or malformed.
    """
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MAX_PURPOSES + 10)
    except ValueError as error:
        # a refusal is one whatever stands beside it
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        if fields.get("decision", [""])[-1] not in _REFUSALS:
            raise InvalidDecision("The form cannot be read: send at most 100 fields, in UTF-8.") from error
    single = {name: values[-1] for name, values in fields.items() if name != "purpose"}
    return _decision(single, fields.get("purpose", []))


def parse_erasure(body: bytes) -> tuple[bool, Decision]:
    """Read the form by which a visitor erases their history: whether they confirmed it, and what it ends.

    Raises:
        InvalidDecision: the form cannot be read.
    """
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError as error:
        raise InvalidDecision("The form cannot be read: send at most 10 fields, in UTF-8.") from error
    single: dict[str, object] = {name: values[-1] for name, values in fields.items()}
    decision = _decision(single | {"decision": "withdraw", "surface": "preferences", "key": ""}, [])
    return single.get("confirm") == "yes", decision


def parse_json(body: bytes) -> Decision:
    """Read a JSON object: ``{"decision": …, "purposes": […], "notice": …, "key": …}``.

    Raises:
        InvalidDecision: it is no object, or a member is missing or malformed.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidDecision("The body is no JSON.") from error
    if not isinstance(value, dict):
        raise InvalidDecision('The body must be an object such as {"decision": "deny_all"}.')
    return _decision(value, value.get("purposes", []))


def _decision(fields: Mapping[str, object], purposes: object) -> Decision:
    action = fields.get("decision")
    if action not in get_args(Action):
        raise InvalidDecision(f"'decision' must be one of {', '.join(get_args(Action))}.")
    if action in _REFUSALS or (action == "save" and purposes == []):
        fields, purposes = _well_formed(fields), []
    if not isinstance(purposes, list) or len(purposes) > _MAX_PURPOSES:
        raise InvalidDecision("The purposes must be a list of at most 100 ids.")
    if not all(isinstance(purpose, str) for purpose in purposes):
        raise InvalidDecision("Each purpose must be the id of one.")
    key = _text(fields, "key")
    if key and not _KEY.match(key):
        raise InvalidDecision("'key' must be 16 to 64 letters, digits, '-' or '_'.")
    notice, surface = _text(fields, "notice"), _text(fields, "surface")
    return Decision(
        action=cast(Action, action),
        purposes=frozenset(purposes),
        notice=notice if _DIGEST.match(notice) else "",
        return_to=local_path(_text(fields, "return")),
        surface=surface if _SURFACE.match(surface) else "",
        key=key or None,
        is_page_restricted=fields.get("csp") is True,
    )


def _well_formed(fields: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is malformed beside a refusal, which is honoured all the same."""
    kept = {name: value for name, value in fields.items() if isinstance(value, str | bool)}
    key = kept.get("key")
    if not isinstance(key, str) or not _KEY.match(key):
        kept.pop("key", None)
    return {name: value for name, value in kept.items() if isinstance(value, str) or name == "csp"}


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidDecision(f"{name!r} must be a text.")
    return value
