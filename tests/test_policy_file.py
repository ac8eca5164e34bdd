"""Policies read from TOML: what the file may say, and how its faults are told."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_consent.errors import PolicyError
from gem_consent.locale import duration_text
from gem_consent.policy import Controller, Policy, Purpose, Service, Tracker
from gem_consent.policy_file import _line, load_policy
from gem_consent.services import GoogleAnalytics

EXAMPLE = Path(__file__).parent / "data" / "policy.toml"
PAGE = Path(__file__).parents[1] / "docs" / "policy-file.md"
SOURCE = EXAMPLE.read_text("utf-8")
SMALLEST = 'privacy_url = "/privacy"\n[controller]\nname = "Example"\ncontact = "dpo@example.com"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of a file that is not there yet."""
    return tmp_path / "policy.toml"


def load(file: Path, source: str) -> Policy:
    """Write a policy file and load it."""
    file.write_text(source, "utf-8")
    return load_policy(file)


def change(old: str, new: str) -> str:
    """Give the example with one passage changed, of which there must be one only."""
    assert SOURCE.count(old) == 1, old
    return SOURCE.replace(old, new)


def test_example_is_the_policy_it_says() -> None:
    """The documented example equals the policy that Python code would declare."""
    chat = Service(
        "chat",
        name="Chat",
        purpose="support",
        provider="Example Ltd",
        description={"fr": "Discussion avec un conseiller.", "en": "A talk with an adviser."},
        privacy_url="https://chat.example.com/privacy",
        recipients=["Example Hosting Inc."],
        countries=["US"],
        transfer_basis={"fr": "Clauses contractuelles types", "en": "Standard contractual clauses"},
        leftovers=["chat_v1_*"],
        start=tomllib.loads(SOURCE)["services"][1]["start"],
        stop="if (window.chat) window.chat.close();",
        hosts={
            "script-src": ["https://chat.example.com"],
            "connect-src": ["https://chat.example.com", "wss://chat.example.com"],
        },
        trackers=[
            Tracker(
                "chat_id",
                timedelta(days=30),
                description={"fr": "Numéro de la discussion.", "en": "The talk's number."},
            ),
            Tracker(
                "chat_open",
                None,
                description={"fr": "Fenêtre ouverte ou fermée.", "en": "Whether the window is open."},
                storage="sessionStorage",
            ),
        ],
    )
    assert load_policy(EXAMPLE) == Policy(
        controller=Controller("Exemple", "dpo@example.com", "1 rue de l'Exemple, 75000 Paris"),
        privacy_url="/confidentialite",
        services=[GoogleAnalytics("G-XXXXXXXXXX"), chat],
        purposes=[
            Purpose(
                "support",
                name={"fr": "Assistance", "en": "Support"},
                description={"fr": "Vous répondre en direct.", "en": "Answer you live."},
            )
        ],
        lifetime=timedelta(days=393),
        language="fr",
        languages=["fr", "en"],
        version="2026-11",
    )


def test_documented_example_is_loaded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's example is the file that these tests load, and the page's code loads it."""
    page = PAGE.read_text("utf-8")
    [code, example] = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)
    assert example == SOURCE
    file.write_text(example, "utf-8")
    monkeypatch.chdir(file.parent)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["policy"] == load_policy(EXAMPLE)


def test_documented_message_is_told(file: Path) -> None:
    """The message on the page is the one that the fault gives."""
    [message] = re.findall(r"```text\npolicy.toml, (.*?)\n```", PAGE.read_text("utf-8"), re.DOTALL)
    with pytest.raises(PolicyError, match=re.escape(message)):
        load(file, change('"30 days"', '"30 jours"'))


@pytest.mark.parametrize("kind", [Policy, Controller, Purpose, Service, Tracker])
def test_every_key_is_documented(kind: type[Any]) -> None:
    """Each field that the file may hold has its row or its word on the page."""
    page = PAGE.read_text("utf-8")
    missing = [field.name for field in fields(kind) if field.init and f"`{field.name}`" not in page]
    assert missing == []


def test_smallest_file_is_enough(file: Path) -> None:
    """A controller and the privacy policy's address make a policy, the rest has its defaults."""
    expected = Policy(controller=Controller("Example", "dpo@example.com"), privacy_url="/privacy")
    assert load(file, SMALLEST) == expected


