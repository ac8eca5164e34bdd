"""Deletes cookies that it did not set, and withholds those that a visitor has not granted.

Reads and writes ``Cookie`` and ``Set-Cookie`` lines (RFC 6265 and its successor draft 6265bis); never decides
which cookie is refused, and never lets a host, path or name from outside break out of its attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import product

from gem_consent.headers import Headers, values

__all__ = [
    "cookie_name",
    "deletions",
    "described",
    "is_deletion",
    "is_needed_by_name",
    "path_prefixes",
    "request_cookie_names",
]

_MAX_NAME_CHARACTERS = 256
_MAX_ATTRIBUTE_BYTES = 1024
_MAX_DEPTH = 8
_HEADER_OVERHEAD_BYTES = len("set-cookie: \r\n")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_PATH = re.compile(r"/[!-:<-~]{0,1023}\Z")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_PORT = re.compile(r":[0-9]*\Z")

_DATE_DELIMITERS = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(r"([0-9]{2,4})(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def deletions(
    names: Iterable[str], host: str, paths: Iterable[str], *, secure: bool, budget_bytes: int = 3072
) -> Headers:
    """Give the ``Set-Cookie`` lines that delete cookies whose domain and path are not known.

    A deletion must match name, domain and path (RFC 6265 §5.3 step 11), so every domain is tried: none, the
    host and each parent with a dot in it; browsers refuse public suffixes by themselves (§5.3 step 5).
    ``Max-Age=0`` alone says it, since it outranks ``Expires`` (§4.1.2.2) and no browser still in use needs
    the latter's 40 bytes a line. What carries ``Partitioned`` (CHIPS) stays, as does what a parent of ours
    set for a path that is not among these.

    Args:
        names: what to delete; one that is no RFC 6265 token, or longer than 256 characters, is skipped.
        host: the ``Host`` header's value; an IP address, a single label or garbage leaves only the form
            without domain.
        paths: ``/`` comes first whether given or not, then these in their order (``path_prefixes`` goes from
            the root down: a path higher up is set by more pages); one with anything but printable ASCII, or
            ``;``, is skipped.
        secure: whether the connection is https; without it the names with a prefix (``__Host-``,
            ``__Secure-``, ``__Http-``) are skipped, since they can neither be set nor deleted there (6265bis
            §4.1.3).
        budget_bytes: the most that all lines together may cost on the wire; the first that does not fit ends
            the list.

    Returns:
        ASGI headers, the most probable first: on ``/`` every name without domain, then on the widest domain
        (where analytics tools put them), down to the host; then the same on each deeper path.
    """
    usable = [name for name in dict.fromkeys(names) if _is_deletable(name, secure)]
    lines: Headers = []
    for path, domain, name in product(_usable_paths(paths), _domains(host), usable):
        line = _deletion(name, domain, path)
        if line is None:
            continue
        budget_bytes -= len(line) + _HEADER_OVERHEAD_BYTES
        if budget_bytes < 0:
            break
        lines.append((b"set-cookie", line))
    return lines


def _is_deletable(name: str, secure: bool) -> bool:
    if len(name) > _MAX_NAME_CHARACTERS or not _TOKEN.match(name):
        return False
    return secure or not name.lower().startswith(("__host-", "__secure-", "__http-"))


def _usable_paths(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(["/", *(path for path in paths if _PATH.match(path))]))


def _domains(host: str) -> list[str]:
    """Give the ``Domain`` values to try: the empty one (no attribute), then from the widest to the host."""
    name = _PORT.sub("", host.strip()).rstrip(".").lower()
    if not _HOST.match(name) or _is_address(name):
        return [""]
    labels = name.split(".")
    return ["", *(".".join(labels[-count:]) for count in range(2, len(labels) + 1))]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        # As in the URL standard (host parsing, "ends in a number"): 127.1 is an address too, and no domain
        # ends so.
        return name.rpartition(".")[2].isdigit()
    return True


def _deletion(name: str, domain: str, path: str) -> bytes | None:
    # 6265bis §4.1.3: browsers match the prefixes in any case, and drop a line that breaks their rules.
    prefixed = name.lower()
    if prefixed.startswith("__host-") and (domain or path != "/"):
        return None
    line = f"{name}=; Max-Age=0; Path={path}"
    if domain:
        line += f"; Domain={domain}"
    if prefixed.startswith(("__host-", "__secure-", "__http-")):
        line += "; Secure"
    if prefixed.startswith(("__http-", "__host-http-")):
        line += "; HttpOnly"
    return line.encode("ascii")


def path_prefixes(path: str) -> list[str]:
    """Give every cookie path that a page's path matches, from the root down (RFC 6265 §5.1.4).

    Args:
        path: as on the wire, percent-encoding kept; a query or fragment is cut off; read eight segments deep.

    Returns:
        Each prefix without and with its trailing slash; only ``/`` for a path that could not be sent in a
        cookie.

    Example:
        >>> path_prefixes("/fr/a/b")
        ['/', '/fr', '/fr/', '/fr/a', '/fr/a/', '/fr/a/b']
    """
    bare = re.split(r"[?#]", path, maxsplit=1)[0]
    if not _PATH.match(bare):
        return ["/"]
    segments = bare.split("/")[1:]
    # A prefix is followed by a slash unless it is the whole path.
    starts = ["/" + "/".join(segments[: depth + 1]) for depth in range(min(len(segments), _MAX_DEPTH))]
    forms = (form for start in starts for form in (start, start + "/") if bare.startswith(form))
    return list(dict.fromkeys(["/", *forms]))


def request_cookie_names(headers: Headers) -> list[str]:
    """Give the names in all ``Cookie`` lines of a request (HTTP/2 splits them), each once, in order."""
    pairs = (pair for line in values(headers, b"cookie") for pair in line.split(";") if "=" in pair)
    return list(dict.fromkeys(name for pair in pairs if (name := pair.partition("=")[0].strip())))


def cookie_name(set_cookie_value: bytes) -> str:
    """Give the name that a ``Set-Cookie`` value sets; empty for a cookie without one (6265bis §5.6)."""
    name, equals, _ = set_cookie_value.partition(b";")[0].partition(b"=")
    return name.strip().decode("latin-1") if equals else ""


def is_deletion(set_cookie_value: bytes, now: datetime) -> bool:
    """Say whether a ``Set-Cookie`` value deletes its cookie.

    As browsers read it (6265bis §5.6 and §5.7): the last valid attribute of a kind counts, ``Max-Age``
    outranks ``Expires``, and one that cannot be read counts as absent.

    Args:
        set_cookie_value: the whole header value.
        now: the present time, with a time zone.
    """
    max_age: str | None = None
    expires: datetime | None = None
    for name, value in _attributes(set_cookie_value):
        if name == "max-age" and re.fullmatch(r"-?[0-9]+", value):
            max_age = value
        elif name == "expires":
            expires = _cookie_date(value) or expires
    if max_age is not None:
        # Not int(): Python refuses to read more than 4,300 digits.
        return max_age.startswith("-") or not max_age.strip("0")
    return expires is not None and expires <= now


def _attributes(set_cookie_value: bytes) -> Iterator[tuple[str, str]]:
    for part in set_cookie_value.decode("latin-1").split(";")[1:]:
        name, _, value = part.partition("=")
        if len(value.strip()) <= _MAX_ATTRIBUTE_BYTES:
            yield name.strip().lower(), value.strip()


def _cookie_date(text: str) -> datetime | None:
    """Read a date as browsers do: by its parts, in whatever order (RFC 6265 §5.1.1)."""
    time: tuple[int, int, int] | None = None
    day = month = year = 0
    for token in _DATE_DELIMITERS.split(text):
        if time is None and (found := _TIME.match(token)):
            time = (int(found[1]), int(found[2]), int(found[3]))
        elif not day and (found := _DAY.match(token)):
            day = int(found[1])
        elif not month and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif not year and (found := _YEAR.match(token)):
            year = _full_year(int(found[1]))
    try:
        # RFC 6265 §5.1.1 step 5: nothing before 1601, and a day that is not in the calendar is no date.
        return datetime(year, month, day, *time, tzinfo=UTC) if time and year >= 1601 else None
    except ValueError:
        return None


def _full_year(year: int) -> int:
    if year >= 100:
        return year
    return year + (1900 if year >= 70 else 2000)


# Sign-in, sessions, CSRF, load balancing, the interface's language: exempt from consent (CNIL, deliberation
# 2020-091), and what a site breaks without. Parts of names, and whole names, in lower case.
_NEEDED = re.compile(
    r"sess|csrf|xsrf|forgery|auth|openid|identity|token|login|logged|remember|jwt|saml|oidc|captcha|nonce|flash|consent"
    r"|mfa|2fa|(?:\A|[_-])otp|passkey|pkce|verif|trusted|keycloak|\Akc[_-]|\A_shib|\A__client|\.aspnet|\Awordpress_"
    r"|\A(?:connect\.)?sid\Z|\A(?:sso|id|user|username|state|sudo|cart|basket)\Z|messages\Z|\Ads_actor\Z"
    r"|lang(?:uage)?\Z|locale\Z|i18n|culture\Z|\A__cf(?:_bm|lb|ruid)\Z|\Acf_clearance\Z|\Aaws[ae]lb|affinity"
    r"|\A(?:serverid|route|routeid|gclb|ingresscookie)\Z|\Abigip|sticky"
)


def is_needed_by_name(name: str) -> bool:
    """Say whether a cookie's name is that of a session, a sign-in, a CSRF token or the like.

    In doubt it is: a site must not lose its sessions because nobody wrote them into the policy.
    """
    return _NEEDED.search(name.lower()) is not None


def described(set_cookie_value: bytes, now: datetime) -> tuple[int | None, str]:
    """Give how long a cookie is set for, in seconds, and its attributes; never its value.

    Args:
        set_cookie_value: the whole header value.
        now: the present time, with a time zone.

    Returns:
        The seconds, ``None`` for a browser's session; and attributes such as ``HttpOnly; SameSite=Lax``, the
        path left out, which may name somebody's page.
    """
    seconds: int | None = None
    until: datetime | None = None
    shown: dict[str, str] = {}
    for name, value in _attributes(set_cookie_value):
        if name == "max-age" and re.fullmatch(r"-?[0-9]{1,12}", value):
            seconds = int(value)
        elif name == "expires":
            until = _cookie_date(value) or until
        elif name in _SHOWN:
            shown[name] = f"{_SHOWN[name]}={value}" if name in ("samesite", "domain") else _SHOWN[name]
    if seconds is None and until is not None:
        seconds = int((until - now).total_seconds())
    return seconds, "; ".join(shown[name] for name in _SHOWN if name in shown)


_SHOWN = {
    "httponly": "HttpOnly",
    "secure": "Secure",
    "samesite": "SameSite",
    "domain": "Domain",
    "partitioned": "Partitioned",
}
