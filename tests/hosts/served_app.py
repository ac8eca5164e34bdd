"""The application that a server of the tests serves; the environment says which one, and its ledger."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path

from asgi import wrap

framework = os.environ["HOSTS_FRAMEWORK"]
site = importlib.import_module(f"hosts.{framework}_site").make()
app = wrap(site, Path(os.environ["HOSTS_LEDGER"]), clock=time.time)
