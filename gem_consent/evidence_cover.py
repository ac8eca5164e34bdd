"""The cover of an evidence archive, and the policies in it: pages of what is already known. Reads nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from gem_consent.proof.checkpoint import parse
from gem_consent.proof.evidence import CHOICES, Question, Tally, months_between
from gem_consent.proof.notice import declaration_in
from gem_consent.proof.statement import Statement
from gem_consent.rendering import LIBRARY, environment_of
from gem_consent.scripts import proof_style
from gem_consent.translation import Translation

__all__ = ["Cover", "cover", "policy_file"]

_WIDTH, _HEIGHT, _FOOT, _TOP = 720, 220, 26, 16
_MAX_LABELS = 12


@dataclass(frozen=True, slots=True)
class Cover:
    """What a cover tells of.

    Args:
        question: what was asked for.
        ledger: the ledger's name in its checkpoints.
        rows: how many rows it had.
        tally: what the choices add up to.
        keys: the public keys that signed.
        newest: the newest signed checkpoint; ``None`` where there is none.
        policies: by the digest of its notice, what each policy declares, as ``policy_file`` gives it.
    """

    question: Question
    ledger: str
    rows: int
    tally: Tally
    keys: tuple[str, ...]
    newest: bytes | None
    policies: Mapping[str, bytes]


def policy_file(notice: bytes) -> bytes | None:
    """Give what a notice's page declares, as a file; ``None`` where it declares nothing for programs.

    Raises:
        ProofError: it cannot be read.
    """
    declared = declaration_in(notice)
    return None if declared is None else (json.dumps(declared, indent=2) + "\n").encode()


def cover(told: Cover) -> bytes:
    """Give the cover: a page that opens by itself, in the language that was asked for."""
    language = told.question.language
    tally = told.tally
    checkpoint = parse(told.newest) if told.newest else None
    declared = {digest: json.loads(policy) for digest, policy in told.policies.items()}
    months = [(month, tally.months.get(month, Counter())) for month in months_between(list(tally.months))]
    template = environment_of(Translation(language, language)).get_template("proof/evidence.html")
    return template.render(
        language=language,
        library=LIBRARY,
        style=proof_style(),
        question=told.question,
        ledger=told.ledger,
        tally=tally,
        states=CHOICES,
        months=months,
        totals=tally.states(),
        chart=_chart(months),
        purposes=list(_purposes(tally, declared, language)),
        notices=list(_notices(tally, declared)),
        controller=_controller(tally, declared),
        keys=told.keys,
        newest=checkpoint,
        signed_at=Statement.of(checkpoint).time if checkpoint else "",
        unsigned=told.rows - (checkpoint.size if checkpoint else 0),
    ).encode()


def _in_time(tally: Tally) -> list[str]:
    """Give the notices, the one that was answered last at the end."""
    return sorted(tally.notices, key=lambda digest: (tally.notices[digest][2], digest))


def _controller(tally: Tally, declared: Mapping[str, Any]) -> Any:
    known = [declared[digest]["controller"] for digest in _in_time(tally) if digest in declared]
    return known[-1] if known else None


def _notices(tally: Tally, declared: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for digest in _in_time(tally):
        choices, first, last = tally.notices[digest]
        policy = declared.get(digest)
        yield {
            "digest": digest,
            "choices": choices,
            "first": first,
            "last": last,
            "language": policy["language"] if policy else "",
            "policy_version": policy["policy_version"] if policy else "",
            "has_policy": policy is not None,
        }


def _purposes(
    tally: Tally, declared: Mapping[str, Any], language: str
) -> Iterator[tuple[str, str, Counter[bool]]]:
    """Give each purpose with its name: as declared last in the cover's language, else in any, else its id."""
    names: dict[str, str] = {}
    newest_last = [declared[digest] for digest in _in_time(tally) if digest in declared]
    for policy in sorted(newest_last, key=lambda one: bool(one["language"] == language)):
        names |= {purpose["id"]: purpose["name"] for purpose in policy["purposes"]}
    for id_ in sorted(tally.purposes):
        yield id_, names.get(id_, id_), tally.purposes[id_]


def _chart(months: Sequence[tuple[str, Counter[str]]]) -> str:
    """Draw the months as columns, agreements below; hidden from screen readers, which have the table."""
    if not months:
        return ""
    most = max(counts.total() for _, counts in months)
    step = _WIDTH / len(months)
    width = min(step * 0.7, 64)
    drawn = [
        _column(at * step + (step - width) / 2, width, counts, most) for at, (_, counts) in enumerate(months)
    ]
    every = -(-len(months) // _MAX_LABELS)
    labels = [
        f'<text x="{at * step + step / 2:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(month)}</text>'
        for at, (month, _) in enumerate(months)
        if at % every == 0
    ]
    return (
        f'<svg class="gem-chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true" focusable="false">'
        f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT - _FOOT}" y2="{_HEIGHT - _FOOT}"/>'
        f"{''.join(drawn)}{''.join(labels)}</svg>"
    )


def _column(left: float, width: float, counts: Counter[str], most: int) -> str:
    room = _HEIGHT - _FOOT - _TOP
    yes = counts["given"] + counts["renewed"]
    heights = [room * part / most for part in (yes, counts.total() - yes)]
    drawn, foot = "", float(_HEIGHT - _FOOT)
    for name, height in zip(("yes", "no"), heights, strict=True):
        foot -= height
        if height:
            drawn += (
                f'<rect class="gem-{name}" x="{left:.1f}" y="{foot:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}"/>'
            )
    if counts.total():
        middle = left + width / 2
        drawn += f'<text x="{middle:.1f}" y="{foot - 4:.1f}" text-anchor="middle">{counts.total()}</text>'
    return drawn
