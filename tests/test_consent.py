"""What a choice allows, when it ends, and what each decision is called."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_consent.consent import (
    UNDECIDED,
    Action,
    Choice,
    Consent,
    State,
    consent_from,
    expires_at,
    granted_by,
    is_current,
    state_after,
)
from gem_consent.errors import PolicyError
from gem_consent.policy import Controller, Policy, Purpose, Service

DECIDED_AT = 1_800_000_000
LIFETIME_SECONDS = 33_955_200


def make_policy(*purposes: str, version: str = "") -> Policy:
    """Make a policy that asks about these purposes, and has a necessary one of its own."""
    return Policy(
        controller=Controller("Example", "dpo@example.com"),
        privacy_url="/privacy",
        services=[Service(id_, name=id_, purpose=id_, provider="Example Ltd") for id_ in purposes],
        purposes=[Purpose("login", name="Login", description="Stay signed in.", is_necessary=True)],
        version=version,
    )


POLICY = make_policy("analytics", "media", "marketing")


def choose(*granted: str, fingerprint: str = POLICY.fingerprint) -> Choice:
    """Make the choice that granted these purposes."""
    return Choice("00112233445566778899aabbccddeeff", fingerprint, frozenset(granted), DECIDED_AT)


def name_state(previous: Choice | None, granted: set[str], *, now: int = DECIDED_AT + 60) -> State | None:
    """Name what a decision after this choice does."""
    return state_after(previous, consent_from(previous, POLICY, now), frozenset(granted))


def test_no_choice_is_undecided() -> None:
    """Without a choice nothing is granted, and the necessary purposes are allowed."""
    consent = consent_from(None, POLICY, DECIDED_AT)
    assert not consent.is_decided
    assert (consent.subject, consent.granted) == ("", frozenset())
    assert [id_ for id_ in POLICY.purpose_by_id if consent.allows(id_)] == ["necessary", "login"]


def test_choice_allows_what_it_granted() -> None:
    """A choice that stands allows its purposes and no other, and says when it was made and ends."""
    consent = consent_from(choose("analytics"), POLICY, DECIDED_AT)
    assert consent.is_decided
    assert consent.subject == "00112233445566778899aabbccddeeff"
    assert consent.granted == {"analytics"}
    assert [id_ for id_ in POLICY.purpose_by_id if consent.allows(id_)] == ["necessary", "analytics", "login"]
    assert (consent.decided_at, consent.expires_at) == (DECIDED_AT, DECIDED_AT + LIFETIME_SECONDS)


def test_refusal_is_a_choice() -> None:
    """A refusal is decided, grants nothing, and lasts as long as an acceptance."""
    consent = consent_from(choose(), POLICY, DECIDED_AT)
    assert consent.is_decided
    assert consent.granted == frozenset()
    assert consent.expires_at == DECIDED_AT + LIFETIME_SECONDS


def test_choice_holds_until_last_second() -> None:
    """One second before its end a choice still stands."""
    assert consent_from(choose("media"), POLICY, DECIDED_AT + LIFETIME_SECONDS - 1).allows("media")


def test_choice_is_over_at_its_end() -> None:
    """At its end a choice is as if there were none, its subject forgotten."""
    end = DECIDED_AT + LIFETIME_SECONDS
    assert not is_current(choose("media"), POLICY, end)
    assert consent_from(choose("media"), POLICY, end) == consent_from(None, POLICY, end)


def test_shorter_lifetime_ends_older_choices() -> None:
    """The policy's present lifetime counts, also for choices made under a longer one."""
    policy = Policy(POLICY.controller, "/privacy", POLICY.services, POLICY.purposes, timedelta(days=184))
    assert expires_at(DECIDED_AT, policy) == DECIDED_AT + 184 * 86_400
    assert not consent_from(choose("media"), policy, DECIDED_AT + 184 * 86_400).is_decided


def test_other_fingerprint_keeps_subject_only() -> None:
    """A choice of another policy grants nothing and asks again, under the same subject."""
    consent = consent_from(choose("media", fingerprint="0" * 32), POLICY, DECIDED_AT)
    assert consent.subject == "00112233445566778899aabbccddeeff"
    assert (consent.is_decided, consent.granted) == (False, frozenset())


def test_unknown_grants_are_dropped() -> None:
    """Of a choice only the purposes that the policy asks about count."""
    assert consent_from(choose("media", "login", "chat"), POLICY, DECIDED_AT).granted == {"media"}


def test_undecided_allows_necessary_only() -> None:
    """The value for pages without a policy at hand allows what needs no consent."""
    assert UNDECIDED.allows("necessary")
    assert not UNDECIDED.allows("analytics")


@pytest.mark.parametrize(
    "consent", [consent_from(None, POLICY, 0), consent_from(choose(), POLICY, DECIDED_AT)]
)
def test_misspelt_purpose_is_an_error(consent: Consent) -> None:
    """A purpose that the policy has not would stay silent for ever, so it is told with those there are."""
    message = r"purpose is 'analytic'; allowed: one of necessary, analytics, media, marketing, login$"
    with pytest.raises(PolicyError, match=message):
        consent.allows("analytic")


