"""Receipts: what they say, who gets one, and that whatever is altered in one is found without a database."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asgi import START, VENDOR_HOSTS, Clock, Visitor, get, make_policy, parse, rows, site, wrap
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import SIGNING_SECRET, make_event, url_of
from typer.testing import CliRunner, Result

from gem_consent import ConsentMiddleware, Controller
from gem_consent.cli.app import app as command
from gem_consent.errors import LedgerError, LedgerUnavailable, ProofError
from gem_consent.ledger.checkpoints import origin_of
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.checkpoint import PublicKey, SigningKey
from gem_consent.proof.receipt import DPV, MAX_BYTES, STATUSES, check
from gem_consent.receipt import encoded, find_receipt, page
from gem_consent.recorder import Recorder
from gem_consent.rendering import Renderer

PATH = "/privacy-choices"
POLICY = make_policy(
    controller=Controller("Exemple", "dpo@example.com", "1 rue de l\N{RIGHT SINGLE QUOTATION MARK}Exemple"),
    privacy_url="/confidentialite",
    language="fr",
)
NOTICE = Renderer(POLICY).notices["fr"]
ASKED = {"analytics": True, "media": False}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger of eleven choices under two checkpoints, the last one not covered yet."""
    path = tmp_path_factory.mktemp("receipts") / "consent.db"
    with closing(Ledger.open(url_of(path))) as book:
        book.store_notices([NOTICE])
        for count in (4, 6):
            fields: dict[str, Any] = {"purposes": ASKED, "notice": NOTICE.digest, "language": "fr"}
            book.append([Append(make_event(subject="visitor", **fields)) for _ in range(count)])
            book.sign(SIGNING_SECRET, at_once=True)
        book.append([Append(make_event(state="refused", purposes={"analytics": False}))])
        yield book


def receipt_at(book: Ledger, position: int) -> dict[str, Any]:
    with book.reading() as connection:
        id_ = connection.exec_driver_sql(f"SELECT id FROM events WHERE position = {position}").scalar_one()
        found = find_receipt(connection, id_)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def receipt(book: Ledger) -> dict[str, Any]:
    """The receipt of the sixth row."""
    return receipt_at(book, 5)


def key(book: Ledger) -> PublicKey:
    return SigningKey.derive(SIGNING_SECRET, origin_of(book.uuid)).public_key


def test_receipt_says_what_was_chosen(receipt: dict[str, Any]) -> None:
    """It names status, purposes, services, controller, contact and policy, as the notice did."""
    assert receipt["event_state"] == DPV + "ConsentGiven"
    assert [(one["purpose"], one["consent"]) for one in receipt["purposes"]] == [
        ("analytics", "granted"),
        ("media", "denied"),
    ]
    assert receipt["purposes"][0]["services"][0]["recipients"] == ["Google LLC"]
    assert receipt["party_identification"][0] == {
        "party_role": DPV + "DataController",
        "party_name": "Exemple",
        "party_contact": "dpo@example.com",
        "party_address": "1 rue de l\N{RIGHT SINGLE QUOTATION MARK}Exemple",
    }
    assert (receipt["policyUrl"], receipt["privacy_notice"]) == ("/confidentialite", NOTICE.digest)
    assert "Retirer mon accord" in receipt["withdrawal_method"]


def test_receipt_claims_no_conformity(receipt: dict[str, Any]) -> None:
    """The file says by itself whose names it uses, and that it claims conformity with none of them."""
    assert "conformity with none of them is claimed" in receipt["about"]


def test_receipt_holds_the_notice(receipt: dict[str, Any]) -> None:
    """The page that was shown is in it, byte for byte."""
    content = receipt["proof"]["notice_page"].encode()
    assert hashlib.sha256(content).hexdigest() == receipt["privacy_notice"]


def test_receipt_is_checked_by_key(book: Ledger, receipt: dict[str, Any]) -> None:
    """With nothing but the file and the public key it is proven, and vouched for."""
    checked = check(encoded(receipt), [key(book)])
    assert (checked.position, checked.is_vouched) == (5, True)
    assert checked.checkpoint is not None
    assert checked.checkpoint.size == 10


