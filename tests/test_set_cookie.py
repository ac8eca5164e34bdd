"""Cookies: deleted on every domain and path, read as browsers read them, withheld when refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.set_cookie import (
    _cookie_date,
    cookie_name,
    deletions,
    described,
    is_deletion,
    is_needed_by_name,
    path_prefixes,
    request_cookie_names,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def lines(
    names: list[str], host: str, paths: list[str], secure: bool = True, budget: int = 3072
) -> list[str]:
    headers = deletions(names, host, paths, secure=secure, budget_bytes=budget)
    assert {name for name, _ in headers} <= {b"set-cookie"}
    return [value.decode() for _, value in headers]


def domains(host: str) -> list[str]:
    return [line.partition("Domain=")[2] for line in lines(["a"], host, [])]


def test_every_parent_domain_is_tried() -> None:
    """Without domain first, then from the widest parent with a dot down to the host."""
    assert lines(["_ga"], "www.shop.example.com", []) == [
        "_ga=; Max-Age=0; Path=/",
        "_ga=; Max-Age=0; Path=/; Domain=example.com",
        "_ga=; Max-Age=0; Path=/; Domain=shop.example.com",
        "_ga=; Max-Age=0; Path=/; Domain=www.shop.example.com",
    ]


@pytest.mark.parametrize(
    "host", ["Example.COM", "example.com:8443", "example.com.", " example.com", "example.com.:80"]
)
def test_host_is_read_plainly(host: str) -> None:
    """Port, case, blanks and the root's dot are no part of the domain."""
    assert domains(host) == ["", "example.com"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "127.0.0.1",
        "192.0.2.1:80",
        "127.1",
        "[::1]:8000",
        "::1",
        "",
        ".",
        "a..com",
        "exa mple.com",
        "a;Domain=evil.test",
        "a.com\r\nSet-Cookie: x=y",
        "é.com",
        "a." * 130 + "com",
    ],
)
def test_odd_host_gives_no_domain(host: str) -> None:
    """Addresses, single labels and garbage leave only the form without Domain."""
    assert domains(host) == [""]


def test_root_comes_before_deeper_paths() -> None:
    """Every name on every domain at the root, and only then the next path."""
    assert lines(["a", "b"], "x.test", ["/fr", "/", "/fr"]) == [
        "a=; Max-Age=0; Path=/",
        "b=; Max-Age=0; Path=/",
        "a=; Max-Age=0; Path=/; Domain=x.test",
        "b=; Max-Age=0; Path=/; Domain=x.test",
        "a=; Max-Age=0; Path=/fr",
        "b=; Max-Age=0; Path=/fr",
        "a=; Max-Age=0; Path=/fr; Domain=x.test",
        "b=; Max-Age=0; Path=/fr; Domain=x.test",
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("__Host-a", "__Host-a=; Max-Age=0; Path=/; Secure"),
        ("__host-a", "__host-a=; Max-Age=0; Path=/; Secure"),
        ("__Host-Http-a", "__Host-Http-a=; Max-Age=0; Path=/; Secure; HttpOnly"),
    ],
)
def test_host_prefix_has_one_form(name: str, line: str) -> None:
    """A cookie that is bound to the host is deleted without Domain, at the root, with Secure."""
    assert lines([name], "www.example.com", ["/fr"]) == [line]


@pytest.mark.parametrize(("name", "ending"), [("__Secure-a", "; Secure"), ("__Http-a", "; Secure; HttpOnly")])
def test_secure_prefix_keeps_domains(name: str, ending: str) -> None:
    """The weaker prefixes allow a Domain, and want their own attributes."""
    assert lines([name], "x.test", [])[1] == f"{name}=; Max-Age=0; Path=/; Domain=x.test{ending}"


def test_prefixes_need_a_secure_connection() -> None:
    """Over plain http a browser would drop the line, so it is not sent."""
    assert lines(["__Host-a", "__Secure-a", "__Http-a"], "x.test", [], secure=False) == []


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "a\r\nb", "é", "a,b", "n" * 257])
def test_unusable_name_is_skipped(name: str) -> None:
    """What is no token never reaches a header, and stops none of the others."""
    assert lines([name, "ok"], "localhost", []) == ["ok=; Max-Age=0; Path=/"]


@pytest.mark.parametrize("path", ["fr", "", "/a;b", "/a\r\nb", "/a b", "/é", "/" + "a" * 1024])
def test_unusable_path_is_skipped(path: str) -> None:
    """A path that cannot stand in the attribute is not sent."""
    assert lines(["a"], "localhost", [path]) == ["a=; Max-Age=0; Path=/"]


