"""A small site behind the middleware, with one page for each thing that browsers treat differently."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from browser.google import ID, TAG
from gem_consent import (
    ConsentExtension,
    ConsentMiddleware,
    Controller,
    GoogleAnalytics,
    Policy,
    Purpose,
    Service,
    YouTube,
)
from gem_consent.csp import hash_source
from gem_consent.scripts import asset

__all__ = ["LOCAL_POLICY", "MEDIA", "METAS", "POLICY", "PRESS", "SEVERAL", "Clock", "Row", "Site"]

PRESS = f"GET /privacy-choices/assets/{asset('press.js')[0]}"
"""The request for the script that a press needs."""

_NONCE = "dGhlIG5vbmNlIG9mIGEgcGFnZQ"
_OWN_SCRIPT = "window.own = 1"
_HASH = hash_source(_OWN_SCRIPT)
_TRUSTED = f"default-src 'self'; script-src 'self' 'nonce-{_NONCE}'; require-trusted-types-for 'script'"
_ENFORCED, _REPORTED = "content-security-policy", "content-security-policy-report-only"
_CSP = {
    "/nonce": [(_ENFORCED, f"default-src 'self'; script-src 'self' 'nonce-{_NONCE}'")],
    "/strict": [(_ENFORCED, "default-src 'self'; script-src 'self'")],
    "/hash": [(_ENFORCED, f"default-src 'self'; script-src '{_HASH}'")],
    "/dynamic": [(_ENFORCED, f"default-src 'self'; script-src 'nonce-{_NONCE}' 'strict-dynamic'")],
    "/dynamic/hash": [(_ENFORCED, f"default-src 'self'; script-src '{_HASH}' 'strict-dynamic'")],
    "/inline": [
        (_ENFORCED, "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'")
    ],
    "/none": [(_ENFORCED, "default-src 'none'; script-src 'none'; img-src 'self'; form-action 'none'")],
    "/default": [(_ENFORCED, "default-src 'self'")],
    "/headers": [
        (_ENFORCED, f"script-src 'self' 'nonce-{_NONCE}'"),
        (_ENFORCED, "default-src 'self' 'unsafe-inline'"),
    ],
    "/comma": [(_ENFORCED, f"script-src 'nonce-{_NONCE}', default-src 'self'; script-src 'nonce-{_NONCE}'")],
    "/reported": [(_REPORTED, f"default-src 'self'; script-src 'nonce-{_NONCE}'")],
    "/trusted": [(_ENFORCED, _TRUSTED)],
    "/trusted/named": [(_ENFORCED, f"{_TRUSTED}; trusted-types own")],
    "/trusted/shared": [(_ENFORCED, _TRUSTED), ("cache-control", "public, max-age=60")],
}
_GOOGLES = "https://*.googletagmanager.com"
# Policies that stand in the page itself: no one may add to them.
METAS = {
    "default": "default-src 'self'",
    "nonce": f"script-src 'self' 'nonce-{_NONCE}'",
    "nonce-only": f"script-src 'nonce-{_NONCE}'; object-src 'none'; base-uri 'self'",
    "dynamic": f"script-src 'nonce-{_NONCE}' 'strict-dynamic'; object-src 'none'",
    "none": "default-src 'none'; style-src 'self'; img-src 'self'",
    "trusted": "require-trusted-types-for 'script'",
    # https://developers.google.com/tag-platform/security/guides/csp
    "google": f"default-src 'self'; script-src 'self' {_GOOGLES}; img-src 'self' {_GOOGLES} "
    f"https://*.google-analytics.com; connect-src https://*.google-analytics.com "
    f"https://*.analytics.google.com {_GOOGLES}",
    "inline": "script-src 'self' 'unsafe-inline'; frame-src 'self'",
    "wide": "default-src https: http: 'unsafe-inline' 'self'; object-src 'none'",
}
_BARRING = f'<meta http-equiv="Content-Security-Policy" content="{METAS["inline"]}">'
# Pages whose policy lets an inline script of the site's own run: with its nonce, its hash or as any.
_WITH_SCRIPT = ("/nonce", "/hash", "/dynamic", "/dynamic/hash", "/inline", "/comma", "/reported", "/trusted")
_LINKS = ("/", "/two", "/shared", "/shared/two")
_PATHS = (
    *_LINKS,
    "/fr/page",
    "/kept",
    "/hostile",
    "/bottom",
    "/based",
    "/privacy",
    "/lang/{language}",
    *_CSP,
    "/meta/{policy}",
    "/shared/meta/{policy}",
)
_HOSTILE = """\
<style>
* { box-sizing: content-box; }
body { letter-spacing: 3px; text-transform: uppercase; font: 30px/3 cursive; color: red; text-align: right; }
h2, p, li, ul { margin: 40px; padding: 20px; color: yellow; text-shadow: 2px 2px red; }
a { color: yellow; background: yellow; display: block; float: right; }
button, form button[type=submit] { width: 100%; float: left; background: red; opacity: .2; }
form, section { background: yellow; padding: 50px; display: inline; }
</style>
"""

POLICY = Policy(
    controller=Controller(name="Example", contact="dpo@example.com"),
    privacy_url="/privacy",
    services=[GoogleAnalytics(ID)],
)

# The same tag from the site's own host: a browser that is watched for outside requests keeps no HTTP cache.
LOCAL_POLICY = replace(
    POLICY,
    services=[
        replace(
            POLICY.services[0],
            start=POLICY.services[0].start.replace("https://www.googletagmanager.com", ""),
        )
    ],
)

SEVERAL = replace(
    POLICY,
    services=[*POLICY.services, Service("map", name="Example Maps", purpose="map", provider="Example Maps")],
    purposes=[
        Purpose(
            "map",
            name={"en": "Map", "fr": "Plan d\N{RIGHT SINGLE QUOTATION MARK}accès"},
            description={
                "en": "Show a map on the contact page.",
                "fr": "Afficher une carte sur la page de contact.",
            },
        )
    ],
)

MEDIA = replace(POLICY, services=[*POLICY.services, YouTube()])


@dataclass
class Clock:
    """The middleware's time, which a test moves."""

    offset: float = 0

    def __call__(self) -> float:
        """Give the seconds since 1970."""
        return time.time() + self.offset