def test_every_covered_row_has_proof(book: Ledger) -> None:
    """Each row under the newest checkpoint is proven by it."""
    for position in range(10):
        assert check(encoded(receipt_at(book, position)), [key(book)]).position == position


def test_late_row_is_not_proven_yet(book: Ledger) -> None:
    """A row after the newest checkpoint has a receipt that says so, and proves nothing."""
    found = receipt_at(book, 10)
    assert found["proof"]["checkpoint"] is None
    assert check(encoded(found), [key(book)]).checkpoint is None


def test_unknown_is_left_out(book: Ledger) -> None:
    """Where no notice was named, nothing is said of controller, policy or services: nothing is guessed."""
    found = receipt_at(book, 10)
    assert found["purposes"] == [{"purpose": "analytics", "consent": "denied"}]
    assert {"party_identification", "policyUrl", "withdrawal_method"} & found.keys() == set()


def test_receipt_without_key_vouches_for_nothing(receipt: dict[str, Any]) -> None:
    """Without a key from elsewhere the receipt's own is believed, and that is said."""
    assert not check(encoded(receipt)).is_vouched


def test_other_key_is_refused(receipt: dict[str, Any]) -> None:
    """Another key than the one that signed is no proof."""
    other = SigningKey.derive("z" * 40, receipt["proof"]["ledger"]).public_key
    with pytest.raises(ProofError, match="None of the 1 known keys signed"):
        check(encoded(receipt), [other])


def test_missing_notice_is_said(book: Ledger, tmp_path: Path) -> None:
    """A ledger that lost the notice of a row gives no receipt of it."""
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as other:
        other.append([Append(make_event(notice="0" * 64))])
        with pytest.raises(LedgerError, match="run gem-consent verify"):
            receipt_at(other, 0)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to everything in a JSON value that is neither an object nor a list."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    if not members and not isinstance(value, dict | list):
        yield path
    for name, one in members:
        yield from leaves(one, (*path, name))


def test_every_field_is_covered(book: Ledger, receipt: dict[str, Any]) -> None:
    """One altered value anywhere is found: what is said, the event, the proof, the notice, the key."""
    ways = list(leaves(receipt))
    assert len(ways) > 60
    for way in ways:
        for is_longer in (True, False):
            altered: Any = copy.deepcopy(receipt)
            place = altered
            for name in way[:-1]:
                place = place[name]
            old = place[way[-1]]
            place[way[-1]] = f"{old}x" if is_longer or old is None else None
            with pytest.raises(ProofError):
                check_proven(encoded(altered), book)


def check_proven(content: bytes, book: Ledger | None = None) -> None:
    """Check a receipt; one that lost its checkpoint proves nothing, which is a finding as well."""
    if check(content, [key(book)] if book else []).checkpoint is None:
        raise ProofError("No checkpoint covers the choice")


@pytest.mark.parametrize("name", ["receipt_id", "purposes", "policyUrl", "proof"])
def test_missing_member_is_found(receipt: dict[str, Any], name: str) -> None:
    """A member that was taken out is named."""
    with pytest.raises(ProofError, match=name):
        check(encoded({key: value for key, value in receipt.items() if key != name}))


@pytest.mark.parametrize("name", ["event", "salt", "checkpoint", "notice_page"])
def test_missing_proof_is_found(receipt: dict[str, Any], name: str) -> None:
    """A part of the proof that was taken out is named."""
    proof = {key: value for key, value in receipt["proof"].items() if key != name}
    with pytest.raises(ProofError, match=name):
        check(encoded(receipt | {"proof": proof}))


def test_added_member_is_found(receipt: dict[str, Any]) -> None:
    """What was added is proven by nothing, and named."""
    with pytest.raises(ProofError, match="'promise', which nothing proves"):
        check(encoded(receipt | {"promise": "anything"}))


