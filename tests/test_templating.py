"""The Jinja extension: the tag, the four parts, and what happens without a request or the middleware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import Visitor, get, mentions_vendor, parse, site, wrap
from jinja2 import DictLoader, Environment, TemplateRuntimeError
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from gem_consent import ConsentExtension, ConsentMiddleware

LAYOUT = (
    '<!doctype html><html lang="en"><head><title>x</title>{{ consent_head() }}</head>'
    "<body>{{ consent_notice() }}{{ consent_settings() }}<main></main></body></html>"
)
TAG = '{% consent "analytics" %}granted{% else %}denied{% endconsent %}'


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


def templated(
    source: str, *headers: tuple[str, str], kind: str = "text/html", is_async: bool = False, **options: Any
) -> Any:
    """Make a site that renders one template in a bare environment."""
    environment = Environment(
        autoescape=options.pop("autoescape", True), extensions=[ConsentExtension], enable_async=is_async
    )
    template = environment.from_string(source)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        values = {"request": scope, **options}
        text = await template.render_async(values) if is_async else template.render(values)
        await site(text.encode(), headers, kind=kind)(scope, receive, send)

    return app


def text_of(ledger: Path, source: str, *, grants: bool | None = None, **options: Any) -> str:
    """Render a template for a visitor who granted, denied or has not chosen."""
    visitor = Visitor(wrap(templated(source, kind="text/plain", **options), ledger))
    if grants is not None:
        visitor.json("grant_all" if grants else "deny_all")
    return visitor.get().text


@pytest.mark.parametrize(("grants", "expected"), [(None, "denied"), (False, "denied"), (True, "granted")])
def test_tag_follows_choice(ledger: Path, grants: bool | None, expected: str) -> None:
    """What is inside is rendered only where the purpose is granted."""
    assert text_of(ledger, TAG, grants=grants) == expected


def test_tag_needs_no_else(ledger: Path) -> None:
    """Without an else there is nothing for those who did not grant."""
    assert text_of(ledger, '[{% consent "media" %}video{% endconsent %}]') == "[]"


def test_tags_can_be_nested(ledger: Path) -> None:
    """A tag within a tag is its own."""
    source = '{% consent "media" %}a{% consent "analytics" %}b{% endconsent %}c{% else %}d{% endconsent %}e'
    assert text_of(ledger, source, grants=True) == "abce"
    assert text_of(ledger, source, grants=False) == "de"


def test_purpose_may_be_expression(ledger: Path) -> None:
    """The purpose is any expression, within loops too."""
    source = "{% for id in ids %}{% consent id %}{{ id }} {% endconsent %}{% endfor %}"
    assert text_of(ledger, source, ids=["necessary", "media"], grants=False) == "necessary "


@pytest.mark.parametrize("is_async", [True, False])
def test_async_environment_renders_alike(ledger: Path, is_async: bool) -> None:
    """An environment with async enabled renders tag and parts."""
    assert text_of(ledger, TAG + "{{ consent_notice() }}", is_async=is_async).startswith("denied<section")


@pytest.mark.parametrize("autoescape", [True, False])
def test_parts_are_markup(ledger: Path, autoescape: bool) -> None:
    """The parts are markup: never escaped, with autoescape or without."""
    source = "{{ consent_head() }}{{ consent_notice() }}{{ consent_settings() }}{{ consent_trackers() }}"
    text = text_of(ledger, source, autoescape=autoescape)
    assert text.startswith("<style>")
    assert "&lt;section" not in text
    body = text[text.index("<section") :]
    parse(f"<!doctype html><html><head><title>x</title></head><body>{body}</body></html>")


def test_parts_are_markup_in_python(ledger: Path) -> None:
    """What the functions give is a Markup, so that a filter keeps it whole."""
    seen: list[object] = []
    text_of(ledger, "{{ keep(consent_notice()) }}", keep=seen.append)
    assert isinstance(seen[0], Markup)


def test_unknown_purpose_is_template_error(ledger: Path) -> None:
    """A misspelt purpose is an error that lists the known ones."""
    message = "consent %}: purpose is 'analytic'; allowed: one of necessary, analytics, media"
    with pytest.raises(TemplateRuntimeError, match=message):
        text_of(ledger, '{% consent "analytic" %}{% endconsent %}')


def test_missing_request_is_template_error() -> None:
    """Without a request in the context the error says what is needed."""
    environment = Environment(autoescape=True, extensions=[ConsentExtension])
    with pytest.raises(TemplateRuntimeError, match="needs 'request' in the template's context"):
        environment.from_string(TAG).render()


def test_missing_middleware_is_template_error() -> None:
    """Without the middleware the error says to add it."""
    environment = Environment(autoescape=True, extensions=[ConsentExtension])
    with pytest.raises(TemplateRuntimeError, match="did not pass through ConsentMiddleware: add it"):
        environment.from_string("{{ consent_notice() }}").render(request={"type": "http"})


def starlette_site(source: str) -> Starlette:
    """Make a site with Starlette's own templates."""
    environment = Environment(
        autoescape=True, loader=DictLoader({"page.html": source}), extensions=[ConsentExtension]
    )
    templates = Jinja2Templates(env=environment)

    async def page(request: Request) -> Response:
        return templates.TemplateResponse(request, "page.html")

    return Starlette(routes=[Route("/", page)])


