"""The words of the catalogues: what a lint can say of a language that nobody here need be able to read."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from datetime import timedelta
from gettext import c2py  # what gettext itself reads Plural-Forms with

import pytest
from asgi import make_policy, parse
from babel import Locale
from test_catalogues import LANGUAGES, Key, catalogue, every_language, forms, texts

from gem_consent import Service
from gem_consent.rendering import Renderer, Slots, View
from gem_consent.translation import Translation

# Written as in English in some languages; all else that is, nobody has translated.
COGNATES = {
    *("Cookie", "Cookies", "Date", "Name", "Error", "Australia", "Canada", "India", "Israel", "Japan"),
    *("Singapore", "Contact", "Notice", "Total", "FILE", "Register", "policy"),
}
MONTHS = "in a date"
# Of a box on a phone 320 pixels wide there is room for two lines of thirteen letters or so in each button.
BUTTON_CHARACTERS, WORD_CHARACTERS = 22, 13
LABEL_CHARACTERS = 34
TITLE_CHARACTERS = 42
# The first layer takes half of a small phone's screen at most, in English some 400 characters.
FIRST_LAYER_RATIO = 1.6
BUTTONS = ("Accept all", "Reject all")
LABELS = (
    *("Choose in detail", "Manage my cookies", "Withdraw my agreement", "Privacy policy"),
    "Save these choices",
)
FIRST_LAYER = (
    "Your choice about cookies",
    "With your agreement, %(name)s uses cookies and other trackers for:",
    "You can use the site even if you refuse. Your choice is kept for %(duration)s; you can change it or "
    "withdraw your agreement at any time through the link “Manage my cookies” on every page.",
)
UNSENT = "Your choice could not be sent. Check your connection, then try again."
SPEAKING_OF = {"Accept all": ("Accepted", "Agreement given"), "Reject all": ("Refused", "Refusal")}
# what the CNIL and the EDPB call unclear, pushing or blaming, in the languages of most of their decisions
PUSHING = re.compile(
    r"\b(ok|okay|got it|continue|later|sorry|unfortunately|miss out|best experience|continuer|plus tard|"
    r"dommage|malheureusement|meilleure expérience|weiter|später|leider|seguir|continuar|continua)\b",
    re.IGNORECASE,
)
STRAY = re.compile(r"^\s|\s$|[ \u00a0\u202f]{2}| [,.!?]|[\"'`]|\.\.\.|[<>&]|\t|\n|\ufeff|\u00ad")
PLACEHOLDER = re.compile(r"%\(\w+\)0?[0-9]*[sd]")


def strings(language: str) -> dict[Key, tuple[str, ...]]:
    """Give the texts that visitors read, by context and id; patterns and the like apart."""
    return {key: value for key, value in texts(catalogue(language)).items() if key[0] is None}


def text(language: str, id_: str) -> str:
    """Give one text."""
    return strings(language)[None, id_][0]


def letters(value: str) -> str:
    return "".join(char for char in PLACEHOLDER.sub("", value) if char.isalpha())


def is_dotted(language: str) -> bool:
    """Say whether a date ends in a dot, which then ends its sentence as well."""
    pattern = texts(catalogue(language))["pattern of a date", "%(day)s %(month)s %(year)d"][0]
    return pattern.endswith(".")


@pytest.mark.parametrize("language", [tag for tag in LANGUAGES if tag != "en"])
def test_nothing_is_left_in_english(language: str) -> None:
    """A text that reads as in English is one of the few words that are the same in both."""
    same = {key[1] for key, value in strings(language).items() if value[0] == key[1] and letters(key[1])}
    assert same - COGNATES == set()


@every_language
def test_letters_are_of_the_languages_script(language: str) -> None:
    """Each text has letters of the script that most of the catalogue is in."""
    counted: dict[str, int] = defaultdict(int)
    found = {}
    for key, value in strings(language).items():
        found[key[1]] = {unicodedata.name(char).split()[0] for char in letters("".join(value))}
        for script in found[key[1]]:
            counted[script] += 1
    script = max(counted, key=counted.__getitem__)
    foreign = {id_ for id_, scripts in found.items() if scripts and script not in scripts}
    assert foreign - {"Cookie", "Cookies"} == set()
    mixed = {"LATIN", script}  # names such as Kantara, and cookies, are Latin everywhere
    assert [id_ for id_, scripts in found.items() if scripts - mixed - {"MODIFIER"}] == []


@every_language
def test_direction_is_the_scripts(language: str) -> None:
    """A catalogue says from which side its script is written, and its letters agree."""
    direction = Translation(language, language).direction
    read = "".join(letters(value[0]) for value in strings(language).values())
    sides = [unicodedata.bidirectional(char) for char in read]
    from_right = sum(side in ("R", "AL") for side in sides) > len(sides) / 2
    assert direction == ("rtl" if from_right else "ltr")


@every_language
def test_plural_forms_are_cldrs(language: str) -> None:
    """Numbers that CLDR counts alike take one form, and every form is there."""
    one = catalogue(language)
    header = re.search(r"nplurals=(\d+); plural=(.+?);?$", one.plural_forms)
    assert header
    form = c2py(header[2].rstrip(";"))
    by_category = defaultdict(set)
    for number in range(1000):
        by_category[Locale.parse(language).plural_form(number)].add(int(form(number)))
    assert {category: len(found) for category, found in by_category.items()} == dict.fromkeys(by_category, 1)
    assert set().union(*by_category.values()) == set(range(int(header[1])))
    plural = [forms(m.string) for m in one if isinstance(m.id, list | tuple)]
    assert {len(value) for value in plural} == {int(header[1])}


@every_language
def test_durations_name_their_number(language: str) -> None:
    """Every duration says its number, in figures or, of one and two, in words."""
    translation = Translation(language, language)
    for unit in ("days", "hours", "minutes", "seconds"):
        for number in (1, 2, 3, 5, 11, 13, 21, 25):
            said = translation.duration(timedelta(**{unit: number}))
            assert "%" not in said
            assert str(number) in said or number <= 2 or (unit == "hours" and number % 24 == 0), said
    assert "13" in translation.duration(timedelta(days=393))


@every_language
def test_spacing_and_signs_are_typographic(language: str) -> None:
    """No stray space, straight quote, three dots or markup is in any text."""
    shown = [value[0] for key, value in strings(language).items() if key[1] != ": "]
    if language == "en":  # its texts are the keys in the code, where the apostrophe is the keyboard's
        shown = [value.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}") for value in shown]
    assert [value for value in shown if STRAY.search(value)] == []


@every_language
def test_sentences_end_as_their_originals(language: str) -> None:
    """What ends in a full stop or a colon does so in every language, and a label in neither."""
    assert [
        value[0]
        for (_, id_), value in strings(language).items()
        if id_ != ": " and not _ends_as(id_, value[0].rstrip("\N{RIGHT-TO-LEFT MARK}"), language)
    ] == []


def _ends_as(original: str, said: str, language: str) -> bool:
    if original[-1] in ".:":
        # a date's own dot ends its sentence too
        return said[-1] == original[-1] or (is_dotted(language) and said.endswith(")s"))
    return said[-1] not in ".:;,!?" or re.search(r"\d\.$", said) is not None


@every_language
def test_numbers_survive(language: str) -> None:
    """Figures of the original, a decision's number for one, are in the translation."""
    for (_, id_), value in strings(language).items():
        figures = set(re.findall(r"\d+(?:/\d+)?", PLACEHOLDER.sub("", id_)))
        assert figures <= set(re.findall(r"\d+(?:/\d+)?", value[0])), value