def test_swapped_proof_is_found(book: Ledger, receipt: dict[str, Any]) -> None:
    """Another row's proof does not lead from this event to the checkpoint."""
    other = receipt_at(book, 4)["proof"]
    for names in (("inclusion_proof",), ("position",), ("position", "inclusion_proof")):
        proof = receipt["proof"] | {name: other[name] for name in names}
        with pytest.raises(ProofError, match="does not lead from the event"):
            check(encoded(receipt | {"proof": proof}))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_of_meaning_is_found(book: Ledger, receipt: dict[str, Any], data: st.DataObject) -> None:
    """Whatever byte is changed, added or taken out: the file means the same, or it does not hold."""
    content = bytearray(encoded(receipt))
    at = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(max_size=3))
    content[at : at + data.draw(st.integers(0, 3))] = new
    try:
        is_same = json.dumps(json.loads(content.decode())) == json.dumps(receipt)
    except (ValueError, RecursionError):
        is_same = False
    if is_same:
        check_proven(bytes(content), book)
    else:
        with pytest.raises(ProofError):
            check_proven(bytes(content), book)


HOSTILE = {
    "empty": b"",
    "no json": b"\x00\xff\xfe",
    "not utf-8": b'{"schema_version": "\xff"}',
    "a list": b"[]",
    "deep": b'{"proof": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "twice": b'{"schema_version": "a", "schema_version": "gem-consent/receipt/1"}',
    "huge number": b'{"schema_version": ' + b"9" * 10_000 + b"}",
    "not a number": b'{"schema_version": NaN}',
    "surrogate": b'{"schema_version": "\\ud800"}',
    "huge": b" " * (MAX_BYTES + 1),
    "no proof": b'{"schema_version": "gem-consent/receipt/1"}',
    "odd proof": b'{"schema_version": "gem-consent/receipt/1", "proof": []}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_one_error(name: str) -> None:
    """Whatever a stranger sends ends in one error of the library's own."""
    with pytest.raises(ProofError):
        check(HOSTILE[name])


@pytest.mark.parametrize("value", [None, 1, [], {}, "x", True, {"a": {"b": []}}, "\ud800", -1, 2**70])
def test_odd_values_are_errors(receipt: dict[str, Any], value: Any) -> None:
    """A value of another kind in any place of the proof is an error of the library's own."""
    for name in receipt["proof"]:
        content = json.dumps(receipt | {"proof": receipt["proof"] | {name: value}}).encode()
        with pytest.raises(ProofError):
            check_proven(content)
    for name in (name for name, old in receipt["proof"]["event"].items() if old != value):
        event = receipt["proof"]["event"] | {name: value}
        with pytest.raises(ProofError):
            check(json.dumps(receipt | {"proof": receipt["proof"] | {"event": event}}).encode())


def test_statuses_are_the_vocabularys() -> None:
    """Each state of a choice has its name in the W3C's vocabulary."""
    names = [iri.removeprefix(DPV) for iri in STATUSES.values()]
    assert names == ["ConsentGiven", "ConsentRefused", "ConsentWithdrawn", "RenewedConsentGiven"]


# The page


def words(html: bytes) -> str:
    """Give the text of a page, white space squeezed."""
    return " ".join("".join(parse(html).find("body").itertext()).split())


def test_page_reads_in_the_notices_language(receipt: dict[str, Any]) -> None:
    """The page is in the language of the notice that was answered, and parses without an error."""
    shown = words(page(receipt))
    assert parse(page(receipt)).get("lang") == "fr"
    for text in (
        "Reçu de votre choix",
        "Mesure d\N{RIGHT SINGLE QUOTATION MARK}audience",
        "Exemple",
        receipt["receipt_id"],
    ):
        assert text in shown


def test_page_opens_by_itself(receipt: dict[str, Any]) -> None:
    """A page that was saved refers to nothing: no script, no link to a path, no file beside it."""
    tree = parse(page(receipt))
    links = [one.get("href") for one in tree.iter("a")]
    assert links == ["mailto:dpo@example.com"]
    assert [one for one in tree.iter() if one.tag in ("script", "link", "img")] == []


def test_page_leaves_out_what_is_not_declared(tmp_path: Path) -> None:
    """A controller without an address, and a policy elsewhere, are shown as they are."""
    policy = make_policy(privacy_url="https://example.com/privacy")
    notice = Renderer(policy).notices["en"]
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book:
        book.store_notices([notice])
        book.append([Append(make_event(notice=notice.digest))])
        shown = page(receipt_at(book, 0))
    assert "Data controllerExample" in words(shown)
    assert "https://example.com/privacy" in [one.get("href") for one in parse(shown).iter("a")]


def test_page_says_that_proof_is_to_come(book: Ledger) -> None:
    """Where no checkpoint covers the row yet, the page says so and shows no way to check."""
    shown = words(page(receipt_at(book, 10)))
    assert "The proof is not there yet" in shown
    assert "gem-consent verify" not in shown


def test_page_escapes_what_it_shows(receipt: dict[str, Any]) -> None:
    """What a visitor or a site worded is text on the page."""
    shown = page(receipt | {"site": "<script>alert(1)</script>"})
    assert b"<script" not in shown


# The command line


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, prog_name="gem-consent")


