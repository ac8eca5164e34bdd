"""The receipt of a choice and the cover of an evidence archive: on screen, by keyboard and on paper."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from test_catalogues import LANGUAGES

from browser.pages import SEVERAL, Site
from browser.visitor import Newcomer
from gem_consent.evidence import write
from gem_consent.ledger.store import Ledger
from gem_consent.proof.evidence import Question
from gem_consent.proof.receipt import check

pytestmark = pytest.mark.browser

_FOLDER = Path(__file__).parents[2] / ".screenshots"
_SIZES = {"1280": (1280, 800), "320": (320, 640)}
_A4_PIXELS = 672  # 210 mm without two margins of 16 mm

# Words and boxes that stick out of the window.
_OVERFLOWING = """\
() => [...document.querySelectorAll("main *")]
  .filter((one) => one.checkVisibility() && !one.closest(".gem-table > *, svg"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 80))
"""


def troubles(page: Page) -> list[str]:
    """What axe finds wrong with a page by the rules of WCAG 2.2 A and AA, and of good practice."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:100]}" for one in found]


def chosen(site: Site, newcomer: Newcomer, language: str = "en", **options: Any) -> Page:
    """Accept everything, and open the preferences."""
    visitor = newcomer(site, **options)
    page = visitor.visit(f"/lang/{language}")
    page.locator("#gem-notice-accept-all").click()
    page.locator("#gem-settings").wait_for()
    page.goto(site.url(f"/privacy-choices?lang={language}"))
    return page


@pytest.mark.parametrize("has_script", [True, False], ids=["script", "no script"])
def test_visitor_finds_receipt(site: Site, newcomer: Newcomer, has_script: bool) -> None:
    """From the history a link leads to the receipt, and a button there to a file that proves the choice."""
    visitor = newcomer(site, has_script=has_script)
    visitor.visit()
    visitor.accept()
    page = visitor.visit("/privacy-choices")
    visitor.leave_by(page.get_by_role("link", name=re.compile("^Receipt")))
    assert page.get_by_role("heading", level=1).inner_text() == "Receipt of your choice"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the receipt (JSON)").click()
    content = Path(download.value.path()).read_bytes()
    assert check(content).columns["state"] == "given"
    assert download.value.suggested_filename == f"consent-receipt-{json.loads(content)['receipt_id']}.json"


def test_receipt_is_reached_by_keyboard(site: Site, newcomer: Newcomer) -> None:
    """Tab reaches the link to the receipt, Enter follows it, and the notice opens from there."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    page = visitor.visit("/privacy-choices")
    visitor.tab_to(page.get_by_role("link", name=re.compile("^Receipt")))
    with page.expect_event("load"):
        page.keyboard.press("Enter")
    visitor.leave_by(page.get_by_role("link", name="Open the notice"))
    assert page.get_by_role("heading", name="Your choice about cookies").is_visible()
    assert visitor.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", _SIZES)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_receipt_looks_right(
    serve: Callable[..., Site], newcomer: Newcomer, language: str, width: str, scheme: str
) -> None:
    """The page fits, in both languages, schemes and widths, and axe finds nothing wrong with it."""
    size = dict(zip(("width", "height"), _SIZES[width], strict=True))
    page = chosen(serve(SEVERAL), newcomer, language, viewport=size, color_scheme=scheme)
    page.locator("a[href*=receipt]").click()
    page.wait_for_load_state("load")
    _look(page, f"receipt-{language}-{width}-{scheme}")
    assert page.locator("html").get_attribute("lang") == language
    assert troubles(page) == []


def test_receipt_prints_on_two_pages(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """On paper there are no links to press, and two pages hold it."""
    page = chosen(serve(SEVERAL), newcomer, "fr")
    page.locator("a[href*=receipt]").click()
    page.wait_for_load_state("load")
    _FOLDER.mkdir(exist_ok=True)
    paper = page.pdf(path=_FOLDER / "receipt-fr.pdf", format="A4")
    assert _pages(paper) <= 2
    page.emulate_media(media="print")
    assert not page.locator(".gem-press").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", _SIZES)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_cover_looks_right(
    serve: Callable[..., Site],
    newcomer: Newcomer,
    browser: Browser,
    tmp_path: Path,
    language: str,
    width: str,
    scheme: str,
) -> None:
    """The cover of an archive opens from its folder, fits, and axe finds nothing wrong with it."""
    site = serve(SEVERAL)
    chosen(site, newcomer, "fr").close()
    cover = unpacked(site, tmp_path, Question(language=language))
    size: Any = dict(zip(("width", "height"), _SIZES[width], strict=True))
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    with closing(context.new_page()) as page:
        page.goto(cover.as_uri())
        _look(page, f"cover-{language}-{width}-{scheme}")
        assert troubles(page) == []
        page.get_by_role("link", name="Notice 1").click()
        assert page.locator("#gem-notice").is_visible()
    context.close()


def test_cover_prints(
    serve: Callable[..., Site], newcomer: Newcomer, browser: Browser, tmp_path: Path
) -> None:
    """The cover prints on a few pages."""
    site = serve(SEVERAL)
    chosen(site, newcomer, "fr").close()
    with closing(browser.new_page()) as page:
        page.goto(unpacked(site, tmp_path, Question()).as_uri())
        _FOLDER.mkdir(exist_ok=True)
        assert _pages(page.pdf(path=_FOLDER / "cover-fr.pdf", format="A4")) <= 5


def test_no_table_is_cut_on_paper(
    serve: Callable[..., Site], newcomer: Newcomer, browser: Browser, tmp_path: Path
) -> None:
    """Paper does not scroll: the tables of the cover fit an A4 page in every language."""
    site = serve(SEVERAL)
    chosen(site, newcomer, "fr").close()
    with closing(browser.new_page(viewport={"width": _A4_PIXELS, "height": 900})) as page:
        page.emulate_media(media="print")
        for language in LANGUAGES:
            page.goto(unpacked(site, tmp_path, Question(language=language)).as_uri())
            widths = page.locator(".gem-table").evaluate_all(
                "all => all.map((one) => [one.scrollWidth, one.clientWidth])"
            )
            assert len(widths) == 2
            assert [needed for needed, room in widths if needed > room] == [], language


def unpacked(site: Site, folder: Path, question: Question) -> Path:
    """Write an archive of the site's ledger, unpack it, and give its cover."""
    out = io.BytesIO()
    with closing(Ledger.open(f"sqlite:///{site.ledger}")) as book, book.reading() as connection:
        write(connection, out, question, "")
    with zipfile.ZipFile(out) as archive:
        archive.extractall(folder / "evidence")
    return folder / "evidence" / "index.html"


def _look(page: Page, name: str) -> None:
    _FOLDER.mkdir(exist_ok=True)
    page.screenshot(path=_FOLDER / f"{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert page.evaluate(_OVERFLOWING) == [], name


def _pages(paper: bytes) -> int:
    return paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") + paper.count(b"/Type /Page/")
