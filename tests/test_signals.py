"""Signals and machines: Global Privacy Control, crawlers, and what is fetched before somebody looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asgi import PAGE, App, Visitor, get, mentions_vendor, parse, request, rows, site, wrap
from test_client import BROWSERS, CRAWLERS, TOOLS

from gem_consent import ConfigurationError, ConsentMiddleware

GPC = {"sec-gpc": "1"}
CRAWLER = {"user-agent": CRAWLERS[0]}
STATEMENT = "/.well-known/gpc.json"
PUBLIC = ("cache-control", "public, max-age=600")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where the choices are recorded."""
    return tmp_path / "ledger.db"


def asks(body: str) -> bool:
    """Say whether a page holds the notice."""
    return parse(body).find(".//section[@id='gem-notice']") is not None


def has_control(body: str) -> bool:
    """Say whether a page shows the control that leads to the choices."""
    control = parse(body).find(".//section[@id='gem-settings']")
    return control is not None and "hidden" not in control.attrib


def obeying(ledger: Path, app: App | None = None, **options: Any) -> ConsentMiddleware:
    return wrap(app or site(), ledger, gpc="refuse", **options)


def test_signal_is_asked_by_default(ledger: Path) -> None:
    """Unless the site says otherwise, a visitor with the signal is asked like all others."""
    app = wrap(site(), ledger)
    assert get(app, headers=GPC).body == get(app).body
    assert asks(get(app, headers=GPC).text)


def test_signal_refuses_without_notice(ledger: Path) -> None:
    """With gpc="refuse" there is no notice and no tag, and the control stays."""
    answer = get(obeying(ledger), headers=GPC)
    assert not asks(answer.text)
    assert has_control(answer.text)
    assert mentions_vendor(answer.text) == []


def test_signal_stores_nothing(ledger: Path) -> None:
    """Looking with the signal on writes no row and sets no cookie."""
    assert get(obeying(ledger), headers=GPC).all("set-cookie") == []
    assert rows(ledger) == []


@pytest.mark.rule("G1")
@pytest.mark.parametrize("value", ["0", "", "true", "1, 1", "1;x"])
def test_other_values_are_no_signal(ledger: Path, value: str) -> None:
    """Only exactly 1 is the signal."""
    assert asks(get(obeying(ledger), headers={"sec-gpc": value}).text)


@pytest.mark.rule("G1")
@pytest.mark.parametrize("mode", ["ask", "refuse"])
def test_signal_grants_nothing(ledger: Path, mode: Any) -> None:
    """Whatever the mode, nothing is granted by the signal."""
    visitor = Visitor(wrap(site(), ledger, gpc=mode))
    state = json.loads(visitor.get("/privacy-choices/state", GPC).body)
    assert state["decided"] is False
    assert [id_ for id_, is_allowed in state["purposes"].items() if is_allowed] == ["necessary"]


def test_press_outweighs_signal(ledger: Path) -> None:
    """Who chooses all the same has chosen: pages follow, and the row says that the signal was on."""
    visitor = Visitor(obeying(ledger))
    assert visitor.post("grant_all", headers=GPC, surface="preferences").status == 303
    assert mentions_vendor(visitor.get(headers=GPC).text) != []
    assert [row["surface"] for row in rows(ledger)] == ["preferences:gpc"]


@pytest.mark.parametrize(
    ("headers", "surface"), [(GPC, "notice:gpc"), ({"sec-gpc": "0"}, "notice"), ({}, "notice")]
)
def test_signal_is_recorded(ledger: Path, headers: dict[str, str], surface: str) -> None:
    """The row of a decision says whether the signal was on when it was made."""
    Visitor(wrap(site(), ledger)).post("deny_all", headers=headers)
    assert [row["surface"] for row in rows(ledger)] == [surface]


def test_form_cannot_claim_a_signal(ledger: Path) -> None:
    """What the server adds to the surface cannot be sent."""
    Visitor(wrap(site(), ledger)).post("deny_all", surface="notice:gpc")
    assert [row["surface"] for row in rows(ledger)] == [""]


def test_private_page_varies_by_signal(ledger: Path) -> None:
    """Where the signal changes the page, caches are told; where it does not, they are not."""
    assert get(obeying(ledger)).all("vary") == ["Cookie", "Sec-GPC"]
    assert get(wrap(site(), ledger)).all("vary") == ["Cookie"]
    app = obeying(ledger, site(headers=[("vary", "Accept"), ("etag", '"1"')]))
    assert "sec-gpc" in ",".join(get(app).all("vary")).lower()


def test_shared_page_knows_no_signal(ledger: Path) -> None:
    """A shared page is the same for all: its script is told to look for the signal."""
    app = obeying(ledger, site(headers=[PUBLIC]))
    answers = [get(app), get(app, headers=GPC), get(app, headers=CRAWLER)]
    assert len({(answer.body, tuple(answer.headers)) for answer in answers}) == 1
    assert parse(answers[0].body).find(".//head/script[@data-gpc]") is not None
    assert answers[0].header("vary") is None


def test_asking_script_knows_no_signal(ledger: Path) -> None:
    """Where the site asks all the same, so does the script."""
    assert parse(get(wrap(site(), ledger)).body).find(".//head/script[@data-gpc]") is None


def test_unknown_mode_is_refused(ledger: Path) -> None:
    """A mode that there is not does not start."""
    with pytest.raises(ConfigurationError, match="gpc is 'grant'; allowed: one of ask, refuse"):
        wrap(site(), ledger, gpc="grant")


