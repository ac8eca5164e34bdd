"""The library's own pages under one prefix: preferences, decision, state, tags, assets and what proves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from urllib.parse import urlencode, urlsplit

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from gem_consent import set_cookie
from gem_consent.client import Client, coarse, has_gpc, is_crawler, is_prefetch, network_prefix
from gem_consent.consent import Choice, Consent, consent_from, expires_at, granted_by, state_after
from gem_consent.cookie import HINT_NAME, cookie_name, new_subject, set_cookie_headers
from gem_consent.decision import (
    MAX_BODY_BYTES,
    Decision,
    InvalidDecision,
    is_same_origin,
    local_path,
    parse_erasure,
    parse_form,
    parse_json,
)
from gem_consent.errors import LedgerError, LedgerUnavailable, PolicyError
from gem_consent.exchange import Exchange
from gem_consent.fields import Message
from gem_consent.headers import Headers
from gem_consent.own_history import download_history
from gem_consent.policy import Policy
from gem_consent.proof.event import Event, event_id, utc_text
from gem_consent.rate import seconds_left
from gem_consent.receipt_pages import show_notice, show_receipt
from gem_consent.rendering import LIBRARY, Announcement, Slots
from gem_consent.scripts import ASSETS, asset, tags_script

__all__ = ["respond"]

_RETRY_AFTER_SECONDS = 5
_NO_STORE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_SAVED = Message("Your choice is saved.")
_CRAWLED = Message("This choice was sent by a machine, not by a person. Nothing was changed.")
_FOREIGN = Message("This choice did not come from a page of this site. Nothing was changed.")
_STALE = Message("What we ask has changed since this page was opened. Please read it again and choose.")
_UNAVAILABLE = Message(
    "Your agreement could not be recorded just now, so nothing was switched on. Please try again."
)
_TOO_MANY = Message(
    "Too many choices came from your network within a minute. Nothing was changed. Please try again shortly."
)
_UNREADABLE = Message("This choice could not be read. Nothing was changed. Please choose again.")
_ERASED = Message("Your history is erased, and so are your visitor number and your agreement.")
_UNCONFIRMED = Message("Nothing was erased: please tick the box first.")
_NOT_ERASED = Message(
    "Your history could not be erased just now. Only what is necessary is in use from now on. Please try "
    "again later."
)


class _Refusal(Exception):
    """A request that is turned away: with which status, and what is said to a person and to a program."""

    def __init__(self, status: int, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.status, self.text, self.detail = status, text, detail


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a decision led to: the consent that stands now, and the headers that make it so."""

    consent: Consent
    headers: Headers
    needs_reload: bool = False


async def respond(exchange: Exchange, path: str, receive: Any) -> Response:
    """Answer a request under the prefix.

    Args:
        exchange: the request's.
        path: what follows the prefix: ``""``, ``"/state"``, ``"/tags"``, ``"/receipt"``, ``"/history"``,
            ``"/erase"``, ``"/assets/…"`` or ``"/notice/…"``.
        receive: the server's.
    """
    request = Request(exchange.scope, receive)
    if path == "" and request.method == "POST":
        return await _decide(exchange, request)
    if path == "/erase" and request.method == "POST":
        return await _erase(exchange, request)
    if is_prefetch(exchange.scope["headers"]):
        # the choice may have changed by the time that somebody looks: the browser asks again then
        return Response("Not fetched ahead", 503, _NO_STORE, "text/plain")
    response = await _shown(exchange, request, path)
    if request.method == "HEAD":
        response.body = b""
    return response


async def _shown(exchange: Exchange, request: Request, path: str) -> Response:
    answer = _PAGES.get(path) or next(
        (one for start, one in _FOLDERS.items() if path.startswith(start)), None
    )
    if path == "/erase":
        return Response("Method Not Allowed", 405, {**_NO_STORE, "allow": "POST"}, "text/plain")
    if answer is None:
        return Response("Not Found", status_code=404, media_type="text/plain", headers=_NO_STORE)
    if request.method not in ("GET", "HEAD"):
        allowed = "GET, HEAD, POST" if path == "" else "GET, HEAD"
        return Response("Method Not Allowed", 405, {**_NO_STORE, "allow": allowed}, "text/plain")
    return await answer(exchange, request)


