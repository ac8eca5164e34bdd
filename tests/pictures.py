"""Takes the pictures in ``docs/pictures/``: ``PYTHONPATH=tests python tests/pictures.py``."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from server import serving
from starlette.applications import Starlette

from gem_consent import ConsentMiddleware, demo

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"


@dataclass(frozen=True)
class Picture:
    """One picture: which page, how wide, and what to press first."""

    name: str
    size: tuple[int, int]
    layout: str = "bar"
    scheme: str = "light"
    path: str = "/"
    press: str = ""


PICTURES = (
    Picture("bar-1280", (1280, 720)),
    Picture("bar-320-dark", (320, 640), scheme="dark"),
    Picture("box-1280", (1280, 720), "box"),
    Picture("top-768", (768, 720), "top"),
    Picture("dialog-768-dark", (768, 720), "dialog", "dark"),
    Picture("preferences-1280", (1280, 720), press="[data-gem=open]"),
    Picture("preferences-320", (320, 640), press="[data-gem=open]"),
    Picture("embed-768", (768, 720), path="/contact", press="#gem-notice-reject-all"),
)


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    named = (
        os.environ.get("GEM_CONSENT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=named, args=["--no-sandbox", rules])
        for picture in PICTURES:
            with serving(_site(Path(folder) / f"{picture.name}.db", picture.layout)) as port:
                _take(browser, f"http://127.0.0.1:{port}", picture)
        browser.close()


def _site(ledger: Path, layout: Any) -> Any:
    """Give the demonstration site in one layout."""
    pages = Starlette(routes=demo.build(f"sqlite:///{ledger}").routes)
    key = "only these pictures are signed with this key"
    return ConsentMiddleware(
        pages, policy=demo.POLICY, secret_key=key, ledger=f"sqlite:///{ledger}", layout=layout
    )


def _take(browser: Browser, origin: str, picture: Picture) -> None:
    width, height = picture.size
    scheme: Any = picture.scheme
    page = browser.new_page(locale="fr-FR", viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(origin + picture.path)
    if picture.press:
        page.locator(picture.press).first.click()
        page.locator("#gem-preferences[open], #gem-settings").locator("visible=true").first.wait_for()
    if picture.path == "/contact":
        page.locator(".gem-embed").scroll_into_view_if_needed()
        page.mouse.wheel(0, 1000)
    _settle(page)
    page.screenshot(path=FOLDER / f"{picture.name}.png")
    page.close()


def _settle(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


if __name__ == "__main__":
    main()