def written(book: Ledger, folder: Path, position: int, *options: str) -> Path:
    """Write a row's receipt to a file by the command."""
    id_ = receipt_at(book, position)["receipt_id"]
    target = folder / "receipt"
    result = run("receipt", id_, "--ledger", url_of(Path(book.name)), "--output", str(target), *options)
    assert result.exit_code == 0, result.stderr
    return target


def test_command_writes_what_verify_takes(book: Ledger, tmp_path: Path) -> None:
    """The file that receipt writes is verified by the public key alone; it is its owner's."""
    file = written(book, tmp_path, 3)
    assert file.stat().st_mode & 0o777 == 0o600
    result = run("verify", str(file), "--public-key", str(key(book)))
    assert result.exit_code == 0
    assert "It holds: it is row 3" in result.stdout
    assert "whoever holds the private key" in result.stdout


def test_command_writes_same_bytes(book: Ledger, tmp_path: Path) -> None:
    """The same question gives the same bytes."""
    assert written(book, tmp_path, 3).read_bytes() == written(book, tmp_path, 3).read_bytes()


def test_command_writes_a_page(book: Ledger, tmp_path: Path) -> None:
    """With --format html it writes the page."""
    assert parse(written(book, tmp_path, 3, "--format", "html").read_bytes()).get("lang") == "fr"


def test_verify_without_key_says_so(book: Ledger, tmp_path: Path) -> None:
    """Without a key the receipt is consistent with itself, and no more is said."""
    result = run("verify", str(written(book, tmp_path, 3)))
    assert result.exit_code == 0
    assert "consistent with itself, keys not vouched for" in result.stdout


def test_uncovered_receipt_fails_verify(book: Ledger, tmp_path: Path) -> None:
    """A receipt without a checkpoint proves nothing: exit 1, and the command that wrote it said so."""
    result = run("verify", str(written(book, tmp_path, 10)), "--public-key", str(key(book)))
    assert result.exit_code == 1
    assert "It proves nothing" in result.stdout


def test_altered_receipt_fails_verify(book: Ledger, tmp_path: Path) -> None:
    """An altered receipt fails in one sentence that names what was altered."""
    file = written(book, tmp_path, 3)
    file.write_bytes(file.read_bytes().replace(b'"consent": "denied"', b'"consent": "granted"'))
    result = run("verify", str(file))
    assert result.exit_code == 1
    assert "The receipt's 'purposes' is not what the event and its notice say" in result.stdout


def test_unknown_event_is_one_line(book: Ledger) -> None:
    """An id that the ledger does not have is one line with the remedy."""
    result = run("receipt", "nobody", "--ledger", url_of(Path(book.name)))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "no event 'nobody'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify"], "name a file, or the ledger"),
        (["verify", "x.json", "--ledger", "sqlite:///x.db"], "A file is checked by itself"),
        (["verify", "x.json", "--since-checkpoint", "x"], "A file is checked by itself"),
        (["verify", "/nowhere/x.json"], "cannot be read"),
    ],
)
def test_wrong_usage_of_verify(arguments: list[str], said: str) -> None:
    """A file or a ledger, one of the two: else one line says so."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


# The pages of the site


@pytest.fixture
def app(tmp_path: Path) -> Iterator[ConsentMiddleware]:
    app = wrap(site(), tmp_path / "consent.db", policy=POLICY)
    yield app
    app.site.recorder.close()


@pytest.fixture
def visitor(app: ConsentMiddleware) -> Visitor:
    """Somebody who has accepted."""
    visitor = Visitor(app)
    visitor.post("grant_all", notice=visitor.notice("fr"))
    return visitor


def own_event(app: ConsentMiddleware) -> str:
    id_: str = rows(Path(app.site.recorder._url.removeprefix("sqlite:///")))[-1]["id"]
    return id_


def test_visitor_gets_own_receipt(visitor: Visitor) -> None:
    """The visitor's own event is a download that no cache keeps."""
    answer = visitor.get(f"{PATH}/receipt?event={own_event(visitor.app)}")
    assert answer.status == 200
    assert answer.header("cache-control") == "no-store, private"
    assert (answer.header("content-disposition") or "").startswith('attachment; filename="consent-receipt-')
    check(answer.body)