@pytest.mark.parametrize(
    ("action", "ticked", "granted"),
    [
        ("grant_all", set(), {"analytics", "media", "marketing"}),
        ("grant_all", {"media"}, {"analytics", "media", "marketing"}),
        ("deny_all", {"media"}, set()),
        ("withdraw", {"media"}, set()),
        ("save", set(), set()),
        ("save", {"media"}, {"media"}),
        ("save", {"media", "necessary", "login"}, {"media"}),
        ("deny_all", {"gone"}, set()),
        ("withdraw", {"gone"}, set()),
        ("grant", {"media", "login"}, {"media", "marketing"}),
        ("grant", {"marketing"}, {"marketing"}),
        ("deny", {"marketing"}, set()),
        ("deny", {"media", "gone"}, {"marketing"}),
    ],
)
def test_action_grants_what_it_says(action: Action, ticked: set[str], granted: set[str]) -> None:
    """Names count where something is granted; an outdated page's never stand in the way of a refusal."""
    assert granted_by(action, frozenset(ticked), POLICY, frozenset({"marketing"})) == granted


@pytest.mark.parametrize("action", ["save", "grant"])
def test_granting_unknown_purpose_fails(action: Action) -> None:
    """A ticked purpose that the policy has not is refused with the list of those there are."""
    with pytest.raises(PolicyError, match=r"purpose is 'gone'; allowed: one of necessary, analytics, media"):
        granted_by(action, frozenset({"media", "gone"}), POLICY)


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        (None, set(), "refused"),
        (None, {"media"}, "given"),
        (set(), set(), None),
        ({"media"}, {"media"}, None),
        (set(), {"media"}, "given"),
        ({"media"}, {"media", "analytics"}, "given"),
        ({"media"}, {"analytics"}, "given"),
        ({"media", "analytics"}, {"media"}, "withdrawn"),
        ({"media"}, set(), "withdrawn"),
    ],
)
def test_state_of_a_standing_choice(before: set[str] | None, now: set[str], state: State | None) -> None:
    """Anything new is given, only removals are withdrawn, a repetition is no event."""
    assert name_state(None if before is None else choose(*before), now) == state


STATES_AFTER_THE_END: list[tuple[set[str], set[str], State]] = [
    (set(), set(), "refused"),
    (set(), {"media"}, "given"),
    ({"media"}, {"media"}, "renewed"),
    ({"media"}, {"media", "analytics"}, "given"),
    ({"media", "analytics"}, {"media"}, "withdrawn"),
    ({"media"}, set(), "withdrawn"),
]


@pytest.mark.parametrize(("before", "now", "state"), STATES_AFTER_THE_END)
def test_state_after_expiry(before: set[str], now: set[str], state: State) -> None:
    """Once a choice is over, the same grants renew it, and the same refusal is told again."""
    assert name_state(choose(*before), now, now=DECIDED_AT + LIFETIME_SECONDS) == state


@pytest.mark.parametrize(("before", "now", "state"), STATES_AFTER_THE_END)
def test_state_after_another_policy(before: set[str], now: set[str], state: State) -> None:
    """Under a new fingerprint, the same grants renew the choice, and the same refusal is told again."""
    assert name_state(choose(*before, fingerprint="0" * 32), now) == state


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        ({"media", "gone"}, {"media"}, "renewed"),
        ({"media", "login"}, {"media"}, "renewed"),
        ({"gone"}, set(), "refused"),
        ({"gone"}, {"media"}, "given"),
    ],
)
def test_purpose_that_went_is_not_withdrawn(before: set[str], now: set[str], state: State) -> None:
    """A purpose that the site dropped or made necessary was withdrawn by no visitor."""
    assert name_state(choose(*before, fingerprint="0" * 32), now) == state


purposes = st.frozensets(st.sampled_from(["analytics", "media", "marketing"]))


@settings(deadline=None)
@given(purposes, purposes, st.booleans(), st.booleans())
def test_deciding_twice_is_one_event(
    before: frozenset[str], now: frozenset[str], is_over: bool, is_other: bool
) -> None:
    """Whatever came before, repeating a decision right after it is no event."""
    previous = choose(*before, fingerprint="0" * 32 if is_other else POLICY.fingerprint)
    at = DECIDED_AT + (LIFETIME_SECONDS if is_over else 0)
    state = state_after(previous, consent_from(previous, POLICY, at), now)
    assert (state is None) == (before == now and not is_over and not is_other)
    after = Choice(previous.subject, POLICY.fingerprint, now, at)
    assert state_after(after, consent_from(after, POLICY, at), now) is None


@settings(deadline=None)
@given(purposes, st.integers(-LIFETIME_SECONDS, 3 * LIFETIME_SECONDS), st.booleans())
def test_nothing_is_allowed_without_grant(granted: frozenset[str], after: int, is_other: bool) -> None:
    """At any time and under any policy, what is allowed was granted or is necessary."""
    choice = choose(*granted, fingerprint="0" * 32 if is_other else POLICY.fingerprint)
    consent = consent_from(choice, POLICY, DECIDED_AT + after)
    allowed = {id_ for id_ in POLICY.purpose_by_id if consent.allows(id_)} - {"necessary", "login"}
    assert allowed == (granted if after < LIFETIME_SECONDS and not is_other else frozenset())
