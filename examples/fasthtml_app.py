"""A FastHTML site behind gem_consent: a part of the page is there for those who allowed it alone."""

from __future__ import annotations

import os
from typing import Any

from fasthtml.common import H1, A, P, Title, fast_app
from starlette.middleware import Middleware
from starlette.requests import Request

from gem_consent import ConsentMiddleware, Controller, GoogleAnalytics, Policy, Service, get_consent

POLICY = Policy(
    controller=Controller(name="Example", contact="dpo@example.com"),
    privacy_url="/privacy",
    services=[
        GoogleAnalytics("G-XXXXXXXXXX"),
        Service("map", name="Example Maps", purpose="media", provider="Example Maps"),
    ],
)


def secret_key() -> str:
    """Read the secret that signs the cookies; there is no default, and the site does not start without."""
    try:
        return os.environ["GEM_CONSENT_SECRET"]
    except KeyError:
        raise SystemExit(
            "GEM_CONSENT_SECRET is not set; make one with: "
            'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        ) from None


app, route = fast_app(
    pico=False,
    default_hdrs=False,  # they load from other hosts, before anybody was asked
    secret_key=secret_key(),
    middleware=[
        Middleware(
            ConsentMiddleware,
            policy=POLICY,
            secret_key=secret_key(),
            ledger=os.environ.get("GEM_CONSENT_LEDGER", "sqlite:///consent.db"),
        )
    ],
)


@route("/")
def home(request: Request) -> Any:
    """Show a map to whoever allowed it, and a placeholder to everyone else."""
    if get_consent(request).allows("media"):
        place = P("Here is the map.", id="map")
    else:
        place = P("The map comes from another site. ", A("Allow it", href="/privacy-choices?return=/"))
    return Title("Home"), H1("Where we are"), place, P(A("Privacy policy", href="/privacy"))


@route("/privacy")
def privacy(request: Request) -> Any:
    """Show the privacy policy."""
    measured = "are" if get_consent(request).allows("analytics") else "are not"
    change = A("Change your choice", href="/privacy-choices?return=/privacy")
    return Title("Privacy policy"), H1("Privacy policy"), P(f"Visits {measured} measured. ", change)
