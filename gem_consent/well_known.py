"""The statement at the host's root that a site obeys Global Privacy Control; the site's own comes first."""

from __future__ import annotations

from starlette.responses import JSONResponse

from gem_consent.exchange import Message, Send
from gem_consent.rewritable import by_name
from gem_consent.site import Scope

__all__ = ["GPC_PATH", "state_gpc"]

GPC_PATH = "/.well-known/gpc.json"

# The day on which this library began to mean by it what it does (W3C GPC: later changes of the specification
# are not to be read into an older statement). A site that states another day serves a file of its own.
_STATEMENT = {"gpc": True, "lastUpdate": "2026-11-26"}
_CACHE = {"cache-control": "public, max-age=3600"}


def state_gpc(scope: Scope, send: Send) -> Send:
    """Give the ``send`` for a request of ``gpc.json``: what is no such file is answered by the statement.

    A site's own answer counts if it is JSON or leads elsewhere; a page that says "not found", with whatever
    status, does not.

    Args:
        scope: the request's.
        send: the server's.
    """
    # the application may write into the scope before it answers
    is_ours, is_head = False, scope["method"] == "HEAD"

    async def send_statement(message: Message) -> None:
        nonlocal is_ours
        if is_ours:
            return
        is_ours = message["type"] == "http.response.start" and not _is_statement(message)
        if not is_ours:
            await send(message)
            return
        response = JSONResponse(_STATEMENT, headers=_CACHE)
        if is_head:
            response.body = b""
        await response(scope, _nothing, send)

    return send_statement


def _is_statement(start: Message) -> bool:
    kind = by_name(list(start.get("headers") or [])).get(b"content-type", b"")
    is_json = kind.partition(b";")[0].strip().lower() == b"application/json"
    return 300 <= start["status"] < 400 or (is_json and start["status"] == 200)


async def _nothing() -> Message:
    raise RuntimeError("a response that is complete asks for nothing")
