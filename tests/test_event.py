"""An event's canonical bytes, its commitment, its id and its time."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import START, make_event

from gem_consent.proof.event import Event, canonical, commitment, event_id, utc_text, with_previous

SALT = bytes(range(16))
instants = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)
)


def golden() -> Event:
    """Give an event without anything random."""
    return Event(
        id="01a205b3-d000-7000-8000-000000000000",
        time="2026-11-23T00:00:00.000Z",
        subject="sübject",
        site="example.com",
        state="given",
        action="save",
        surface="notice",
        purposes={"marketing": False, "analytics": True},
        notice="n",
        fingerprint="f",
        policy_version="1",
        language="fr",
        expires="2027-12-21T00:00:00.000Z",
    )


def test_canonical_form_stays_golden() -> None:
    """The bytes that old rows committed to are the same in every release."""
    assert canonical(golden()).decode() == (
        '{"action":"save","browser":null,"device":null,"expires":"2027-12-21T00:00:00.000Z","fingerprint":"f",'
        '"id":"01a205b3-d000-7000-8000-000000000000","language":"fr","library":"","network":null,"notice":"n",'
        '"policy_version":"1","previous":null,"purposes":{"analytics":true,"marketing":false},"site":"example.com",'
        '"state":"given","subject":"sübject","surface":"notice","system":null,"time":"2026-11-23T00:00:00.000Z"}'
    )


def test_commitment_is_salted_hash() -> None:
    """The commitment is SHA-256 over salt and canonical form, in that order."""
    assert commitment(SALT, golden()) == hashlib.sha256(SALT + canonical(golden())).digest()
    assert commitment(SALT, golden()) != commitment(bytes(16), golden())


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Event)])
def test_commitment_covers_every_field(name: str) -> None:
    """A change of any one field changes the commitment."""
    change: dict[str, Any] = {name: {"analytics": False} if name == "purposes" else "changed"}
    assert commitment(SALT, dataclasses.replace(golden(), **change)) != commitment(SALT, golden())


@given(instants)
def test_event_id_is_version_seven(at: datetime) -> None:
    """An id is a UUIDv7 whose first 48 bits are the millisecond that its time says."""
    id_ = uuid.UUID(event_id(at))
    assert (id_.version, id_.variant) == (7, uuid.RFC_4122)
    elapsed = timedelta(milliseconds=id_.int >> 80)
    assert utc_text(datetime(1970, 1, 1, tzinfo=UTC) + elapsed) == utc_text(at)


def test_event_ids_differ_within_instant() -> None:
    """A thousand ids of one millisecond are all different."""
    assert len({event_id(START) for _ in range(1000)}) == 1000


@given(instants, st.integers(-14, 14))
def test_time_is_written_in_utc(at: datetime, hours: int) -> None:
    """The same instant in another zone is the same text."""
    assert utc_text(at.astimezone(timezone(timedelta(hours=hours)))) == utc_text(at)


@given(instants, instants)
def test_times_sort_as_texts(one: datetime, other: datetime) -> None:
    """Texts compare as the instants do, to the millisecond."""
    assert (utc_text(one) < utc_text(other)) <= (one < other)


def test_naive_time_is_refused() -> None:
    """A time without a zone has no place in a proof."""
    with pytest.raises(ValueError, match="without a zone"):
        utc_text(datetime(2026, 11, 23))


def test_previous_gives_another_event() -> None:
    """Linking an event leaves the one given as it was."""
    event = make_event()
    assert with_previous(event, "before").previous == "before"
    assert event.previous is None