def test_budget_keeps_the_first() -> None:
    """Lines end before the budget is passed, counted as they stand on the wire."""
    line = "a=; Max-Age=0; Path=/"
    cost = len("set-cookie: \r\n" + line)
    assert lines(["a", "b", "c"], "localhost", [], budget=2 * cost) == [line, line.replace("a", "b", 1)]


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["_ga", "__Host-x"]), max_size=9),
    st.text(max_size=30) | st.sampled_from(["www.example.com", "a.b.c.d.e.f.test:1"]),
    st.lists(st.text(max_size=8).map(lambda text: "/" + text), max_size=6),
    st.integers(0, 400),
)
def test_no_input_breaks_a_header(names: list[str], host: str, paths: list[str], budget: int) -> None:
    """Whatever comes from outside, each line is one deletion of one cookie, and the budget holds."""
    sent = lines(names, host, paths, budget=budget)
    assert sum(len(line) + len("set-cookie: \r\n") for line in sent) <= budget
    for line in sent:
        assert line.isascii()
        assert line.isprintable()
        assert cookie_name(line.encode()) in names
        assert is_deletion(line.encode(), NOW)
        kinds = [part.partition("=")[0] for part in line.split("; ")[1:]]
        assert len(kinds) == len(set(kinds))
        assert set(kinds) <= {"Max-Age", "Path", "Domain", "Secure", "HttpOnly"}


@pytest.mark.parametrize(
    ("path", "prefixes"),
    [
        ("/", ["/"]),
        ("/fr", ["/", "/fr"]),
        ("/fr/a/", ["/", "/fr", "/fr/", "/fr/a", "/fr/a/"]),
        ("/caf%C3%A9/a?b=/c#d", ["/", "/caf%C3%A9", "/caf%C3%A9/", "/caf%C3%A9/a"]),
        ("//a", ["/", "//", "//a"]),
        ("", ["/"]),
        ("fr/a", ["/"]),
        ("/a;b/c", ["/"]),
        ("/a\n/c", ["/"]),
        ("/é/c", ["/"]),
    ],
)
def test_path_gives_its_prefixes(path: str, prefixes: list[str]) -> None:
    """Every cookie path that matches is given from the root down; hostile input gives the root."""
    assert path_prefixes(path) == prefixes


def test_prefixes_end_eight_deep() -> None:
    """A long path costs no more than its first eight segments."""
    assert path_prefixes("/1/2/3/4/5/6/7/8/9/10")[-1] == "/1/2/3/4/5/6/7/8/"


@given(st.text(max_size=40).map(lambda text: "/" + text))
def test_every_prefix_matches_the_path(path: str) -> None:
    """Each prefix path-matches the path by RFC 6265 §5.1.4."""
    for prefix in path_prefixes(path):
        rest = path.removeprefix(prefix)
        assert path.startswith(prefix)
        assert not rest or prefix.endswith("/") or rest[0] in "/?#"


def test_cookie_names_come_once() -> None:
    """All Cookie lines are read, in any case, in order, nameless pieces left out."""
    headers = [(b"Cookie", b"a=1; b=x=y;a=2; ; c; =d"), (b"cookie", b" e =; b=")]
    assert request_cookie_names(headers) == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("value", "name"),
    [(b"a=b; Path=/", "a"), (b" a = b", "a"), (b"a", ""), (b"a; b=c", ""), (b"=b", ""), (b"", "")],
)
def test_set_cookie_has_a_name(value: bytes, name: str) -> None:
    """The name stands before the first equals sign, which stands before the first semicolon."""
    assert cookie_name(value) == name


@pytest.mark.parametrize(
    "attributes",
    [
        b"Max-Age=0",
        b"max-age=-1",
        b"Max-Age=000",
        b"Max-Age=60; Max-Age=0",
        b"Max-Age=0; Max-Age=soon",
        b"Max-Age=0; Expires=Fri, 01 Jan 2038 00:00:00 GMT",
        b"Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        b"expires=Thu, 01-Jan-1970 00:00:01 GMT",
        b"EXPIRES=Thu Jan  1 00:00:00 1970",
        b"Expires=Fri, 01 Jan 2038 00:00:00 GMT; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        b"Expires=Thu, 01 Jan 1970 00:00:00 GMT; Expires=never",
        b"Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=soon",
        b"Expires=Mon, 23 Nov 2026 12:00:00 GMT",
    ],
)
def test_deletion_is_recognised(attributes: bytes) -> None:
    """A cookie that browsers would drop at once is a deletion."""
    assert is_deletion(b"a=b; " + attributes, NOW)


