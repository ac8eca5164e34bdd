"""Content Security Policy: what the library needs is added, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.csp import Needs, amend, hash_source, lacks_hosts, requires_trusted_types
from gem_consent.headers import Headers

HASH = hash_source("run()")
STYLE = hash_source("p{}")
GA = "https://*.google-analytics.com"
SCRIPT = Needs(inline_scripts=(HASH,))


def policy(*values: str) -> Headers:
    return [(b"Content-Security-Policy", value.encode()) for value in values]


def amended(value: str, needs: Needs) -> str:
    headers, _ = amend(policy(value), needs)
    return headers[0][1].decode()


def hosts(directive: str, *sources: str) -> Needs:
    return Needs(hosts={directive: sources})


def test_hash_matches_the_specification() -> None:
    """The hash is the one that CSP Level 2 computes for its own example."""
    assert hash_source("alert('Hello, world.');") == "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="


def test_hash_of_text_is_of_utf8() -> None:
    """Text and its UTF-8 bytes have one hash."""
    assert hash_source("é") == hash_source("é".encode())


def test_page_without_policy_stays_without() -> None:
    """Nothing is invented: the same headers come back, and no nonce."""
    headers = [(b"X-Frame-Options", b"DENY")]
    result, nonce = amend(headers, SCRIPT)
    assert result is headers
    assert nonce is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("script-src 'self'", f"script-src 'self' '{HASH}'"),
        ("script-src 'none'", f"script-src '{HASH}'"),
        ("script-src", f"script-src '{HASH}'"),
        ("SCRIPT-SRC 'NONE'", f"script-src '{HASH}'"),
        ("script-src-elem 'self'; script-src a.test", f"script-src-elem 'self' '{HASH}'; script-src a.test"),
        ("script-src 'self'; script-src 'none'", f"script-src 'self' '{HASH}'"),
        (
            "script-src 'unsafe-inline' 'strict-dynamic'",
            f"script-src 'unsafe-inline' 'strict-dynamic' '{HASH}'",
        ),
        ("script-src 'unsafe-inline' 'sha256-YQ=='", f"script-src 'unsafe-inline' 'sha256-YQ==' '{HASH}'"),
        ("script-src 'unsafe-inline' 'nonce-YQ'", f"script-src 'unsafe-inline' 'nonce-YQ' '{HASH}'"),
    ],
)
def test_script_hash_is_added(before: str, after: str) -> None:
    """A directive that would stop a placed script gains its hash, in the directive that rules."""
    assert amended(before, Needs(inline_scripts=(HASH,), is_placed=True)) == after


@pytest.mark.parametrize(
    "value",
    [
        "script-src 'unsafe-inline'",
        "script-src 'self' 'UNSAFE-INLINE'",
        f"script-src '{HASH}'",
        "script-src 'nonce-YQ=='",
        "img-src 'none'",
        "upgrade-insecure-requests",
        "sandbox",
        "",
        " ; , ;",
    ],
)
def test_sufficient_policy_is_untouched(value: str) -> None:
    """Where the script may run already, every byte of the policy stays."""
    assert amended(value, SCRIPT) == value


def test_missing_directive_copies_default() -> None:
    """A directive that is not there starts from default-src, which itself stays as it was."""
    assert amended("default-src 'self'", SCRIPT) == f"default-src 'self'; script-src 'self' '{HASH}'"


def test_copy_of_none_is_replaced() -> None:
    """The copy of a default of 'none' holds only what is needed."""
    assert amended("default-src 'none'; connect-src 'self'", SCRIPT) == (
        f"default-src 'none'; connect-src 'self'; script-src '{HASH}'"
    )


def test_child_frames_are_copied() -> None:
    """child-src rules over workers too, so frames get a directive of their own."""
    assert amended("child-src 'self'", hosts("frame-src", "https://a.test")) == (
        "child-src 'self'; frame-src 'self' https://a.test"
    )


@pytest.mark.parametrize(
    "value",
    [
        "script-src 'nonce-YWJj'",
        "script-src 'self'; script-src-elem 'NONCE-YWJj'",
        "default-src 'self' 'nonce-YWJj'",
    ],
)
def test_own_nonce_is_found(value: str) -> None:
    """The page's nonce is given back as it is spelt, from the directive in force."""
    assert amend(policy(value), SCRIPT)[1] == "YWJj"


@pytest.mark.parametrize(
    "headers",
    [
        policy("script-src 'self'"),
        policy("style-src 'nonce-YQ'"),
        policy("script-src 'nonce-'"),
        policy("script-src 'nonce-a\"b'"),
        policy("script-src-elem 'self'; script-src 'nonce-YQ'"),
        [(b"content-security-policy-report-only", b"script-src 'nonce-YQ'")],
        policy("script-src 'nonce-YQ'", "script-src 'nonce-Yg'"),
    ],
)
def test_unusable_nonce_is_none(headers: Headers) -> None:
    """A nonce counts only if enforced, well-formed, for scripts and common to all that have one."""
    assert amend(headers, SCRIPT)[1] is None