def test_starlette_templates_work(ledger: Path) -> None:
    """In Starlette's Jinja2Templates the request is there by itself."""
    answer = get(wrap(starlette_site(LAYOUT.replace("<main>", "<main>" + TAG)), ledger))
    assert "<main>denied" in answer.text


def assert_parts_come_once(app: Any, ledger: Path, grants: bool | None) -> None:
    """Each part is in the page, and once, whatever was chosen."""
    visitor = Visitor(wrap(app, ledger))
    if grants is not None:
        visitor.json("grant_all" if grants else "deny_all")
    text = visitor.get().text
    assert text.count('id="gem-notice"') == int(grants is None)
    assert text.count('id="gem-settings"') == 1
    assert text.count("data-fingerprint") == 1
    parse(text)


@pytest.mark.parametrize("grants", [None, True, False])
def test_placed_parts_come_once(ledger: Path, grants: bool | None) -> None:
    """What a template placed is not put in a second time, whatever was chosen."""
    assert_parts_come_once(starlette_site(LAYOUT), ledger, grants)


@pytest.mark.parametrize("grants", [None, True, False])
@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_streamed_parts_come_once(ledger: Path, grants: bool | None, pieces: int) -> None:
    """A template that is streamed places what has not been put in by then; each part is there, and once."""
    template = Environment(autoescape=True, extensions=[ConsentExtension]).from_string(LAYOUT)

    async def page(request: Request) -> Response:
        stream = template.stream(request=request)
        if pieces > 1:
            stream.enable_buffering(pieces)
        return StreamingResponse(iter(stream), media_type="text/html")

    assert_parts_come_once(Starlette(routes=[Route("/", page)]), ledger, grants)


def test_missing_parts_are_added(ledger: Path) -> None:
    """A template that places one part gets the others from the middleware."""
    text = get(wrap(starlette_site(LAYOUT.replace("{{ consent_notice() }}", "")), ledger)).text
    assert parse(text).find("body")[0].get("id") == "gem-notice"
    assert text.count('id="gem-settings"') == 1


def test_placed_part_makes_private(ledger: Path) -> None:
    """A placed part for one visitor makes even a public fragment theirs."""
    app = wrap(templated("{{ consent_settings() }}", ("Cache-Control", "public, max-age=9")), ledger)
    assert get(app).header("cache-control") == "private, max-age=9"


def test_placed_part_of_shared_site(ledger: Path) -> None:
    """Where documents are shared, a placed part is the form for everyone, and the page stays public."""
    public = ("Cache-Control", "public, max-age=9")
    visitor = Visitor(wrap(templated(LAYOUT, public), ledger, documents="shared"))
    visitor.json("grant_all")
    answer = visitor.get()
    assert answer.header("cache-control") == "public, max-age=9"
    assert "gem-notice-accept-all" in answer.text