@dataclass(frozen=True)
class Row:
    """What a test asks of a row of the ledger."""

    state: str
    action: str
    surface: str
    purposes: str


@dataclass
class Site:
    """The application, its clock, its ledger, and what was asked of it."""

    ledger: Path
    policy: Policy = POLICY
    clock: Clock = field(default_factory=Clock)
    port: int = 0
    asked: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    scheme: str = "http"
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Any:
        """Build the application."""
        routes = [
            *(Route(path, _page) for path in _PATHS),
            *(Route(path, _own) for path in _OWN),
            Route("/late", self._late),
            Route("/gate", self._gate),
            Route("/gtag/js", _tag),
            Route("/g/collect", _nothing, methods=["POST"]),
            Route("/icon", _nothing),
        ]
        consenting = ConsentMiddleware(
            Starlette(routes=routes),
            policy=self.policy,
            secret_key="tests sign with this key, and only tests",
            ledger=f"sqlite:///{self.ledger}",
            clock=self.clock,
            **self.options,
        )

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.asked.append(f"{scope['method']} {scope['path']}")
            await consenting(scope, receive, send)

        return noting

    async def _late(self, request: Request) -> Response:
        """Give a page whose policy comes once the browser has run what stands before it."""

        async def chunks() -> AsyncIterator[str]:
            yield "<!doctype html><html lang=en><head><meta charset=utf-8><title>Late</title>"
            yield "<link rel=icon href=/icon><script src=/gate></script>"
            await self.gate.wait()
            yield f'<meta http-equiv="content-security-policy" content="{METAS["default"]}">'
            yield "</head><body><main><h1>Late</h1></main></body></html>"

        self.gate = asyncio.Event()
        return StreamingResponse(chunks(), media_type="text/html")

    async def _gate(self, request: Request) -> Response:
        self.gate.set()
        return Response(status_code=204)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Give the address of a page."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def rows(self) -> Sequence[Row]:
        """Read the ledger."""
        with closing(sqlite3.connect(self.ledger)) as database:
            found = database.execute("SELECT state, action, surface, purposes FROM events ORDER BY position")
            return [Row(*row) for row in found]


