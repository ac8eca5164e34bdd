"""A Starlette site behind gem_consent: its pages are plain HTML, and one view reads the consent."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from gem_consent import ConsentMiddleware, Controller, GoogleAnalytics, Policy, get_consent

POLICY = Policy(
    controller=Controller(name="Example", contact="dpo@example.com"),
    privacy_url="/privacy",
    services=[GoogleAnalytics("G-XXXXXXXXXX")],
)

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="/">Home</a> <a href="/privacy">Privacy policy</a></p>
</html>
"""


async def home(request: Request) -> HTMLResponse:
    """Show a page that knows nothing of consent."""
    return HTMLResponse(PAGE.format(title="Home", text="The notice is put into this page on its way out."))


async def privacy(request: Request) -> HTMLResponse:
    """Tell the visitor what they chose; reading it makes this response theirs alone."""
    consent = get_consent(request)
    measured = "are" if consent.allows("analytics") else "are not"
    text = (
        f"Your visits {measured} measured. You may <a href='/privacy-choices?return=/privacy'>change it</a>."
    )
    return HTMLResponse(PAGE.format(title="Privacy policy", text=text))


def secret_key() -> str:
    """Read the secret that signs the cookies; there is no default, and the site does not start without."""
    try:
        return os.environ["GEM_CONSENT_SECRET"]
    except KeyError:
        raise SystemExit(
            "GEM_CONSENT_SECRET is not set; make one with: "
            'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        ) from None


app = Starlette(
    routes=[Route("/", home), Route("/privacy", privacy)],
    middleware=[
        Middleware(
            ConsentMiddleware,
            policy=POLICY,
            secret_key=secret_key(),
            ledger=os.environ.get("GEM_CONSENT_LEDGER", "sqlite:///consent.db"),
        )
    ],
)
