"""What visitors see: notices and their digests, words in two languages, parts that keep apart."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from asgi import make_policy, parse

from gem_consent import ConfigurationError, Controller, GoogleAnalytics, Policy
from gem_consent.consent import Consent
from gem_consent.proof.notice import notice_of
from gem_consent.rendering import Renderer, Slots, View
from gem_consent.scripts import code_digest, notice_script, notice_style, stop_script, tags_script
from gem_consent.translation import Translation, available_languages

GOLDEN = {
    "en": "114aeb2024dd8033",
    "fr": "07cb124eb77646b5",
}
REMEDY = (
    "What visitors read has changed, which makes a new notice in every ledger. If that was meant, look at "
    "the page (Renderer(...).notices['fr'].html), say it in CHANGELOG.md, and put the new values into GOLDEN"
)
DIGESTS = """
import sys
sys.path.insert(0, "tests")
from asgi import make_policy
from gem_consent.rendering import Renderer
print(*(notice.digest for notice in Renderer(make_policy()).notices.values()))
"""

UNDECIDED = View(is_shared=False)
GRANTED = View(is_shared=False, is_decided=True, granted=frozenset({"analytics"}))
SLOTS = Slots("/privacy-choices", "/page?a=1&b=2")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(make_policy())


def words(html: bytes) -> str:
    """Give the text of an HTML fragment, white space squeezed."""
    tree = parse(b"<!doctype html><html><head><title>x</title></head><body>" + html + b"</body></html>")
    return " ".join("".join(tree.find("body").itertext()).split())


@pytest.mark.rule("F1")
def test_digest_is_the_pages(renderer: Renderer) -> None:
    """A notice's digest is the SHA-256 of the archived page."""
    for notice in renderer.notices.values():
        assert notice.digest == hashlib.sha256(notice.html).hexdigest()


def test_archived_page_opens_by_itself(renderer: Renderer) -> None:
    """The archived page parses without an error, refers to nothing outside, and has no slot left open."""
    for language, notice in renderer.notices.items():
        tree = parse(notice.html.decode())
        assert tree.get("lang") == language
        assert [one for one in tree.iter() if one.get("src") or one.tag == "link"] == []
        assert b"@gem:" not in notice.html
        assert b"url(" not in notice.html


@pytest.mark.rule("F1")
def test_archive_shows_both_layers(renderer: Renderer) -> None:
    """The archived page holds the notice, each purpose and every tracker."""
    html = renderer.notices["fr"].html.decode().replace("\N{NO-BREAK SPACE}", " ")
    shown = ["Tout accepter", "Tout refuser", "_ga_XXXXXXXXXX", "vid_*", "Google Ireland Limited", "13 mois"]
    assert [text for text in shown if text not in html] == []
    assert renderer.policy.fingerprint in html
    assert code_digest() in html


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_digest_is_same_everywhere(renderer: Renderer, seed: str) -> None:
    """Another process, with another order of sets, renders the same notices."""
    run = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == [notice.digest for notice in renderer.notices.values()]


@pytest.mark.rule("L11")
def test_shown_texts_are_golden(renderer: Renderer) -> None:
    """What visitors read changes only on purpose: the words of the notices, code and version apart."""
    digests = {}
    for language in GOLDEN:
        notice = renderer.notices[language]
        body = "".join(parse(notice.html.decode()).find("body").itertext())
        digests[language] = hashlib.sha256(" ".join(body.split()).encode()).hexdigest()[:16]
    assert digests == GOLDEN, REMEDY


@pytest.mark.rule("F1")
def test_digest_is_golden() -> None:
    """A digest is the SHA-256 of the page's bytes: anybody can compute it again from what is kept."""
    notice = notice_of(b"<!doctype html><title>A</title>", fingerprint="f", language="en", library="l")
    assert notice.digest == "3506d3be0039001b0fce075346a6b03a858df30dcece8859e7e0c1ab1c35fb68"


def test_digest_changes_with_words() -> None:
    """Another name makes another notice, under the same fingerprint."""
    one, two = (Renderer(make_policy(controller=Controller(name, "dpo@example.com"))) for name in "AB")
    assert one.notices["en"].digest != two.notices["en"].digest
    assert one.policy.fingerprint == two.policy.fingerprint


