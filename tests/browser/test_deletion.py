"""A withdrawal deletes the service's cookies wherever they were set, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from browser.pages import POLICY, Site
from browser.visitor import Newcomer, Visitor
from gem_consent import Service, Tracker
from gem_consent.policy import Storage

pytestmark = pytest.mark.browser

_HOSTS = {
    "example.com": ["example.com"],
    "www.example.com": ["example.com", "www.example.com"],
    "app.example.com": ["example.com", "app.example.com"],
    "a.b.example.com": ["example.com", "b.example.com", "a.b.example.com"],
    "www.shop.co.uk": ["shop.co.uk", "www.shop.co.uk"],
}
_TRACKERS = ("_ga", "_ga_XXXXXXXXXX", "_ga_OTHER")
_SITES_OWN = ("session", "csrf", "gapless", "_gallery")
_STORAGES: tuple[Storage, ...] = ("localStorage", "sessionStorage")
_CONSENT = ("gem_consent", "gem_consent_hint")


@pytest.mark.rule("W4", "W5")
@pytest.mark.parametrize("host", _HOSTS)
def test_withdrawal_deletes_everywhere(site: Site, newcomer: Newcomer, has_script: bool, host: str) -> None:
    """Host, parent domains, path /fr and HttpOnly: all trackers go, and what the site itself keeps stays."""
    visitor = newcomer(site, has_script=has_script)
    cleared: list[str] = []
    visitor.context.on(
        "response",
        lambda response: cleared.extend(name for name in response.headers if name == "clear-site-data"),
    )
    visitor.visit("/fr/page", host)
    visitor.accept()
    visitor.context.add_cookies([*_planted(host, _TRACKERS), *_hidden(host)])
    visitor.context.add_cookies(list(_planted(host, _SITES_OWN)))
    visitor.withdraw()
    assert _kept(visitor, (*_TRACKERS, "_gid", "_ga_HIDDEN")) == []
    assert len(_kept(visitor, _SITES_OWN)) == len(_SITES_OWN) * 2 * (1 + len(_HOSTS[host]))
    assert len(_kept(visitor, _CONSENT)) == len(_CONSENT)
    assert cleared == []


@pytest.mark.rule("W4")
def test_next_documents_delete_the_rest(site: Site, newcomer: Newcomer) -> None:
    """A tracker that was kept for another path goes with the first document that is asked for there."""
    visitor = newcomer(site, has_script=False)
    visitor.visit("/two", "www.example.com")
    visitor.accept()
    planted = [cookie for cookie in _planted("www.example.com", ["_ga_OTHER"]) if _path(cookie) == "/fr"]
    visitor.context.add_cookies(planted)
    visitor.withdraw()
    assert len(_kept(visitor, ["_ga_OTHER"])) == len(planted)
    visitor.visit("/fr/page", "www.example.com")
    assert _kept(visitor, ["_ga_OTHER"]) == []


@pytest.mark.rule("W4", "W5")
def test_stored_keys_go_too(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """Keys that a service keeps in the browser's storages go with a withdrawal, and the site's own stay."""
    chat = Service(
        "chat",
        name="Chat",
        purpose="preferences",
        provider="Example Chat",
        trackers=[Tracker("chat_*", None, storage=storage) for storage in _STORAGES],
        start="".join(f"{storage}.chat_1 = {storage}.own = 'x';" for storage in _STORAGES),
    )
    visitor = newcomer(serve(replace(POLICY, services=[chat])))
    visitor.visit()
    visitor.button("Accept all").click()
    kept = "[localStorage, sessionStorage].map((one) => Object.keys(one).sort().join())"
    visitor.page.wait_for_function(f"{kept}.every((keys) => keys === 'chat_1,own')")
    visitor.withdraw()
    assert visitor.page.evaluate(kept) == ["own", "own"]


def _planted(host: str, names: Any) -> Iterator[Any]:
    """Give cookies of these names for the host alone and each domain, on / and on /fr."""
    for name in names:
        for path in ("/", "/fr"):
            # a URL without its last segment is the path of a cookie for this host alone
            yield {"name": name, "value": "1", "url": f"http://{host}{path.rstrip('/')}/x"}
            for domain in _HOSTS[host]:
                yield {"name": name, "value": "1", "domain": f".{domain}", "path": path}


def _hidden(host: str) -> Iterator[Any]:
    yield {"name": "_gid", "value": "1", "url": f"http://{host}/", "httpOnly": True}
    domain = f".{_HOSTS[host][0]}"
    yield {"name": "_ga_HIDDEN", "value": "1", "domain": domain, "path": "/fr", "httpOnly": True}


def _path(cookie: Any) -> str:
    return str(cookie.get("path", "")) or ("/fr" if "/fr/" in cookie["url"] else "/")


def _kept(visitor: Visitor, names: Any) -> list[tuple[str, str, str]]:
    return [
        (cookie["name"], cookie["domain"], cookie["path"])
        for cookie in visitor.context.cookies()
        if cookie["name"] in names
    ]