def test_common_nonce_is_chosen() -> None:
    """Of several nonces the one that every policy knows is used."""
    headers = policy("script-src 'nonce-YQ' 'nonce-Yg', default-src 'nonce-Yg'")
    assert amend(headers, SCRIPT) == (
        policy("script-src 'nonce-YQ' 'nonce-Yg', default-src 'nonce-Yg'; connect-src 'nonce-Yg' 'self'"),
        "Yg",
    )


def test_policies_without_common_nonce_get_hashes() -> None:
    """Where no nonce serves both policies, both get the hash."""
    headers, _ = amend(policy("script-src 'nonce-YQ'", "script-src 'nonce-Yg'"), SCRIPT)
    assert headers == policy(f"script-src 'nonce-YQ' '{HASH}'", f"script-src 'nonce-Yg' '{HASH}'")


def test_policy_without_nonce_gets_hash() -> None:
    """Beside a policy with a nonce, one without gets the hash, report-only too; each line keeps its name."""
    report = (b"content-security-policy-REPORT-only", b"script-src 'self'")
    headers, nonce = amend([*policy("script-src 'nonce-YQ'"), report], SCRIPT)
    assert headers == [
        *policy("script-src 'nonce-YQ'"),
        (b"content-security-policy-REPORT-only", f"script-src 'self' '{HASH}'".encode()),
    ]
    assert nonce == "YQ"


def test_style_needs_the_same_nonce() -> None:
    """A style passes by the script's nonce only if its own directive knows it."""
    needs = Needs(inline_styles=(STYLE,))
    assert amended("script-src 'nonce-YQ'; style-src 'nonce-YQ'", needs).endswith("style-src 'nonce-YQ'")
    assert amended("script-src 'nonce-YQ'; style-src 'nonce-Yg'", needs).endswith(f"'nonce-Yg' '{STYLE}'")


def test_strict_dynamic_means_nothing_for_styles() -> None:
    """'unsafe-inline' stays in force for styles beside 'strict-dynamic', so no hash may switch it off."""
    value = "style-src 'unsafe-inline' 'strict-dynamic'"
    assert amended(value, Needs(inline_styles=(STYLE,))) == value


@pytest.mark.parametrize(
    "source",
    [
        "*",
        "https:",
        "http:",
        GA,
        "HTTPS://*.Google-Analytics.com",
        "http://*.google-analytics.com",
        "*.google-analytics.com",
        "https://*.google-analytics.com:443",
        "https://*.google-analytics.com:*",
        "https://*.google-analytics.com/",
        "https://*.com",
        "https://*",
    ],
)
def test_covered_host_is_not_added(source: str) -> None:
    """A source that lets the host through already makes another one needless."""
    assert not lacks_hosts(policy(f"img-src {source}"), {"img-src": (GA,)})


@pytest.mark.parametrize(
    "source",
    [
        "'self'",
        "'none'",
        "data:",
        "wss://*.google-analytics.com:1",
        "https://google-analytics.com",
        "https://www.google-analytics.com",
        "https://*.google-analytics.com:8443",
        "https://*.google-analytics.com/g/",
        "https://*.analytics.com",
        "garbage!",
    ],
)
def test_other_host_does_not_cover(source: str) -> None:
    """Another scheme, host, port or path leaves the host to be added."""
    assert lacks_hosts(policy(f"img-src {source}"), {"img-src": (GA,)})


def test_report_only_asks_for_a_reload_too() -> None:
    """A policy that only reports would report what was granted, so that it counts."""
    assert lacks_hosts([(b"Content-Security-Policy-Report-Only", b"img-src 'self'")], {"img-src": (GA,)})


@pytest.mark.parametrize(
    ("headers", "is_required"),
    [
        (policy("Require-Trusted-Types-For 'script'"), True),
        (policy("script-src 'self', require-trusted-types-for 'SCRIPT'"), True),
        (policy("script-src 'self'", "require-trusted-types-for 'script'"), True),
        (policy("trusted-types own", "require-trusted-types-for"), False),
        ([(b"Content-Security-Policy-Report-Only", b"require-trusted-types-for 'script'")], False),
        ([], False),
    ],
)
def test_trusted_types_are_seen(headers: Headers, is_required: bool) -> None:
    """Only an enforced policy that requires them for scripts counts."""
    assert requires_trusted_types(headers) is is_required


def test_wildcard_misses_its_own_apex() -> None:
    """`*.example.com` does not let example.com through."""
    assert lacks_hosts(policy("img-src https://*.example.com"), {"img-src": ("https://example.com",)})


@pytest.mark.parametrize("source", ["https:", "socket.test"])
def test_https_does_not_cover_sockets(source: str) -> None:
    """A WebSocket host needs its own scheme."""
    assert lacks_hosts(policy(f"connect-src {source}"), {"connect-src": ("wss://socket.test",)})