@pytest.mark.rule("L9")
@pytest.mark.parametrize(
    ("language", "texts"),
    [
        (
            "fr",
            [
                "Tout accepter",
                "Tout refuser",
                "cookies",
                "13 mois",
                "Personnaliser mes choix",
                "Gérer mes cookies",
            ],
        ),
        ("en", ["Accept all", "Reject all", "cookies", "13 months", "Choose in detail", "Manage my cookies"]),
    ],
)
def test_notice_says_what_it_must(renderer: Renderer, language: str, texts: list[str]) -> None:
    """The first layer has its buttons, the word cookies, the duration, the way to choose and to withdraw."""
    shown = words(renderer.notice(UNDECIDED, language, SLOTS))
    assert [text for text in texts if text not in shown] == []


@pytest.mark.rule("L7")
def test_notice_names_each_purpose(renderer: Renderer) -> None:
    """Each purpose that is asked about stands before the buttons, by name and line, with its services."""
    shown = words(renderer.notice(UNDECIDED, "en", SLOTS))
    before = shown[: shown.index("Accept all")]
    texts = ["Audience measurement", "Google Analytics 4", "Videos, maps and other content", "Video"]
    assert [text for text in texts if text not in before] == []


@pytest.mark.rule("L3", "L5")
def test_buttons_are_equal_but_for_words(renderer: Renderer) -> None:
    """Accepting and refusing differ in value, id and words alone (L3, L5)."""
    html = renderer.notice(UNDECIDED, "en", SLOTS).decode()
    accept, reject = re.findall(r"<button[^>]*>[^<]*</button>", html)
    assert (
        accept.replace("grant_all", "deny_all").replace("accept", "reject").replace("Accept", "Reject")
        == reject
    )


def test_shorter_life_is_told() -> None:
    """The duration that is told is the policy's own."""
    renderer = Renderer(make_policy(lifetime=timedelta(days=184)))
    assert "6 mois" in words(renderer.notice(UNDECIDED, "fr", SLOTS))


@pytest.mark.parametrize("language", available_languages())
def test_catalogue_is_complete(language: str) -> None:
    """Every text of the English catalogue has one in this language, in however many forms."""
    english = Translation("en", "en").catalogue._catalog  # type: ignore[attr-defined]
    own = Translation(language, "en").catalogue._catalog  # type: ignore[attr-defined]
    ids, expected = ({key[0] if isinstance(key, tuple) else key for key in one} for one in (own, english))
    assert ids == expected
    assert [key for key, text in own.items() if not text] == []


