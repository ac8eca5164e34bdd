"""A Litestar site behind gem_consent: Jinja templates with the ``{% consent %}`` tag.

The middleware goes around the application: Litestar's own list of middleware sees routes alone.
"""

from __future__ import annotations

import os
from typing import Any

from jinja2 import DictLoader, Environment
from litestar import Litestar, Request, get
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.template import TemplateConfig

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


@get("/", sync_to_thread=False)
def home() -> Template:
    """Show a map to whoever allowed it, and a placeholder to everyone else."""
    return Template("home.html")


@get("/privacy", sync_to_thread=False)
def privacy(request: Request[Any, Any, Any]) -> Template:
    """Show the privacy policy, with a table of every tracker."""
    return Template("privacy.html", context={"measured": get_consent(request).allows("analytics")})


environment = Environment(
    autoescape=True,
    extensions=[ConsentExtension],
    loader=DictLoader({"home.html": HOME, "privacy.html": PRIVACY}),
)
app = ConsentMiddleware(
    Litestar(
        [home, privacy],
        template_config=TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment)),
    ),
    policy=POLICY,
    secret_key=secret_key(),
    ledger=os.environ.get("GEM_CONSENT_LEDGER", "sqlite:///consent.db"),
)
