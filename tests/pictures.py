"""Takes the pictures in ``docs/pictures/``: ``PYTHONPATH=tests python tests/pictures.py [NAME…]``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment
from playwright.sync_api import Browser, Page, sync_playwright
from server import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from gem_consent import ConsentExtension, ConsentMiddleware, YouTube, demo

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"

# The demonstration site speaks French; one page stands for it in four languages: name, heading, words, film.
WORDS = {
    "fr": (
        "Exemple",
        "Votre courrier, de la maquette à la boîte aux lettres",
        "Exemple imprime, met sous pli et affranchit vos envois.",
        "Notre atelier en deux minutes",
    ),
    "de": (
        "Beispiel",
        "Ihre Post, vom Entwurf bis in den Briefkasten",
        "Beispiel druckt, kuvertiert und frankiert Ihre Sendungen.",
        "Unsere Druckerei in zwei Minuten",
    ),
    "el": (
        "Παράδειγμα",
        "Η αλληλογραφία σας, από το σχέδιο ως το γραμματοκιβώτιο",
        "Τυπώνουμε, φακελώνουμε και ταχυδρομούμε τις αποστολές σας.",
        "Το τυπογραφείο μας σε δύο λεπτά",
    ),
    "ar": (
        "مثال",
        "بريدكم، من التصميم إلى صندوق البريد",
        "نطبع رسائلكم ونغلفها ونرسلها.",
        "مطبعتنا في دقيقتين",
    ),
}
PAGE = """\
<!doctype html>
<html lang="{{ language }}" dir="{{ "rtl" if language == "ar" else "ltr" }}">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}</title>
<style>{{ style | safe }}</style>
<header><strong>{{ name }}</strong></header>
<main><h1>{{ heading }}</h1><p>{{ words }}</p>
{% if film %}
{{ consent_embed("youtube", "https://youtu.be/M7lc1UVf-VE", title=film, lang=language) }}
{% endif %}
</main></html>
"""


@dataclass(frozen=True)
class Picture:
    """One picture: which page, how wide, what to press first, and which part is taken, else the window."""

    name: str
    size: tuple[int, int]
    layout: str = "bar"
    scheme: str = "light"
    path: str = "/"
    press: str = ""
    part: str = ""


@dataclass(frozen=True)
class Sheet:
    """Several pictures in one file, side by side."""

    name: str
    columns: int
    pictures: tuple[Picture, ...]


def in_four(
    name: str, columns: int, size: tuple[int, int], *, page: str = "", press: str = "", part: str = ""
) -> Sheet:
    """Give a sheet of the same in four languages, light and dark by turns."""
    schemes = ("light", "dark", "dark", "light") if columns == 2 else ("light", "dark", "light", "dark")
    pictures = (
        Picture(language, size, "bar", scheme, f"/{language}{page}", press, part)
        for language, scheme in zip(WORDS, schemes, strict=True)
    )
    return Sheet(name, columns, tuple(pictures))


PICTURES = (
    Picture("bar-1280", (1280, 720)),
    Picture("bar-1280-dark-de", (1280, 720), scheme="dark", path="/de"),
    Picture("bar-768-el", (768, 720), path="/el"),
    Picture("bar-1280-ar", (1280, 720), path="/ar"),
    Picture("box-1280", (1280, 720), "box"),
    Picture("top-768", (768, 720), "top"),
    Picture("dialog-768-dark", (768, 720), "dialog", "dark"),
    Picture("preferences-1280", (1280, 720), press="[data-gem=open]"),
    Picture("embed-768", (768, 720), path="/contact", press="#gem-notice-reject-all"),
    in_four("bar-320", 4, (320, 568)),
    in_four("preferences-320", 4, (320, 640), press="[data-gem=open]"),
    in_four("embeds", 2, (768, 720), page="/film", press="#gem-notice-reject-all", part=".gem-embed"),
)


def main(names: list[str]) -> None:
    """Take those that are named, or all."""
    FOLDER.mkdir(exist_ok=True)
    named = (
        os.environ.get("GEM_CONSENT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=named, args=["--no-sandbox", rules])
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            taken = _put_together(browser, picture) if isinstance(picture, Sheet) else _take(browser, picture)
            (FOLDER / f"{picture.name}.png").write_bytes(taken)
        browser.close()


@contextmanager
def _site(picture: Picture) -> Iterator[str]:
    """Serve the demonstration site, and the page that stands for it, as this picture needs them."""
    name = WORDS.get(picture.path[1:3], WORDS["fr"])[0]
    films = [YouTube()] if picture.path.endswith("/film") else []
    policy = replace(
        demo.POLICY,
        controller=replace(demo.POLICY.controller, name=name),
        services=[*demo.POLICY.services, *films],
    )
    own = [Route(f"/{language}{page}", _page) for language in WORDS for page in ("", "/film")]
    layout: Any = picture.layout
    with tempfile.TemporaryDirectory() as folder:
        ledger = f"sqlite:///{folder}/ledger.db"
        site = ConsentMiddleware(
            Starlette(routes=[*demo.build(ledger).routes, *own]),
            policy=policy,
            secret_key="only these pictures are signed with this key",
            ledger=ledger,
            layout=layout,
        )
        with serving(site) as port:
            yield f"http://127.0.0.1:{port}"


async def _page(request: Request) -> HTMLResponse:
    language = request.url.path[1:3]
    name, heading, words, film = WORDS[language]
    page = Environment(autoescape=True, extensions=[ConsentExtension]).from_string(PAGE)
    return HTMLResponse(
        page.render(
            request=request,
            style=demo.PAGES["page.html"].partition("<style>")[2].partition("</style>")[0],
            language=language,
            name=name,
            heading=heading,
            words=words,
            film=film if request.url.path.endswith("/film") else "",
        )
    )


def _take(browser: Browser, picture: Picture) -> bytes:
    width, height = picture.size
    scheme: Any = picture.scheme
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    with _site(picture) as origin:
        page.goto(origin + picture.path)
        if picture.press:
            page.locator(picture.press).first.click()
            page.locator("#gem-preferences[open], #gem-settings").locator("visible=true").first.wait_for()
        if picture.path == "/contact":
            page.locator(".gem-embed").scroll_into_view_if_needed()
            page.mouse.wheel(0, 1000)
        _settle(page)
        taken = page.locator(picture.part).screenshot() if picture.part else page.screenshot()
        page.close()
    return taken


def _put_together(browser: Browser, sheet: Sheet) -> bytes:
    """Lay pictures side by side on nothing, to suit a light and a dark page; a window has an edge."""
    images = "".join(
        f'<img class="{"part" if picture.part else "window"}" src="data:image/png;base64,'
        f'{b64encode(_take(browser, picture)).decode()}">'
        for picture in sheet.pictures
    )
    page = browser.new_page(viewport={"width": 1600, "height": 800})
    page.set_content(
        "<style>body { display: inline-grid; gap: 16px; margin: 0; grid-template-columns: "
        f"repeat({sheet.columns}, auto); }} img {{ display: block; border-radius: 6px; }} "
        f".window {{ border: 1px solid #8b919a; }}</style>{images}"
    )
    taken = page.locator("body").screenshot(omit_background=True)
    page.close()
    return taken


def _settle(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


if __name__ == "__main__":
    main(sys.argv[1:])
