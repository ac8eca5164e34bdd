"""The library's own pages: the decision in all its answers, the state, the tags, the page of preferences."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asgi import (
    START,
    VENDOR_HOSTS,
    Answer,
    Clock,
    Visitor,
    get,
    make_policy,
    mentions_vendor,
    parse,
    request,
    rows,
    site,
    wrap,
)
from jinja2 import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from gem_consent import ConsentExtension, ConsentMiddleware, Controller
from gem_consent.errors import LedgerUnavailable
from gem_consent.ledger.rows import EventRejected
from gem_consent.recorder import Recorder

PATH = "/privacy-choices"
FORM = "application/x-www-form-urlencoded"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


@pytest.fixture
def app(ledger: Path) -> Iterator[ConsentMiddleware]:
    app = wrap(site(), ledger)
    yield app
    app.site.recorder.close()


@pytest.fixture
def visitor(app: ConsentMiddleware) -> Visitor:
    return Visitor(app)


class Broken(Recorder):
    """A recorder whose ledger is away, or refuses what it is given."""

    error: Exception = LedgerUnavailable("away")

    async def record(self, event: Any, key: str | None = None) -> Any:
        """Fail."""
        raise self.error

    async def keep(self, event: Any, key: str | None = None) -> Any:
        """Keep for later."""
        return event

    async def history(self, subject: str) -> Any:
        """Fail."""
        raise LedgerUnavailable("away")


@pytest.fixture
def broken(ledger: Path) -> ConsentMiddleware:
    """A site whose ledger is away."""
    app = wrap(site(), ledger)
    recorder = Broken(f"sqlite:///{ledger}", lambda: app.site.renderer.notices.values())
    object.__setattr__(app.site, "recorder", recorder)
    return app


def is_no_store(answer: Answer) -> bool:
    return answer.header("cache-control") == "no-store"


def test_form_is_answered_by_303(visitor: Visitor, ledger: Path) -> None:
    """A form's grant is one row, two cookies and the way back to the page."""
    answer = visitor.post("grant_all", return_to="/a?b=c")
    assert (answer.status, answer.header("location")) == (303, "/a?b=c")
    assert sorted(answer.cookies) == ["__Host-gem_consent", "gem_consent_hint"]
    assert len(rows(ledger)) == 1
    assert is_no_store(answer)


@pytest.mark.rule("R2", "C1", "C2")
def test_cookie_has_its_attributes(visitor: Visitor) -> None:
    """The cookie is HttpOnly, Lax, Secure, for the whole host, and for 393 days (C1, C2, R2)."""
    for decision in ("grant_all", "deny_all"):
        value = visitor.post(decision).cookies["__Host-gem_consent"]
        assert value.endswith("; Max-Age=33955200; Path=/; SameSite=Lax; Secure; HttpOnly")


def test_slow_request_keeps_the_maximum(ledger: Path) -> None:
    """A clock that moves while the decision is taken does not lengthen the cookie's life."""
    clock = Clock()

    def ticking() -> float:
        clock.seconds += 5
        return clock.seconds

    answer = Visitor(wrap(site(), ledger, clock=ticking)).post("deny_all")
    assert "Max-Age=33955200;" in answer.cookies["__Host-gem_consent"]


def test_hint_says_what_is_granted(visitor: Visitor) -> None:
    """The hint has eight digits of the fingerprint, the grants and the end."""
    hint = visitor.post("grant_all").cookies["gem_consent_hint"].partition(";")[0]
    fingerprint = visitor.app.site.policy.fingerprint[:8]
    assert hint == f"{fingerprint}.analytics~media.{START + 393 * 86_400}"


def test_json_is_answered_by_state(visitor: Visitor) -> None:
    """JSON gets the state that stands now."""
    answer = visitor.json("save", purposes=["media"], key=KEY)
    assert answer.status == 200
    assert answer.json == {
        "decided": True,
        "purposes": {"necessary": True, "analytics": False, "media": True},
        "decided_at": "2026-11-24T06:00:00.000Z",
        "expires_at": "2027-12-22T06:00:00.000Z",
        "fingerprint": visitor.app.site.policy.fingerprint,
    }


@pytest.mark.parametrize(("csp", "expected"), [(True, True), (False, None)])
def test_restricted_page_is_told_to_reload(visitor: Visitor, csp: bool, expected: bool | None) -> None:
    """A grant on a page whose policy forbids the tag says that a reload is needed."""
    assert visitor.json("grant_all", csp=csp).json.get("reload") is expected


def test_withdrawal_asks_for_reload(visitor: Visitor) -> None:
    """What runs on the page is stopped by a reload."""
    visitor.json("grant_all")
    assert visitor.json("withdraw").json["reload"] is True


@pytest.mark.parametrize("target", ["/", "/a/b?c=d&e=%20#f", "/%5Cevil", "/a//b", "/?x=https://example.net"])
def test_local_return_is_followed(visitor: Visitor, target: str) -> None:
    """A path of this site is where the visitor goes back to."""
    assert visitor.post("deny_all", return_to=target).header("location") == target


