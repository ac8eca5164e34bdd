"""What caches are told: who may store a document, and which validators reach the app."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.caching import changed_document, is_shared, make_private, request_conditions
from gem_consent.headers import Headers, values

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SUFFIX = "1a2b3c4d"
NAMES = [
    b"Cache-Control",
    b"cache-control",
    b"CDN-Cache-Control",
    b"Surrogate-Control",
    b"Vary",
    b"Expires",
    b"X-Other",
]
DIRECTIVES = [
    "public",
    "PRIVATE",
    "private",
    'private="set-cookie"',
    "s-maxage=60",
    "max-age=60",
    "max-age=0",
    'x="a, public"',
    "no-store",
    "proxy-revalidate",
    "Cookie",
    "*",
    '"',
    "\\",
    "=",
    "",
    "é",
]
lines = st.lists(st.sampled_from(DIRECTIVES), max_size=5).map(
    lambda parts: ", ".join(parts).encode("latin-1")
)
header_lists = st.lists(st.tuples(st.sampled_from(NAMES), lines | st.binary(max_size=12)), max_size=6)


def one(name: str, value: str) -> Headers:
    return [(name.encode(), value.encode("latin-1"))]


def conditions(*pairs: tuple[str, str], is_navigation: bool = False) -> Headers:
    headers = [(name.encode(), value.encode()) for name, value in pairs]
    return request_conditions(headers, [SUFFIX], is_navigation=is_navigation)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cache-control", "public"),
        ("Cache-Control", "PUBLIC, Max-Age=60"),
        ("cache-control", "max-age=60"),
        ("cache-control", 'max-age="60"'),
        ("cache-control", "max-age=0, s-maxage=1"),
        ("cache-control", "s-maxage=60, proxy-revalidate"),
        ("cache-control", 'ext="a, b", public'),
        ("expires", "Mon, 23 Nov 2026 12:00:01 GMT"),
        ("cdn-cache-control", "max-age=60"),
        ("Cloudflare-CDN-Cache-Control", "max-age=60"),
        ("surrogate-control", "max-age=3600+600"),
    ],
)
def test_storable_document_is_shared(name: str, value: str) -> None:
    """Each header that lets shared caches store a response makes it shared."""
    assert is_shared([], one(name, value), NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "y"),
        ("cache-control", "private"),
        ("cache-control", "public, PRIVATE"),
        ("cache-control", 'public, private="set-cookie"'),
        ("cache-control", "public, no-store"),
        ("cache-control", "public, no-cache"),
        ("cache-control", 'public, ext="no-store'),
        ("cache-control", "public, s-maxage=0"),
        ("cache-control", "public, max-age=0, must-revalidate"),
        ("cache-control", "max-age=60, max-age=0"),
        ("cache-control", "max-age=soon"),
        ("cache-control", "max-age=-1"),
        ("cache-control", "max-age"),
        ("cache-control", 'ext="a, public, max-age=60"'),
        ("cache-control", "publicly"),
        ("cache-control", "immutable"),
        ("expires", "Mon, 23 Nov 2026 12:00:00 GMT"),
        ("expires", "0"),
        ("expires", "Mon, 23 Nov 2026 12:00:01 +9999"),
        ("expires", "Mon, 23 Nov 99999 12:00:01 GMT"),
        ("surrogate-control", 'content="ESI/1.0"'),
    ],
)
def test_doubtful_document_is_not_shared(name: str, value: str) -> None:
    """What does not clearly let shared caches store a response leaves it the visitor's own."""
    assert not is_shared([], one(name, value), NOW)


@pytest.mark.parametrize(
    "pair",
    [
        ("cache-control", "no-store"),
        ("cdn-cache-control", "no-store"),
        ("Vercel-CDN-Cache-Control", "private"),
        ("cdn-cache-control", "max-age=0"),
        ("surrogate-control", "no-store"),
        ("pragma", "no-cache"),
        ("Set-Cookie", "a=b"),
        ("vary", "Accept, cookie"),
        ("vary", "*"),
    ],
)
def test_one_objection_is_enough(pair: tuple[str, str]) -> None:
    """A public response is not shared once any of its other headers speaks against it."""
    headers = [*one("cache-control", "public, max-age=60"), *one(*pair)]
    assert not is_shared([], headers, NOW)