@every_language
def test_buttons_are_alike(language: str) -> None:
    """The two buttons are about as long, of as many words, and short enough for a phone."""
    accept, refuse = (text(language, id_) for id_ in BUTTONS)
    assert 0.7 <= len(accept) / len(refuse) <= 1 / 0.7
    assert abs(len(accept.split()) - len(refuse.split())) <= 1
    for button in (accept, refuse):
        assert len(button) <= BUTTON_CHARACTERS
        assert max(map(len, button.split())) <= WORD_CHARACTERS


@pytest.mark.rule("L6")
@pytest.mark.parametrize("language", [tag for tag in LANGUAGES if tag != "en"])
def test_buttons_say_what_they_do(language: str) -> None:
    """Each button has the word that the history has for it: none is vague (CNIL, 12 December 2024)."""
    for button, states in SPEAKING_OF.items():
        said = " ".join(_root(text(language, state)) for state in states)
        assert any(word[:3] in said for word in _root(text(language, button)).split())


def _root(words: str) -> str:
    # the letters that Hebrew puts between those of a root, and after it
    servile = "[\N{HEBREW LETTER VAV}\N{HEBREW LETTER YOD}\N{HEBREW LETTER HE}\N{HEBREW LETTER TAV}]"
    return re.sub(servile, "", words.lower())