@pytest.mark.rule("C7")
@pytest.mark.parametrize(
    "target",
    [
        *(
            "//evil",
            "/\\evil",
            "\\\\evil",
            "https://evil",
            "evil",
            "",
            "/\t/evil",
            "/a\r\nSet-Cookie: x=y",
            "/\x00",
        ),
        *("javascript:alert(1)", "/" + "x" * 2048, " /a", "/\x85"),
    ],
)
def test_odd_return_is_ignored(visitor: Visitor, target: str) -> None:
    """Any other address, an over-long one or none leads to the start page."""
    answer = visitor.post("deny_all", return_to=target)
    assert (answer.status, answer.header("location")) == (303, "/")


def test_preferences_return_to_themselves(visitor: Visitor) -> None:
    """From the preferences page one comes back to it, in the notice's language, with the way back kept."""
    answer = visitor.post("save", notice=visitor.notice("fr"), surface="preferences", return_to="/a?b=c")
    location = answer.header("location")
    assert location == f"{PATH}?saved=1&lang=fr&return=/a%3Fb%3Dc"
    page = visitor.get(location).text
    assert "Votre choix est enregistré." in page.replace("&#233;", "é")
    assert 'href="/a?b=c"' in page


@pytest.mark.rule("C7")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://www.example.com"}, 403),
        ({"sec-fetch-site": "", "origin": "https://www.example.com"}, 303),
        ({"sec-fetch-site": "", "origin": "http://www.example.com:80"}, 303),
        ({"sec-fetch-site": "", "origin": "https://www.example.com:8443"}, 403),
        (
            {"sec-fetch-site": "", "origin": "https://www.example.com:8443", "host": "www.example.com:8443"},
            303,
        ),
        ({"sec-fetch-site": "", "origin": "https://example.com"}, 403),
        ({"sec-fetch-site": "", "origin": "null"}, 403),
        ({"sec-fetch-site": "", "origin": "https://[bad"}, 403),
        ({"sec-fetch-site": "", "origin": "http://[::1]:80", "host": "[::1]"}, 303),
        ({"sec-fetch-site": ""}, 403),
    ],
)
def test_only_own_pages_decide(visitor: Visitor, ledger: Path, headers: dict[str, str], status: int) -> None:
    """Sec-Fetch-Site decides, else Origin and Host with their ports; a request with neither is refused."""
    answer = visitor.post("deny_all", headers=headers)
    assert (answer.status, len(rows(ledger))) == (status, int(status == 303))
    assert bool(answer.cookies) is (status == 303)


BAD_FORMS: dict[str, tuple[str, int]] = {
    "unknown decision": ("decision=maybe", 400),
    "no decision": ("", 400),
    "unknown purpose": ("decision=save&purpose=telepathy", 400),
    "bad key": ("decision=grant_all&key=short", 400),
    "too many fields": ("decision=grant_all" + "&a=1" * 200, 400),
    "not utf-8": ("decision=grant_all&x=\xe9", 400),
    "too many purposes": ("decision=save" + "&purpose=a" * 101, 400),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_bad_form_writes_nothing(visitor: Visitor, ledger: Path, name: str) -> None:
    """A form that is no decision gets a page that says so, and nothing is written or set."""
    body, status = BAD_FORMS[name]
    answer = visitor.send(body.encode("latin-1"), FORM)
    assert (answer.status, rows(ledger), answer.all("set-cookie")) == (status, [], [])
    assert "This choice could not be read." in answer.text


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nothing",
        "[]",
        '"deny_all"',
        "null",
        "[" * 100_000,
        '{"decision": 1}',
        '{"decision": ["deny_all"]}',
        '{"decision": "save", "purposes": "media"}',
        '{"decision": "save", "purposes": [1]}',
        '{"decision": "save", "purposes": ["\\ud800"]}',
        '{"decision": "save", "purposes": ["telepathy"]}',
        '{"decision": "grant_all", "notice": 1}',
        '{"decision": "grant_all", "key": {}}',
        '{"decision": "grant_all", "surface": null}',
        '{"decision": "grant_all", "return": true}',
    ],
)
def test_bad_json_writes_nothing(visitor: Visitor, ledger: Path, body: str) -> None:
    """JSON that is no decision gets an error that says what to correct, and nothing is written."""
    answer = visitor.send(body, "application/json")
    assert answer.status in (400, 413)
    assert answer.json["error"]
    assert (rows(ledger), answer.all("set-cookie")) == ([], [])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("decision=deny_all&key=short", FORM),
        ("decision=withdraw" + "&a=1" * 200, FORM),
        ("decision=deny_all&x=\xe9&purpose=\xe9", FORM),
        ("decision=deny_all" + "&purpose=a" * 101, FORM),
        ("decision=save&key=short", FORM),
        ('{"decision": "deny_all", "notice": 1, "key": {}}', "application/json"),
        ('{"decision": "withdraw", "surface": null, "return": true, "csp": 1}', "application/json"),
        ('{"decision": "deny_all", "purposes": "media"}', "application/json"),
        ('{"decision": "save", "purposes": [], "key": "short"}', "application/json"),
    ],
)
def test_refusal_counts_whatever_is_malformed(visitor: Visitor, ledger: Path, body: str, kind: str) -> None:
    """A refusal is honoured and recorded, whatever else of the request cannot be read."""
    answer = visitor.send(body.encode("latin-1"), kind)
    assert answer.status == (303 if kind == FORM else 200)
    assert [row["state"] for row in rows(ledger)] == ["refused"]
    assert set(answer.cookies) == {"__Host-gem_consent", "gem_consent_hint"}