@pytest.mark.parametrize(
    "attributes",
    [
        b"",
        b"Path=/",
        b"Max-Age=60",
        b"Max-Age=0; Max-Age=60",
        b"Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        b"Max-Age=" + b"9" * 1000,
        b"Max-Age=" + b"0" * 1025,
        b"Max-Age=-",
        b'Max-Age="0"',
        b"Expires=Mon, 23 Nov 2026 12:00:01 GMT",
        b"Expires=0",
        b"Expires=Thu, 31 Feb 2020 00:00:00 GMT",
        b"Expires=Thu, 01 Jan 1600 00:00:00 GMT",
        b"Expires=Thu, 01 Jan 1970 24:00:00 GMT",
    ],
)
def test_living_cookie_is_no_deletion(attributes: bytes) -> None:
    """A cookie that browsers would keep is none, and an attribute that cannot be read does not count."""
    assert not is_deletion(b"Max-Age=0; " + attributes, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "8:49:37 6 november 94",
        '"06 Nov 1994 08:49:37 +0200"',
    ],
)
def test_date_is_read_in_any_form(text: str) -> None:
    """All forms of RFC 9110 §5.6.7 and stranger ones name the same second, always taken as UTC."""
    assert _cookie_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(("short", "full"), [("69", 2069), ("70", 1970), ("00", 2000), ("100", None)])
def test_short_year_has_its_century(short: str, full: int | None) -> None:
    """Years of two digits turn at 70; years before 1601 are no date (RFC 6265 §5.1.1)."""
    date = _cookie_date(f"01 Jan {short} 00:00:00")
    assert (date.year if date else None) == full


@given(st.binary(max_size=60))
def test_garbage_attributes_never_raise(value: bytes) -> None:
    """Whatever an app sends, the question has an answer."""
    assert is_deletion(b"a=b; Expires=" + value, NOW) in (True, False)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "session",
            "sessionid",
            "__Host-session",
            "connect.sid",
            "PHPSESSID",
            "JSESSIONID",
            "ASP.NET_SessionId",
        ),
        *(
            "csrftoken",
            "XSRF-TOKEN",
            "_csrf",
            "fastapi-csrf-token",
            "remember_user_token",
            "auth",
            "access_token",
        ),
        *(
            "next-auth.session-token",
            "sb-abc-auth-token",
            "wordpress_logged_in_1",
            "messages",
            "_flash",
            "sid",
        ),
        *("django_language", "locale", "AWSALB", "AWSALBCORS", "SERVERID", "BIGipServerpool", "cf_clearance"),
        *("NEXT_LOCALE", "_locale", "i18next", ".AspNetCore.Culture"),
        *("AWSELB", "ARRAffinity", "INGRESSCOOKIE"),
        *("identity", "openidconnect.rt", "mfa_trusted", "KEYCLOAK_IDENTITY"),
        *("KC_RESTART", "_oauth2_proxy", "oidc.state"),
        *(".AspNetCore.Antiforgery.x", "wordpress_sec_x", "user", "id"),
        *("otp_ok", "code_verifier", "ds_messages"),
    ],
)
def test_sessions_are_needed_by_name(name: str) -> None:
    """Cookies without which sites break are known by their names."""
    assert is_needed_by_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("_ga", "_fbp", "_gcl_au", "mp_abc", "theme", "ab_test"),
        *("visitor", "side", "visitor_id", "uid", "IDE", "ajs_user_id"),
        *("ajs_anonymous_id", "optimizelyEndUserId", "hubspotutk"),
        *("__hstc", "_pk_ses.1", "_uetsid"),
    ],
)
def test_others_are_not_needed_by_name(name: str) -> None:
    """Nothing says that a site breaks without these."""
    assert not is_needed_by_name(name)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ("", (None, "")),
        ("Max-Age=60; path=/me; secure; HTTPONLY; samesite=Lax", (60, "HttpOnly; Secure; SameSite=Lax")),
        ("Domain=example.com", (None, "Domain=example.com")),
        ("Expires=Thu, 26 Nov 2099 00:00:00 GMT; Max-Age=5; Partitioned", (5, "Partitioned")),
        ("Max-Age=soon; Max-Age=99999999999999", (None, "")),
    ],
)
def test_cookie_is_described_without_value(attributes: str, told: tuple[int | None, str]) -> None:
    """Lifetime and attributes are told, never the value or the path."""
    assert described(f"a=secret; {attributes}".encode(), NOW) == told


def test_expiry_date_gives_lifetime() -> None:
    """A date is a lifetime from now on."""
    line = f"a=b; Expires={format_datetime(NOW + timedelta(days=2), usegmt=True)}".encode()
    assert described(line, NOW)[0] == 2 * 86_400