@pytest.mark.rule("G1")
def test_statement_is_served(ledger: Path) -> None:
    """A site that obeys the signal says so at its root, in the specification's form."""
    answer = get(obeying(ledger, site(b"not here", kind="text/plain", status=404)), STATEMENT)
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert json.loads(answer.body) == {"gpc": True, "lastUpdate": "2026-11-26"}


def test_statement_replaces_a_catch_all_page(ledger: Path) -> None:
    """A page in HTML is no statement, though its status says so."""
    assert json.loads(get(obeying(ledger), STATEMENT).body)["gpc"] is True


def test_statement_has_a_head(ledger: Path) -> None:
    """HEAD gets the same headers and no body."""
    answer = request(obeying(ledger), STATEMENT, "HEAD")
    assert (answer.header("content-type"), answer.body) == ("application/json", b"")


def test_statement_is_whole_whatever_the_application_asks_for(ledger: Path) -> None:
    """An application that goes on as for another method changes nothing of what the visitor asked for."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["method"] = {"GET": "HEAD", "HEAD": "GET"}[scope["method"]]
        await site(b"not here", kind="text/plain", status=404)(scope, receive, send)

    json_alone = {"accept": "application/json"}
    got, head = (request(obeying(ledger, app), STATEMENT, method, json_alone) for method in ("GET", "HEAD"))
    assert (json.loads(got.body)["gpc"], head.body) == (True, b"")


def test_sites_own_statement_stays(ledger: Path) -> None:
    """A site's own file is not replaced, nor its redirect."""
    own = site(b'{"gpc": false}', kind="application/json")
    assert get(obeying(ledger, own), STATEMENT).body == b'{"gpc": false}'
    moved = site(b"", [("location", "/gpc.json")], status=301)
    assert get(obeying(ledger, moved), STATEMENT).status == 301


def test_asking_site_states_nothing(ledger: Path) -> None:
    """A site that asks all the same makes no statement."""
    assert get(wrap(site(b"not here", kind="text/plain", status=404), ledger), STATEMENT).status == 404


def test_statement_is_the_hosts(ledger: Path) -> None:
    """Under a root_path the host's root is another application's."""
    missing = site(b"not here", kind="text/plain", status=404)
    answer = get(obeying(ledger, missing), f"/shop{STATEMENT}", root_path="/shop")
    assert answer.status == 404


def test_crawler_gets_no_notice(ledger: Path) -> None:
    """A crawler reads the page as somebody who refused sees it."""
    app = wrap(site(), ledger)
    answers = [get(app, headers={"user-agent": agent}) for agent in CRAWLERS]
    assert {(answer.body, tuple(answer.headers)) for answer in answers} == {
        (answers[0].body, tuple(answers[0].headers))
    }
    assert not asks(answers[0].text)
    assert mentions_vendor(answers[0].text) == []


def test_person_gets_the_notice(ledger: Path) -> None:
    """Everybody else is asked, programs in somebody's hands too."""
    app = wrap(site(), ledger)
    pages = {get(app, headers={"user-agent": agent}).text for agent in BROWSERS + TOOLS}
    assert [asks(page) for page in pages] == [True]


def test_crawlers_grant_is_refused(ledger: Path) -> None:
    """A machine agrees to nothing: no row, no cookie."""
    answer = Visitor(wrap(site(), ledger)).json("grant_all", CRAWLER)
    assert answer.status == 403
    assert "crawler" in json.loads(answer.body)["error"]
    assert answer.cookies == {}
    assert rows(ledger) == []


def test_crawlers_refusal_is_no_event(ledger: Path) -> None:
    """A machine's refusal gets its cookie and writes no row."""
    answer = Visitor(wrap(site(), ledger)).post("deny_all", headers=CRAWLER)
    assert answer.status == 303
    assert "__Host-gem_consent" in answer.cookies
    assert rows(ledger) == []


def test_withdrawal_is_recorded_whoever_sends_it(ledger: Path) -> None:
    """What a person granted is withdrawn with its row, even from a browser that calls itself a crawler."""
    visitor = Visitor(wrap(site(), ledger))
    visitor.post("grant_all")
    visitor.post("withdraw", headers=CRAWLER)
    assert [row["state"] for row in rows(ledger)] == ["given", "withdrawn"]


@pytest.mark.parametrize("name", ["sec-purpose", "purpose"])
def test_page_fetched_ahead_is_the_page(ledger: Path, name: str) -> None:
    """A page fetched before somebody looks is the one they will see: notice in it, nothing stored for it."""
    app = wrap(site(), ledger)
    ahead = get(app, headers={name: "prefetch;prerender"})
    assert (ahead.body, ahead.headers) == (get(app).body, get(app).headers)
    assert asks(ahead.text)
    assert rows(ledger) == []


def test_own_pages_are_not_fetched_ahead(ledger: Path) -> None:
    """The preferences show the choice of the moment they are looked at, so they are not given before it."""
    app = wrap(site(), ledger)
    answer = get(app, "/privacy-choices", {"sec-purpose": "prefetch"})
    assert (answer.status, answer.header("cache-control")) == (503, "no-store")
    assert get(app, "/privacy-choices").status == 200


def test_notices_give_no_snippet(ledger: Path) -> None:
    """Search engines are told to quote neither notice nor control."""
    page = parse(get(wrap(site(PAGE), ledger)).body)
    for id_ in ("gem-notice", "gem-settings"):
        assert "data-nosnippet" in page.find(f".//section[@id='{id_}']").attrib