@pytest.mark.parametrize("odd", ["\\ud800", "\\u0000", "é" * 1000])
def test_odd_text_in_json_is_harmless(visitor: Visitor, odd: str) -> None:
    """Odd characters in free fields neither fail a refusal nor reach the ledger."""
    body = f'{{"decision": "deny_all", "return": "/{odd}", "surface": "{odd}", "notice": "{odd}"}}'
    assert visitor.send(body, "application/json").status == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/jsonp", ""])
def test_other_types_get_415(visitor: Visitor, ledger: Path, kind: str) -> None:
    """Only forms and JSON are read."""
    answer = visitor.send("decision=deny_all", kind)
    assert (answer.status, rows(ledger)) == (415, [])


@pytest.mark.parametrize("kind", [FORM + "; charset=utf-8", "APPLICATION/X-WWW-Form-urlencoded"])
def test_type_may_have_parameters(visitor: Visitor, kind: str) -> None:
    """Parameters and case of the media type do not matter."""
    assert visitor.send("decision=deny_all", kind).status == 303


def test_large_body_gets_413(visitor: Visitor, ledger: Path) -> None:
    """More than 16 KiB is not read to its end, however it is cut."""
    answer = visitor.send([b"decision=deny_all&x=", *[b"y" * 1024] * 40], FORM)
    assert (answer.status, rows(ledger)) == (413, [])


def test_body_in_pieces_is_read(visitor: Visitor) -> None:
    """A body that arrives byte by byte is one body."""
    assert visitor.send([bytes([byte]) for byte in b"decision=deny_all"], FORM).status == 303


def test_broken_off_request_changes_nothing(app: ConsentMiddleware, ledger: Path) -> None:
    """A client that goes away before its body ends has decided nothing."""
    sent: list[Any] = []

    async def main() -> None:
        from asgi import http_scope

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = {"content-type": FORM, "sec-fetch-site": "same-origin"}
        await app(http_scope(PATH, "POST", headers), receive, send)

    import anyio

    anyio.run(main)
    assert (sent[0]["status"], rows(ledger)) == (400, [])


@pytest.mark.rule("C7")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_get_405(app: ConsentMiddleware, method: str) -> None:
    """The decision address takes GET, HEAD and POST."""
    answer = request(app, PATH, method)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("path", ["/state", "/tags", "/assets/x.css"])
def test_pages_take_no_post(app: ConsentMiddleware, path: str) -> None:
    """The other addresses take GET and HEAD only."""
    assert request(app, PATH + path, "POST").header("allow") == "GET, HEAD"


@pytest.mark.parametrize("path", ["/x", "/state/", "/assets/x.png", "/assets/", "/receipt"])
def test_unknown_address_gets_404(app: ConsentMiddleware, path: str) -> None:
    """What is not there is not found, and not stored."""
    answer = get(app, PATH + path)
    assert answer.status == 404
    assert is_no_store(answer)


@pytest.mark.parametrize(
    "path", ["/privacy-choicesX", "/privacy-choices.html", "/a/privacy-choices", "/Privacy-choices"]
)
def test_neighbouring_paths_are_the_sites(app: ConsentMiddleware, path: str) -> None:
    """The prefix ends at a slash or at the end."""
    assert b"Bonjour" in get(app, path).body


@pytest.mark.parametrize("notice", ["", "f" * 64, "nonsense", "\x00"])
def test_stale_grant_gets_409(visitor: Visitor, ledger: Path, notice: str) -> None:
    """A grant that answers no known notice is not taken; the page shows the present one."""
    answer = visitor.post("grant_all", notice=notice)
    assert (answer.status, rows(ledger), answer.all("set-cookie")) == (409, [], [])
    assert "What we ask has changed" in answer.text
    assert f'value="{visitor.notice()}"' in answer.text


def test_stale_json_gets_present_notice(visitor: Visitor) -> None:
    """The script is told the digest of the present notice."""
    answer = visitor.json("grant_all", notice="f" * 64)
    assert (answer.status, answer.json["notice"]) == (409, visitor.notice())


@pytest.mark.parametrize("notice", ["", "f" * 64, "nonsense"])
@pytest.mark.parametrize("decision", ["deny_all", "withdraw", "save"])
def test_refusal_needs_no_notice(visitor: Visitor, ledger: Path, decision: str, notice: str) -> None:
    """A refusal is honoured with any notice or none."""
    answer = visitor.post(decision, notice=notice)
    assert (answer.status, len(rows(ledger))) == (303, 1)
    assert "__Host-gem_consent" in answer.cookies


def test_refusal_ignores_unknown_purposes(visitor: Visitor) -> None:
    """Whatever an outdated page sends with a refusal, it stays one."""
    assert visitor.post("deny_all", "telepathy").status == 303