async def _preferences(exchange: Exchange, request: Request) -> Response:
    said = next((one for name, one in _SAID.items() if name in request.query_params), None)
    return await _page(exchange, request, announcement=said)


async def _page(
    exchange: Exchange,
    request: Request,
    *,
    status: int = 200,
    announcement: Announcement | None = None,
    decision: Decision | None = None,
    consent: Consent | None = None,
) -> Response:
    """Show the preferences page; with a consent that this very request has changed, without the history."""
    renderer = exchange.site.renderer
    query = request.query_params
    language = _language_answered(exchange, decision) if decision else query.get("lang")
    language = renderer.language(language, request.headers.get("accept-language"))
    return_to = decision.return_to if decision else local_path(query.get("return", ""))
    slots = Slots(exchange.site.prefix(exchange.scope), return_to)
    if announcement:
        announcement = Announcement(announcement.kind, renderer.gettext(language, announcement.text))
    history = await _history(exchange) if consent is None else None
    content, policy = renderer.preferences(
        language, consent or exchange.consent, slots, history=history, announcement=announcement
    )
    headers = {
        **_NO_STORE,
        "vary": "Cookie, Accept-Language",
        "content-language": language,
        "content-security-policy": policy,
        "referrer-policy": "same-origin",
    }
    return Response(content, status, headers, "text/html")


async def _history(exchange: Exchange) -> list[Event] | None:
    if not exchange.consent.subject:
        return []
    try:
        return [event for _, event in await exchange.site.recorder.history(exchange.consent.subject)]
    except LedgerUnavailable:
        return None


async def _state(exchange: Exchange, request: Request) -> Response:
    language = exchange.site.renderer.language(
        request.query_params.get("lang"), request.headers.get("accept-language")
    )
    state = _as_json(exchange, exchange.consent)
    state["notice"] = exchange.site.renderer.notices[language].digest
    return JSONResponse(state, headers={**_NO_STORE, "vary": "Cookie, Accept-Language"})


def _as_json(exchange: Exchange, consent: Consent) -> dict[str, Any]:
    policy = exchange.site.policy
    return {
        "decided": consent.is_decided,
        "purposes": {id_: consent.allows(id_) for id_ in policy.purpose_by_id},
        "decided_at": consent.decided_at and utc_text(datetime.fromtimestamp(consent.decided_at, UTC)),
        "expires_at": consent.expires_at and utc_text(datetime.fromtimestamp(consent.expires_at, UTC)),
        "fingerprint": policy.fingerprint,
    }


async def _tags(exchange: Exchange, request: Request) -> Response:
    script = tags_script(exchange.site.policy, exchange.consent.granted, with_stops=True)
    headers = {**_NO_STORE, "vary": "Cookie", "cross-origin-resource-policy": "same-origin"}
    return Response(script, 200, headers, "text/javascript")


async def _asset(exchange: Exchange, request: Request) -> Response:
    """Give a file by the hash in its name; the present one, unstored, where the hash is another version's."""
    wanted = exchange.scope["path"].rpartition("/")[2]
    kept = next((name for name in ASSETS if name.rpartition(".")[2] == wanted.rpartition(".")[2]), None)
    if kept is None:
        return Response("Not Found", status_code=404, media_type="text/plain", headers=_NO_STORE)
    name, content = asset(kept)
    cache = "public, max-age=31536000, immutable" if wanted == name else "no-store"
    return Response(content, 200, {**_NO_STORE, "cache-control": cache}, ASSETS[kept])


_PAGES: dict[str, Callable[[Exchange, Request], Awaitable[Response]]] = {
    "": _preferences,
    "/": _preferences,
    "/state": _state,
    "/tags": _tags,
    "/receipt": show_receipt,
    "/history": download_history,
}
_SAID = {"saved": Announcement("saved", _SAVED), "erased": Announcement("erased", _ERASED)}
_FOLDERS = {"/assets/": _asset, "/notice/": show_notice}


