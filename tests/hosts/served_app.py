"""The application that a server of the tests serves; the environment says which one, and its ledger."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Any

from asgi import wrap
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware

from hosts.backstage import Backstage


def _behind_proxy(app: Any, server: str) -> Any:
    """Take the scheme from the proxy, where the server has no option that does."""
    if server.startswith("hypercorn"):
        return ProxyFixMiddleware(app)
    return wrap_asgi_with_proxy_headers(app, trusted_hosts="127.0.0.1") if server == "granian" else app


site = importlib.import_module(f"hosts.{os.environ['HOSTS_FRAMEWORK']}_site").make()
wrapped = wrap(site, Path(os.environ["HOSTS_LEDGER"]), clock=time.time)
app = _behind_proxy(Backstage(wrapped, site), os.environ["HOSTS_SERVER"])
