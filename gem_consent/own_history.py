"""A visitor's own history as a file to take away (GDPR art. 15 and 20): readable keys, every column."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from gem_consent.errors import LedgerUnavailable
from gem_consent.exchange import Exchange
from gem_consent.policy import Policy
from gem_consent.proof.event import Event, utc_text

__all__ = ["download_history", "history_of"]

FILE_NAME = "consent-history.json"

_WORDS = {True: "accepted", False: "refused"}


async def download_history(exchange: Exchange, request: object) -> Response:
    """Give the rows of the visitor whose valid cookie came with the request, and nobody else's."""
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", "vary": "Cookie"}
    subject = exchange.consent.subject
    if not subject:
        return Response("No valid consent cookie came with this request", 404, headers, "text/plain")
    try:
        rows = await exchange.site.recorder.history(subject)
    except LedgerUnavailable:
        headers["retry-after"] = "5"
        return Response("The record cannot be read just now: try again later", 503, headers, "text/plain")
    at = datetime.fromtimestamp(exchange.site.clock(), UTC)
    content = json.dumps(history_of(exchange.site.policy, subject, rows, at), ensure_ascii=False, indent=2)
    headers["content-disposition"] = f'attachment; filename="{FILE_NAME}"'
    headers["cross-origin-resource-policy"] = "same-origin"
    return Response(content + "\n", 200, headers, "application/json")


def history_of(
    policy: Policy, subject: str, rows: Iterable[tuple[int, Event]], at: datetime
) -> dict[str, Any]:
    """Say all that the ledger holds of one visitor.

    Args:
        policy: the site's, for whom to write to.
        subject: the visitor's random id.
        rows: their events with their positions, oldest first.
        at: when this is written, aware.
    """
    return {
        "visitor": subject,
        "controller": {"name": policy.controller.name, "contact": policy.controller.contact},
        "written": utc_text(at),
        "choices": [_readable(position, event) for position, event in rows],
    }


def _readable(position: int, event: Event) -> dict[str, Any]:
    return {
        "time": event.time,
        "choice": event.state,
        "purposes": {id_: _WORDS[answer] for id_, answer in event.purposes.items()},
        "until": event.expires,
        "pressed": event.action,
        "where": event.surface,
        "site": event.site,
        "notice": event.notice,
        "notice_language": event.language,
        "policy_fingerprint": event.fingerprint,
        "policy_version": event.policy_version,
        "browser": event.browser,
        "system": event.system,
        "device": event.device,
        "network": event.network,
        "row": position,
        "id": event.id,
        "previous": event.previous,
        "library": event.library,
    }