def test_zero_lifetime_outranks_expires() -> None:
    """A future Expires does not count beside max-age=0 (RFC 9111 §5.3)."""
    headers = [*one("expires", "Tue, 24 Nov 2026 12:00:00 GMT"), *one("cache-control", "max-age=0")]
    assert not is_shared([], headers, NOW)


def test_two_expiry_dates_share_nothing() -> None:
    """Where Expires is given twice the response counts as stale (RFC 9111 §4.2.1)."""
    assert not is_shared([], one("expires", "Tue, 24 Nov 2026 12:00:00 GMT") * 2, NOW)


def test_cdn_lifetime_shares_alone() -> None:
    """A CDN told to keep what browsers may not keep has a shared document."""
    headers = [*one("cache-control", "public, max-age=0"), *one("cdn-cache-control", "max-age=60")]
    assert is_shared([], headers, NOW)


def test_authorized_request_is_not_shared() -> None:
    """The answer to a request with Authorization belongs to whoever asked (RFC 9111 §3.5)."""
    assert not is_shared(one("Authorization", "Basic eA=="), one("cache-control", "public"), NOW)


@given(header_lists)
def test_private_is_never_shared(headers: Headers) -> None:
    """Whatever the headers said, no shared cache may store them once they are private."""
    assert not is_shared([], make_private(headers), NOW)


@given(header_lists)
def test_making_private_twice_changes_nothing(headers: Headers) -> None:
    """The second call gives back what the first gave."""
    once = make_private(headers)
    assert make_private(once) == once


@given(header_lists)
def test_unrelated_headers_keep_their_place(headers: Headers) -> None:
    """Headers that are not about caching are the same, in the same order."""
    ours = [pair for pair in headers if pair[0] == b"X-Other"]
    assert [pair for pair in make_private(headers) if pair[0] == b"X-Other"] == ours


def test_bare_document_becomes_private() -> None:
    """A response without any cache header gets both."""
    assert make_private([(b"X", b"1")]) == [
        (b"X", b"1"),
        (b"cache-control", b"private"),
        (b"vary", b"Cookie"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("public, max-age=60", "private, max-age=60"),
        ("s-maxage=60, proxy-revalidate, must-revalidate", "private, must-revalidate"),
        ("no-store", "private, no-store"),
        ("no-store, Private", "no-store, Private"),
        ('private="set-cookie", max-age=5', "private, max-age=5"),
        ('ext="a, public"', 'private, ext="a, public"'),
        ('ext="a, public', 'private, ext="a, public'),
    ],
)
def test_other_directives_stay(before: str, after: str) -> None:
    """Only what speaks to shared caches leaves Cache-Control; quoted commas do not split."""
    assert values(make_private(one("Cache-Control", before)), b"cache-control") == [after]


def test_lines_stay_apart() -> None:
    """Several Cache-Control lines are not merged, so an open quote in one cannot swallow another."""
    headers = [
        *one("Cache-Control", 'x="'),
        *one("cache-control", "public"),
        *one("cache-control", "no-store"),
    ]
    assert values(make_private(headers), b"cache-control") == ['private, x="', "no-store"]


@pytest.mark.parametrize(
    "name",
    [
        "CDN-Cache-Control",
        "cloudflare-cdn-cache-control",
        "Surrogate-Control",
        "Edge-Control",
        "X-Accel-Expires",
    ],
)
def test_headers_for_cdns_go(name: str) -> None:
    """What outranks Cache-Control in some shared cache is removed."""
    assert not values(make_private(one(name, "max-age=60")), name.lower().encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [("Accept", "Cookie, Accept"), ("", "Cookie"), ("*", "*"), ("accept, COOKIE", "accept, COOKIE")],
)
def test_vary_names_the_cookie(before: str, after: str) -> None:
    """Vary gains Cookie unless it says as much already."""
    assert values(make_private(one("Vary", before)), b"vary") == [after]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"abc"', b'"abc-gc1a2b3c4d"'),
        (b' W/"abc" ', b'W/"abc-gc1a2b3c4d"'),
        (b'""', b'"-gc1a2b3c4d"'),
        (b'"\xe9"', b'"\xe9-gc1a2b3c4d"'),
    ],
)
def test_entity_tag_gains_suffix(before: bytes, after: bytes) -> None:
    """Weak and strong tags carry the mark inside their quotes."""
    assert changed_document([(b"ETag", before)], SUFFIX) == [(b"ETag", after)]


