"""Receipts from a ledger: one row with its proof, as a file and as a page for people. Reads only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from gem_consent.csp import hash_source
from gem_consent.errors import LedgerError
from gem_consent.fields import is_email, is_web_url
from gem_consent.ledger.checkpoints import covering_checkpoint, origin_of, public_keys
from gem_consent.ledger.rows import event_from
from gem_consent.ledger.schema import events, ledger, notices
from gem_consent.ledger.tiles import tile_reader
from gem_consent.proof.checkpoint import PublicKey, parse, verify_signers
from gem_consent.proof.receipt import Proof, receipt_of
from gem_consent.proof.statement import Statement
from gem_consent.proof.tree import inclusion_proof
from gem_consent.rendering import environment_of
from gem_consent.scripts import proof_style
from gem_consent.translation import Translation, available_languages

__all__ = ["CONTENT_SECURITY_POLICY", "encoded", "find_receipt", "page"]

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src '{hash_source(proof_style())}'; form-action 'none'; "
    "frame-ancestors 'self'; base-uri 'none'"
)
"""What a receipt's page needs: its own inline style (Content Security Policy Level 3)."""

_FALLBACK_LANGUAGE = "en"


def find_receipt(connection: Connection, event: str, subject: str | None = None) -> dict[str, Any] | None:
    """Give the receipt of an event, with the newest checkpoint that covers it.

    Args:
        connection: one read transaction.
        event: the event's id.
        subject: the visitor whose event it must be; ``None`` for anybody's.

    Returns:
        The receipt, ready for JSON; ``None`` where there is no such event (any more).

    Raises:
        ProofError: the event is a mark and no choice, or the ledger disagrees with itself.
    """
    row = connection.execute(select(events).where(events.c.id == event)).mappings().one_or_none()
    if row is None or (subject is not None and row["subject"] != subject):
        return None
    found = event_from(row)
    return receipt_of(
        Proof(
            ledger=origin_of(connection.execute(select(ledger.c.uuid)).scalar_one()),
            event=found,
            salt=bytes(row["salt"]),
            position=row["position"],
            notice_page=_page(connection, found.notice),
            **_covering(connection, row["position"]),
        )
    )


def _page(connection: Connection, digest: str) -> bytes | None:
    if not digest:
        return None
    html: bytes | None = connection.scalar(select(notices.c.html).where(notices.c.digest == digest))
    if html is None:
        raise LedgerError(f"The notice {digest} is not in the ledger any more: run gem-consent verify")
    return bytes(html)


def _covering(connection: Connection, position: int) -> dict[str, Any]:
    note = covering_checkpoint(connection, position)
    if note is None:
        return {}
    checkpoint = parse(note)
    known = [PublicKey.parse(text) for text in public_keys(connection)]
    return {
        "siblings": inclusion_proof(position, checkpoint.size, tile_reader(connection)),
        "checkpoint": note,
        "public_keys": sorted(str(key) for key in verify_signers(note, known)[1]),
    }


def encoded(receipt: Mapping[str, Any]) -> bytes:
    """Give a receipt as a file: JSON, indented for people, the same bytes each time."""
    return (json.dumps(receipt, ensure_ascii=False, indent=2) + "\n").encode()


def page(
    receipt: Mapping[str, Any], *, prefix: str | None = None, otherwise: str = _FALLBACK_LANGUAGE
) -> bytes:
    """Give a receipt as a page: in the language of the notice that was answered, since it repeats its words.

    Args:
        receipt: what ``find_receipt`` gave.
        prefix: the path of the library's own pages, to link to; ``None`` for a file that opens by itself.
        otherwise: the language where the event names none that the library speaks.
    """
    language = receipt["language"] if receipt["language"] in available_languages() else otherwise
    note = receipt["proof"]["checkpoint"]
    checkpoint = parse(note.encode()) if note else None
    parties = receipt.get("party_identification", [{}])
    template = environment_of(Translation(language, language)).get_template("proof/receipt.html")
    return template.render(
        receipt=_Open(receipt),
        party=_Open(parties[0]),
        purposes=[
            {"name": one["purpose"], "description": "", "services": (), **one} for one in receipt["purposes"]
        ],
        proof=receipt["proof"],
        checkpoint=checkpoint,
        signed_at=Statement.of(checkpoint).time if checkpoint else "",
        contact_url=_contact_url(parties[0].get("party_contact", "")),
        policy_url=_policy_url(receipt.get("policyUrl", ""), is_on_site=prefix is not None),
        language=language,
        prefix=prefix,
        style=proof_style(),
    ).encode()


def _contact_url(contact: str) -> str:
    if is_email(contact):
        return f"mailto:{contact}"
    return contact if is_web_url(contact) else ""


def _policy_url(url: str, *, is_on_site: bool) -> str:
    """Give the address to link to; a path means nothing in a file that left its site."""
    return url if is_on_site or is_web_url(url) else ""


class _Open(dict[str, Any]):
    """A receipt whose missing members are ``None`` for the template."""

    def __missing__(self, name: str) -> None:
        return None