def test_notice_of_other_process_counts(tmp_path: Path) -> None:
    """In a rolling deploy the other process's notice under the same fingerprint is accepted."""
    ledger = tmp_path / "consent.db"
    other = wrap(site(), ledger, policy=make_policy(controller=Controller("Exemple", "dpo@example.com")))
    Visitor(other).post("deny_all")
    digest = other.site.renderer.notices["en"].digest
    visitor = Visitor(wrap(site(), ledger))
    assert digest != visitor.notice()
    assert visitor.post("grant_all", notice=digest).status == 303


def test_notice_of_other_policy_does_not(tmp_path: Path) -> None:
    """A notice stored under another fingerprint asked something else."""
    ledger = tmp_path / "consent.db"
    other = wrap(site(), ledger, policy=make_policy(version="old"))
    Visitor(other).post("deny_all")
    digest = other.site.renderer.notices["en"].digest
    assert Visitor(wrap(site(), ledger)).post("grant_all", notice=digest).status == 409


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), EventRejected("never")])
def test_grant_without_ledger_gets_503(broken: ConsentMiddleware, error: Exception) -> None:
    """What cannot be proved is not granted: no cookie, a time to try again, and nothing switched on."""
    broken.site.recorder.error = error  # type: ignore[attr-defined]
    # the notice is known once the ledger has been opened; here it is taken as known
    broken.site.recorder._own = frozenset({(Visitor(broken).notice(), broken.site.policy.fingerprint)})
    for answer in (Visitor(broken).post("grant_all"), Visitor(broken).json("grant_all")):
        assert (answer.status, answer.header("retry-after")) == (503, "5")
        assert answer.all("set-cookie") == []


def test_refusal_without_ledger_is_honoured(broken: ConsentMiddleware) -> None:
    """A refusal gets its cookie, stored or not."""
    visitor = Visitor(broken)
    assert "__Host-gem_consent" in visitor.post("deny_all").cookies
    assert b"gem-notice-accept-all" not in visitor.get().body


def test_unreachable_ledger_refuses_grants_only(tmp_path: Path) -> None:
    """With a ledger in a folder that is not there, grants get 503 and refusals their cookie."""
    app = wrap(site(), tmp_path / "gone" / "consent.db")
    app.site.recorder._patience = 0.2
    answers = Visitor(app).post("grant_all"), Visitor(app).post("deny_all")
    assert [answer.status for answer in answers] == [503, 303]
    assert [bool(answer.cookies) for answer in answers] == [False, True]
    app.site.recorder.close(0.1)


def test_page_without_ledger_says_so(broken: ConsentMiddleware) -> None:
    """The preferences page comes without the history when that cannot be read."""
    visitor = Visitor(broken)
    visitor.post("deny_all")
    assert "cannot be read just now" in visitor.get(PATH).text


def test_same_choice_writes_nothing(visitor: Visitor, ledger: Path) -> None:
    """The choice that stands, made again, leaves row and cookie as they are."""
    visitor.post("grant_all")
    visitor.app.site.clock.seconds += 3600  # type: ignore[attr-defined]
    answers = visitor.post("grant_all"), visitor.json("save", purposes=["analytics", "media", "necessary"])
    assert [answer.all("set-cookie") for answer in answers] == [[], []]
    assert len(rows(ledger)) == 1


@pytest.mark.parametrize("decision", ["grant_all", "deny_all"])
def test_key_counts_once(app: ConsentMiddleware, ledger: Path, decision: str) -> None:
    """A request sent again under its key is the same: one row, the same subject and time in both cookies."""
    first = Visitor(app).json(decision, key=KEY)
    app.site.clock.seconds += 30  # type: ignore[attr-defined]
    second = Visitor(app).json(decision, key=KEY)
    name = "__Host-gem_consent"
    assert first.cookies[name].partition(";")[0] == second.cookies[name].partition(";")[0]
    assert (len(rows(ledger)), first.json) == (1, second.json)


@pytest.mark.rule("W7")
def test_states_are_the_dpvs(visitor: Visitor, ledger: Path) -> None:
    """Given, withdrawn, refused and renewed are what they say."""
    visitor.post("deny_all")
    visitor.post("save", "media")
    visitor.post("grant_all")
    visitor.post("save", "analytics")
    visitor.post("withdraw")
    visitor.post("grant_all")
    assert [row["state"] for row in rows(ledger)] == [
        "refused",
        "given",
        "given",
        "withdrawn",
        "withdrawn",
        "given",
    ]


def test_same_grant_after_expiry_is_renewed(visitor: Visitor, ledger: Path) -> None:
    """When the time is over, the same grant is renewed, under a new subject."""
    visitor.post("grant_all")
    visitor.app.site.clock.seconds += 394 * 86_400  # type: ignore[attr-defined]
    visitor.post("grant_all")
    first, second = rows(ledger)
    assert second["state"] == "renewed"
    assert first["subject"] != second["subject"]


@pytest.mark.rule("C6")
def test_new_policy_keeps_subject(tmp_path: Path) -> None:
    """Another fingerprint voids the grant and asks again, under the same subject."""
    ledger = tmp_path / "consent.db"
    old = Visitor(wrap(site(), ledger))
    old.post("grant_all")
    new = Visitor(wrap(site(), ledger, policy=make_policy(version="2")))
    new.cookies = old.cookies
    assert b"gem-notice-accept-all" in new.get().body
    new.post("grant_all")
    first, second = rows(ledger)
    assert (second["state"], second["subject"]) == ("renewed", first["subject"])


