"""The limit on decisions: what it counts, what it forgets, and what visitors get above it."""

from __future__ import annotations

from pathlib import Path

import pytest
from asgi import START, Clock, Visitor, rows, site, wrap
from hypothesis import given
from hypothesis import strategies as st

from gem_consent import ConfigurationError
from gem_consent.rate import RateLimit, seconds_left


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file of a ledger."""
    return tmp_path / "consent.db"


def limited(ledger: Path, per_minute: int = 2) -> Visitor:
    """Make a visitor of a site that takes so many decisions a minute."""
    return Visitor(wrap(site(), ledger, rate_limit=per_minute))


def stranger(visitor: Visitor) -> Visitor:
    """Make another visitor from the same address."""
    return Visitor(visitor.app)


def test_grant_above_limit_gets_429(ledger: Path) -> None:
    """A grant too many changes nothing, says so to a person, and when to try again."""
    visitor = limited(ledger)
    assert [stranger(visitor).post("grant_all").status for _ in range(3)] == [303, 303, 429]
    answer = stranger(visitor).post("grant_all")
    assert answer.header("retry-after") == str(seconds_left(START))
    assert "Too many choices came from your network" in answer.text
    assert (answer.cookies, len(rows(ledger))) == ({}, 2)


def test_json_above_limit_gets_429(ledger: Path) -> None:
    """A script is told in JSON."""
    visitor = limited(ledger, 1)
    stranger(visitor).json("grant_all")
    answer = stranger(visitor).json("grant_all")
    assert (answer.status, answer.json["error"]) == (429, "Too many decisions come from this address.")


def test_refusal_above_limit_holds_without_row(ledger: Path) -> None:
    """A refusal too many gets its cookie, and writes nothing."""
    visitor = limited(ledger, 1)
    stranger(visitor).post("deny_all")
    late = stranger(visitor)
    assert late.post("deny_all").status == 303
    assert late.get("/privacy-choices/state").json["decided"]
    assert len(rows(ledger)) == 1


def test_withdrawal_above_limit_holds(ledger: Path) -> None:
    """A withdrawal too many stops what was granted, and deletes its cookies, without a row."""
    visitor = limited(ledger, 1)
    visitor.post("grant_all")
    visitor.cookies["_ga"] = "1"
    answer = visitor.post("withdraw")
    assert "_ga" in answer.deleted
    assert not any(visitor.get("/privacy-choices/state").json["purposes"][p] for p in ("analytics", "media"))
    assert len(rows(ledger)) == 1


def test_next_minute_starts_anew(ledger: Path) -> None:
    """The minute over, decisions are taken again."""
    visitor = limited(ledger, 1)
    stranger(visitor).post("grant_all")
    assert stranger(visitor).post("grant_all").status == 429
    clock = visitor.app.site.clock
    assert isinstance(clock, Clock)
    clock.seconds += 60
    assert stranger(visitor).post("grant_all").status == 303


def test_repeated_choice_is_not_counted(ledger: Path) -> None:
    """Sending the choice that stands writes nothing and uses nothing up."""
    visitor = limited(ledger, 2)
    assert [visitor.post("deny_all").status for _ in range(5)] == [303] * 5
    assert stranger(visitor).post("grant_all").status == 303


def test_other_addresses_are_not_limited(ledger: Path) -> None:
    """Each address has a limit of its own; without one, as on a socket, there is none."""
    visitor = limited(ledger, 1)
    stranger(visitor).post("grant_all")
    assert Visitor(visitor.app, client=("198.51.100.1", 1)).post("grant_all").status == 303
    nameless = [Visitor(visitor.app, client=None).post("grant_all").status for _ in range(3)]
    assert nameless == [303] * 3


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "10"])
def test_wrong_limit_refuses_to_start(ledger: Path, wrong: object) -> None:
    """A limit is a whole number of decisions, one at least."""
    with pytest.raises(ConfigurationError, match=r"rate_limit is .*; allowed: decisions a minute"):
        wrap(site(), ledger, rate_limit=wrong)


def test_ipv6_counts_by_network() -> None:
    """A customer's addresses of one /64 count as one; another /64 does not."""
    limit = RateLimit(1)
    found = [limit.allows(name, 0) for name in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
    assert found == [True, False, True]


def test_memory_is_bounded() -> None:
    """A flood from many addresses pushes the oldest out instead of filling the memory."""
    limit = RateLimit(1)
    for number in range(70_000):
        limit.allows(f"host-{number}", 0)
    assert len(limit._counts) == 65_536
    assert limit.allows("host-0", 0)


@given(st.lists(st.integers(0, 179), max_size=60), st.integers(1, 5))
def test_no_minute_lets_more_through(times: list[int], per_minute: int) -> None:
    """In no minute are more let through than the limit says."""
    limit = RateLimit(per_minute)
    allowed = [now for now in sorted(times) if limit.allows("192.0.2.1", now)]
    assert all(sum(now // 60 == minute for now in allowed) <= per_minute for minute in range(3))