def test_windows_file_is_read(file: Path) -> None:
    """A byte-order mark and Windows line ends are read as the text they mean."""
    file.write_bytes(b"\xef\xbb\xbf" + SOURCE.replace("\n", "\r\n").encode())
    assert load_policy(str(file)) == load_policy(EXAMPLE)


def test_inline_tables_are_read(file: Path) -> None:
    """Tables may be written in one line each."""
    source = (
        'privacy_url = "/privacy"\ncontroller = { name = "Example", contact = "dpo@example.com" }\n'
        'services = [\n  { type = "google-analytics", measurement_id = "G-XXXXXXXXXX", id = "ga" },\n]\n'
    )
    assert load(file, source).services == (GoogleAnalytics("G-XXXXXXXXXX", id="ga"),)


def test_ready_made_service_takes_its_arguments(file: Path) -> None:
    """Whatever the Python function takes, the file may say."""
    source = change('"G-XXXXXXXXXX"', '"G-X1234"\npurpose = "marketing"\ncountries = []')
    expected = GoogleAnalytics("G-X1234", purpose="marketing", countries=[])
    assert load(file, source).services[0] == expected


def test_tracker_lifetime_may_be_words(file: Path) -> None:
    """Where no number says how long, a text for each language does."""
    policy = load(file, change('"30 days"', '{ fr = "jusqu\'à la déconnexion" }'))
    assert policy.services[1].trackers[0].lifetime == {"fr": "jusqu'à la déconnexion"}


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("words", "duration"),
    [
        ("10 minutes", timedelta(minutes=10)),
        ("1 minute", timedelta(minutes=1)),
        ("2 hours", timedelta(hours=2)),
        ("30 days", 30 * DAY),
        ("2 weeks", 14 * DAY),
        ("1 month", 28 * DAY),
        ("2 months", 59 * DAY),
        ("3 months", 89 * DAY),
        ("6 months", 181 * DAY),
        ("13 months", 393 * DAY),
        ("1 year", 365 * DAY),
        ("2 years", 730 * DAY),
        ("5 years", 1826 * DAY),
        ("9999 years", 3_652_134 * DAY),
    ],
)
def test_duration_is_never_longer_than_said(file: Path, words: str, duration: timedelta) -> None:
    """Months and years last the fewest days that calendar months can last."""
    assert load(file, change("30 days", words)).services[1].trackers[0].lifetime == duration


@pytest.mark.parametrize("months", range(2, 61))
def test_months_are_shown_as_written(file: Path, months: int) -> None:
    """What the file calls so many months, visitors are shown as so many months, and a day less is not."""
    lifetime = load(file, change("30 days", f"{months} months")).services[1].trackers[0].lifetime
    assert isinstance(lifetime, timedelta)
    assert duration_text(int(lifetime.total_seconds())) == ("months", months)
    assert duration_text(int((lifetime - DAY).total_seconds())) != ("months", months)


