"""Which framework runs under which server, and what they cannot do, with or without the middleware."""

from __future__ import annotations

__all__ = ["FRAMEWORKS", "LIMITS", "PAIRS", "SERVERS", "TRIO", "able", "able_pairs", "limits_shown_by"]

FRAMEWORKS = ("starlette", "fastapi", "fasthtml", "django", "quart", "litestar", "blacksheep", "flask")
SERVERS = ("uvicorn", "hypercorn", "hypercorn-trio", "granian", "daphne")
TRIO = "hypercorn-trio"

LIMITS: dict[tuple[str, ...], str] = {
    ("django", "trio"): "asgiref keeps to asyncio's event loop",
    ("quart", "trio"): "Quart keeps to asyncio; Quart-Trio is another framework",
    ("blacksheep", "trio"): "BlackSheep compresses and reads files in asyncio's event loop",
    ("flask", "trio"): "a2wsgi keeps to asyncio's event loop",
    ("django", "ranges"): "Django answers a Range with the whole file",
    ("litestar", "ranges"): "Litestar answers a Range with the whole file",
    ("blacksheep", "ranges"): "BlackSheep answers a Range with the whole file",
    ("django", "websockets"): "Django speaks HTTP alone; Channels is another framework",
    ("flask", "websockets"): "WSGI has no websockets",
    ("daphne", "quart", "websockets"): "daphne's scope of a websocket has no scheme, which Quart reads",
    ("hypercorn", "quart", "proxied websockets"): "ProxyFixMiddleware calls wss https, which Quart refuses",
    (
        "hypercorn-trio",
        "steady websockets",
    ): "behind a proxy its worker may send twice at once, and fail",
    ("django", "tasks"): "Django 5.2 has no tasks that follow a response",
    ("blacksheep", "tasks"): "BlackSheep has no tasks that follow a response",
    ("quart", "compression"): "Quart has no compression of its own",
    ("flask", "compression"): "Flask has no compression of its own",
    ("flask", "chunked bodies"): "Werkzeug reads nothing of a body whose length no header gives",
    ("granian", "flask", "bodies"): "a2wsgi needs a coroutine of receive, where granian gives a future",
    ("blacksheep", "endings"): "BlackSheep hears of no visitor who leaves while it sends",
    ("flask", "endings"): "a2wsgi hears of no visitor who leaves while it sends",
    ("daphne", "lifespan"): "daphne has no lifespan",
}
"""By framework, server or both, and by ability: why it cannot."""

PAIRS = [
    (server, framework)
    for server in SERVERS
    for framework in FRAMEWORKS
    if server != TRIO or (framework, "trio") not in LIMITS
]


def able(ability: str) -> tuple[str, ...]:
    """Give the frameworks that can do something."""
    return tuple(framework for framework in FRAMEWORKS if (framework, ability) not in LIMITS)


def able_pairs(*abilities: str) -> list[tuple[str, str]]:
    """Give the servers and frameworks that can do all of this together."""
    return [pair for pair in PAIRS if not any(_limits(*pair, ability) for ability in abilities)]


def limits_shown_by(server: str, framework: str) -> list[str]:
    """Give the abilities whose limits this pair is the first to have."""
    first = {key: next(pair for pair in PAIRS if set(key[:-1]) <= set(pair)) for key in LIMITS}
    return [key[-1] for key, pair in first.items() if pair == (server, framework)]


def _limits(server: str, framework: str, ability: str) -> bool:
    keys = {(server, ability), (framework, ability), (server, framework, ability)}
    return not keys.isdisjoint(LIMITS)