def test_visitor_reads_own_receipt(visitor: Visitor) -> None:
    """The page lets nothing run or load, and links to the download and the notice."""
    answer = visitor.get(f"{PATH}/receipt?event={own_event(visitor.app)}&form=page")
    assert answer.header("cache-control") == "no-store, private"
    policy = answer.header("content-security-policy") or ""
    style = parse(answer.body).find(".//style").text.encode()
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    links = [one.get("href") for one in parse(answer.body).iter("a")]
    assert f"{PATH}/notice/{visitor.notice('fr')}" in links
    assert f"{PATH}/receipt?event={own_event(visitor.app)}" in links


def test_others_get_no_receipt(visitor: Visitor) -> None:
    """A stranger, and another visitor, get 404 for somebody's event."""
    where = f"{PATH}/receipt?event={own_event(visitor.app)}"
    other = Visitor(visitor.app)
    other.post("grant_all")
    assert get(visitor.app, where).status == 404
    assert other.get(where).status == 404
    assert visitor.get(f"{PATH}/receipt").status == 404
    assert visitor.get(f"{PATH}/receipt?event=%27%20OR%201").status == 404


def test_expired_cookie_gets_no_receipt(tmp_path: Path) -> None:
    """Once the choice is over, the cookie opens nothing any more."""
    clock = Clock()
    app = wrap(site(), tmp_path / "consent.db", policy=POLICY, clock=clock)
    visitor = Visitor(app)
    visitor.post("grant_all", notice=visitor.notice("fr"))
    clock.seconds = START + 394 * 86_400
    assert visitor.get(f"{PATH}/receipt?event={own_event(app)}").status == 404
    app.site.recorder.close()


def test_preferences_link_to_receipts(visitor: Visitor) -> None:
    """Each line of the history links to its receipt."""
    tree = parse(visitor.get(PATH).body)
    links = [one.get("href") for one in tree.iter("a") if "/receipt" in one.get("href")]
    assert links == [f"{PATH}/receipt?event={own_event(visitor.app)}&form=page"]


def test_ledger_away_is_503(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger cannot be read, a receipt and a notice are to be asked for again later."""

    async def away(self: Recorder, question: Callable[[Ledger], Any]) -> Any:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(Recorder, "read", away)
    for path in ("/receipt?event=x", "/notice/" + "0" * 64):
        answer = visitor.get(PATH + path)
        assert (answer.status, answer.header("retry-after")) == (503, "5")


def test_notice_opens_as_exhibit(visitor: Visitor) -> None:
    """A notice is the page that was shown, byte for byte, in which nothing runs or is sent."""
    answer = get(visitor.app, f"{PATH}/notice/{visitor.notice('fr')}")
    assert answer.body == visitor.app.site.renderer.notices["fr"].html
    assert (answer.header("content-security-policy") or "").startswith("sandbox; default-src 'none'")
    assert get(visitor.app, f"{PATH}/notice/{'0' * 64}").status == 404


def test_receipt_names_no_vendor_host(visitor: Visitor) -> None:
    """The page of a receipt mentions no host that a browser could be sent to."""
    answer = visitor.get(f"{PATH}/receipt?event={own_event(visitor.app)}&form=page")
    assert [host for host in VENDOR_HOSTS if host in answer.text] == []