@pytest.mark.rule("F1")
def test_event_says_what_happened(visitor: Visitor, ledger: Path) -> None:
    """A row holds the choice in words, and of the browser only what is coarse."""
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
    headers = {"user-agent": agent, "host": "Shop.Example.com:8443"}
    visitor.post("save", "media", notice=visitor.notice("fr"), surface="notice", headers=headers)
    (row,) = rows(ledger)
    expected = {
        "site": "shop.example.com",
        "state": "given",
        "action": "save",
        "surface": "notice",
        "purposes": {"analytics": False, "media": True},
        "notice": visitor.notice("fr"),
        "language": "fr",
        "fingerprint": visitor.app.site.policy.fingerprint,
        "time": "2026-11-24T06:00:00.000Z",
        "expires": "2027-12-22T06:00:00.000Z",
        "browser": "Firefox 145",
        "system": "Linux",
        "device": "desktop",
        "network": None,
        "previous": None,
    }
    assert {name: row[name] for name in expected} == expected


def test_network_is_kept_on_request(ledger: Path) -> None:
    """The prefix of the address is kept where the site asks for it."""
    Visitor(wrap(site(), ledger, keeps_network=True)).post("deny_all")
    assert rows(ledger)[0]["network"] == "203.0.113.0/24"


@pytest.mark.rule("F3")
def test_file_holds_nothing_personal(visitor: Visitor, ledger: Path) -> None:
    """No address, user agent, query or cookie can be found in any byte of the ledger's files (F3)."""
    secrets = ["203.0.113.77", "Gecko/20100101", "private-query", "cookie-value", "fr-FR,secret"]
    headers = {"user-agent": "Mozilla/5.0 Gecko/20100101 Firefox/145.0", "accept-language": "fr-FR,secret"}
    visitor.cookies["session"] = "cookie-value"
    visitor.post("grant_all", headers=headers, return_to="/a?q=private-query")
    visitor.json("withdraw", headers=headers, key=KEY)
    visitor.app.site.recorder.close()
    content = b"".join(path.read_bytes() for path in ledger.parent.iterdir())
    cookie = visitor.cookies["__Host-gem_consent"]
    assert [secret for secret in [*secrets, cookie, KEY] if secret.encode() in content] == []


def test_cookie_comes_after_commit(visitor: Visitor, ledger: Path) -> None:
    """When the grant's cookie leaves, its row can be read by another connection."""
    seen: list[int] = []
    encode = visitor.app.site.cookie.encode

    def watched(choice: Any) -> str:
        with closing(sqlite3.connect(ledger)) as connection:
            seen.extend(connection.execute("SELECT count(*) FROM events").fetchone())
        return encode(choice)

    visitor.app.site.cookie.encode = watched  # type: ignore[method-assign]
    visitor.post("grant_all")
    assert seen == [1]


def test_withdrawal_deletes_trackers(visitor: Visitor) -> None:
    """A withdrawal deletes what the request carries and what is known by name, on every parent domain."""
    visitor.post("grant_all")
    visitor.cookies |= {"vid_9": "1", "session": "2"}
    answer = visitor.post("withdraw", return_to="/fr/page")
    assert answer.deleted == {"_ga", "_ga_XXXXXXXXXX", "vid_9"}
    lines = answer.all("set-cookie")
    assert {"_ga=; Max-Age=0; Path=/; Domain=example.com", "_ga=; Max-Age=0; Path=/fr"} <= set(lines)


def test_state_before_choice(app: ConsentMiddleware) -> None:
    """The state of a stranger: undecided, with the notice to answer."""
    answer = get(app, PATH + "/state?lang=fr")
    assert answer.json == {
        "decided": False,
        "purposes": {"necessary": True, "analytics": False, "media": False},
        "decided_at": None,
        "expires_at": None,
        "fingerprint": app.site.policy.fingerprint,
        "notice": app.site.renderer.notices["fr"].digest,
    }
    assert is_no_store(answer)


def test_notice_in_any_language_is_answered(app: ConsentMiddleware, ledger: Path) -> None:
    """A page's own language is enough: its notice is stored with the first answer, and the row names both."""
    visitor = Visitor(app)
    assert visitor.post("grant_all", notice=visitor.notice("fr")).status == 303
    assert [(row["language"], row["notice"]) for row in rows(ledger)] == [("fr", visitor.notice("fr"))]


def test_other_process_answers_for_any_language(app: ConsentMiddleware, ledger: Path) -> None:
    """The process that takes the choice need not be the one that showed the notice."""
    digest = wrap(site(), ledger).site.renderer.notices["fr"].digest
    assert app.site.renderer.notices.drawn() == []
    assert Visitor(app).post("grant_all", notice=digest).status == 303
    assert [row["language"] for row in rows(ledger)] == ["fr"]


def test_state_never_names_subject(visitor: Visitor, ledger: Path) -> None:
    """The state can be read by the page's scripts, so the visitor's number is not in it."""
    visitor.post("grant_all")
    assert rows(ledger)[0]["subject"] not in visitor.get(PATH + "/state").text


