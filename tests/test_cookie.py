"""The signed cookie against every kind of tampering, and the two headers that a decision sets."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gem_consent.consent import Choice, consent_from
from gem_consent.cookie import (
    HINT_NAME,
    ConsentCookie,
    cookie_name,
    hint_value,
    new_subject,
    set_cookie_headers,
)
from gem_consent.errors import ConfigurationError
from gem_consent.policy import MAX_LIFETIME, Controller, Policy, Purpose, Service

OLD_KEY, KEY = "fedcba9876543210fedcba9876543210", "0123456789abcdef0123456789abcdef"
DECIDED_AT = 1_800_000_000
NAME = "__Host-gem_consent"
CHOICE = Choice(
    "00112233445566778899aabbccddeeff", "0123456789abcdef" * 2, frozenset({"media", "analytics"}), DECIDED_AT
)
GOLDEN = (
    "00112233445566778899aabbccddeeff.0123456789abcdef0123456789abcdef.analytics~media.a0nSAA."
    "Ax6Z6QXc_5kk_LmzFXIM-SOak-0mdcN-o6UzPF191iY"
)
SAFE_CHARACTERS = {*string.ascii_letters, *string.digits, *"-_~."}
COOKIE = ConsentCookie(KEY)
POLICY = Policy(
    controller=Controller("Example", "dpo@example.com"),
    privacy_url="/privacy",
    services=[
        Service(id_, name=id_, purpose=id_, provider="Example Ltd")
        for id_ in ("analytics", "media", "marketing")
    ],
)
GRANT = replace(CHOICE, fingerprint=POLICY.fingerprint)

choices = st.builds(
    Choice,
    subject=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    fingerprint=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    granted=st.frozensets(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True), max_size=50),
    decided_at=st.integers(0, 2**33),
)


def read(*values: str | bytes, cookie: ConsentCookie = COOKIE, now: int = DECIDED_AT) -> Choice | None:
    """Read cookies of the name from one request."""
    pairs = [value.encode() if isinstance(value, str) else value for value in values]
    return cookie.read([b"; ".join(NAME.encode() + b"=" + value for value in pairs)], NAME, now)


def attributes(header: bytes) -> list[str]:
    """Give what follows a cookie's name and value."""
    return header.decode().split("; ")[1:]


def test_cookie_value_is_the_golden_one() -> None:
    """This value must never change: a release that cannot read it forgets the choices of all visitors."""
    assert ConsentCookie(KEY).encode(CHOICE) == GOLDEN
    assert read(GOLDEN, cookie=ConsentCookie(KEY)) == CHOICE


@settings(deadline=None)
@given(choices)
def test_choice_survives_the_cookie(choice: Choice) -> None:
    """Any choice is read back as it was written, from characters that a cookie may hold, within its size."""
    value = COOKIE.encode(choice)
    assert read(value, now=choice.decided_at) == choice
    assert set(value) <= SAFE_CHARACTERS
    assert len(value) <= 2048


@pytest.mark.rule("C4")
@settings(deadline=None)
@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
@example(len(GOLDEN) - 1, ord("B"))  # the signature's last two bits mean nothing in base64
def test_any_changed_byte_is_no_choice(at: int, byte: int) -> None:
    """Whichever byte of the value changes into whichever other, no choice is left."""
    changed = bytearray(GOLDEN.encode())
    changed[at] = byte
    expected = CHOICE if changed == GOLDEN.encode() else None
    assert read(bytes(changed), cookie=ConsentCookie(KEY)) == expected


@pytest.mark.rule("C4")
@pytest.mark.parametrize("size", range(len(GOLDEN)))
def test_truncated_value_is_no_choice(size: int) -> None:
    """A value cut short at either end is no choice."""
    assert read(GOLDEN[:size]) is None
    assert read(GOLDEN[len(GOLDEN) - size :]) is None


@pytest.mark.parametrize("suffix", ["=", "==", "!", "A", "AAAA", ".", "%3D", '"', "\x00", ".x"])
def test_lengthened_value_is_no_choice(suffix: str) -> None:
    """Base64 forgives padding and unknown characters, the cookie does not: one choice has one spelling."""
    assert read(GOLDEN + suffix) is None


