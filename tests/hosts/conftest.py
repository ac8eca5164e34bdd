"""The servers that the checks share: all frameworks in one server at a time, and a proxy in front of them.

The sites are imported by the checks alone: some frameworks can be set up once a process only.
"""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from asgi import rows

from hosts.gateway import ended_tls
from hosts.limits import LIMITS, PAIRS
from hosts.served import Served

collect_ignore_glob = ["*_site.py", "*_app.py"]


@dataclass(frozen=True)
class Place:
    """A framework's site in a server: its addresses and its ledger.

    Args:
        server: the server's name.
        framework: the framework's.
        address: the server's own.
        secure: the proxy's.
        trust: what trusts the proxy's certificate.
        ledger: the file.
    """

    server: str
    framework: str
    address: str
    secure: str
    trust: ssl.SSLContext
    ledger: Path


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the servers' processes compile."""
    return tmp_path_factory.mktemp("bytecode")


Fleet = dict[str, Place]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[Callable[[str], Fleet]]:
    """Starts all frameworks in a server, at once; those in another server end before."""
    with ExitStack() as stack:
        running: dict[str, Fleet] = {}

        def start(server: str) -> Fleet:
            if server not in running:
                running.clear()
                stack.close()
                folder = tmp_path_factory.mktemp(server)
                running[server] = stack.enter_context(_all_in(server, folder, bytecode))
            return running[server]

        yield start


@contextmanager
def _all_in(server: str, folder: Path, bytecode: Path) -> Iterator[Fleet]:
    names = [framework for one, framework in PAIRS if one == server]
    ledgers = {name: folder / f"{name}.db" for name in names}
    processes = []
    try:
        for name in names:
            settings = {"HOSTS_FRAMEWORK": name, "HOSTS_LEDGER": str(ledgers[name])}
            processes.append(Served(server, "hosts.served_app:app", bytecode, settings))
            if not any(bytecode.iterdir()):
                processes[0].wait_until_up()
        for process in processes:
            process.wait_until_up()
        with ended_tls(folder, [process.port for process in processes]) as (ports, certificate):
            trust = ssl.create_default_context(cafile=certificate)
            yield {
                name: Place(server, name, process.address, f"https://127.0.0.1:{port}", trust, ledgers[name])
                for name, process, port in zip(names, processes, ports, strict=True)
            }
    finally:
        for process in processes:
            process.end()
        for process in processes:
            process.wait_until_ended()
    if (server, "lifespan") not in LIMITS:
        assert [name for name, ledger in ledgers.items() if not is_closed(ledger)] == []


def is_closed(ledger: Path) -> bool:
    """Say whether the last checkpoint is over all that was recorded, as it is once a server has stopped."""
    with closing(sqlite3.connect(ledger)) as database:
        (size,) = database.execute("SELECT coalesce(max(size), 0) FROM checkpoints").fetchone()
    return bool(size == len(rows(ledger)))


@pytest.fixture(params=PAIRS, ids="-".join, scope="session")
def place(request: pytest.FixtureRequest, fleet: Callable[[str], Fleet]) -> Place:
    """Each framework in each server."""
    server, framework = request.param
    return fleet(server)[framework]