FAULTS: list[tuple[str, str, str]] = [
    ('"2026-11" ', "2026-11-01 ", r"line 1: version is datetime\.date\(.*; allowed: a text in quotes"),
    ('["fr", "en"]', '"fr"', r"line 3: languages is 'fr'; allowed: a list such as \['…', '…'\]"),
    ('["fr", "en"]', '["fr", 1]', r"line 3: languages\[1\] is 1; allowed: a text in quotes"),
    (
        'language = "fr"',
        'language = "de"',
        r"line 2: language is 'de'; allowed: one of Policy\.languages: fr, en",
    ),
    ('"/confidentialite"', '"confidentialite"', r"line 4: privacy_url is 'confidentialite'; allowed: a path"),
    ('"13 months"', '"14 months"', r"line 5: lifetime is 424 days.*allowed: .*393 days \(13 months\)"),
    ('"13 months"', '"13 mois"', r"line 5: lifetime is '13 mois'; allowed: a number of minutes, hours"),
    ('"13 months"', '"session"', r"line 5: lifetime is 'session'; allowed: a number [^{]*'13 months'$"),
    ('"13 months"', "393", r"line 5: lifetime is 393; allowed: a number of minutes"),
    ('"13 months"', '{ fr = "13 mois" }', r"line 5: lifetime is \{.*\}; allowed: a number of minutes"),
    (
        'privacy_url = "/c',
        'privacy_uri = "/c',
        r"line 4: privacy_uri is not a key here; allowed: privacy_url",
    ),
    (
        'lifetime = "13 m',
        'fingerprint = "13 m',
        r"line 5: fingerprint is not a key here; allowed: controller, ",
    ),
    ("[controller]", "[controler]", r"line 7: controler is not a key here; allowed: controller"),
    ("[controller]", "[[controller]]", r"line 7: controller is \[.*; allowed: a table"),
    ('name = "Exemple"', "", r"line 7: controller\.name is missing; allowed: a text in quotes"),
    ('"dpo@example.com" ', '"dpo" ', r"line 9: controller\.contact is 'dpo'; allowed: an e-mail address or"),
    (
        '"1 rue de l\'Exemple, 75000 Paris"',
        "0",
        r"line 10: controller\.address is 0; allowed: a text in q.* or a",
    ),
    ("[[purposes]]", "[purposes]", r"line 12: purposes is \{.*; allowed: tables in double brackets"),
    (
        'id = "support"',
        'id = "Support"',
        r"line 13: purposes\[0\]\.id is 'Support'; allowed: lower-case letters",
    ),
    ('id = "support"', 'id = "necessary"', r"line 12: purposes\[0\]\.is_necessary is False; allowed: True"),
    (
        'id = "support"',
        'id = "support"\nis_necessary = "no"',
        r"line 14: .*is_necessary is 'no'; allowed: true or f",
    ),
    (
        '{ fr = "Assistance", en = "Support" }',
        "{ fr = 1 }",
        r"line 14: purposes\[0\]\.name\.fr is 1; allowed: a te",
    ),
    (
        '{ fr = "Assistance", en = "Support" }',
        '{ fr = "" }',
        r"line 14: purposes\[0\]\.name\.fr is ''; allowed",
    ),
    (
        '{ fr = "Assistance", en = "Support" }',
        "[]",
        r"line 14: purposes\[0\]\.name is \[\]; allowed: a text in",
    ),
    (
        'type = "google-analytics"',
        'type = "ga"',
        r"line 18: services\[0\]\.type is 'ga'; allowed: calendly, google-analyt",
    ),
    (
        'type = "google-analytics"',
        "type = []",
        r"line 18: services\[0\]\.type is \[\]; allowed: calendly, google-analyt",
    ),
    (
        "measurement_id",
        "mesurement_id",
        r"line 19: services\[0\]\.mesurement_id is not a key.*: measurement_id$",
    ),
    (
        '"G-XXXXXXXXXX"',
        '"UA-1"',
        r"line 19: services\[0\]\.measurement_id is 'UA-1'; allowed: the id of a GA4",
    ),
    (
        'measurement_id = "G-XXXXXXXXXX"',
        "",
        r"line 17: services\[0\]\.measurement_id is missing; allowed: a te",
    ),
    (
        'id = "chat"',
        'id = "google-analytics"',
        r"line 22: services\[1\]\.id is 'google-an.*; allowed: each id once",
    ),
    (
        'purpose = "support"',
        'purpose = "suport"',
        r"line 24: services\[1\]\.purpose of 'chat' is 'suport'; .*support$",
    ),
    (
        'provider = "Example Ltd"',
        "",
        r"line 21: services\[1\]\.provider is missing; allowed: a text in quotes",
    ),
    ("provider =", "privider =", r"line 25: services\[1\]\.privider is not a key here; allowed: provider"),
    ('["US"] ', '["USA"] ', r"line 29: services\[1\]\.countries is 'USA'; allowed: ISO 3166-1"),
    ('["US"] ', '"US" ', r"line 29: services\[1\]\.countries is 'US'; allowed: a list"),
    (
        "transfer_basis",
        "# transfer_basis",
        r"line 21: services\[1\]\.transfer_basis is None; allowed: a text, since",
    ),
    (
        'stop = "if (window.chat) window.chat.close();"',
        "stop = 1",
        r"line 37: services\[1\]\.stop is 1; allowed: a",
    ),
    (
        'script-src = ["https',
        'script-src = ["ftp',
        r"line 40: services\[1\]\.hosts\.script-src is 'ftp:.*; allowed",
    ),
    ("script-src", "style-src", r"line 39: services\[1\]\.hosts is 'style-src'; allowed: the directives"),
    (
        'script-src = ["https://chat.example.com"]',
        "script-src = 1",
        r"line 40: .*\.hosts\.script-src is 1; allowed: a l",
    ),
    ('"chat_id"', '"chat id"', r"line 44: services\[1\]\.trackers\[0\]\.name is 'chat id'; allowed: a name"),
    (
        '"30 days"',
        '"30 dayz"',
        r"line 45: services\[1\]\.trackers\[0\]\.lifetime is '30 dayz'; allowed: a .*'session'$",
    ),
    ('"30 days"', "30", r"line 45: services\[1\]\.trackers\[0\]\.lifetime is 30; allowed: a number"),
    (
        '"30 days"',
        '"0 days"',
        r"line 45: services\[1\]\.trackers\[0\]\.lifetime is '0 days'; allowed: a number",
    ),
    ('"30 days"', '"-1 days"', r"line 45: services\[1\]\.trackers\[0\]\.lifetime is '-1 days'"),
    (
        '"sessionStorage"',
        '"disk"',
        r"line 51: services\[1\]\.trackers\[1\]\.storage is 'disk'; allowed: one of cook",
    ),
    (
        "storage = ",
        "storages = ",
        r"line 51: services\[1\]\.trackers\[1\]\.storages is not a key here; allowed: storage",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_fault_is_told_with_its_line(file: Path, old: str, new: str, message: str) -> None:
    """Each fault is told with the file, the line, the key, the value and what is allowed."""
    with pytest.raises(PolicyError, match=re.escape(str(file)) + ", " + message):
        load(file, change(old, new))


def test_second_purpose_of_one_id_is_told(file: Path) -> None:
    """Of two purposes with one id the second is the fault."""
    second = '\n[[purposes]]\nid = "support"\nname = "Again"\ndescription = "Again."\n'
    line = (SOURCE + second).count("\n") - 2
    with pytest.raises(
        PolicyError, match=rf"line {line}: purposes\[1\]\.id is 'support'; allowed: each id once"
    ):
        load(file, SOURCE + second)


@pytest.mark.parametrize("source", ["", "# nothing yet\n"])
def test_empty_file_misses_the_controller(file: Path, source: str) -> None:
    """An empty file is told what comes first."""
    with pytest.raises(PolicyError, match="line 1: controller is missing; allowed: a table"):
        load(file, source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('a = "x"\nversion = 2026-11\n', r"line 2: this is not TOML \(https://toml\.io\): "),
        ('language = "fr"\nlanguage = "en"\n', r"line [23]: this is not TOML .*: Cannot overwrite a value"),
        ('language = "fr"\n\nversion = """2026\n\n', r"line 3: this is not TOML .*: "),
        ("privacy_url = /privacy\n", r"line 1: this is not TOML .*: Invalid value"),
    ],
)
def test_syntax_error_is_told_with_its_line(file: Path, source: str, message: str) -> None:
    """What is no TOML at all is told with the line where reading stopped."""
    with pytest.raises(PolicyError, match=re.escape(str(file)) + ", " + message):
        load(file, source)


def test_missing_file_is_told(file: Path) -> None:
    """A file that is not there is told by its path, with the remedy."""
    with pytest.raises(
        PolicyError, match=r"policy\.toml cannot be read \(No such file.*\): give the path of a TOML"
    ):
        load_policy(file)


def test_folder_is_no_policy(tmp_path: Path) -> None:
    """A folder is told like a missing file."""
    with pytest.raises(PolicyError, match=r"cannot be read \(.+\): give the path of a TOML file"):
        load_policy(tmp_path)


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 3), ("utf-16", 1)])
def test_other_encoding_is_told(file: Path, encoding: str, line: int) -> None:
    """A file in another encoding is told with the line and the remedy."""
    file.write_bytes(('[controller]\n# of course\nname = "Société"\n').encode(encoding))
    with pytest.raises(PolicyError, match=rf"line {line}: this is not UTF-8; save the file again as UTF-8"):
        load_policy(file)


