"""Several sites in one application: which policy a request gets, what is recorded, and who is left alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import Visitor, get, make_policy, mentions_vendor, rows, site, wrap
from starlette.requests import Request
from starlette.responses import JSONResponse

from gem_consent import ConfigurationError, ConsentMiddleware, Controller, Policy, get_consent
from gem_consent.ledger.store import Ledger

SHOP = make_policy(controller=Controller("Shop", "dpo@example.com"), version="shop")
BLOG = make_policy(
    controller=Controller("Blog", "dpo@example.com"), version="blog", services=SHOP.services[:1]
)
POLICIES = {"shop.example.com": SHOP, "blog.example.com": BLOG}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


class At(Visitor):
    """A visitor of one host."""

    def __init__(self, app: ConsentMiddleware, host: str, policy: Policy) -> None:
        super().__init__(app)
        self.host, self.policy = host, policy

    def notice(self, language: str = "en") -> str:
        """Give the digest of the notice that this host shows."""
        return str(self.get("/privacy-choices/state").json["notice"])

    def _headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        return {"host": self.host} | super()._headers(headers)


@pytest.mark.parametrize("host", ["shop.example.com", "SHOP.example.com:8443", "shop.example.com."])
def test_host_chooses_policy(ledger: Path, host: str) -> None:
    """The host is compared in lower case, without its port and its last dot."""
    app = wrap(site(), ledger, policy=POLICIES)
    answer = get(app, "/privacy-choices/state", {"host": host}).json
    assert answer["fingerprint"] == SHOP.fingerprint


def test_international_host_is_known(ledger: Path) -> None:
    """A host that is configured in its own letters is known as browsers send it (RFC 5891)."""
    app = wrap(site(), ledger, policy={"straße.example": BLOG, "*": SHOP})
    found = get(app, "/privacy-choices/state", {"host": "xn--strae-oqa.example"}).json
    assert found["fingerprint"] == BLOG.fingerprint


@pytest.mark.parametrize(
    "host", ["evil.example.net", "", "shop.example.com.evil.example", "xshop.example.com"]
)
def test_unknown_host_gets_default(ledger: Path, host: str) -> None:
    """Every other host gets the policy of the star."""
    app = wrap(site(), ledger, policy=POLICIES | {"*": BLOG})
    assert get(app, "/privacy-choices/state", {"host": host}).json["fingerprint"] == BLOG.fingerprint


def test_unknown_host_is_left_alone(ledger: Path) -> None:
    """Without a star every page is the site's own, and the library's pages are not there."""
    page = b"<!doctype html><title>x</title><p>x"
    app = wrap(site(page), ledger, policy=POLICIES)
    assert get(app, "/", {"host": "203.0.113.9"}).body == page
    assert get(app, "/privacy-choices/state", {"host": "203.0.113.9"}).body == page


def test_unknown_host_declares_nothing(ledger: Path) -> None:
    """A cookie that is set for an unknown host is left alone, and the inventory says nothing of it."""
    app = wrap(site(headers=[("set-cookie", "vid_1=1")]), ledger, policy=POLICIES, undeclared="refuse")
    assert get(app, "/", {"host": "203.0.113.9"}).all("set-cookie") == ["vid_1=1"]
    assert not app.site.inventory.has_fresh


def test_code_may_ask_on_unknown_host(ledger: Path) -> None:
    """A view that reads the consent there is told that nothing is granted, whatever cookie came along."""

    async def view(scope: Any, receive: Any, send: Any) -> None:
        answer = {"measured": get_consent(Request(scope)).allows("analytics")}
        await JSONResponse(answer)(scope, receive, send)

    app = wrap(view, ledger, policy=POLICIES)
    visitor = At(app, "shop.example.com", SHOP)
    visitor.json("grant_all")
    assert visitor.get().json == {"measured": True}
    visitor.host = "unknown.example"
    assert visitor.get().json == {"measured": False}


def test_each_site_asks_its_own(ledger: Path) -> None:
    """Each host shows its own controller and services, and rows name the host and the policy."""
    app = wrap(site(), ledger, policy=POLICIES)
    for host, policy in POLICIES.items():
        visitor = At(app, host, policy)
        page = visitor.get("/privacy-choices").text
        assert policy.controller.name in page
        assert ("Video Inc." in page) is (policy is SHOP)
        visitor.json("grant_all")
    found = [(row["site"], row["fingerprint"], set(row["purposes"])) for row in rows(ledger)]
    assert found == [
        ("shop.example.com", SHOP.fingerprint, {"analytics", "media"}),
        ("blog.example.com", BLOG.fingerprint, {"analytics"}),
    ]


def test_notices_of_every_site_are_stored(ledger: Path) -> None:
    """The ledger holds what each site may show, before anybody chose."""
    app = wrap(site(), ledger, policy=POLICIES)
    app.site.recorder.start()
    app.site.recorder.close()
    with closing(Ledger.open(f"sqlite:///{ledger}")) as opened:
        for policy in POLICIES.values():
            one = app.sites.of({"headers": [(b"host", f"{policy.version}.example.com".encode())]})
            assert all(
                opened.has_notice(notice.digest, policy.fingerprint)
                for notice in one.renderer.declared_notices()
            )


def test_choice_for_one_policy_grants_nothing_under_another(ledger: Path) -> None:
    """On one host a choice for policy A is none for policy B, and a choice for B asks A's question again."""
    by_path = lambda scope: SHOP if scope["path"].startswith("/shop") else BLOG  # noqa: E731
    app = wrap(site(), ledger, policy=by_path, path="/choices")
    visitor = Visitor(app)
    page = visitor.get("/shop")
    assert 'id="gem-notice"' in page.text
    # the function gives the library's own pages of /choices to the blog
    state = visitor.get("/choices/state").json
    assert state["fingerprint"] == BLOG.fingerprint
    body = f'{{"decision": "grant_all", "notice": "{state["notice"]}"}}'
    assert visitor.send(body, "application/json").status == 200
    assert mentions_vendor(visitor.get("/blog").text) != []
    assert mentions_vendor(visitor.get("/shop").text) == []
    assert 'id="gem-notice"' in visitor.get("/shop").text


