"""The catalogues of texts: complete, well-formed, compiled as they stand, and safe to bring up to date."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from gettext import c2py  # what gettext itself reads Plural-Forms with
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from walks import ROOT, run

LOCALES = ROOT / "gem_consent" / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir() if path.is_dir())
GUIDE = (ROOT / "docs" / "translating.md").read_text("utf-8")
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
    """Every translated text has its original's placeholders; a form for one number alone may spell it."""
    one = catalogue(language)
    sayable = forms_of_one_number(one)
    for message in one:
        if message.id and not (message.context or "").startswith("pattern of"):
            expected = set(PLACEHOLDER.findall(forms(message.id)[-1]))
            for at, text in enumerate(forms(message.string)):
                found = set(PLACEHOLDER.findall(text))
                is_spelt = not found and isinstance(message.id, tuple | list) and at in sayable
                assert found == expected or is_spelt, message.id


def forms_of_one_number(one: Catalog) -> set[int]:
    """Give the plural forms that only one number takes, such as the dual."""
    expression = c2py(one.plural_forms.partition("plural=")[2].rstrip(";"))
    counted = Counter(int(expression(number)) for number in range(1000))
    return {form for form, count in counted.items() if count == 1}


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
    assert re.search(rf"^\| `{language}` \| [^|]+ \| {said[1].strip()} \|$", GUIDE, re.MULTILINE)


def test_guide_lists_every_language() -> None:
    """The page on translating names the languages that there are, and no other."""
    listed = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert listed == LANGUAGES


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the catalogues are made from."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    skipped = shutil.ignore_patterns("__pycache__", "*.mo")
    for name in ("gem_consent", ".hatch"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    stamp = tmp_path / ".venv" / ".dev"
    stamp.parent.mkdir()
    stamp.touch()
    return tmp_path


def make_catalogues(tree: Path) -> None:
    bin_ = f"BIN={Path(sys.executable).parent}"
    answer = run("make", "-o", ".venv/.dev", bin_, "catalogues", folder=tree, PYTHONWARNINGS="default")
    assert answer.returncode == 0, answer.stderr


def test_updating_keeps_every_text(tree: Path) -> None:
    """``make catalogues`` on an up-to-date tree changes no text, no head and no word on the review."""
    make_catalogues(tree)
    for language in LANGUAGES:
        before = catalogue(language)
        after = catalogue(language, locales=tree / "gem_consent" / "locales")
        assert texts(after) == texts(before)
        assert after.header_comment == before.header_comment
        assert after.plural_forms == before.plural_forms


SHOWN = """
from gem_consent import Controller, GoogleAnalytics, Policy
from gem_consent.rendering import Renderer, Slots, View

controller = Controller("Example", "dpo@example.com")
policy = Policy(controller, "/privacy", services=[GoogleAnalytics("G-XXXXXXXXXX")])
renderer = Renderer(policy)
print(renderer.notice(View(is_shared=True), renderer.language("eu-ES", None), Slots("/p")).decode())
"""


def test_new_language_is_one_file(tree: Path) -> None:
    """Who follows the page on translating to the letter has the notice of a Basque page in Basque."""
    steps = GUIDE.partition("## Add a language")[2].partition("```sh\n")[2].partition("```")[0]
    for line in steps.splitlines():
        assert run(*shlex.split(line), folder=tree).returncode == 0
    file = tree / "gem_consent" / "locales" / "eu" / "LC_MESSAGES" / "gem_consent.po"
    text = file.read_text("utf-8").replace('"Language: en\\n"', '"Language: eu\\n"')
    file.write_text(text.replace('msgstr "Reject all"', 'msgstr "Ukatu guztiak"'), "utf-8")
    make_catalogues(tree)
    # what pip does with an editable install, into a wheel instead of this environment
    build = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(tree / "dist"),
    ]
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree / "installed")
    shown = run(sys.executable, "-c", SHOWN, folder=tree, PYTHONPATH=str(tree / "installed"))
    assert shown.returncode == 0, shown.stderr
    assert 'lang="eu"' in shown.stdout
    assert "Ukatu guztiak" in shown.stdout