@pytest.mark.parametrize(
    ("purposes", "hosts"),
    [
        ((), []),
        (("media",), ["video.example.net"]),
        (
            ("analytics", "media"),
            ["analytics.google.com", "google-analytics.com", "googletagmanager.com", "video.example.net"],
        ),
    ],
)
def test_tags_name_granted_hosts(visitor: Visitor, purposes: tuple[str, ...], hosts: list[str]) -> None:
    """The tags' script names the hosts of what is granted, and no other."""
    visitor.post("save", *purposes)
    answer = visitor.get(PATH + "/tags")
    assert sorted(mentions_vendor(answer.text)) == hosts
    assert answer.header("content-type") == "text/javascript; charset=utf-8"
    assert is_no_store(answer)


def test_tags_of_strangers_are_empty_handed(app: ConsentMiddleware) -> None:
    """Without a choice there is no vendor's host in the tags."""
    assert mentions_vendor(get(app, PATH + "/tags").text) == []


def test_asset_is_immutable_by_hash(app: ConsentMiddleware) -> None:
    """A file is kept for good under its own hash, and not at all under another's."""
    (link,) = parse(get(app, PATH).body).iter("link")
    own, other = get(app, link.get("href")), get(app, f"{PATH}/assets/0123456789abcdef.css")
    assert own.header("cache-control") == "public, max-age=31536000, immutable"
    assert (other.status, other.body) == (200, own.body)
    assert is_no_store(other)


def test_odd_host_breaks_nothing(app: ConsentMiddleware) -> None:
    """A host header that is no host does not fail the library's pages."""
    for path in ("", "/state", "/tags", "/assets/x.css"):
        assert get(app, PATH + path, headers={"host": "[bad"}).status == 200


def test_page_has_strict_policy(app: ConsentMiddleware) -> None:
    """The preferences page allows itself a stylesheet and forms, and no script for a stranger."""
    answer = get(app, PATH)
    policy = answer.header("content-security-policy") or ""
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'none'")
    assert "frame-ancestors 'self'" in policy
    assert is_no_store(answer)
    assert (answer.header("x-content-type-options"), answer.header("referrer-policy")) == (
        "nosniff",
        "same-origin",
    )


def test_stop_script_is_hashed(visitor: Visitor) -> None:
    """After a refusal the page's one script is allowed by its hash."""
    from gem_consent.csp import hash_source

    visitor.post("deny_all")
    answer = visitor.get(PATH)
    (script,) = parse(answer.body).iter("script")
    assert f"script-src '{hash_source(script.text)}'" in (answer.header("content-security-policy") or "")
    assert mentions_vendor(answer.text) == []


def ticks(answer: Answer) -> dict[str, bool]:
    """Give the boxes of the purposes on the preferences page, and which are ticked."""
    boxes = (box for box in parse(answer.body).iter("input") if box.get("name") == "purpose")
    return {box.get("value"): box.get("checked") is not None for box in boxes}


def buttons(answer: Answer) -> list[str]:
    return [button.get("value") for button in parse(answer.body).iter("button")]


@pytest.mark.rule("S1", "S3")
def test_nothing_is_ticked_beforehand(app: ConsentMiddleware) -> None:
    """A first visitor finds every box empty, and both buttons for all (S1, S3)."""
    answer = get(app, PATH)
    assert ticks(answer) == {"analytics": False, "media": False}
    assert buttons(answer) == ["grant_all", "deny_all", "save"]


@pytest.mark.rule("S5")
def test_stored_choice_is_shown(visitor: Visitor) -> None:
    """The page shows what was chosen (S5), and a withdrawal where something is granted."""
    visitor.post("save", "media")
    answer = visitor.get(PATH)
    assert ticks(answer) == {"analytics": False, "media": True}
    assert "withdraw" in buttons(answer)


def test_refusal_needs_no_withdrawal(visitor: Visitor) -> None:
    """After a refusal there is nothing to withdraw."""
    visitor.post("deny_all")
    assert "withdraw" not in buttons(visitor.get(PATH))


def test_history_is_the_visitors_own(visitor: Visitor, ledger: Path) -> None:
    """The page lists the visitor's own choices with their number, and nobody else's."""
    Visitor(visitor.app).post("grant_all")
    visitor.post("grant_all")
    visitor.post("withdraw")
    text = visitor.get(PATH).text
    assert rows(ledger)[1]["subject"] in text
    assert rows(ledger)[0]["subject"] not in text
    history = parse(text).findall(".//div[@class='gem-table']/table")[-1]
    assert [row[1].text for row in history.iter("tr")] == ["Choice", "Agreement given", "Agreement withdrawn"]


@pytest.mark.parametrize(("query", "language"), [("?lang=fr", "fr"), ("?lang=xx", "en"), ("", "en")])
def test_lang_parameter_counts_first(app: ConsentMiddleware, query: str, language: str) -> None:
    """The page keeps the notice's language, else it takes the browser's."""
    answer = get(app, PATH + query, headers={"accept-language": "en"})
    assert parse(answer.body).get("lang") == language
    assert answer.header("content-language") == language
    assert answer.header("vary") == "Cookie, Accept-Language"


