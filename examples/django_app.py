"""A Django site behind gem_consent, in one file: Django's own templates with the ``{% consent %}`` tag.

In a project, the settings belong into settings.py and the last statement into asgi.py.
"""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from gem_consent import ConsentMiddleware, Controller, GoogleAnalytics, Policy, Service, get_consent

POLICY = Policy(
    controller=Controller(name="Example", contact="dpo@example.com"),
    privacy_url="/privacy",
    services=[
        GoogleAnalytics("G-XXXXXXXXXX"),
        Service("map", name="Example Maps", purpose="media", provider="Example Maps"),
    ],
)
HOME = """\
{% load gem_consent %}<!doctype html>
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
{% load gem_consent %}<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Privacy policy</title>
<h1>Privacy policy</h1>
<p>Visits {{ measured|yesno:"are,are not" }} measured.
<a href="/privacy-choices?return=/privacy">Change your choice</a></p>
{% consent_trackers %}
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


def home(request: HttpRequest) -> HttpResponse:
    """Show a map to whoever allowed it, and a placeholder to everyone else."""
    return render(request, "home.html")


def privacy(request: HttpRequest) -> HttpResponse:
    """Show the privacy policy, with a table of every tracker."""
    return render(request, "privacy.html", {"measured": get_consent(request).allows("analytics")})


urlpatterns = [path("", home), path("privacy", privacy)]

settings.configure(
    SECRET_KEY=secret_key(),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["gem_consent"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {"home.html": HOME, "privacy.html": PRIVACY},
                    )
                ]
            },
        }
    ],
)
django.setup()

app = ConsentMiddleware(
    get_asgi_application(),
    policy=POLICY,
    secret_key=secret_key(),
    ledger=os.environ.get("GEM_CONSENT_LEDGER", "sqlite:///consent.db"),
)