@pytest.mark.parametrize("tag", [b"abc", b'w/"abc"', b'"a"b"', b'"abc', b"", b'"a b"'])
def test_malformed_tag_is_left_out(tag: bytes) -> None:
    """A tag that no client could give back in the same words is not sent."""
    assert changed_document([(b"ETag", tag), (b"x", b"1")], SUFFIX) == [(b"x", b"1")]


def test_old_validators_and_digests_go() -> None:
    """What was computed over the old bytes leaves the response."""
    old = ["Last-Modified", "Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"]
    headers = [(name.encode(), b"x") for name in old]
    assert changed_document([*headers, (b"Server", b"y")], SUFFIX) == [(b"Server", b"y")]


@given(st.from_regex(rb'\A(W/)?"[!#-~]{0,12}"\Z'))
def test_tag_comes_back_unmarked(tag: bytes) -> None:
    """The tag that the app wrote is the tag that it is asked about, weak or strong, marked before or not."""
    [(_, marked)] = changed_document([(b"etag", tag)], SUFFIX)
    assert request_conditions([(b"If-None-Match", marked)], [SUFFIX], is_navigation=True) == [
        (b"If-None-Match", tag)
    ]


@pytest.mark.parametrize("is_navigation", [False, True])
def test_unconditional_request_is_same_object(is_navigation: bool) -> None:
    """A request without conditions costs no new list."""
    headers = [(b"Host", b"example.com"), (b"Range", b"bytes=0-1")]
    assert request_conditions(headers, [SUFFIX], is_navigation=is_navigation) is headers


@pytest.mark.parametrize("value", ["*", '"abc"', 'W/"a", "b"', "garbage"])
def test_untouched_conditions_are_same_object(value: str) -> None:
    """Conditions that carry no mark reach what is no document as they came."""
    headers = [*one("If-None-Match", value), *one("If-Modified-Since", "x"), *one("If-Range", '"a"')]
    assert request_conditions(headers, [SUFFIX], is_navigation=False) is headers


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ('"a-gc1a2b3c4d"', ['"a"']),
        ('"a-gc00000000"', []),
        ('"a-gc00000000", W/"b-gc1a2b3c4d","c"', ['W/"b", "c"']),
    ],
)
def test_tags_lose_their_marks(value: str, seen: list[str]) -> None:
    """The present mark comes off, a stale one takes its tag along, and an emptied header goes."""
    assert values(conditions(("If-None-Match", value)), b"if-none-match") == seen


@pytest.mark.parametrize(
    ("value", "seen"), [('"a"', []), ('"a", "b-gc1a2b3c4d"', ['"b"']), ("x", []), ("*", ["*"])]
)
def test_navigation_drops_unmarked_tags(value: str, seen: list[str]) -> None:
    """A document stored before this library must not be confirmed as fresh."""
    assert values(conditions(("if-none-match", value), is_navigation=True), b"if-none-match") == seen


def test_marked_range_is_dropped() -> None:
    """A range of a rewritten document cannot be cut by the app."""
    assert conditions(("Range", "bytes=5-"), ("If-Range", '"a-gc00000000"'), ("x", "1")) == [(b"x", b"1")]


def test_navigation_drops_modification_date() -> None:
    """A date says nothing about what was inserted."""
    assert conditions(("If-Modified-Since", "x"), is_navigation=True) == []


def test_stale_tag_takes_date_along() -> None:
    """Once its tag is gone, a date that did not count must not begin to (RFC 9110 §13.1.3)."""
    assert conditions(("If-None-Match", '"a-gc00000000"'), ("If-Modified-Since", "x")) == []


def test_edit_condition_loses_any_mark() -> None:
    """If-Match speaks of the app's own resource, whatever was inserted into the copy that was read."""
    assert values(conditions(("If-Match", '"a-gc00000000", "b"')), b"if-match") == ['"a", "b"']


@given(st.binary(max_size=40), st.booleans())
def test_garbage_conditions_never_raise(value: bytes, is_navigation: bool) -> None:
    """No condition from outside stops a request, and none reaches the app with a mark."""
    headers = [(b"If-None-Match", value), (b"If-Range", value)]
    seen = request_conditions(headers, [SUFFIX], is_navigation=is_navigation)
    assert not any(b'-gc1a2b3c4d"' in line for _, line in seen if line != value)