def test_missing_hosts_are_added() -> None:
    """Hosts follow what the directive holds, each once."""
    assert amended("img-src 'self'", hosts("img-src", GA, GA)) == f"img-src 'self' {GA}"


def test_strict_dynamic_needs_no_hosts() -> None:
    """Hosts and 'self' are not looked at under 'strict-dynamic', so none are added."""
    needs = Needs(hosts={"script-src": (GA,)}, self_script=True)
    value = "script-src 'nonce-YQ' 'strict-dynamic'"
    assert amended(value, needs) == value


@pytest.mark.parametrize(
    "value", ["script-src 'nonce-YQ'", "script-src 'self'", "script-src *", "img-src 'none'"]
)
def test_own_script_file_needs_nothing(value: str) -> None:
    """A script file of ours passes by nonce, by 'self' or where scripts are not restricted."""
    assert amended(value, Needs(self_script=True)) == value


@pytest.mark.parametrize("is_placed", [False, True])
def test_own_script_file_needs_self(is_placed: bool) -> None:
    """Without a nonce on the inline script that adds it, the file needs 'self'."""
    value = "script-src 'nonce-YQ'" if is_placed else "script-src 'unsafe-inline'"
    assert amended(value, Needs(self_script=True, is_placed=is_placed)) == f"{value} 'self'"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("form-action 'none'", "form-action 'self'"),
        ("form-action https:", "form-action https: 'self'"),
        ("connect-src a.test", "connect-src a.test 'self'"),
        ("default-src a.test", "default-src a.test; connect-src a.test 'self'"),
        ("default-src 'self'", "default-src 'self'"),
        ("connect-src *", "connect-src *"),
        ("img-src 'none'", "img-src 'none'"),
    ],
)
def test_own_endpoints_stay_reachable(before: str, after: str) -> None:
    """The form and the script of the notice reach the site itself."""
    assert amended(before, Needs()) == after


SOURCES = [
    "'self'",
    "'none'",
    "'unsafe-inline'",
    "'strict-dynamic'",
    "'nonce-YQ'",
    "'nonce-Yg'",
    "*",
    "https:",
    GA,
]
DIRECTIVES = [
    "default-src",
    "script-src",
    "script-src-elem",
    "style-src",
    "img-src",
    "connect-src",
    "child-src",
]
directives = st.tuples(st.sampled_from(DIRECTIVES), st.lists(st.sampled_from(SOURCES), max_size=3))
policies = st.lists(directives, max_size=4).map(lambda parts: "; ".join(" ".join([n, *s]) for n, s in parts))
FULL = Needs(
    inline_scripts=(HASH,),
    inline_styles=(STYLE,),
    hosts={"script-src": (GA,), "img-src": (GA,), "connect-src": (GA,), "frame-src": (GA,)},
    self_script=True,
)


@given(st.lists(policies, min_size=1, max_size=3), st.booleans())
def test_amended_page_lacks_nothing(values: list[str], is_joined: bool) -> None:
    """Once amended, a page needs no second amendment, and every host is allowed."""
    once, nonce = amend(policy(", ".join(values)) if is_joined else policy(*values), FULL)
    assert amend(once, FULL) == (once, nonce)
    assert not lacks_hosts(once, FULL.hosts)


def parsed(value: str) -> dict[str, set[str]]:
    """Read a policy the plain way: later directives of one name are overwritten by the first."""
    parts = [part.split() for part in reversed(value.split(";")) if part.split()]
    return {name: set(sources) for name, *sources in parts}


def runs_any_inline_script(value: str) -> bool:
    found = [parsed(value)[name] for name in DIRECTIVES[2::-1] if name in parsed(value)]
    sources = found[0] if found else {"'unsafe-inline'"}
    return "'unsafe-inline'" in sources and not any(
        "nonce" in s or "sha256" in s or "dynamic" in s for s in sources
    )


@given(policies)
def test_amending_takes_nothing_away(value: str) -> None:
    """Every directive keeps each of its sources but 'none'."""
    after = parsed(amended(value, FULL))
    assert all(sources - {"'none'"} <= after[name] for name, sources in parsed(value).items())


@given(policies, st.booleans())
def test_inline_scripts_stay_allowed(value: str, is_placed: bool) -> None:
    """Where the site's own inline scripts ran before, they run after."""
    needs = Needs(inline_scripts=(HASH,), hosts=FULL.hosts, self_script=True, is_placed=is_placed)
    assert runs_any_inline_script(amended(value, needs)) or not runs_any_inline_script(value)


@given(st.binary(max_size=60))
def test_garbage_policy_never_raises(value: bytes) -> None:
    """No policy stops a response."""
    headers, _ = amend([(b"content-security-policy", value)], FULL)
    assert len(headers) == 1
