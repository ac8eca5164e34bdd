"""The pages that prove: a visitor's own receipts, and the notices that were shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gem_consent.errors import LedgerUnavailable
from gem_consent.exchange import Exchange
from gem_consent.ledger.store import Ledger
from gem_consent.receipt import CONTENT_SECURITY_POLICY, encoded, find_receipt, page

__all__ = ["show_notice", "show_receipt"]

_HEADERS = {
    "cache-control": "no-store, private",
    "x-content-type-options": "nosniff",
    "vary": "Cookie, Accept-Language",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# Nothing of an old notice may run, load or be sent: it is an exhibit.
_NOTICE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
_RETRY_AFTER_SECONDS = 5


async def show_receipt(exchange: Exchange, request: Request) -> Response:
    """Answer ``/receipt?event=ID`` for the visitor's own events: a download, or with ``form=page`` a page."""
    event, subject = request.query_params.get("event", ""), exchange.consent.subject
    if not subject:
        return _plain(404)
    try:
        found = await exchange.site.recorder.read(_finding(event, subject))
    except LedgerUnavailable:
        return _plain(503)
    if found is None:
        return _plain(404)
    if request.query_params.get("form") == "page":
        language = exchange.site.renderer.language(None, request.headers.get("accept-language"))
        content = page(found, prefix=exchange.site.prefix(exchange.scope), otherwise=language)
        return Response(
            content, 200, {**_HEADERS, "content-security-policy": CONTENT_SECURITY_POLICY}, "text/html"
        )
    name = f'attachment; filename="consent-receipt-{found["receipt_id"]}.json"'
    return Response(
        encoded(found), 200, {**_HEADERS, "content-disposition": name}, "application/json; charset=utf-8"
    )


def _finding(event: str, subject: str) -> Callable[[Ledger], Mapping[str, Any] | None]:
    def find(ledger: Ledger) -> Mapping[str, Any] | None:
        with ledger.reading() as connection:
            return find_receipt(connection, event, subject)

    return find


async def show_notice(exchange: Exchange, request: Request) -> Response:
    """Answer ``/notice/<digest>``: the page that was shown, as it was; nothing in it works any more."""
    digest = exchange.scope["path"].rpartition("/")[2]
    try:
        found = await exchange.site.recorder.read(lambda ledger: ledger.notice(digest))
    except LedgerUnavailable:
        return _plain(503)
    if found is None:
        return _plain(404)
    headers = {**_HEADERS, "content-security-policy": _NOTICE_POLICY, "content-language": found.language}
    return Response(found.html, 200, headers, "text/html; charset=utf-8")


def _plain(status: int) -> Response:
    words = {404: "Not Found", 503: "Service Unavailable"}[status]
    more = {"retry-after": str(_RETRY_AFTER_SECONDS)} if status == 503 else {}
    return Response(words, status, {**_HEADERS, "cache-control": "no-store", **more}, "text/plain")
