"""The inline scripts and styles, composed from ``static/`` once, and the digest of the code that they are."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from gem_consent.policy import Policy, Service

__all__ = [
    "ASSETS",
    "Layout",
    "asset",
    "code_digest",
    "composed",
    "embed_style",
    "notice_script",
    "notice_style",
    "proof_style",
    "settings_style",
    "stop_script",
    "tags_script",
]

Layout: TypeAlias = Literal["bar", "box", "top", "dialog"]
"""Where the notice stands: a bar at the foot, a box in a corner, before the page, in the middle."""

ASSETS: Mapping[str, str] = MappingProxyType(
    {"preferences.css": "text/css", "press.js": "text/javascript"},
)
"""The files that pages link to or fetch, and their media types."""

_STATIC = Path(__file__).parent / "static"
_SLOT = re.compile(r"/\* ([a-z]+(?:\.js|\.css)?) \*/")
# JSDoc. A cast goes with its brackets: what they hold is a name, a call or a list, which binds as they did.
_CAST = re.compile(r'/\*\* @type \{.*?\} \*/ \(((?:[\w.]|\("[^"]*"\))+|\[["\w, ]*\])\)')
_TYPE = re.compile(r"/\*\*.*?\*/\s*", re.S)
# Strings are left alone. Our own scripts end their statements, have no templates and no empty statements.
_PUNCTUATION = re.compile(r'("(?:\\.|[^"\\\n])*"|/\* [a-z.]+ \*/)|\s*([{}()=,;:?&|<>!\[\]]| [+*/-] )\s*')
_NEEDLESS = re.compile(r'("(?:\\.|[^"\\\n])*")|[;,](?=\})|,(?=[\])])')


@functools.cache
def notice_script() -> str:
    """Give the script of every document: the same bytes on every site.

    ``make script`` makes it of ``notice.js`` and its parts.
    """
    return _source("notice.min.js").strip()


@functools.cache
def notice_style(layout: Layout = "bar") -> str:
    """Give the style of the notice in one layout."""
    return _squeezed_css("theme.css", "notice.css", f"{layout}.css")


@functools.cache
def settings_style() -> str:
    """Give the style of what stays after a choice: the control, its status, and the preferences in place."""
    return _squeezed_css("theme.css", "settings.css")


@functools.cache
def embed_style() -> str:
    """Give the style of embeds and their placeholders."""
    return _squeezed_css("theme.css", "embed.css")


@functools.cache
def asset(name: str) -> tuple[str, bytes]:
    """Give one of ``ASSETS``: the name with its hash in it, and the bytes."""
    suffix = name.rpartition(".")[2]
    if suffix == "css":
        content = _squeezed_css("theme.css", name).encode()
    else:
        content = composed(name, {"style": json.dumps(settings_style())}).encode()
    return f"{hashlib.sha256(content).hexdigest()[:16]}.{suffix}", content


@functools.cache
def proof_style() -> str:
    """Give the style of receipts and of an evidence archive's cover; no part of what a notice shows."""
    return _squeezed_css("proof/page.css")


def composed(name: str, values: Mapping[str, str], squeeze: Callable[[str], str] | None = None) -> str:
    """Give a script with its parts in place, each as ``squeeze`` leaves it: without comments and white space.

    Its types are checked with both.
    """

    def part(match: re.Match[str]) -> str:
        slot = match.group(1)
        return composed(slot, values, squeeze) if slot.endswith(".js") else values[slot]

    return _SLOT.sub(part, (squeeze or _squeezed_js)(_source(name))).strip()


def tags_script(policy: Policy, granted: frozenset[str], *, with_stops: bool = False) -> str:
    """Give the script that starts what is granted, and with ``with_stops`` stops the rest; may be empty."""
    asked = [service for purpose in policy.asked for service in policy.services_for(purpose.id)]
    calls = [_start_call(service) for service in asked if service.purpose in granted and service.start]
    if with_stops:
        calls += [_stop_call(service) for service in asked if service.purpose not in granted]
    return _tags(policy, calls, waiting=composed("waiting.js", {}) if granted else "")


def stop_script(policy: Policy, granted: frozenset[str]) -> str:
    """Give the script that stops and forgets what is not granted, in other tabs too; may be empty."""
    denied = [purpose.id for purpose in policy.asked if purpose.id not in granted]
    calls = [_stop_call(service) for id_ in denied for service in policy.services_for(id_)]
    return _tags(policy, [*calls, composed("tabs.js", {})] if calls else [])


@functools.cache
def code_digest() -> str:
    """Sum up the code that visitors' browsers run and the templates they see: the SHA-256 of all those files.

    The CNIL names the hash of the collecting code as a way to prove consent (recommendation 2020-092, §48).
    """
    files = sorted((*_STATIC.iterdir(), *(_STATIC.parent / "templates").iterdir()))
    lines = [
        f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files if path.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _tags(policy: Policy, calls: Iterable[str], waiting: str = "") -> str:
    services = "\n".join(calls)
    if not services and not waiting:
        return ""
    values = {"fingerprint": policy.fingerprint[:8], "services": services, "waiting": waiting}
    return composed("tags.js", values)


def _start_call(service: Service) -> str:
    # with the stop, so that a withdrawal silences what runs before the server is even asked
    return (
        f"start({_js(service.id)}, {_js(service.purpose)}, {_js(dict(service.hosts))}, "
        f"(secondsLeft) => {{\n{_inline(service.start)}}}, "
        f"() => {{\n{_inline(service.stop)}\nforget({_kept_by(service)});\n}});"
    )


def _stop_call(service: Service) -> str:
    names = f"{_js(service.id)}, {_js(service.purpose)}, {_kept_by(service)}"
    return f"stop({names}, () => {{\n{_inline(service.stop)}}});"


def _kept_by(service: Service) -> str:
    keys = [t.name for t in service.trackers if t.storage in ("localStorage", "sessionStorage")]
    return f"{_js(list(service.cookie_patterns))}, {_js(keys)}"


def _inline(script: str) -> str:
    # inside <script> these would end or hide it (HTML standard, "Restrictions for contents of script")
    script = script.replace("</", "<\\/").replace("<!--", "<\\!--")
    return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match.group())[1:-1], script)


def _js(value: object) -> str:
    return _inline(json.dumps(value, separators=(",", ":")))


def _squeezed_js(source: str) -> str:
    source = _TYPE.sub("", _CAST.sub(r"\1", source))
    lines = (line.strip() for line in source.splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("//"))
    code = _PUNCTUATION.sub(lambda found: found[1] or found[2].strip(), code)
    return _NEEDLESS.sub(lambda found: found[1] or "", code)


def _squeezed_css(*names: str) -> str:
    source = _SLOT.sub(lambda slot: _source(slot.group(1)), "".join(map(_source, names)))
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    source = re.sub(
        r"\s*([{};,>]|!important| / )\s*", lambda found: found[1].strip(), " ".join(source.split())
    )
    return re.sub(r"(?<=[{;(])([a-z-]+): ", r"\1:", source).replace(";}", "}")


@functools.cache
def _source(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")