@pytest.mark.parametrize("target", ["javascript:alert(1)", "//evil", "https://evil"])
def test_hostile_return_leads_home(app: ConsentMiddleware, target: str) -> None:
    """A return address that is not local is left out of the page."""
    from urllib.parse import quote

    text = get(app, f"{PATH}?return={quote(target, safe='')}").text
    assert "evil" not in text
    assert "javascript:" not in text


def test_page_escapes_what_it_shows(ledger: Path) -> None:
    """Names and addresses with markup in them are shown as text."""
    controller = Controller('A <b>"&"</b> name', "dpo@example.com", address="<i>here</i>")
    app = wrap(site(), ledger, policy=make_policy(controller=controller))
    answer = get(app, PATH + "?return=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    tree = parse(answer.body)
    assert [tag for tag in ("b", "i", "script") if tree.findall(f".//{tag}")] == []
    assert 'A <b>"&"</b> name' in "".join(tree.itertext())
    assert parse(get(app).body).findall(".//b") == []


def test_page_is_ascii_and_valid(visitor: Visitor) -> None:
    """The page parses without an error in both languages, before and after a choice."""
    for decision in ("", "grant_all", "withdraw"):
        if decision:
            visitor.post(decision)
        for language in ("en", "fr"):
            assert visitor.get(f"{PATH}?lang={language}").body.isascii()
            parse(visitor.get(f"{PATH}?lang={language}").body)


def test_head_has_headers_only(app: ConsentMiddleware) -> None:
    """HEAD gets the headers of GET and no body."""
    head, full = request(app, PATH, "HEAD"), get(app, PATH)
    assert (head.headers, head.body) == (full.headers, b"")


def test_root_path_is_part_of_addresses(ledger: Path) -> None:
    """Under a root_path the library's addresses and ways back have it in them."""
    app = wrap(site(), ledger)
    visitor = Visitor(app, root_path="/shop")
    text = get(app, "/shop/a", root_path="/shop").text
    assert 'action="/shop/privacy-choices"' in text
    assert 'name="return" value="/shop/a"' in text
    assert visitor.post("deny_all").header("location") == "/shop/"
    assert get(app, "/shop/privacy-choices/state", root_path="/shop").json["decided"] is False


@pytest.mark.parametrize("accepted", [None, "gzip", "gzip, br"])
@pytest.mark.parametrize("insert", ["auto", "never"])
def test_site_may_mount_others(ledger: Path, accepted: str | None, insert: Any) -> None:
    """On a page of what the site mounts below a path, the notice sends its choice to the site's address."""

    async def page(request: Request) -> Response:
        place = "{% if placed %}{{ consent_notice() }}{% endif %}"
        source = f"<!doctype html><title>Blog</title><body>{place}<h1>Blog</h1>"
        template = Environment(autoescape=True, extensions=[ConsentExtension]).from_string(source)
        return HTMLResponse(template.render(request=request, placed=insert == "never"))

    blog = Starlette(routes=[Route("/", page)])
    visitor = Visitor(wrap(Starlette(routes=[Mount("/blog", app=blog)]), ledger, insert=insert))
    text = visitor.get("/blog/", {"accept-encoding": accepted} if accepted else {}).text
    assert set(re.findall(r'action="([^"]*)"', text)) == {"/privacy-choices"}
    assert set(re.findall(r'name="return" value="([^"]*)"', text)) <= {"/blog/"}


def test_mounted_site_works(ledger: Path) -> None:
    """Within a Starlette Mount the prefix lies under the mount."""
    outer = Starlette(routes=[Mount("/shop", app=wrap(site(), ledger))])
    assert get(outer, "/shop/privacy-choices/state").json["decided"] is False
    assert 'action="/shop/privacy-choices"' in get(outer, "/shop/").text


def test_path_is_the_sites_choice(ledger: Path) -> None:
    """The prefix can be moved."""
    app = wrap(site(), ledger, path="/choix")
    assert get(app, "/choix/state").status == 200
    assert b"Bonjour" in get(app, PATH).body


def test_plain_http_has_plain_cookie(ledger: Path) -> None:
    """Over http the cookie has no prefix and no Secure; over https it has both."""
    answer = Visitor(wrap(site(), ledger), scheme="http").post("deny_all")
    assert sorted(answer.cookies) == ["gem_consent", "gem_consent_hint"]
    assert "Secure" not in str(answer.cookies)


def test_https_only_overrides_scheme(ledger: Path) -> None:
    """https_only=True sets https cookies behind a proxy that hides its scheme."""
    answer = Visitor(wrap(site(), ledger, https_only=True), scheme="http").post("deny_all")
    assert "Secure" in answer.cookies["__Host-gem_consent"]


def test_site_that_asks_nothing(ledger: Path) -> None:
    """Where nothing is asked, the page says so, and a decision changes nothing."""
    visitor = Visitor(wrap(site(), ledger, policy=make_policy(services=())))
    assert "there is nothing to choose" in visitor.get(PATH).text
    answer = visitor.post("deny_all")
    assert (answer.status, answer.all("set-cookie"), rows(ledger)) == (303, [], [])


def test_decision_can_be_parsed_by_scripts(visitor: Visitor) -> None:
    """What a program is told is JSON, whatever went wrong."""
    answer = visitor.send(json.dumps({"decision": "x"}), "application/json")
    assert "grant_all, deny_all, save, withdraw" in answer.json["error"]


def test_logs_hold_no_visitor(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of a visitor is logged on the way of a decision."""
    with caplog.at_level(logging.DEBUG, "gem_consent"):
        visitor.post("grant_all")
        visitor.post("withdraw")
    assert caplog.text == ""


def test_vendor_hosts_are_those_declared() -> None:
    """The hosts that these tests look for are those that the policy declares."""
    declared = {
        host.removeprefix("https://").removeprefix("*.").removeprefix("www.")
        for service in make_policy().services
        for sources in service.hosts.values()
        for host in sources
    }
    assert declared == set(VENDOR_HOSTS)


def test_narrowing_keeps_the_end(app: ConsentMiddleware, visitor: Visitor, ledger: Path) -> None:
    """Who takes one of two purposes back renews nothing: what is left ends when it would have ended."""
    given = visitor.post("grant_all")
    app.site.clock.seconds += 390 * 86_400  # type: ignore[attr-defined]
    kept = visitor.post("save", "analytics", notice="f" * 64)
    ends = [answer.cookies["gem_consent_hint"].partition(";")[0].split(".")[-1] for answer in (given, kept)]
    assert ends[0] == ends[1]
    stored = rows(ledger)
    assert [row["state"] for row in stored] == ["given", "withdrawn"]
    assert stored[0]["expires"][:19] == stored[1]["expires"][:19]
    app.site.clock.seconds += 4 * 86_400  # type: ignore[attr-defined]
    assert not visitor.get(f"{PATH}/state").json["decided"]


def test_unknown_notice_is_not_recorded(visitor: Visitor, ledger: Path) -> None:
    """A refusal counts with a notice that nobody can open, but its row does not point at one."""
    assert visitor.post("deny_all", notice="f" * 64).status == 303
    assert [row["notice"] for row in rows(ledger)] == [""]


def test_key_gives_no_other_subject(app: ConsentMiddleware, ledger: Path) -> None:
    """Another visitor who sends the same key gets an event of their own, not somebody else's subject."""
    first, second = Visitor(app), Visitor(app)
    second.post("deny_all")
    first.json("grant_all", key=KEY)
    second.json("grant_all", key=KEY)
    subjects = [row["subject"] for row in rows(ledger)]
    assert len(subjects) == 3
    assert subjects[1] != subjects[2] == subjects[0]


def test_key_does_not_undo_withdrawal(app: ConsentMiddleware, ledger: Path) -> None:
    """The same key after a withdrawal is a new choice, with a row of its own."""
    visitor = Visitor(app)
    for decision in ("grant_all", "withdraw", "grant_all"):
        visitor.json(decision, key=KEY)
    assert [row["state"] for row in rows(ledger)] == ["given", "withdrawn", "given"]


@pytest.mark.parametrize(
    ("root_path", "path", "action", "back"),
    [
        ("/api", "/page", "/api/privacy-choices", "/api/page"),
        ("/api", "/api/page", "/api/privacy-choices", "/api/page"),
        ("/", "/page", "/privacy-choices", "/page"),
        ("//evil.example", "/page", "/evil.example/privacy-choices", "/evil.example/page"),
    ],
)
def test_root_path_leads_back(ledger: Path, root_path: str, path: str, action: str, back: str) -> None:
    """The form and the way back stay on this host and in the application, whatever the server says."""
    visitor = Visitor(wrap(site(), ledger), root_path=root_path)
    form = parse(visitor.get(path).text).find(".//form")
    fields = {field.get("name"): field.get("value") for field in form.iter("input")}
    assert (form.get("action"), fields["return"]) == (action, back)
    home = action.removesuffix("privacy-choices")
    assert visitor.post("deny_all", return_to="").header("location") == home


def test_newer_state_is_shown_raw(visitor: Visitor, ledger: Path) -> None:
    """A row of a later version does not break the page: its state is shown as it is written."""
    visitor.post("deny_all")
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE events SET state = 'expired'")
    answer = visitor.get(PATH)
    assert answer.status == 200
    assert "expired" in answer.text


def test_site_of_json_alone_has_all_it_needs(ledger: Path) -> None:
    """A front end that gets no document from the site learns, decides and starts by three addresses."""
    visitor = Visitor(wrap(site(b"{}", kind="application/json"), ledger, insert="never"))
    state = visitor.get(f"{PATH}/state").json
    assert (state["decided"], visitor.get().body) == (False, b"{}")
    decision = {"decision": "save", "purposes": ["analytics"], "notice": state["notice"], "surface": "own"}
    taken = visitor.send(json.dumps(decision), "application/json").json
    assert taken["purposes"] == {"necessary": True, "analytics": True, "media": False}
    assert visitor.get(f"{PATH}/state").json == taken | {"notice": state["notice"]}
    assert "googletagmanager.com" in visitor.get(f"{PATH}/tags").text
    assert [(row["state"], row["surface"]) for row in rows(ledger)] == [("given", "own")]
    visitor.app.site.recorder.close()
