"""Checks for a site's own test suite: no tracker slips in, and no cache mixes visitors up.

They run in process, need no network and no test framework, and add no choice to the ledger. A failed check is
an ``AssertionError`` that says what to do.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from gem_consent import caching, set_cookie
from gem_consent.consent import Choice
from gem_consent.cookie import HINT_NAME, cookie_name, hint_value, new_subject
from gem_consent.exchange import Exchange
from gem_consent.headers import values, without
from gem_consent.loads import Load, loads_of, loads_of_headers, loads_of_styles
from gem_consent.policy import OWN_COOKIES
from gem_consent.site import Site
from gem_consent.vendor_hosts import named_vendors, vendor_of
from gem_consent.visits import Answer, Visits, visiting

__all__ = ["assert_cache_safe", "assert_no_undeclared_trackers"]

_BASE_URL = "https://www.example.com"
_MAX_REDIRECTS = 5
_EXCERPT_BYTES = 60


def assert_no_undeclared_trackers(
    app: object, paths: Iterable[str] = ("/",), *, allow: Sequence[str] = (), base_url: str = _BASE_URL
) -> None:
    """Fail if a page sets a cookie or loads from another host before a choice, or after a refusal.

    Each page is asked for by a visitor who has not chosen and by one who refused everything. What counts
    against it: a cookie that is no tracker of a necessary service, nor the library's own; a request of the
    page's to another host than the site's and those of necessary services; a vendor's host in an inline
    script. Scripts are not run, and files are not fetched: what they load later is not seen here.

    Args:
        app: an ASGI application with ``ConsentMiddleware`` in it.
        paths: the pages, and the site's own style sheets, to look at; redirects within the site are followed.
        allow: names of cookies and hosts that are strictly necessary; one ``*`` stands for any characters.
        base_url: the scheme and host to ask for.

    Raises:
        AssertionError: something was found; the message lists each with the remedy.

    Example:
        >>> from gem_consent import ConsentMiddleware, Controller, Policy
        >>> async def site(scope, receive, send): ...
        >>> policy = Policy(Controller("Example", "dpo@example.com"), "/privacy")
        >>> app = ConsentMiddleware(site, policy=policy, secret_key="x" * 40, ledger="sqlite:///test.db")
        >>> assert_no_undeclared_trackers(app, paths=[])
    """
    __tracebackhide__ = True
    found: dict[str, None] = {}
    with visiting(app, base_url) as visits:
        for path in paths:
            first = _way(visits, path, {})
            refused = _way(visits, path, {"cookie": _cookies(first[-1], frozenset())})
            for who, way in (("before any choice", first), ("after a refusal", refused)):
                troubles = (trouble for answer in way for trouble in _troubles(answer, allow))
                found |= dict.fromkeys(f"{path}, {who}: {trouble}" for trouble in troubles)
    if found:
        raise AssertionError("\n".join([f"{len(found)} found that no visitor has agreed to:", *found]))


def _page(visits: Visits, path: str, headers: dict[str, str]) -> Answer:
    return _way(visits, path, headers)[-1]


def _way(visits: Visits, path: str, headers: dict[str, str]) -> list[Answer]:
    """Give the redirects within the site, and the page at their end."""
    way: list[Answer] = []
    here: str | None = path
    while here is not None:
        if len(way) > _MAX_REDIRECTS:
            raise AssertionError(f"GET {path} is redirected {len(way)} times, so nothing can be said of it")
        way.append(answer := visits.get(here, headers))
        if answer.status >= 400:
            raise AssertionError(
                f"GET {here} answers {answer.status}, so nothing can be said of it: name a page that is there"
            )
        location = next(iter(values(answer.headers, b"location")), "")
        here = visits.path_of(here, location) if 300 <= answer.status < 400 and location else None
    return way


def _exchange(answer: Answer) -> Exchange:
    if answer.exchange is None:
        raise AssertionError(
            f"GET {answer.path} did not pass through ConsentMiddleware: give the application that is served, "
            "with the middleware in it"
        )
    if answer.exchange.site.is_silent:
        (host,) = values(answer.asked, b"host")
        raise AssertionError(
            f"no policy is for GET {answer.path} on {host}, so nothing can be said of it: choose the site "
            "with base_url="
        )
    return answer.exchange


def _cookies(answer: Answer, granted: frozenset[str]) -> str:
    """Give the Cookie header of a visitor who has just granted these; no row is written for it."""
    exchange = _exchange(answer)
    site = exchange.site
    choice = Choice(new_subject(), site.policy.fingerprint, granted, exchange.now)
    name = cookie_name(site.is_https(exchange.scope), site.domain(exchange.scope))
    return f"{name}={site.cookie.encode(choice)}; {HINT_NAME}={hint_value(choice, site.policy)}"


def _troubles(answer: Answer, allow: Sequence[str]) -> Iterator[str]:
    exchange = _exchange(answer)
    site, now = exchange.site, datetime.fromtimestamp(exchange.now, UTC)
    for line in (value.encode("latin-1") for value in values(answer.headers, b"set-cookie")):
        name = set_cookie.cookie_name(line)
        if not set_cookie.is_deletion(line, now) and not _is_known_cookie(name, site, allow):
            yield (
                f"the cookie {name!r} is set. Declare it as a tracker of a service, so that it waits for "
                "consent; "
                "or, if the site cannot work without it, declare it for a necessary service or name it "
                "in allow="
            )
    own = {value.partition(":")[0].lower() for value in values(answer.asked, b"host")}
    for load in _loads(answer):
        yield from _foreign(load, own, site, allow)


def _loads(answer: Answer) -> Iterator[Load]:
    kind = next(iter(values(answer.headers, b"content-type")), "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        yield from loads_of_headers(answer.headers)
        yield from loads_of(_text(answer))
    elif kind == "text/css":
        yield from loads_of_styles(_text(answer))


def _text(answer: Answer) -> str:
    coding = ", ".join(values(answer.headers, b"content-encoding")).strip().lower()
    if coding not in ("", "identity", "gzip"):
        raise AssertionError(
            f"GET {answer.path} is encoded as {coding!r}, which was not asked for, so nothing can be said of "
            "it: encode where it is asked for, or leave it to the proxy"
        )
    body = gzip.decompress(answer.body) if coding == "gzip" else answer.body
    return body.decode("utf-8", "replace")


def _is_known_cookie(name: str, site: Site, allow: Sequence[str]) -> bool:
    if name in OWN_COOKIES or _is_allowed(name, allow):
        return True
    return any(
        service.owns_cookie(name)
        for id_, purpose in site.policy.purpose_by_id.items()
        if purpose.is_necessary
        for service in site.policy.services_for(id_)
    )


def _foreign(load: Load, own: set[str], site: Site, allow: Sequence[str]) -> Iterator[str]:
    hosts = [load.host] if load.host else _hosts_named(load.text, site)
    for host in hosts:
        if host in own or _is_allowed(host, allow) or _is_necessary(host, site):
            continue
        known = vendor_of(host)
        vendor = f" ({known})" if known else ""
        reason = f"loads {load.text}" if load.host else f"names {host}"
        yield (
            f"{load.where} {reason}{vendor}. Declare it as a Service and let the policy start it, or put it "
            'into {% consent "…" %}; or, if the site cannot work without it, name the host in allow='
        )


def _hosts_named(text: str, site: Site) -> list[str]:
    """Give the hosts of vendors, and of the policy's own services, that an inline script names."""
    declared = [host for service in site.policy.services for host in _hosts_of(service.hosts.values())]
    found = [host for host in declared if not host.startswith("*") and host in text]
    return list(dict.fromkeys([*named_vendors(text), *found]))