def test_language_can_be_given(ledger: Path) -> None:
    """Each part takes the language of the page."""
    source = (
        '{{ consent_notice(lang="fr") }}{{ consent_settings(lang="fr") }}{{ consent_trackers(lang="fr") }}'
    )
    text = text_of(ledger, source)
    assert ["Tout refuser" in text, "Retirer mon accord" in text, "Dur&#233;e de conservation" in text] == [
        True
    ] * 3


def test_nonce_can_be_given(ledger: Path) -> None:
    """A given nonce is put on style and script, escaped, and a grant then reloads the page."""
    text = text_of(ledger, "{{ consent_head(nonce='a\"b') }}")
    assert text.count('nonce="a&#34;b"') + text.count('nonce="a&quot;b"') == 2
    assert "data-csp=1>" in text


def test_trackers_table_lists_all(ledger: Path) -> None:
    """The table names every tracker, the library's own among them, and depends on nobody."""
    app = wrap(templated("{{ consent_trackers() }}", kind="text/plain"), ledger)
    answer = get(app)
    found = [name in answer.text for name in ("__Host-gem_consent", "_ga_XXXXXXXXXX", "vid_*")]
    assert (found, answer.header("cache-control")) == ([True] * 3, None)


def never(ledger: Path, *headers: tuple[str, str]) -> ConsentMiddleware:
    return wrap(templated(LAYOUT, *headers), ledger, insert="never")


def test_never_gives_form_for_everyone(ledger: Path) -> None:
    """With insert="never" a template's parts are the same for all, and the response stays as it says."""
    app = never(ledger, ("Cache-Control", "public, max-age=9"), ("ETag", '"v1"'))
    visitor = Visitor(app)
    visitor.json("grant_all")
    answers = get(app), visitor.get()
    assert answers[0].messages == answers[1].messages
    assert (answers[0].header("cache-control"), answers[0].header("etag")) == ("public, max-age=9", '"v1"')
    assert mentions_vendor(answers[0].text) == []


def test_never_adds_nothing(ledger: Path) -> None:
    """With insert="never" a page without parts stays as it is."""
    assert "gem-" not in get(wrap(site(), ledger, insert="never")).text


def test_never_still_amends_policy(ledger: Path) -> None:
    """With insert="never" the page's policy gets the hash of the placed script."""
    app = never(ledger, ("Content-Security-Policy", "script-src 'self'"))
    assert "'sha256-" in (get(app).header("content-security-policy") or "")


def test_never_tag_makes_private(ledger: Path) -> None:
    """With insert="never" reading the choice in a template makes the response private all the same."""
    app = wrap(templated(TAG, ("Cache-Control", "public")), ledger, insert="never")
    assert get(app).header("cache-control") == "private"


def test_page_of_outer_middleware_knows_its_place(ledger: Path) -> None:
    """A page that is rendered further out, once the answer is over, still has the mount in its addresses."""
    environment = Environment(autoescape=True, extensions=[ConsentExtension])
    inner = wrap(site(b"{}", kind="application/json"), ledger)
    texts: list[str] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)
        texts.append(environment.from_string("{{ consent_notice() }}").render(request=scope))

    get(outer, "/shop/a?b=1", root_path="/shop")
    assert 'action="/shop/privacy-choices"' in texts[0]
    assert 'value="/shop/a"' in texts[0]


def test_two_renders_at_once(ledger: Path) -> None:
    """Templates of two visitors that render at once see their own choice each."""
    app = wrap(templated(TAG, kind="text/plain", is_async=True), ledger)
    granted = Visitor(app)
    granted.json("grant_all")
    cookie = "; ".join(f"{name}={value}" for name, value in granted.cookies.items())
    found: list[str] = []

    async def ask(headers: dict[str, str]) -> None:
        from asgi import call

        found.append((await call(app, headers=headers)).text)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, {"cookie": cookie} if number % 2 else {})

    anyio.run(main)
    assert sorted(found) == ["denied"] * 10 + ["granted"] * 10