async def _decide(exchange: Exchange, request: Request) -> Response:
    """Take a decision: a form gets a redirect or a page, JSON gets JSON."""
    is_json = _media_type(request) == "application/json"
    decision: Decision | None = None
    try:
        _require_own_page(exchange, request)
        decision = await _read(request)
        outcome = await _carry_out(exchange, request, decision)
    except _Refusal as refusal:
        exchange.site.tally.decisions[str(refusal.status)] += 1
        return await _turned_away(exchange, request, refusal, decision, is_json=is_json)
    if is_json:
        answer = _as_json(exchange, outcome.consent)
        if outcome.needs_reload:
            answer["reload"] = True
        response: Response = JSONResponse(answer, headers=_NO_STORE)
    else:
        response = RedirectResponse(_way_back(exchange, decision), status_code=303, headers=_NO_STORE)
    response.raw_headers.extend(outcome.headers)
    return response


async def _turned_away(
    exchange: Exchange, request: Request, refusal: _Refusal, decision: Decision | None, *, is_json: bool
) -> Response:
    if is_json or refusal.status in (413, 415):
        content: dict[str, Any] = {"error": refusal.detail or refusal.text}
        if refusal.status == 409:
            language = exchange.site.renderer.language(None, request.headers.get("accept-language"))
            content["notice"] = exchange.site.renderer.notices[language].digest
        response: Response = JSONResponse(content, refusal.status, _NO_STORE)
    else:
        response = await _page(
            exchange,
            request,
            status=refusal.status,
            announcement=Announcement("error", refusal.text),
            decision=decision,
        )
    if refusal.status in (429, 503):
        wait = _RETRY_AFTER_SECONDS if refusal.status == 503 else seconds_left(exchange.now)
        response.headers["retry-after"] = str(wait)
    return response


def _require_own_page(exchange: Exchange, request: Request) -> None:
    fetch_site, origin, host = map(request.headers.get, ("sec-fetch-site", "origin", "host"))
    if not is_same_origin(fetch_site, origin, host, exchange.site.domain(exchange.scope)):
        detail = "A decision is taken from this site's own pages only, as Sec-Fetch-Site or Origin must show."
        raise _Refusal(403, _FOREIGN, detail)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request) -> Decision:
    parsers = {"application/x-www-form-urlencoded": parse_form, "application/json": parse_json}
    parse = parsers.get(_media_type(request))
    if parse is None:
        raise _Refusal(415, f"Send the decision as {' or '.join(parsers)}.")
    body = await _body(request)
    try:
        return parse(body)
    except InvalidDecision as error:
        raise _Refusal(400, _UNREADABLE, str(error)) from error


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _Refusal(413, f"A decision has {MAX_BODY_BYTES} bytes at most.")
    except ClientDisconnect:
        raise _Refusal(400, _UNREADABLE, "The request ended before its body did.") from None
    return body


async def _erase(exchange: Exchange, request: Request) -> Response:
    """Erase a visitor's rows, then their cookies.

    Where the ledger is away their agreement ends all the same; their number is kept, since they could not
    try again without it.
    """
    decision = Decision("withdraw", surface="preferences")
    try:
        _require_own_page(exchange, request)
        if _media_type(request) != "application/x-www-form-urlencoded":
            raise _Refusal(415, "Send the erasure as application/x-www-form-urlencoded.")
        try:
            is_confirmed, decision = parse_erasure(await _body(request))
        except InvalidDecision as error:
            raise _Refusal(400, _UNCONFIRMED, str(error)) from error
        if not is_confirmed:
            raise _Refusal(400, _UNCONFIRMED)
        if exchange.consent.subject:
            at = datetime.fromtimestamp(exchange.site.clock(), UTC)
            await exchange.site.recorder.erase(exchange.consent.subject, at)
    except _Refusal as refusal:
        return await _turned_away(exchange, request, refusal, decision, is_json=False)
    except LedgerError:
        return await _not_erased(exchange, request, decision)
    response = RedirectResponse(_way_back(exchange, decision, "erased"), status_code=303, headers=_NO_STORE)
    response.raw_headers.extend(_own_deletions(exchange, request))
    response.raw_headers.extend(_deletions(exchange, request, decision, frozenset()))
    return response