async def _page(request: Request) -> Response:
    path = request.url.path
    language = request.path_params.get("language", "en")
    headers = [*_CSP.get(path, ())]
    if path.startswith("/shared"):
        headers.append(("cache-control", "public, max-age=60"))
    elif path == "/kept":
        headers.append(("cache-control", "max-age=600, private"))
    meta = METAS.get(request.path_params.get("policy", ""))
    policy = f'<meta http-equiv="Content-Security-Policy" content="{meta}">' if meta else ""
    nonce = f" nonce={_NONCE}" if any(_NONCE in value for _, value in headers) else ""
    base = '<base href="https://other.example/">' if path == "/based" else ""
    own = f"<script{nonce}>{_OWN_SCRIPT}</script>" if path in _WITH_SCRIPT else ""
    links = "".join(f'<li><a href="{link}">{link}</a></li>' for link in _LINKS)
    body = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">{policy}'
        f"<title>{path}</title>{base}"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="{"/icon" if path in _CSP or meta else "data:,"}">'
        f"{_HOSTILE if path == '/hostile' else ''}{own}</head><body><main><h1>{path}</h1><ul>{links}</ul>"
        f"{'<p>Words upon words.</p>' * (60 if path == '/bottom' else 3)}"
        '<p><a id="last" href="/privacy">The last link</a></p></main></body></html>'
    )
    response = HTMLResponse(body)
    for name, value in headers:
        response.headers.append(name, value)
    return response


_FILM = (
    "<p><a href='/two'>Before</a></p>{{ consent_embed('youtube', 'https://youtu.be/M7lc1UVf-VE', "
    "title='The film', lang=request.query_params.get('lang')) }}<p id='after'>After it</p>"
)
# Pages that say themselves what is in them.
_OWN = {
    "/embed": _FILM,
    "/films/1927/film": _FILM,
    "/waiting": "<script type='text/plain' data-consent='analytics'>window.begun = (window.begun || 0) + 1"
    "</script><script type='text/plain' data-consent='media'>window.never = 1</script>"
    "<iframe data-consent='media' data-src='/two' title='Two'></iframe>",
    "/barred": f"{_FILM}<script type='text/plain' data-consent='analytics'>window.begun = 1</script>"
    "<script type='text/plain' data-consent='analytics' src='https://tool.example/tool.js'></script>"
    "<iframe data-consent='media' data-src='/icon' title='Icon'></iframe>"
    "<iframe data-consent='media' data-src='https://films.example/' title='Other'></iframe>",
    "/brand": "<style>:root{--gem-press:#0b6b4f;--gem-link:#0b6b4f;--gem-font:Georgia,serif;--gem-radius:0px;"
    "--gem-scheme:light}</style>",
    "/link": "<a href='/privacy-choices' data-gem='open'>Our cookies</a>",
}


async def _own(request: Request) -> Response:
    path = request.url.path
    environment = Environment(autoescape=True, extensions=[ConsentExtension])
    source = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Own</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"{_BARRING if path == '/barred' else ''}"
        f"</head><body><main><h1>Own</h1>{_OWN[path]}</main></body></html>"
    )
    return HTMLResponse(environment.from_string(source).render(request=request))


async def _tag(request: Request) -> Response:
    body = TAG.replace("https://region1.google-analytics.com", "")
    return Response(body, media_type="text/javascript", headers={"cache-control": "max-age=600"})


async def _nothing(request: Request) -> Response:
    return Response(status_code=204)
