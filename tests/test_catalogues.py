"""The catalogues of texts: complete, well-formed, compiled as they stand, and safe to bring up to date."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from walks import ROOT, run

LOCALES = ROOT / "gem_consent" / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir() if path.is_dir())
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[A-Za-z]")
# «, and what no-break spaces belong before; a clock's and an address's colon have no space at all
ASCII_SPACE = re.compile("« | [;:?!»]")
MISSING_SPACE = re.compile("[^\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\\W][;?!»]|«[^\N{NO-BREAK SPACE}]")

every_language = pytest.mark.parametrize("language", LANGUAGES)
Key = tuple[str | None, str]


def catalogue(language: str, suffix: str = ".po", locales: Path = LOCALES) -> Catalog:
    path = locales / language / "LC_MESSAGES" / f"gem_consent{suffix}"
    with path.open("rb") as file:
        return read_po(file, locale=language) if suffix == ".po" else read_mo(file)


def texts(one: Catalog) -> dict[Key, tuple[str, ...]]:
    """Give each message's texts, by context and id; the head apart."""
    return {(context(m.context), forms(m.id)[0]): forms(m.string) for m in one if m.id}


def context(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value  # Babel reads a .mo file's as bytes


def forms(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """All texts that the code and the templates show, as ``make catalogues`` finds them."""
    found = tmp_path_factory.mktemp("babel") / "gem_consent.pot"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        keywords = ["-k", "Message", "-k", "pgettext:1c,2"]
        CommandLineInterface().run(  # type: ignore[no-untyped-call]
            ["pybabel", "--quiet", "extract", "-F", ".hatch/babel.cfg", *keywords, "-o", str(found), "."]
        )
    with found.open("rb") as file:
        return read_po(file)


@every_language
def test_catalogue_holds_every_text(language: str, template: Catalog) -> None:
    """Each text of the code and the templates is in each catalogue, and nothing else is."""
    assert texts(catalogue(language)).keys() == texts(template).keys()


@every_language
def test_every_text_is_translated(language: str) -> None:
    """No text is left empty, in any of its plural forms, and none is marked as doubtful."""
    one = catalogue(language)
    assert [key for key, strings in texts(one).items() if not strings or not all(strings)] == []
    assert [message.id for message in one if message.id and message.fuzzy] == []
    assert not one.obsolete


@every_language
def test_placeholders_survive_translation(language: str) -> None:
    """Every translated text has the placeholders of its original."""
    for message in catalogue(language):
        if message.id and not (message.context or "").startswith("pattern of"):
            expected = set(PLACEHOLDER.findall(forms(message.id)[-1]))
            assert all(set(PLACEHOLDER.findall(text)) == expected for text in forms(message.string)), (
                message.id
            )


@every_language
def test_compiled_catalogue_is_fresh(language: str) -> None:
    """The compiled catalogue that Python reads says what its source says."""
    assert texts(catalogue(language, ".mo")) == texts(catalogue(language))


def test_ids_are_texts_not_keys(template: Catalog) -> None:
    """An untranslated text would still read as English: no id is a key such as ``notice.title``."""
    ids = [id_ for _, id_ in texts(template)]
    assert [id_ for id_ in ids if re.fullmatch(r"\w+([._]\w+)+", id_)] == []


def test_english_repeats_its_ids() -> None:
    """The English catalogue changes no text: what the code says is what is shown."""
    for message in catalogue("en"):
        if message.id and not (message.context or "").startswith("pattern of"):
            assert forms(message.string) == forms(message.id)


def test_french_spacing_is_french() -> None:
    """French texts have no-break spaces where French has them, and the typographic apostrophe."""
    strings = [text for message in texts(catalogue("fr")).values() for text in message]
    # one text is the colon itself, with the space that stands before it
    assert [text for text in strings if ASCII_SPACE.search(text)] == []
    assert [text for text in strings if MISSING_SPACE.search(text)] == []
    assert [text for text in strings if "'" in text or "..." in text or '"' in text] == []


@every_language
def test_head_says_who_reviewed(language: str) -> None:
    """Each catalogue says whether a native speaker reviewed it, and the page on translating says the same."""
    said = re.search(r"Reviewed by a native speaker: (.+)", catalogue(language).header_comment)
    assert said
    assert f"| `{language}` | {said[1].strip()} |" in (ROOT / "docs" / "translating.md").read_text("utf-8")


def test_updating_keeps_every_text(tmp_path: Path) -> None:
    """``make catalogues`` on an up-to-date tree changes no text, no head and no word on the review."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    skipped = shutil.ignore_patterns("__pycache__", "*.mo")
    for name in ("gem_consent", ".hatch"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    stamp = tmp_path / ".venv" / ".dev"
    stamp.parent.mkdir()
    stamp.touch()
    bin_ = f"BIN={Path(sys.executable).parent}"
    answer = run("make", "-o", ".venv/.dev", bin_, "catalogues", folder=tmp_path, PYTHONWARNINGS="default")
    assert answer.returncode == 0, answer.stderr
    for language in LANGUAGES:
        before = catalogue(language)
        after = catalogue(language, locales=tmp_path / "gem_consent" / "locales")
        assert texts(after) == texts(before)
        assert after.header_comment == before.header_comment
        assert after.plural_forms == before.plural_forms