@pytest.mark.rule("C4")
@settings(deadline=None)
@given(choices, st.text(min_size=32).filter(lambda key: key != KEY))
def test_other_key_is_no_choice(choice: Choice, key: str) -> None:
    """A value signed with any other key is no choice."""
    assert read(ConsentCookie(key).encode(choice), now=choice.decided_at) is None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200)))
@example([b"gem_consent=" + b"A" * 8192])
@example([b"__Host-gem_consent=" + b"." * 8192])
@example([b"__Host-gem_consent=" + GOLDEN.encode() * 60])
@example([b"__Host-gem_consent=\xff\xfe.\xff.\xff"])
@example([b"__Host-gem_consent=" + b"a.AAAAAAAAAAAAAAAAAAAA." + b"A" * 43])
def test_garbage_is_no_choice(headers: list[bytes]) -> None:
    """Arbitrary cookie headers, of any length, are no error and no choice."""
    assert COOKIE.read(headers, NAME, DECIDED_AT) is None
    assert COOKIE.read([NAME.encode() + b"=" + header for header in headers], NAME, DECIDED_AT) is None


@settings(deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_neighbours_do_not_hide_the_cookie(before: bytes, after: bytes) -> None:
    """Whatever other cookies a request carries, the choice is found among them."""
    header = before + b"; " + NAME.encode() + b"=" + GOLDEN.encode() + b"; " + after
    assert COOKIE.read([header], NAME, DECIDED_AT) == CHOICE


def test_oversized_value_is_no_choice() -> None:
    """A value longer than any policy allows is not even verified."""
    assert read(COOKIE.encode(replace(CHOICE, granted=frozenset(f"p{n:031}" for n in range(60))))) is None


def test_longer_names_are_other_cookies() -> None:
    """A cookie whose name merely contains the name is another one."""
    value = GOLDEN.encode()
    assert COOKIE.read([b"x__Host-gem_consent=" + value], NAME, DECIDED_AT) is None
    assert COOKIE.read([b"__Host-gem_consent=" + value], "gem_consent", DECIDED_AT) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"00112233445566778899aabbccddeeff",
        b"00112233445566778899aabbccddeef.0123456789abcdef0123456789abcdef.media",
        b"00112233445566778899aabbccddeeff.0123456789ABCDEF0123456789ABCDEF.media",
        b"00112233445566778899aabbccddeeff.0123456789abcdef0123456789abcdef.Media",
        b"00112233445566778899aabbccddeeff.0123456789abcdef0123456789abcdef.media\n",
        b"00112233445566778899aabbccddeeff.0123456789abcdef0123456789abcdef.media.more",
        b"\xff" * 32 + b".0123456789abcdef0123456789abcdef.media",
    ],
)
def test_signed_text_of_other_form_is_none(text: bytes) -> None:
    """A good signature over something that is no choice, of an older release perhaps, is no choice."""
    signer: Any = ConsentCookie(KEY)._signer
    assert read(signer.sign(text)) is None


def test_time_beyond_the_calendar_is_none() -> None:
    """A signed time that no calendar holds is no choice."""
    assert read(COOKIE.encode(replace(CHOICE, decided_at=2**63))) is None


def test_newest_key_signs() -> None:
    """Of several keys the last signs, so that a value reads under it alone."""
    value = ConsentCookie([OLD_KEY, KEY]).encode(CHOICE)
    assert value == GOLDEN
    assert read(value, cookie=ConsentCookie([KEY])) == CHOICE


@pytest.mark.rule("C4")
def test_older_key_still_verifies() -> None:
    """A value signed before a new key was added is read while the old one stays in the list."""
    value = ConsentCookie(OLD_KEY).encode(CHOICE)
    assert read(value, cookie=ConsentCookie([OLD_KEY, KEY])) == CHOICE


@pytest.mark.rule("C4")
def test_removed_key_verifies_no_more() -> None:
    """A value signed with a key that has left the list is no choice."""
    assert read(ConsentCookie(OLD_KEY).encode(CHOICE), cookie=ConsentCookie([KEY])) is None


