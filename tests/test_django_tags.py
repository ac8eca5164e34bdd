"""Django's template tags: the same parts as Jinja's, in Django's own templates, served by Django."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from asgi import get, make_policy, mentions_vendor, parse, wrap
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.template import Context, RequestContext, Template, TemplateSyntaxError
from django.urls import clear_url_caches, path
from hosts import django_site
from hosts.driver import Browser, started

from gem_consent import ConfigurationError, PolicyError, YouTube

LAYOUT = (
    '{% load gem_consent %}<!doctype html><html lang="en"><head><title>x</title>{% consent_head %}</head>'
    "<body>{% consent_notice %}{% consent_settings %}<main></main></body></html>"
)
TAG = '{% load gem_consent %}{% consent "analytics" %}granted{% else %}denied{% endconsent %}'


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Browser]]:
    """Serves one template; gives a visitor of it."""
    django_site.configure()
    with ExitStack() as stack:

        def start(source: str, values: dict[str, Any] | None = None, **options: Any) -> Browser:
            async def page(request: HttpRequest) -> HttpResponse:
                return HttpResponse(Template(source).render(RequestContext(request, values or {})))

            monkeypatch.setattr(django_site, "urlpatterns", [path("", page)])
            clear_url_caches()
            app = wrap(get_asgi_application(), tmp_path / "consent.db", **options)
            return stack.enter_context(started(app))()

        yield start
    clear_url_caches()


@pytest.mark.parametrize(
    ("decision", "expected"), [(None, "denied"), ("deny_all", "denied"), ("grant_all", "granted")]
)
def test_tag_follows_choice(serve: Callable[..., Browser], decision: str | None, expected: str) -> None:
    """What is inside is rendered only where the purpose is granted, and the page becomes private."""
    browser = serve(TAG)
    if decision:
        browser.decide(decision)
    answer = browser.ask("/")
    assert answer.text == expected
    assert "private" in str(answer.header("cache-control"))


def test_tag_needs_no_else(serve: Callable[..., Browser]) -> None:
    """Without an else there is nothing for those who did not grant."""
    assert serve('{% load gem_consent %}[{% consent "media" %}film{% endconsent %}]').ask("/").text == "[]"


def test_purpose_may_be_variable(serve: Callable[..., Browser]) -> None:
    """The purpose is any expression of Django's, within loops too."""
    source = (
        "{% load gem_consent %}{% for id in ids %}{% consent id|lower %}{{ id }} {% endconsent %}{% endfor %}"
    )
    assert serve(source, {"ids": ["NECESSARY", "media"]}).ask("/").text == "NECESSARY "


def test_parts_are_placed_once(serve: Callable[..., Browser]) -> None:
    """The parts stand where the template has them, and the middleware adds none again."""
    browser = serve(LAYOUT)
    page = browser.ask("/").text
    parse(page)
    assert "<main>" in page
    assert page.count('id="gem-notice"') == page.count("<style") == 1
    browser.decide("grant_all")
    granted = browser.ask("/").text
    assert 'id="gem-notice"' not in granted
    assert granted.count('id="gem-settings"') == 1
    assert mentions_vendor(granted) != []


def test_nonce_and_language_are_taken(serve: Callable[..., Browser]) -> None:
    """A nonce goes onto the script, and a part may be had in another language."""
    source = '{% load gem_consent %}{% consent_head nonce="abc" %}{% consent_notice lang="fr" %}'
    page = serve(source).ask("/").text
    assert 'nonce="abc"' in page
    assert "Tout refuser" in page


def test_trackers_are_listed(serve: Callable[..., Browser]) -> None:
    """The table of trackers names the declared ones."""
    page = serve("{% load gem_consent %}{% consent_trackers %}").ask("/").text
    assert "vid_*" in page
    assert "_ga" in page


def test_embeds_ask_first(serve: Callable[..., Browser]) -> None:
    """A film is a placeholder until its purpose is granted."""
    source = '{% load gem_consent %}{% consent_embed "youtube" "https://youtu.be/M7lc1UVf-VE" title="x" %}'
    browser = serve(source, policy=make_policy(services=(YouTube(),)))
    assert ' src="https:' not in browser.ask("/").text
    browser.decide("grant_all")
    assert ' src="https:' in browser.ask("/").text


@pytest.mark.parametrize("source", ["{% consent %}{% endconsent %}", '{% consent "a" "b" %}{% endconsent %}'])
def test_wrong_tag_is_told(source: str) -> None:
    """A tag without a purpose, or with two, is a mistake in the template."""
    django_site.configure()
    with pytest.raises(TemplateSyntaxError, match="takes one purpose"):
        Template("{% load gem_consent %}" + source)


def test_missing_request_is_told() -> None:
    """Without a request in the context, the message says what to add."""
    django_site.configure()
    with pytest.raises(ConfigurationError, match="needs 'request'"):
        Template(TAG).render(Context())


def test_unknown_purpose_is_told(tmp_path: Path) -> None:
    """A misspelt purpose is an error and does not stay silent."""
    django_site.configure()
    template = Template('{% load gem_consent %}{% consent "analytic" %}{% endconsent %}')

    async def app(scope: Any, receive: Any, send: Any) -> None:
        template.render(Context({"request": scope}))

    with pytest.raises(PolicyError, match="purpose is 'analytic'"):
        get(wrap(app, tmp_path / "consent.db"))
