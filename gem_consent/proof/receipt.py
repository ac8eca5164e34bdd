"""The receipt of one choice: what it says, and whether that is what its proof proves. Pure.

All that it says follows from the event and from the notice's page, whose digest the event holds. So whoever
checks a receipt says it anew from these two, and compares; nothing in it is anybody's word alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gem_consent.errors import ProofError
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, verify_signers
from gem_consent.proof.event import SALT_BYTES, Event, columns_of, commitment_to
from gem_consent.proof.notice import declaration_in
from gem_consent.proof.strict import hex_bytes, json_object, position_of, require_members, require_text
from gem_consent.proof.tree import HASH_BYTES, leaf_hash, verify_inclusion

__all__ = ["DPV", "FORMAT", "MAX_BYTES", "STATUSES", "Checked", "Proof", "check", "receipt_of"]

FORMAT = "gem-consent/receipt/1"
"""The format's name. What ``receipt_of`` says of an event may change only with it."""

MAX_BYTES = 4 * 1024 * 1024
"""How long a receipt may be; a notice's page is most of it."""

DPV = "https://w3id.org/dpv#"
STATUSES: Mapping[str, str] = {
    "given": DPV + "ConsentGiven",
    "refused": DPV + "ConsentRefused",
    "withdrawn": DPV + "ConsentWithdrawn",
    "renewed": DPV + "RenewedConsentGiven",
}
"""An event's state as the W3C Data Privacy Vocabulary 2.3 names the status of a consent."""