async def _not_erased(exchange: Exchange, request: Request, decision: Decision) -> Response:
    outcome = await _carry_out(exchange, request, decision)
    said = Announcement("error", _NOT_ERASED)
    response = await _page(
        exchange, request, status=503, announcement=said, decision=decision, consent=outcome.consent
    )
    response.headers["retry-after"] = str(_RETRY_AFTER_SECONDS)
    response.raw_headers.extend(outcome.headers)
    return response


async def _carry_out(exchange: Exchange, request: Request, decision: Decision) -> _Outcome:
    policy, consent = exchange.site.policy, exchange.consent
    try:
        granted = granted_by(decision.action, decision.purposes, policy, consent.granted)
    except PolicyError as error:
        raise _Refusal(400, _UNREADABLE, str(error)) from error
    state = state_after(exchange.choice, consent, granted)
    removed = consent.granted - granted
    if state is None or not policy.asks:
        exchange.site.tally.decisions["repeated"] += 1
        return _Outcome(consent, _deletions(exchange, request, decision, granted))
    began = perf_counter()
    # bound to the visitor, so that a key gives nobody another visitor's event
    key = f"{consent.subject}.{decision.key}" if decision.key else None
    is_crawled = is_crawler(request.headers.get("user-agent", "").encode("latin-1"))
    is_too_often = _comes_too_often(exchange, request)
    if granted - consent.granted:
        if is_too_often:
            raise _Refusal(429, _TOO_MANY, "Too many decisions come from this address.")
        if is_crawled:
            raise _Refusal(403, _CRAWLED, "A crawler's User-Agent grants nothing.")
        await _require_known_notice(exchange, decision)
        event = await _recorded(exchange, await _event(exchange, request, decision, granted, state), key)
    elif is_too_often or (is_crawled and not removed):
        event = await _event(exchange, request, decision, granted, state)  # for its cookie alone
    else:
        decision = await _with_known_notice(exchange, decision)
        event = await exchange.site.recorder.keep(
            await _event(exchange, request, decision, granted, state), key
        )
    exchange.site.tally.decisions[state] += 1
    exchange.site.tally.recorded(perf_counter() - began)
    choice = _choice_of(event, policy)
    cookies = set_cookie_headers(
        exchange.site.cookie,
        choice,
        policy,
        is_https=exchange.site.is_https(exchange.scope),
        now=max(exchange.now, choice.decided_at),
        domain=exchange.site.domain(exchange.scope),
    )
    return _Outcome(
        consent_from(choice, policy, exchange.now),
        _no_longer_shared(exchange, request)
        + cookies
        + _deletions(exchange, request, decision, choice.granted),
        needs_reload=bool(removed) or (decision.is_page_restricted and bool(granted)),
    )


def _comes_too_often(exchange: Exchange, request: Request) -> bool:
    """Count this decision; where the server names no address, as on a socket, nothing is counted."""
    limit = exchange.site.limit
    if limit is None or request.client is None:
        return False
    return not limit.allows(request.client.host, exchange.now)


async def _require_known_notice(exchange: Exchange, decision: Decision) -> None:
    try:
        is_known = decision.notice and await exchange.site.recorder.knows_notice(
            decision.notice, exchange.site.policy.fingerprint
        )
    except LedgerUnavailable as error:
        raise _Refusal(503, _UNAVAILABLE) from error
    if not is_known:
        raise _Refusal(409, _STALE, "'notice' is not the digest of a notice of the present policy.")


async def _with_known_notice(exchange: Exchange, decision: Decision) -> Decision:
    """Let a refusal name no notice rather than one that nobody can open."""
    try:
        is_known = await exchange.site.recorder.knows_notice(
            decision.notice, exchange.site.policy.fingerprint
        )
    except LedgerUnavailable:
        is_known = False
    return decision if is_known else replace(decision, notice="")


async def _recorded(exchange: Exchange, event: Event, key: str | None) -> Event:
    try:
        return await exchange.site.recorder.record(event, key)
    except LedgerError as error:
        raise _Refusal(503, _UNAVAILABLE) from error


