"""A FastAPI site behind gem_consent: Jinja templates with the ``{% consent %}`` tag, and a JSON route."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.templating import Jinja2Templates

from gem_consent import (
    ConsentExtension,
    ConsentMiddleware,
    Controller,
    GoogleAnalytics,
    Policy,
    Service,
    get_consent,
)

POLICY = Policy(
    controller=Controller(name="Example", contact="dpo@example.com"),
    privacy_url="/privacy",
    services=[
        GoogleAnalytics("G-XXXXXXXXXX"),
        Service(
            "map",
            name="Example Maps",
            purpose="media",
            provider="Example Maps",
            description={"en": "The map of our offices.", "fr": "La carte de nos bureaux."},
        ),
    ],
)

templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
templates.env.add_extension(ConsentExtension)


def secret_key() -> str:
    """Read the secret that signs the cookies; there is no default, and the site does not start without."""
    try:
        return os.environ["GEM_CONSENT_SECRET"]
    except KeyError:
        raise SystemExit(
            "GEM_CONSENT_SECRET is not set; make one with: "
            'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        ) from None


app = FastAPI()
app.add_middleware(
    ConsentMiddleware,
    policy=POLICY,
    secret_key=secret_key(),
    ledger=os.environ.get("GEM_CONSENT_LEDGER", "sqlite:///consent.db"),
)


@app.get("/", response_class=HTMLResponse)
async def home(request: Request) -> Response:
    """Show a map to whoever allowed it, and a placeholder to everyone else."""
    return templates.TemplateResponse(request, "home.html")


@app.get("/privacy", response_class=HTMLResponse)
async def privacy(request: Request) -> Response:
    """Show the privacy policy, with a table of every tracker."""
    return templates.TemplateResponse(request, "privacy.html")


@app.get("/measured")
async def measured(request: Request) -> dict[str, bool]:
    """Say in JSON whether this visitor's visits are measured."""
    return {"measured": get_consent(request).allows("analytics")}
