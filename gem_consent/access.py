"""How a site's own code and templates find the consent of the request that they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gem_consent.consent import Consent
from gem_consent.errors import ConfigurationError
from gem_consent.exchange import STATE_KEY, Exchange

__all__ = ["exchange_of", "get_consent"]


def get_consent(request: Any) -> Consent:
    """Give what the visitor of this request allows; the response becomes private by it.

    Args:
        request: an ASGI scope, anything with a ``.scope`` (a Starlette, FastAPI, Django, Quart, Litestar or
            BlackSheep request), a WSGI environ, or anything with an ``.environ`` (a Flask request); the last
            two where the WSGI application runs through a2wsgi.

    Raises:
        ConfigurationError: the request did not pass through ``ConsentMiddleware``.
    """
    # most often it is the scope itself
    exchange = request.get(STATE_KEY) if type(request) is dict else None
    found: Exchange = exchange_of(request) if exchange is None else exchange
    return found.read_consent()


def exchange_of(request: Any) -> Exchange:
    """Find the exchange of a request.

    Raises:
        ConfigurationError: the request did not pass through ``ConsentMiddleware``.
    """
    exchange = _scope_of(request).get(STATE_KEY)
    if not isinstance(exchange, Exchange):
        raise ConfigurationError(
            "this request did not pass through ConsentMiddleware: add it to the application, "
            "outside whatever asks for the consent (websockets pass it by)"
        )
    return exchange


def _scope_of(request: Any) -> Mapping[str, Any]:
    for found in (request, getattr(request, "scope", None), getattr(request, "environ", None)):
        if isinstance(found, Mapping):
            # a2wsgi keeps the scope of the request in the environ that it makes
            inner = found.get("asgi.scope", found)
            return inner if isinstance(inner, Mapping) else found
    return {}