def test_catalogue_knows_every_message() -> None:
    """Every text that code or templates mark for translation is in the catalogues."""
    from io import BytesIO
    from pathlib import Path

    from babel.messages.extract import extract_from_dir
    from babel.messages.pofile import read_po

    package = Path(__file__).parent.parent / "gem_consent"
    methods = [("**.py", "python"), ("templates/**.html", "jinja2.ext.babel_extract")]
    keywords = {"Message": None, "_": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
    found = {
        m[2] if isinstance(m[2], str) else m[2][0]
        for m in extract_from_dir(package, methods, keywords=keywords)
    }
    content = (package / "locales/fr/LC_MESSAGES/gem_consent.po").read_bytes()
    known = {m.id if isinstance(m.id, str) else m.id[0] for m in read_po(BytesIO(content)) if m.id}
    assert found - known == set()


def test_unknown_language_is_refused() -> None:
    """A language that the library does not speak is refused with those it does."""
    with pytest.raises(ConfigurationError, match="names 'tlh'; the library speaks"):
        Renderer(make_policy(languages=["en", "tlh"]))


@pytest.mark.parametrize(
    ("page", "accepted", "expected"),
    [
        ("fr-CA", "en", "fr"),
        (None, "fr", "fr"),
        ("zh", "fr", "fr"),
        (None, None, "en"),
        ("", "", "en"),
        ("fr_FR", None, "fr"),
        ("<x>", "zh", "en"),
    ],
)
def test_page_language_comes_first(page: str | None, accepted: str | None, expected: str) -> None:
    """The page's language, else the browser's among those that the site names, else the policy's."""
    assert Renderer(make_policy(languages=["en", "fr"])).language(page, accepted) == expected


def test_browser_chooses_only_what_is_named(renderer: Renderer) -> None:
    """A site that names no languages is in one: browsers change nothing, the page's own language does."""
    assert renderer.language(None, "fr") == "en"
    assert renderer.language("fr", "en") == "fr"
    named = Renderer(make_policy(languages=["en"]))
    assert named.language("fr", "fr") == "en"


def test_notices_are_drawn_when_needed() -> None:
    """A language costs nothing until a page is in it; any of them is found by its digest."""
    renderer = Renderer(make_policy())
    assert renderer.notices.drawn() == []
    assert [notice.language for notice in renderer.declared_notices()] == ["en"]
    digest = Renderer(make_policy()).notices["fr"].digest
    found = renderer.find_notice(digest)
    assert found is not None
    assert found.language == "fr"
    assert renderer.find_notice("f" * 64) is None
    with pytest.raises(KeyError):
        renderer.notices["tlh"]


def test_edition_covers_every_language() -> None:
    """A text of the site's in any language changes the mark of its documents, drawn or not."""
    marks = {
        Renderer(make_policy(controller=Controller("A", "dpo@example.com", address=text))).edition
        for text in ({"en": "A"}, {"en": "A", "fr": "B"}, {"en": "A", "fr": "C"})
    }
    assert len(marks) == 3


def test_parts_are_ascii(renderer: Renderer) -> None:
    """Everything that is put into a page is ASCII, whatever it says."""
    for language in renderer.languages:
        for view in (UNDECIDED, GRANTED, View(is_shared=True)):
            assert (renderer.head(view, SLOTS) + renderer.parts(view, language, SLOTS)[1]).isascii()


def test_slots_are_escaped(renderer: Renderer) -> None:
    """What a request fills in cannot leave its attribute."""
    slots = Slots('/"><b>', "/'\"><i>&amp;é", nonce='"><u>', needs_reload=True)
    page = renderer.head(UNDECIDED, slots) + renderer.parts(UNDECIDED, "en", slots)[1]
    assert [tag for tag in (b"<b>", b"<i>", b"<u>") if tag in page] == []
    assert page.isascii()


def test_parts_of_two_requests_keep_apart(renderer: Renderer) -> None:
    """A cached part is filled anew for each request."""
    first = renderer.parts(UNDECIDED, "en", Slots("/p", "/first"))[1]
    second = renderer.parts(UNDECIDED, "en", Slots("/p", "/second"))[1]
    assert (b"/first" in second, second.replace(b"/second", b"/first") == first) == (False, True)


def test_suffix_tells_forms_apart(renderer: Renderer) -> None:
    """Every form has a suffix of eight hexadecimal digits of its own."""
    views = [View(is_shared=True), UNDECIDED, GRANTED, View(is_shared=False, is_decided=True)]
    suffixes = {renderer.suffix(view) for view in views}
    assert len(suffixes) == 4
    assert all(re.fullmatch("[0-9a-f]{8}", suffix) for suffix in suffixes)


_CHANGES: list[dict[str, Any]] = [
    {"accepted": b"fr"},
    {"prefix": "/shop"},
    {"path": "/b"},
    {"query": b"c=1"},
    {"view": View(is_shared=False, is_decided=True)},
    {"body": b"<html><head><title>y</title></head><body><p>x</p></body></html>"},
    {"body": b"<html lang=fr><head><title>x</title></head><body><p>x</p></body></html>"},
    {"body": b"<html><head><title>x</title></head><body class=a><p>x</p></body></html>"},
    {"body": b"<html><head><title>x</title></head><body><p>y</p></body></html>"},
]


def test_memory_has_an_end() -> None:
    """However many forms visitors make, only so many are kept."""
    renderer = Renderer(make_policy())
    for number in range(2000):
        renderer.suffix(View(is_shared=False, is_decided=True, granted=frozenset({f"p{number}"})))
    assert renderer._suffix.cache_info().currsize <= 256
    for number in range(2000):
        opened(renderer, b"<html><head><title>x</title></head><body>", path=f"/{number}")
    assert len(renderer._openings) <= 256
    for long in ({"query": b"x" * 9000}, {"path": "/" + "x" * 9000}, {"accepted": b"x" * 9000}):
        opened(renderer, b"<html><head><title>x</title></head><body>", **long)
    assert max(len(repr(key)) for key in renderer._openings) < 9000


def opened(renderer: Renderer, body: bytes, **changes: Any) -> bytes:
    """Give a first chunk with what a visitor who has not chosen gets at an address."""
    asked = {
        "accepted": None,
        "prefix": "",
        "path": "/a",
        "query": b"",
        "view": View(is_shared=False),
    } | changes
    page = (None, asked["path"], asked["query"], asked["prefix"])
    opening, changed = renderer.opened(asked["view"], body, asked["accepted"], "/privacy-choices", page, True)
    assert changed is not None
    assert body.startswith(opening)
    return changed + body[len(opening) :]


@pytest.mark.parametrize("change", _CHANGES, ids=[next(iter(change)) for change in _CHANGES])
def test_remembered_opening_is_the_pages_own(change: dict[str, Any]) -> None:
    """What an address gave before bears on nothing of what another request or document there gets."""
    page = b"<html><head><title>x</title></head><body><p>x</p></body></html>"
    renderer = Renderer(make_policy(languages=("en", "fr")))
    asked = {"body": page} | change
    other = opened(Renderer(renderer.policy), **asked)
    assert opened(renderer, page) != other
    assert (opened(renderer, **asked), opened(renderer, **asked)) == (other, other)
    assert opened(renderer, page) == opened(Renderer(renderer.policy), page)


def test_tags_start_granted_only(renderer: Renderer) -> None:
    """The script in the page starts what is granted and stops nothing."""
    script = tags_script(renderer.policy, frozenset({"media"}))
    assert ('start("video"' in script, "googletagmanager" in script, "\nstop(" in script) == (
        True,
        False,
        False,
    )


def test_nothing_granted_is_no_script(renderer: Renderer) -> None:
    """With nothing granted there is no script of tags at all."""
    assert tags_script(renderer.policy, frozenset()) == ""


def test_stop_script_names_the_rest(renderer: Renderer) -> None:
    """What is not granted is stopped, with the cookies to forget."""
    script = stop_script(renderer.policy, frozenset({"analytics"}))
    assert ('stop("video", "media"' in script, '"vid_*"' in script, "_ga" in script) == (True, True, False)


def test_scripts_cannot_end_themselves() -> None:
    """No script has in it what would end or hide its element."""
    scripts = [notice_script(), notice_style(), tags_script(make_policy(), frozenset({"analytics", "media"}))]
    assert [s for s in scripts if "</" in s or "<!--" in s or not s.isascii()] == []


def test_site_texts_are_translated() -> None:
    """A site's own text in several languages is shown in the notice's."""
    from gem_consent import Purpose, Service

    purpose = Purpose("help", name={"fr": "Aide", "en": "Help"}, description={"fr": "Vous aider."})
    service = Service(id="chat", name="Chat", purpose="help", provider="Chat Ltd")
    policy = Policy(
        controller=Controller("Example", "dpo@example.com"),
        privacy_url="/privacy",
        purposes=[purpose],
        services=[service],
    )
    shown = words(Renderer(policy).notice(UNDECIDED, "fr", SLOTS))
    assert "Aide (Chat). Vous aider." in shown


def test_dates_are_the_languages_own(renderer: Renderer) -> None:
    """The preferences page writes the day as its language does."""
    consent = Consent("s" * 22, frozenset(), {}, decided_at=1_795_500_000, expires_at=1_829_455_200)
    pages = {
        tag: renderer.preferences(tag, consent, Slots("/p"), history=[])[0].decode() for tag in ("en", "fr")
    }
    assert ">24 November 2026<" in pages["en"]
    assert ">24&#160;novembre&#160;2026<" in pages["fr"]


def test_first_of_month_is_ordinal() -> None:
    """French says "1er janvier", and no other day so."""
    french = Translation("fr", "fr")
    assert french.moment("2027-01-01T08:05:00.000Z") == "1er\xa0janvier\xa02027, 8\xa0h\xa005, heure UTC"


@pytest.mark.parametrize("language", available_languages())
def test_notice_is_light(language: str) -> None:
    """What an undecided visitor gets is within 4 KiB of gzip, in each language of a page in UTF-8."""
    policy = Policy(
        controller=Controller("Example", "dpo@example.com"),
        privacy_url="/privacy",
        services=[GoogleAnalytics("G-XXXXXXXXXX")],
    )
    slots = Slots("/privacy-choices", "/", is_utf8=True)
    head, body = Renderer(policy).parts(View(is_shared=False), language, slots)
    page = (
        b'<!doctype html><html lang="%b"><head>%b<meta charset="utf-8"><title>A page</title></head>'
        b"<body>%b<main><h1>A page</h1><p>Words upon words.</p></main></body></html>"
    )
    bare, changed = (
        gzip.compress(page % (language.encode(), *parts)) for parts in ((b"", b""), (head, body))
    )
    assert len(changed) - len(bare) <= 4096
