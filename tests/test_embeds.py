"""Videos, maps and appointments: which address is framed, and what stands in its place before a grant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgi import Visitor, make_policy, parse, site, wrap
from jinja2 import Environment, TemplateRuntimeError

from gem_consent import (
    Calendly,
    ConsentExtension,
    GoogleMaps,
    OpenStreetMap,
    PolicyError,
    Service,
    Vimeo,
    YouTube,
)
from gem_consent.policy import Policy
from gem_consent.services import frame_url

ALL = [YouTube(), Vimeo(), GoogleMaps(), OpenStreetMap(), Calendly()]
FILM = "https://www.youtube-nocookie.com/embed/M7lc1UVf-VE"
MAP = "https://www.google.com/maps/embed?pb=!1m18"
OSM = "https://www.openstreetmap.org/export/embed.html?bbox=2.29,48.85,2.30,48.86&layer=mapnik"


def policy() -> Policy:
    return make_policy(services=[*make_policy().services, *ALL], languages=["en"])


def templated(source: str, *headers: tuple[str, str]) -> Any:
    """Make a site that renders one template."""
    environment = Environment(autoescape=True, extensions=[ConsentExtension])
    template = environment.from_string(f"<!doctype html><html lang=en><title>x</title><body>{source}")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        content = template.render(request=scope).encode()
        await site(content, headers)(scope, receive, send)

    return app


def visitor(tmp_path: Path, source: str, *headers: tuple[str, str], **options: Any) -> Visitor:
    app = wrap(templated(source, *headers), tmp_path / "consent.db", policy=policy(), **options)
    return Visitor(app)


EMBED = "{{ consent_embed('youtube', 'https://youtu.be/M7lc1UVf-VE', title='The film') }}"


@pytest.mark.parametrize(
    ("service", "url", "framed"),
    [
        ("youtube", "https://www.youtube.com/watch?v=M7lc1UVf-VE", FILM),
        ("youtube", "https://youtu.be/M7lc1UVf-VE?t=42s", f"{FILM}?start=42"),
        ("youtube", "https://www.youtube.com/shorts/M7lc1UVf-VE", FILM),
        ("youtube", "https://www.youtube.com/embed/M7lc1UVf-VE?start=7", f"{FILM}?start=7"),
        ("youtube", FILM, FILM),
        ("vimeo", "https://vimeo.com/76979871", "https://player.vimeo.com/video/76979871?dnt=1"),
        ("vimeo", "https://vimeo.com/76979871/ab12", "https://player.vimeo.com/video/76979871?h=ab12&dnt=1"),
        ("vimeo", "https://player.vimeo.com/video/1?h=ab12", "https://player.vimeo.com/video/1?h=ab12&dnt=1"),
        ("google-maps", MAP, MAP),
        (
            "google-maps",
            "https://maps.google.com/maps?q=x&output=embed",
            "https://www.google.com/maps?q=x&output=embed",
        ),
        ("openstreetmap", OSM, OSM),
        (
            "openstreetmap",
            "https://www.openstreetmap.org/#map=17/48.8584/2.2945",
            "https://www.openstreetmap.org/export/embed.html?"
            "bbox=2.29175,48.85703,2.29725,48.85977&layer=mapnik",
        ),
        ("calendly", "https://www.calendly.com/example/30min", "https://calendly.com/example/30min"),
    ],
)
def test_copied_address_is_framed(service: str, url: str, framed: str) -> None:
    """What people copy becomes what may be framed, in the form that keeps least."""
    assert frame_url(policy().require_service(service), url) == framed


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ("youtube", "https://vimeo.com/76979871"),
        ("youtube", "https://www.youtube.com/watch?v=<script>"),
        ("youtube", "javascript:alert(1)"),
        ("youtube", "https://www.youtube-nocookie.com.example.com/embed/x"),
        ("google-maps", "https://www.google.com.example.com/maps/embed"),
        ("calendly", "https://["),
        ("google-analytics", "https://www.googletagmanager.com/x"),
    ],
)
def test_other_address_is_refused(service: str, url: str) -> None:
    """An address that is none of the service's is an error that says whose it may be."""
    with pytest.raises(
        PolicyError, match=f"the embed's url is .*; allowed: an address of the service '{service}'"
    ):
        frame_url(policy().require_service(service), url)