@pytest.mark.rule("C4")
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_newest_of_several_counts(order: slice) -> None:
    """Of several cookies of the name the newest counts, in whichever order they come."""
    newer = replace(CHOICE, decided_at=DECIDED_AT + 1, granted=frozenset({"media", "analytics", "marketing"}))
    values = [GOLDEN, COOKIE.encode(newer)][order]
    assert read(*values, now=DECIDED_AT + 1) == newer


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_lesser_grant_counts_at_equal_seconds(order: slice) -> None:
    """Of two choices of one second that which grants less counts, in whichever order they come."""
    less = replace(CHOICE, granted=frozenset({"marketing"}))
    assert read(*[GOLDEN, COOKIE.encode(less)][order]) == less


def test_forged_newer_one_is_ignored() -> None:
    """A newer cookie with a bad signature does not hide the good one."""
    forged = ConsentCookie(OLD_KEY).encode(replace(CHOICE, decided_at=DECIDED_AT + 9, granted=frozenset()))
    assert read(forged, GOLDEN, forged, now=DECIDED_AT + 9) == CHOICE


def test_several_headers_are_one_request() -> None:
    """HTTP/2 lets a request split its cookies over headers: all are read (RFC 9113, section 8.2.3)."""
    newer = replace(CHOICE, decided_at=DECIDED_AT + 1)
    prefix = NAME.encode() + b"="
    headers = [b"a=1", prefix + COOKIE.encode(newer).encode(), b"b=2; " + prefix + GOLDEN.encode()]
    assert COOKIE.read(headers, NAME, DECIDED_AT + 1) == newer


def test_clock_may_be_300_seconds_behind() -> None:
    """A choice signed 300 seconds ahead counts, one signed 301 seconds ahead does not."""
    assert read(GOLDEN, now=DECIDED_AT - 300) == CHOICE
    assert read(GOLDEN, now=DECIDED_AT - 301) is None


def test_choice_ahead_hides_no_other() -> None:
    """A choice from the future is passed over in favour of one that counts."""
    ahead = COOKIE.encode(replace(CHOICE, decided_at=DECIDED_AT + 301, granted=frozenset()))
    assert read(ahead, GOLDEN) == CHOICE


def test_memory_holds_verified_ones_only() -> None:
    """What does not verify is not remembered, so that no stranger fills the memory."""
    cookie = ConsentCookie(KEY)
    for suffix in range(50):
        read(f"{GOLDEN}{suffix}", f"garbage{suffix}", cookie=cookie)
    read(GOLDEN, cookie=cookie)
    assert dict(cookie._verified) == {GOLDEN.encode(): CHOICE}


def test_memory_is_bounded() -> None:
    """However many visitors come, a fixed number of their cookies is remembered, the latest ones."""
    cookie = ConsentCookie(KEY)
    values = [cookie.encode(replace(CHOICE, decided_at=DECIDED_AT + number)) for number in range(1100)]
    for value in values:
        assert read(value, cookie=cookie, now=DECIDED_AT + 1100) is not None
    assert [value.decode() for value in cookie._verified] == values[-1024:]


@pytest.mark.rule("C3")
def test_remembered_cookie_still_expires() -> None:
    """Remembering a signature does not lengthen the choice: its end is held against the clock each time."""
    value, end = COOKIE.encode(GRANT), DECIDED_AT + 33_955_200
    assert consent_from(read(value, now=end - 1), POLICY, end - 1).granted == GRANT.granted
    assert not consent_from(read(value, now=end), POLICY, end).is_decided


def test_remembered_cookie_may_not_be_ahead() -> None:
    """The 300 seconds are held against the clock each time too."""
    cookie = ConsentCookie(KEY)
    assert read(GOLDEN, cookie=cookie) == CHOICE
    assert read(GOLDEN, cookie=cookie, now=DECIDED_AT - 301) is None


@pytest.mark.parametrize("key", ["", "x" * 31, [], [KEY, ""], [KEY, "x" * 31], None, b"x" * 32, [b"x" * 32]])
def test_weak_key_refuses_to_start(key: Any) -> None:
    """A missing, short or non-text key is refused with the way to make one, in a list as well."""
    with pytest.raises(
        ConfigurationError, match=r"secret_key needs 32 characters at least.*token_urlsafe\(48\)"
    ):
        ConsentCookie(key)


def test_refused_key_is_not_told() -> None:
    """The message about a short key does not hold it, since messages end up in logs."""
    with pytest.raises(ConfigurationError, match="secret_key") as refused:
        ConsentCookie("a-short-secret")
    assert "a-short-secret" not in str(refused.value)