def _hosts_of(sources: Iterable[Iterable[str]]) -> list[str]:
    return [re.sub(r"^\w+://|:\d+$", "", source) for group in sources for source in group]


def _is_necessary(host: str, site: Site) -> bool:
    necessary = [id_ for id_, purpose in site.policy.purpose_by_id.items() if purpose.is_necessary]
    patterns = [
        host
        for id_ in necessary
        for one in site.policy.services_for(id_)
        for host in _hosts_of(one.hosts.values())
    ]
    return _is_allowed(host, patterns)


def _is_allowed(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def assert_cache_safe(app: object, path: str = "/", *, base_url: str = _BASE_URL) -> None:
    """Fail if a cache could give one visitor what belongs to another.

    The page is asked for by visitors who have not chosen, refused and accepted, in two languages and with two
    browsers. Where shared caches may keep it (RFC 9111, section 3), all must get the same bytes and no
    cookie; else, where they get different bytes, it must say ``private`` with ``Vary: Cookie``, or
    ``no-store``. Languages and browsers may get different bytes where ``Vary`` names what tells them apart.

    Args:
        app: an ASGI application with ``ConsentMiddleware`` in it.
        path: the page.
        base_url: the scheme and host to ask for.

    Raises:
        AssertionError: a cache could mix visitors up; the message says where the pages differ and what to do.
    """
    __tracebackhide__ = True
    with visiting(app, base_url) as visits:
        first = _page(visits, path, {})
        visitors = dict(_visitors(first))
        answers = {who: _page(visits, path, headers) for who, headers in visitors.items()}
        again = _page(visits, path, {})
    everyone = {"a visitor who has not chosen": first, **answers}
    if again.body != first.body and not all(_is_own(answer) for answer in everyone.values()):
        raise AssertionError(
            f"{path} differs between two requests of the same "
            f"visitor{_difference(first.body, again.body)}. Fix the "
            "clock, the random numbers or the order in the test, and keep what changes out of pages that "
            "caches keep"
        )
    moment = datetime.fromtimestamp(_exchange(first).now, UTC)
    for who, answer in everyone.items():
        if visitors.get(who, {}).keys() & {"accept-language", "user-agent"} & _vary(answer):
            continue  # caches keep these apart (RFC 9111, section 4.1)
        # a cookie does not keep a cache from it (RFC 9111, section 7.3), whatever it keeps this library from
        if caching.is_shared(answer.asked, without(answer.headers, {b"set-cookie"}), moment):
            _require_same(path, first, who, answer)
        else:
            _require_private(path, first, who, answer)


def _visitors(first: Answer) -> Iterator[tuple[str, dict[str, str]]]:
    asked = frozenset(purpose.id for purpose in _exchange(first).site.policy.asked)
    yield "a visitor who reads French", {"accept-language": "fr"}
    yield (
        "another browser",
        {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"},
    )
    yield "a visitor who refused", {"cookie": _cookies(first, frozenset())}
    yield "a visitor who accepted", {"cookie": _cookies(first, asked)}


def _require_same(path: str, first: Answer, who: str, answer: Answer) -> None:
    __tracebackhide__ = True
    if answer.body != first.body:
        raise AssertionError(
            f"{path} may be kept by shared caches, and {who} gets other bytes than a visitor who has not "
            "chosen"
            f"{_difference(first.body, answer.body)}. Read the consent with get_consent() or "
            f"{{% consent %}}, which makes "
            "the page private; or send the same page to everyone"
        )
    if values(answer.headers, b"set-cookie"):
        raise AssertionError(
            f"{path} may be kept by shared caches and sets a cookie: send Cache-Control: private with it"
        )


def _require_private(path: str, first: Answer, who: str, answer: Answer) -> None:
    __tracebackhide__ = True
    control = " ".join(values(answer.headers, b"cache-control")).lower()
    if answer.body == first.body or _is_own(answer):
        return
    raise AssertionError(
        f"{path} gives {who} other bytes than a visitor who has not "
        f"chosen{_difference(first.body, answer.body)}, and "
        f"its headers (Cache-Control: {control or 'none'}; Vary: "
        f"{', '.join(sorted(_vary(answer))) or 'none'}) let caches mix them "
        "up. Read the consent with get_consent(), which says it by itself; or send Cache-Control: "
        "private and Vary: Cookie"
    )


def _is_own(answer: Answer) -> bool:
    """Say whether caches keep a page for its visitor alone, or not at all."""
    control = " ".join(values(answer.headers, b"cache-control")).lower()
    return "no-store" in control or ("private" in control and not {"cookie", "*"}.isdisjoint(_vary(answer)))


def _vary(answer: Answer) -> set[str]:
    return set(filter(None, re.split(r"[\s,]+", " ".join(values(answer.headers, b"vary")).lower())))


def _difference(one: bytes, other: bytes) -> str:
    at = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    shown = (part[at : at + _EXCERPT_BYTES].decode("utf-8", "replace") for part in (one, other))
    return f" (from byte {at}: {' against '.join(map(repr, shown))})"