_ABOUT = (
    "What one visitor chose about cookies and other trackers, and the proof that the site recorded it. The "
    "names follow the Kantara Consent Receipt 1.1, ISO/IEC TS 27560 and the W3C Data Privacy Vocabulary; "
    "conformity with none of them is claimed. To check it: gem-consent verify FILE --public-key KEY, with a "
    "key that the site has published elsewhere."
)
_VOCABULARY = {"terms": DPV, "profile": "https://w3id.org/dpv/schema/dpv-27560#receipt-eu-gdpr"}
_MAX_SIBLINGS = 64  # a tree of 2**63 leaves, and one to spare
_PROOF = (
    "ledger", "event", "salt", "commitment", "position", "inclusion_proof", "checkpoint", "public_keys",
    "notice_page",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """What a receipt's proof is made of, as a ledger has it.

    Args:
        ledger: the ledger's name in its checkpoints.
        event: what was committed to.
        salt: 16 bytes.
        position: the row's.
        siblings: the inclusion proof under the checkpoint's tree; empty without one.
        checkpoint: the newest signed checkpoint that covers the row, as a C2SP signed note; ``None`` while
            there is none.
        public_keys: the keys that signed it.
        notice_page: the page that the event's notice digest names; ``None`` where it names none.
    """

    ledger: str
    event: Event
    salt: bytes
    position: int
    siblings: Sequence[bytes] = ()
    checkpoint: bytes | None = None
    public_keys: Sequence[str] = ()
    notice_page: bytes | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What a receipt was found to prove.

    Args:
        ledger: the ledger's name.
        columns: the event's, as they were committed to.
        position: the row's.
        checkpoint: the checkpoint that covers it; ``None`` if none does, and then nothing is proven.
        keys: the public keys that were believed.
        is_vouched: they came from elsewhere than the receipt.
    """

    ledger: str
    columns: Mapping[str, Any]
    position: int
    checkpoint: Checkpoint | None
    keys: tuple[str, ...]
    is_vouched: bool


def receipt_of(proof: Proof) -> dict[str, Any]:
    """Give the receipt: what a reader wants to know first, the proof last. Ready for JSON.

    Raises:
        ProofError: the event is no choice of a visitor, or the notice's page cannot be read.
    """
    columns, page = columns_of(proof.event), proof.notice_page
    said = _said(columns, page)
    return said | {
        "proof": {
            "ledger": proof.ledger,
            "event": columns,
            "salt": proof.salt.hex(),
            "commitment": commitment_to(proof.salt, columns).hex(),
            "position": proof.position,
            "inclusion_proof": [sibling.hex() for sibling in proof.siblings],
            "checkpoint": proof.checkpoint.decode() if proof.checkpoint else None,
            "public_keys": list(proof.public_keys),
            "notice_page": page.decode() if page is not None else None,
        }
    }


def _said(columns: Mapping[str, Any], page: bytes | None) -> dict[str, Any]:
    """Say what an event and the notice that it answers say; what neither of them knows is left out."""
    declared = None if page is None else declaration_in(page)
    try:
        said = _event(columns) | {"purposes": _purposes(columns["purposes"], declared)}
        return said | ({} if declared is None else _context(declared))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ProofError(
            "The event, or what its notice declares, is not as this library writes it"
        ) from error


def _event(columns: Mapping[str, Any]) -> dict[str, Any]:
    if columns["state"] not in STATUSES:
        raise ProofError(f"The event is {columns['state']!r}: a receipt is of a visitor's choice")
    return {
        "schema_version": FORMAT,
        "about": _ABOUT,
        "vocabulary": _VOCABULARY,
        "receipt_id": columns["id"],
        "pii_principal_id": columns["subject"],
        "event_time": columns["time"],
        "consentTimestamp": int(datetime.fromisoformat(columns["time"]).timestamp()),
        "event_state": STATUSES[columns["state"]],
        "event_type": DPV + "ExpressedConsent",
        "collectionMethod": f"{columns['action']} ({columns['surface'] or 'not named'})",
        "site": columns["site"],
        "language": columns["language"],
        "expires": columns["expires"],
        "previous_receipt": columns["previous"],
        "privacy_notice": columns["notice"] or None,
        "policy_version": columns["policy_version"],
    }


def _purposes(asked: Mapping[str, bool], declared: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Give each purpose that was asked about: first those that the notice declares, in its order."""
    known = {purpose["id"]: purpose for purpose in (declared["purposes"] if declared else ())}
    order = [id_ for id_ in known if id_ in asked] + sorted(asked.keys() - known.keys())
    return [_purpose(id_, asked[id_], known.get(id_)) for id_ in order]


def _purpose(id_: str, is_granted: bool, declared: Mapping[str, Any] | None) -> dict[str, Any]:
    said = {"purpose": id_, "consent": "granted" if is_granted else "denied"}
    if declared is None:
        return said
    return said | {name: declared[name] for name in ("name", "description", "services")}


def _context(declared: Mapping[str, Any]) -> dict[str, Any]:
    party = {f"party_{name}": value for name, value in declared["controller"].items() if value}
    return {
        "party_identification": [{"party_role": DPV + "DataController", **party}],
        "policyUrl": declared["privacy_url"],
        "withdrawal_method": declared["withdrawal"],
    }


def check(content: bytes, known: Sequence[PublicKey] = ()) -> Checked:
    """Check a receipt by itself: what it says, the event, the notice's page, the tree and the signature.

    Args:
        content: the receipt's bytes, from anybody.
        known: public keys that were kept elsewhere; they alone are believed. Without any, the receipt's own.

    Raises:
        ProofError: something was altered, or cannot be read; the message names the first such thing.
    """
    if len(content) > MAX_BYTES:
        raise ProofError(f"The receipt has {len(content)} bytes, and {MAX_BYTES} are the most")
    receipt = json_object(content, "The receipt")
    if receipt.get("schema_version") != FORMAT:
        raise ProofError(
            f"The file is no receipt of the format {FORMAT!r}, the one known here: give what "
            "gem-consent receipt wrote, or install the release that wrote it"
        )
    proof = receipt.pop("proof", None)
    if not isinstance(proof, dict):
        raise ProofError("The receipt lacks its proof")
    require_members(proof, _PROOF, "The receipt's proof")
    committed = _checked_event(proof)
    page = _checked_page(proof)
    _compare(receipt, _said(proof["event"], page))
    return _checked_tree(proof, leaf_hash(committed), known)


def _checked_event(proof: Mapping[str, Any]) -> bytes:
    salt = hex_bytes(proof["salt"], SALT_BYTES, "The salt")
    committed = hex_bytes(proof["commitment"], HASH_BYTES, "The commitment")
    if not isinstance(proof["event"], dict):
        raise ProofError("The event is no JSON object")
    try:
        found = commitment_to(salt, proof["event"])
    except (RecursionError, TypeError, ValueError) as error:
        raise ProofError("The event holds what no ledger writes") from error
    if found != committed:
        raise ProofError(
            "The event no longer matches its commitment: it, its salt or the commitment was altered"
        )
    return committed


def _checked_page(proof: Mapping[str, Any]) -> bytes | None:
    digest, page = proof["event"].get("notice"), proof["notice_page"]
    if not digest:
        if page is not None:
            raise ProofError("The event names no notice, and the receipt holds the page of one: it was added")
        return None
    try:
        content = require_text(page, "The notice's page").encode()
    except UnicodeEncodeError as error:
        raise ProofError("The notice's page holds what UTF-8 cannot write") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ProofError("The notice's page is not the one that the event names: it was altered")
    return content


def _compare(found: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    require_members(found, list(said), "The receipt")
    for name, value in said.items():
        # As JSON has it: 1 and true are two values there, and equal in Python.
        if found[name] != value or type(found[name]) is not type(value):
            raise ProofError(
                f"The receipt's {name!r} is not what the event and its notice say: it was altered"
            )


def _checked_tree(proof: Mapping[str, Any], leaf: bytes, known: Sequence[PublicKey]) -> Checked:
    ledger = require_text(proof["ledger"], "The ledger's name")
    position = position_of(proof["position"], "The position")
    siblings, texts = _list(proof, "inclusion_proof"), _list(proof, "public_keys")
    if proof["checkpoint"] is None:
        if siblings or texts:
            raise ProofError(
                "The receipt has an inclusion proof or keys, and no checkpoint: it was taken out"
            )
        return Checked(ledger, proof["event"], position, None, (), is_vouched=False)
    keys = [PublicKey.parse(require_text(text, "A public key")) for text in texts]
    note = require_text(proof["checkpoint"], "The checkpoint").encode(errors="replace")
    checkpoint, signers = verify_signers(note, keys)
    if checkpoint.origin != ledger or len(signers) != len(keys):
        raise ProofError("The checkpoint is not of this ledger, or not signed by each key that is named")
    if len(siblings) > _MAX_SIBLINGS:
        raise ProofError("The inclusion proof is longer than any tree is high")
    path = [hex_bytes(one, HASH_BYTES, "A hash of the inclusion proof") for one in siblings]
    if not verify_inclusion(leaf, position, checkpoint.size, path, checkpoint.root):
        raise ProofError(
            "The inclusion proof does not lead from the event to the checkpoint: the event, its position or "
            "the proof is another row's, or was altered"
        )
    if known:
        checkpoint, signers = verify_signers(note, known)
    return Checked(
        ledger, proof["event"], position, checkpoint, tuple(sorted(map(str, signers))), bool(known)
    )


def _list(proof: Mapping[str, Any], name: str) -> list[Any]:
    value = proof[name]
    if not isinstance(value, list):
        raise ProofError(f"The receipt's {name!r} is no list")
    return value