def test_every_key_of_the_example_is_found() -> None:
    """The line found for a key is the one that begins with it, the line of a table its header's."""
    lines = SOURCE.split("\n")
    for at in places(tomllib.loads(SOURCE)):
        text = lines[_line(SOURCE, at) - 1]
        names = [part for part in at if isinstance(part, str)]
        is_inline = names[-1] in ("fr", "en") or (at[-1] != names[-1] and "[[" not in text)
        assert text.strip("[ ").startswith((names[-1], ".".join(names))) or is_inline, at


def places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Give every place in a document, tables and lists included."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, entry in entries:
        yield (*at, key)
        yield from places(entry, (*at, key))


@pytest.mark.parametrize(
    ("source", "at", "line"),
    [
        ('x = """\nkey = 1\n"""\nkey = 2', ("key",), 4),
        ("x = '''\n[t]\n\"\"\"\n'''\n[t]\nkey = 1", ("t", "key"), 6),
        ('x = """one line"""\nkey = 1', ("key",), 2),
        ("[ \"a b\" . c ]\n 'd' . e = 1", ("a b", "c", "d", "e"), 2),
        ("[[a]]\n[a.b]\n[[a.b.c]]\n[[a]]\n[[a.b.c]]\n[[a.b.c]]\nkey = 1", ("a", 1, "b", "c", 1, "key"), 7),
        ("[[a]] # first\n# key = 0\n  key=1", ("a", 0, "key"), 3),
        ("a = [\n  1,\n  2,\n]", ("a", 1), 1),
        ("[t]\nkey = 1", ("t", "missing"), 1),
        ("\n\nkey = 1", ("missing",), 1),
    ],
)
def test_line_is_found_in_any_layout(source: str, at: tuple[str | int, ...], line: int) -> None:
    """Strings over several lines, quoted and dotted keys, tables in tables: the key's own line is found."""
    tomllib.loads(source)
    assert _line(source, at) == line


keys = st.text("abc-_ é.", min_size=1, max_size=3)
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.text("ab[]=#\n'\" ", max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
known = st.sampled_from(
    ["controller", "privacy_url", "services", "purposes", "lifetime", "name", "type", "hosts"]
)


def toml(value: object) -> str:
    """Write a value in one line of TOML: JSON but for tables (TOML 1.0, "Inline Table")."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


@settings(deadline=None)
@given(st.dictionaries(known | keys, values, max_size=5))
def test_any_document_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    """Whatever a well-formed file says, it is a policy or a refusal that names a line of it."""
    source = "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in document.items())
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(source, "utf-8")
    with pytest.raises(
        PolicyError, match=r"any\.toml, line [1-5]: \S+ (is|of) .*; ?allowed: |is not a key here"
    ):
        load_policy(file)