@pytest.mark.rule("L11")
@every_language
def test_nothing_pushes(language: str) -> None:
    """No button or label is vague, puts off or regrets (EDPB guidelines 03/2022, "stirring")."""
    assert [id_ for id_ in (*BUTTONS, *LABELS) if PUSHING.search(text(language, id_))] == []


@every_language
def test_words_fit_the_layout(language: str) -> None:
    """Labels, title and first layer are no longer than the notice has room for."""
    assert [text(language, id_) for id_ in LABELS if len(text(language, id_)) > LABEL_CHARACTERS] == []
    assert len(text(language, FIRST_LAYER[0])) <= TITLE_CHARACTERS
    total = sum(len(text(language, id_)) for id_ in FIRST_LAYER)
    assert total <= FIRST_LAYER_RATIO * sum(map(len, FIRST_LAYER))


@pytest.mark.rule("L9")
@every_language
def test_link_is_named_as_it_reads(language: str) -> None:
    """The notice names the link that the settings control then shows."""
    assert text(language, "Manage my cookies") in text(language, FIRST_LAYER[2])


@pytest.mark.rule("L12")
@every_language
def test_notice_reads_in_the_language(language: str) -> None:
    """The drawn notice states language and direction, is ASCII, parses, and leaves nothing open."""
    renderer = Renderer(make_policy())
    html = renderer.notice(View(is_shared=False), language, Slots("/privacy-choices"))
    assert html.isascii()
    assert b"%(" not in html
    page = parse(b"<!doctype html><html><head><title>x</title></head><body>" + html + b"</body></html>")
    notice = page.find(".//section[@id='gem-notice']")
    assert notice.get("lang") == language
    assert notice.get("dir") == Translation(language, language).direction
    words = "".join(notice.itertext())
    assert text(language, "Reject all") in words
    assert renderer.notices[language].html.decode().count('dir="') >= 2


@pytest.mark.rule("L7", "L11")
@every_language
def test_notice_has_no_other_words(language: str) -> None:
    """Each word of the first layer is the catalogue's or a name of the site's; advertising is called that."""
    ads = Service("ads", name="Example Ads", purpose="marketing", provider="Example Ads")
    policy = make_policy(services=(*make_policy().services, ads))
    html = Renderer(policy).notice(View(is_shared=False), language, Slots("/privacy-choices"))
    page = parse(b"<!doctype html><html><head><title>x</title></head><body>" + html + b"</body></html>")
    notice = page.find(".//section[@id='gem-notice']")
    filled = {
        "name": policy.controller.name,
        "duration": Translation(language, language).duration(policy.lifetime),
    }
    purposes = [str(one) for purpose in policy.asked for one in (purpose.name, purpose.description)]
    assert "Personalised advertising" in purposes
    allowed = [text(language, id_) % filled for id_ in (*FIRST_LAYER, *BUTTONS, *LABELS, UNSENT, *purposes)]
    allowed += [service.name for service in policy.services]
    words = " ".join([*notice.itertext(), *(one.get("data-gem", "") for one in notice.iter("form"))])
    for known in sorted(allowed, key=len, reverse=True):
        words = words.replace(known, "")
    assert letters(words) == ""