async def _event(
    exchange: Exchange, request: Request, decision: Decision, granted: frozenset[str], state: str
) -> Event:
    site = exchange.site
    # parsing a new user agent takes milliseconds, and importing the parser a third of a second
    client: Client = await to_thread.run_sync(coarse, request.headers.get("user-agent", ""))
    at = datetime.fromtimestamp(site.clock(), UTC)
    # what is kept of an earlier choice keeps its end: only a new question, answered, starts the time anew
    since = exchange.consent.decided_at if granted and granted < exchange.consent.granted else None
    expires = expires_at(int(at.timestamp()) if since is None else since, site.policy)
    address = request.client.host if request.client else None
    return Event(
        id=event_id(at),
        time=utc_text(at),
        subject=exchange.consent.subject or new_subject(),
        site=_host(request),
        state=state,
        action=decision.action,
        # no form can send a colon here: what follows it is the server's own word
        surface=decision.surface + (":gpc" if has_gpc(exchange.scope["headers"]) else ""),
        purposes={purpose.id: purpose.id in granted for purpose in site.policy.asked},
        notice=decision.notice,
        fingerprint=site.policy.fingerprint,
        policy_version=site.policy.version,
        language=_language_answered(exchange, decision),
        expires=utc_text(datetime.fromtimestamp(expires, UTC)),
        library=LIBRARY,
        browser=client.browser,
        system=client.system,
        device=client.device,
        network=network_prefix(address) if site.keeps_network else None,
    )


def _language_answered(exchange: Exchange, decision: Decision) -> str:
    """Give the language of the notice that a decision names; empty for one of another version of the site."""
    drawn = exchange.site.renderer.notices.drawn()
    return next((notice.language for notice in drawn if notice.digest == decision.notice), "")


def _host(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _choice_of(event: Event, policy: Policy) -> Choice:
    granted = frozenset(id_ for id_, is_granted in event.purposes.items() if is_granted)
    decided_at = int((datetime.fromisoformat(event.expires) - policy.lifetime).timestamp())
    return Choice(event.subject, event.fingerprint, granted, decided_at)


def _deletions(exchange: Exchange, request: Request, decision: Decision, granted: frozenset[str]) -> Headers:
    """Delete the cookies of what is not granted: those the request carries, and those known by name."""
    denied = exchange.site.refused_services(granted)
    carried = set_cookie.request_cookie_names(request.headers.raw)
    names = [name for name in carried if any(service.owns_cookie(name) for service in denied)]
    if exchange.consent.granted - granted:
        # cookies for other paths do not reach this address: those whose names are known go all the same
        declared = [
            t for service in denied for t in service.trackers if t.storage == "cookie" and t.host is None
        ]
        names += [tracker.name for tracker in declared if "*" not in tracker.name]
    paths = set_cookie.path_prefixes(decision.return_to.partition("?")[0])
    host = request.headers.get("host", "")
    return set_cookie.deletions(names, host, paths, secure=exchange.site.is_https(exchange.scope))


def _no_longer_shared(exchange: Exchange, request: Request) -> Headers:
    """Delete what was kept for sub-domains once a site has ceased to share: the new choice replaces it."""
    carried = set_cookie.request_cookie_names(request.headers.raw)
    shared = cookie_name(is_https=True, domain="shared")
    if shared not in carried or exchange.site.domain(exchange.scope):
        return []
    is_https = exchange.site.is_https(exchange.scope)
    return set_cookie.deletions([shared, HINT_NAME], request.headers.get("host", ""), (), secure=is_https)


def _own_deletions(exchange: Exchange, request: Request) -> Headers:
    """Delete the consent cookie, under every name that it had, and the hint; on every parent domain too."""
    forms = ((True, None), (True, "shared"), (False, None))
    names = [*(cookie_name(is_https, domain) for is_https, domain in forms), HINT_NAME]
    is_https = exchange.site.is_https(exchange.scope)
    return set_cookie.deletions(names, request.headers.get("host", ""), (), secure=is_https)


def _way_back(exchange: Exchange, decision: Decision, said: str = "saved") -> str:
    """Give the address to return to: the page of the notice, or the preferences page saying it is saved."""
    if decision.surface == "preferences":
        query = {said: "1", "lang": _language_answered(exchange, decision), "return": decision.return_to}
        given = {name: value for name, value in query.items() if value}
        return f"{exchange.site.prefix(exchange.scope)}?{urlencode(given, safe='/')}"
    return decision.return_to or f"{exchange.site.root(exchange.scope)}/"