def test_subjects_are_random() -> None:
    """A visitor's id is 128 random bits in 32 hexadecimal digits, another one each time."""
    subjects = {new_subject() for _ in range(1000)}
    assert len(subjects) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", subject) for subject in subjects)


def test_host_prefix_on_https_only() -> None:
    """Browsers drop a `__Host-` cookie over plain http, so development uses the bare name."""
    assert (cookie_name(is_https=True), cookie_name(is_https=False)) == (NAME, "gem_consent")


@pytest.mark.rule("C2")
def test_headers_over_https_are_exact() -> None:
    """The cookie is `__Host-`, Secure, HttpOnly and Lax on the whole site; scripts may read the hint."""
    consent, hint = set_cookie_headers(COOKIE, GRANT, POLICY, is_https=True, now=DECIDED_AT)
    common = "Max-Age=33955200; Path=/; SameSite=Lax; Secure"
    assert consent == (b"set-cookie", f"{NAME}={COOKIE.encode(GRANT)}; {common}; HttpOnly".encode())
    assert hint == (b"set-cookie", f"{HINT_NAME}={hint_value(GRANT, POLICY)}; {common}".encode())


def test_headers_over_http_are_exact() -> None:
    """Over plain http the same, without the prefix and Secure."""
    consent, hint = set_cookie_headers(COOKIE, GRANT, POLICY, is_https=False, now=DECIDED_AT)
    common = "Max-Age=33955200; Path=/; SameSite=Lax"
    assert consent == (b"set-cookie", f"gem_consent={COOKIE.encode(GRANT)}; {common}; HttpOnly".encode())
    assert hint == (b"set-cookie", f"{HINT_NAME}={hint_value(GRANT, POLICY)}; {common}".encode())


@pytest.mark.rule("R2")
@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(days=184), MAX_LIFETIME])
def test_refusal_lasts_as_long_as_grant(lifetime: timedelta) -> None:
    """Both cookies of a refusal have the attributes of an acceptance, 393 days at most."""
    policy = replace(POLICY, lifetime=lifetime)
    refusal = replace(GRANT, granted=frozenset())
    of_grant = set_cookie_headers(COOKIE, GRANT, policy, is_https=True, now=DECIDED_AT)
    of_refusal = set_cookie_headers(COOKIE, refusal, policy, is_https=True, now=DECIDED_AT)
    for (_, granted), (_, refused) in zip(of_grant, of_refusal, strict=True):
        assert attributes(granted) == attributes(refused)
        assert attributes(granted)[0] == f"Max-Age={min(int(lifetime.total_seconds()), 33_955_200)}"


@pytest.mark.rule("C3")
@pytest.mark.parametrize(("after", "left"), [(0, 33_955_200), (86_400, 33_868_800), (40_000_000, 0)])
def test_cookie_ends_with_the_choice(after: int, left: int) -> None:
    """Set again later, the cookies keep the end of the choice: it never slides."""
    for _, header in set_cookie_headers(COOKIE, GRANT, POLICY, is_https=True, now=DECIDED_AT + after):
        assert attributes(header)[0] == f"Max-Age={left}"


def test_hint_has_three_parts() -> None:
    """The hint is eight digits of the fingerprint, the granted ids in order, and the end."""
    assert hint_value(GRANT, POLICY) == f"{POLICY.fingerprint[:8]}.analytics~media.{DECIDED_AT + 33_955_200}"
    refusal = replace(GRANT, granted=frozenset())
    assert hint_value(refusal, POLICY) == f"{POLICY.fingerprint[:8]}..{DECIDED_AT + 33_955_200}"


@pytest.mark.rule("C5")
def test_fifty_purposes_fit_the_cookies() -> None:
    """As many purposes as a policy may ask about, with the longest ids, stay readable, below 4,096 bytes."""
    ids = [f"p{number:031}" for number in range(50)]
    policy = replace(POLICY, purposes=[Purpose(id_, name="x", description="x") for id_ in ids], services=[])
    choice = Choice(new_subject(), policy.fingerprint, frozenset(ids), DECIDED_AT)
    assert read(COOKIE.encode(choice)) == choice
    for _, header in set_cookie_headers(COOKIE, choice, policy, is_https=True, now=DECIDED_AT):
        assert len(header) < 4096
