"""Plays the server for an application of any framework: its lifespan, then one request after another."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from asgi import Answer, App, call

from gem_consent.visits import running

__all__ = ["Browser", "Browsers", "choose", "started"]

Browsers = Callable[..., "Browser"]
"""Makes browsers that know nothing yet; takes what their requests' scopes have of their own."""

PATIENCE_SECONDS = 10
COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@asynccontextmanager
async def alive(app: App) -> AsyncIterator[None]:
    """Run an application until the block ends, and see that it starts and stops; Django has no lifespan."""
    async with running(app, lambda error: "Django can only handle" in str(error)) as said:
        assert [answer["type"] for answer in said] in ([], COMPLETE[:1]), said
        yield
    assert [answer["type"] for answer in said] in ([], COMPLETE), said


@contextmanager
def started(app: App, backend: str = "asyncio") -> Iterator[Browsers]:
    """Run an application in a loop of its own while the block lasts; give what makes browsers."""
    with start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(alive(app)):
        yield lambda **scope: Browser(app, portal, scope)


@dataclass
class Browser:
    """A browser as far as cookies go."""

    app: App
    portal: BlockingPortal
    scope: dict[str, Any] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        """Send one request."""
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = ({"cookie": pairs} if pairs else {}) | (headers or {})

        async def main() -> Answer:
            with anyio.fail_after(PATIENCE_SECONDS):
                return await call(_forgiving(self.app), path, method, given, **(self.scope | more))
            raise AssertionError

        answer = self.portal.call(main)
        for name in answer.deleted:
            self.cookies.pop(name, None)
        for name, value in answer.cookies.items():
            self.cookies[name] = value.partition(";")[0]
        return answer

    def decide(self, decision: str, path: str = "/privacy-choices") -> Answer:
        """Send a decision on the present notice, as the script does."""
        notice = self.ask(f"{path}/state").json["notice"]
        body = json.dumps({"decision": decision, "notice": notice}).encode()
        headers = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
        return self.ask(path, "POST", headers, body=body)


def choose(client: httpx.Client, decision: str, path: str = "/privacy-choices") -> httpx.Response:
    """Send a decision on the present notice to a server, as the script does."""
    notice = client.get(f"{path}/state").json()["notice"]
    headers = {"sec-fetch-site": "same-origin"}
    return client.post(path, json={"decision": decision, "notice": notice}, headers=headers)


def _forgiving(app: App) -> App:
    """Take an error that was raised on purpose: some frameworks answer it, and raise it all the same."""

    async def forgiving(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except RuntimeError as error:
            if str(error) != "broken on purpose":
                raise

    return forgiving
