"""All sites in one application, each behind a middleware of its own and mounted under its name."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from asgi import wrap
from starlette.applications import Starlette
from starlette.routing import Mount

from gem_consent.visits import running
from hosts.limits import PAIRS

folder = Path(os.environ["HOSTS_LEDGERS"])
apps = {
    framework: wrap(
        importlib.import_module(f"hosts.{framework}_site").make(), folder / f"{framework}.db", clock=time.time
    )
    for server, framework in PAIRS
    if server == os.environ["HOSTS_SERVER"]
}


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Start each application, which nobody does for what is mounted."""
    async with AsyncExitStack() as stack:
        for mounted in apps.values():
            await stack.enter_async_context(running(mounted))
        yield


app = Starlette(routes=[Mount(f"/{name}", mounted) for name, mounted in apps.items()], lifespan=lifespan)
