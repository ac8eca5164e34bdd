"""A BlackSheep site behind gem_consent: Jinja templates with the ``{% consent %}`` tag."""

from __future__ import annotations

import os

from blacksheep import Application, Request, Response
from blacksheep.server.responses import html
from jinja2 import DictLoader, Environment

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
        Service("map", name="Example Maps", purpose="media", provider="Example Maps"),
    ],
)
HOME = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Home</title>
<h1>Where we are</h1>
{% consent "media" %}
<p id="map">Here is the map.</p>
{% else %}
<p>The map comes from another site. <a href="/privacy-choices?return=/">Allow it</a></p>
{% endconsent %}
<p><a href="/privacy">Privacy policy</a></p>
</html>
"""
PRIVACY = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Privacy policy</title>
<h1>Privacy policy</h1>
<p>Visits {{ "are" if measured else "are not" }} measured.
<a href="/privacy-choices?return=/privacy">Change your choice</a></p>
{{ consent_trackers() }}
</html>
"""


def secret_key() -> str:
    """Read the secret that signs the cookies; there is no default, and the site does not start without."""
    try:
        return os.environ["GEM_CONSENT_SECRET"]
    except KeyError:
        raise SystemExit(
            "GEM_CONSENT_SECRET is not set; make one with: "
            'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        ) from None


templates = Environment(
    autoescape=True,
    extensions=[ConsentExtension],
    loader=DictLoader({"home.html": HOME, "privacy.html": PRIVACY}),
)
site = Application()


@site.router.get("/")
def home(request: Request) -> Response:
    """Show a map to whoever allowed it, and a placeholder to everyone else."""
    return html(templates.get_template("home.html").render(request=request))


@site.router.get("/privacy")
def privacy(request: Request) -> Response:
    """Show the privacy policy, with a table of every tracker."""
    measured = get_consent(request).allows("analytics")
    return html(templates.get_template("privacy.html").render(request=request, measured=measured))


app = ConsentMiddleware(
    site,
    policy=POLICY,
    secret_key=secret_key(),
    ledger=os.environ.get("GEM_CONSENT_LEDGER", "sqlite:///consent.db"),
)
