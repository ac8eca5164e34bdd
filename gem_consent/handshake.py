"""A websocket's handshake: its answer is a response as well, and may set cookies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gem_consent.exchange import Exchange, Message, Send
from gem_consent.gate import gated, sets_cookies
from gem_consent.site import Scope, Site

__all__ = ["gated_handshake"]

# ASGI, "WebSocket": the answer that accepts, and the one of the extension "Websocket Denial Response"
_ANSWERS = frozenset({"websocket.accept", "websocket.http.response.start"})


def gated_handshake(site_of: Callable[[Scope], Site], scope: Scope, send: Send) -> Send:
    """Give the ``send`` for a websocket: the cookies of the answer pass the gate, all else is as it was.

    Args:
        site_of: chooses the site; only asked where a cookie is set.
        scope: the websocket's.
        send: the server's.
    """
    # a router that mounts another application writes the path of that into the one it gets
    asked = {**scope}

    def send_gated(message: Message) -> Awaitable[None]:
        if message["type"] not in _ANSWERS:
            return send(message)
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
        if not sets_cookies(headers):
            return send(message)
        exchange = Exchange(site_of(asked), asked, send)
        headers = gated(exchange.site, headers, exchange.consent.granted, exchange.now)
        return send({**message, "headers": headers})

    return send_gated