def test_own_service_frames_its_hosts() -> None:
    """A service of the site's own frames what its hosts say."""
    own = Service(
        "radio", name="Radio", purpose="media", provider="R", hosts={"frame-src": ["https://r.example"]}
    )
    assert frame_url(own, "https://r.example/live") == "https://r.example/live"


def test_placeholder_names_the_vendor(tmp_path: Path) -> None:
    """Before a grant the page has no address of the vendor's that a browser would follow by itself."""
    answer = visitor(tmp_path, EMBED).get()
    tree = parse(answer.text)
    [frame] = list(tree.iter("iframe"))
    assert (frame.get("src"), frame.get("data-src"), frame.get("data-consent")) == (None, FILM, "media")
    assert [one for one in tree.iter() if (one.get("src") or "").startswith("http")] == []
    [box] = [one for one in tree.iter("div") if one.get("class") == "gem-embed"]
    shown = " ".join("".join(box.itertext()).split())
    for needed in (
        "The film",
        "YouTube",
        "Google Ireland Limited",
        "Google LLC",
        "United States",
        "nothing else",
    ):
        assert needed in shown
    assert "private" in (answer.header("cache-control") or "")


def test_grant_shows_the_frame(tmp_path: Path) -> None:
    """Once its purpose is granted the frame is in the page, and no placeholder."""
    someone = visitor(tmp_path, EMBED)
    someone.json("grant", purposes=["media"])
    text = someone.get().text
    assert f'<iframe title="The film" src="{FILM}"' in text
    assert 'class="gem-press"' not in text


def test_always_grants_that_purpose_alone(tmp_path: Path) -> None:
    """The placeholder's form adds its purpose to what was granted, and takes nothing away."""
    someone = visitor(tmp_path, EMBED)
    someone.json("save", purposes=["analytics"])
    someone.post("grant", "media", surface="embed")
    state = someone.get("/privacy-choices/state").json
    assert state["purposes"]["analytics"]
    assert state["purposes"]["media"]


def test_shared_page_leaves_it_to_the_script(tmp_path: Path) -> None:
    """A page for everyone carries the placeholder, whatever its first visitor granted."""
    someone = visitor(tmp_path, EMBED, documents="shared")
    before = someone.get().body
    someone.json("grant", purposes=["media"])
    assert someone.get().body == before


def test_policy_lets_the_frame_in(tmp_path: Path) -> None:
    """A page's Content-Security-Policy gets the frame's host and the style's hash, and no other vendor."""
    csp = ("content-security-policy", "default-src 'self'")
    allowed = visitor(tmp_path, EMBED, csp).get().header("content-security-policy") or ""
    assert "frame-src 'self' https://www.youtube-nocookie.com" in allowed
    assert "vimeo" not in allowed
    without = visitor(tmp_path, "nothing", csp).get().header("content-security-policy") or ""
    assert "youtube" not in without


def test_two_embeds_have_one_style(tmp_path: Path) -> None:
    """The style comes with the first embed of a page."""
    assert visitor(tmp_path, EMBED * 2).get().text.count(".gem-embed{") == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("consent_embed('film', 'https://x.example', title='x')", "service is 'film'; allowed: one of"),
        ("consent_embed('youtube', 'https://x.example', title='x')", "the embed's url is"),
    ],
)
def test_wrong_embed_is_an_error(tmp_path: Path, call: str, message: str) -> None:
    """An unknown service or a foreign address fails where the template is rendered."""
    with pytest.raises(TemplateRuntimeError, match=rf"consent_embed\(\): {message}"):
        visitor(tmp_path, "{{ " + call + " }}").get()


def test_archive_shows_placeholders(tmp_path: Path) -> None:
    """What visitors read before an embed is part of the notice that is kept."""
    from gem_consent.rendering import Renderer

    page = Renderer(policy()).notices["en"].html.decode()
    for service in ALL:
        assert f"This comes from {service.name}." in page