def test_function_gives_late_policies(ledger: Path) -> None:
    """A policy that turns up after the ledger was opened has its notices stored before its first grant."""
    known: dict[str, Policy] = {}
    app = wrap(site(), ledger, policy=lambda scope: known.get(dict(scope["headers"])[b"host"].decode()))
    app.site.recorder.start()
    assert b"gem-notice" not in get(app, "/", {"host": "shop.example.com"}).body
    known |= POLICIES
    visitor = At(app, "shop.example.com", SHOP)
    notice = visitor.notice()
    assert visitor.json("grant_all").status == 200
    app.site.recorder.close()
    with closing(Ledger.open(f"sqlite:///{ledger}")) as opened:
        assert opened.has_notice(notice, SHOP.fingerprint)


@pytest.mark.parametrize("wrong", [{}, None, "policy.toml", {"a.example": "policy.toml"}, [SHOP]])
def test_wrong_policy_is_refused(ledger: Path, wrong: Any) -> None:
    """Anything else than a policy, a mapping or a function does not start."""
    with pytest.raises(ConfigurationError, match=r"policy is .* allowed: a Policy, a mapping"):
        wrap(site(), ledger, policy=wrong)


@pytest.mark.parametrize(
    "host", ["https://shop.example.com", "shop.example.com:443", "a b", "", "*.example.com", 3]
)
def test_wrong_host_is_refused(ledger: Path, host: Any) -> None:
    """A key that no request's host can equal does not start."""
    with pytest.raises(ConfigurationError, match="policy has the host"):
        wrap(site(), ledger, policy={host: SHOP})


def test_function_of_wrong_kind_is_told(ledger: Path) -> None:
    """A function that gives something else fails the request, and says what is allowed."""
    app = wrap(site(), ledger, policy=lambda scope: "shop")
    with pytest.raises(ConfigurationError, match="policy is 'shop'; allowed"):
        get(app)


def test_function_is_forgotten_in_order(ledger: Path) -> None:
    """A function that makes policies without end fills no memory without end."""
    made = replace(SHOP, languages=("en",))
    app = wrap(site(), ledger, policy=lambda scope: replace(made))
    app.sites._make = lambda policy: replace(app.site, policy=policy)
    for _ in range(300):
        app.sites.of({"headers": []})
    assert len(app.sites._made) == 256


def test_lifespan_runs_with_several(ledger: Path) -> None:
    """The one ledger of several sites opens and closes once."""
    app = wrap(site(), ledger, policy=POLICIES)

    async def main() -> None:
        orders = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Any:
            return orders.pop(0)

        async def send(message: Any) -> None:
            pass

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            raise ValueError("http only")

        app.app = inner
        await app({"type": "lifespan"}, receive, send)

    anyio.run(main)
    assert ledger.exists()
