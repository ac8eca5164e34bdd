"""The middleware's part: what it adds to a request, beside Starlette's session and Django's middleware."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import itsdangerous
from asgi import http_scope, make_policy
from starlette.middleware.sessions import SessionMiddleware

from bench.figures import Effort, Figure, Ratio, Run, at_most, shown
from bench.measure import environment, in_process, ratio_of
from gem_consent import ConsentMiddleware, get_consent
from gem_consent.consent import Choice

TITLE = "The middleware"

NOTES = """
*Share*: the CPU time that this middleware adds to a request, as a share of what Starlette's
`SessionMiddleware` adds to the same application, with a session that is loaded, read and saved: so it was
with every response until Starlette saved only what had changed (its pull request 3166, 2026), and so it is
with the oldest version that this library takes. *Of a session that is only read* is the same beside a
session that is not saved. All are called without a server, in one process, in turn; of each the cheapest of
many short rounds counts, since whatever else the machine does only adds. Requests carry a browser's headers
and four cookies. *JSON* reads the consent and the session. *HTML* pages have nine lines in their head and a
charset; the visitor is the one that costs most: undecided, denied or granted. *First sight* is a cookie
that the process has not verified before. *Django*: the same page of 2 kB, with `django-cookie-consent`'s
middleware, beside Django itself. *Server CPU*: what a server's process uses for a request of a page of 50
kB under `wrk`, in user and in kernel mode, with this middleware, times what it uses without, the medians of
nine rounds (servers' threads differ more from round to round than the code does): for an application in
Starlette with one route, and for a function without any framework. The goal is for uvicorn as its name alone
installs it and for granian; with httptools and uvloop, both compiled, uvicorn is so quick that a route of
Starlette's is half of all there is, and this middleware as much again.
"""

_SECRET = "a secret that only this benchmark knows"
_BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3",
    "accept-encoding": "gzip, deflate, br, zstd",
    "connection": "keep-alive",
    "upgrade-insecure-requests": "1",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "none",
}
_HEAD = (
    b'<!doctype html>\n<html lang="fr">\n<head>\n<meta charset="utf-8">\n<title>Une page</title>\n'
    b'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    b'<link rel="stylesheet" href="/static/site.css">\n</head>\n<body>\n<main>\n'
)
_HTML = b"text/html; charset=utf-8"
_LINE = b"<p>Lorem ipsum dolor sit amet, consectetur adipiscing elit.</p>\n"
_TAIL = b"</main>\n</body>\n</html>\n"
_PAGES = (("2 kB", 2_048, 1, 0.40), ("50 kB", 51_200, 1, 0.45), ("500 kB", 512_000, 1, 1.0))
_CHUNKED = ("62 kB in 31 chunks", 62_000, 31, 0.5)

Task = Callable[[int], Awaitable[None]]


def figures(run: Run) -> Iterator[Figure]:
    """Measure the middleware."""
    bench = _Bench(run)
    yield from _rows("JSON, known cookie", 0.15, bench.json(is_new=False))
    for name, size, chunks, goal in (*_PAGES, _CHUNKED):
        yield from _rows(f"HTML, {name}", goal, bench.html(size, chunks))
    yield from _rows("JSON, first sight of a cookie", 0.9, bench.json(is_new=True))
    yield _beside_django(run)
    for server in _SERVERS:
        yield from _server_cpu(run, server)


class Shares(NamedTuple):
    """What this middleware adds, as a share of what the session's adds.

    Args:
        saved: where each response saves the session.
        read: where none does.
    """

    saved: float
    read: float


def _rows(what: str, goal: float, shares: Shares) -> Iterator[Figure]:
    yield at_most(f"{what}: share", goal, shares.saved)
    yield Figure(f"{what}: share of a session that is only read", shown(shares.read))


def page(size: int) -> bytes:
    """Make a page of about so many bytes."""
    return _HEAD + _LINE * ((size - len(_HEAD) - len(_TAIL)) // len(_LINE)) + _TAIL


class _Bench:
    """Tasks that are measured in turn, in one event loop."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ledger = f"sqlite:///{run.folder / 'middleware.db'}"
        self._policy = make_policy()
        self._cookie = self._wrap(_nothing).site.cookie

    def _wrap(self, app: Any) -> ConsentMiddleware:
        return ConsentMiddleware(app, policy=self._policy, secret_key=_SECRET, ledger=self._ledger)

    def _consent(self, granted: frozenset[str], number: int = 0) -> str:
        choice = Choice(f"{number:032x}", self._policy.fingerprint, granted, int(time.time()) - 100)
        return f"__Host-gem_consent={self._cookie.encode(choice)}; gem_consent_hint=0.0.0"

    def _headers(self, consent: str, **changes: str) -> dict[str, str]:
        data = base64.b64encode(json.dumps({"user": "42", "csrf": "x" * 20}).encode())
        session = itsdangerous.TimestampSigner(_SECRET).sign(data).decode()
        cookies = "; ".join(filter(None, ("theme=dark", "seen=123", f"session={session}", consent)))
        return _BROWSER | {"cookie": cookies} | changes

    def html(self, size: int, chunks: int) -> Shares:
        """Give the shares for a page, of the visitor who costs most."""
        content = page(size)
        step = -(-len(content) // chunks)
        app = _sending(
            [content[at : at + step] for at in range(0, len(content), step)], b"text/html; charset=utf-8"
        )
        visitors = ("", self._consent(frozenset()), self._consent(frozenset({"analytics", "media"})))
        return max(self._shares(app, [self._headers(consent)]) for consent in visitors)

    def json(self, *, is_new: bool) -> Shares:
        """Give the shares for an answer that depends on the consent, of known visitors or always new ones."""
        app = _sending([b'{"a": 1}' * 10], b"application/json")
        count = self._run.pick(500, 20_000) if is_new else 1
        consents = [self._consent(frozenset({"analytics"}), number) for number in range(count)]
        accept = {"accept": "application/json", "sec-fetch-dest": "empty"}
        return self._shares(app, [self._headers(consent, **accept) for consent in consents])

    def _shares(self, app: Any, headers: list[dict[str, str]]) -> Shares:
        scopes = [http_scope("/produits/chaise?ref=1", "GET", one) for one in headers]
        read, saved = SessionMiddleware(app, _SECRET), SessionMiddleware(_saving(app), _SECRET)
        tasks = [_calls(one, scopes) for one in (app, read, saved, self._wrap(app))]
        bare, reading, saving, consent = self._in_turn(tasks)
        return Shares((consent - bare) / (saving - bare), (consent - bare) / (reading - bare))

    def _in_turn(self, tasks: list[Task]) -> list[float]:
        """Give the least CPU seconds that each task takes for a request."""
        requests, rounds = 50, self._run.pick(20, 400)
        least = [float("inf")] * len(tasks)

        async def main() -> None:
            for number in range(rounds):
                for at in range(len(tasks)):
                    task = (at + number) % len(tasks)
                    start = time.process_time()
                    await tasks[task](requests)
                    least[task] = min(least[task], (time.process_time() - start) / requests)

        gc.collect()
        asyncio.run(main())
        return least

    def beside_django(self) -> dict[str, float]:
        """Give the seconds that both middlewares add to the same page."""
        django, with_consent = _django(page(2_048))
        scope = http_scope("/produits/chaise", "GET", self._headers(""))
        bare, theirs = self._in_turn([_calls(django, [scope]), _calls(with_consent, [scope])])
        app = _sending([page(2_048)], _HTML)
        plain, ours = self._in_turn([_calls(app, [scope]), _calls(self._wrap(app), [scope])])
        return {"ours": ours - plain, "theirs": theirs - bare}


def django_costs(effort: str, folder: str) -> dict[str, float]:
    """Measure beside django-cookie-consent, in a process where Django has no other settings."""
    return _Bench(Run(Effort[effort], Path(folder))).beside_django()


def _beside_django(run: Run) -> Figure:
    name = "HTML, 2 kB: added by this one · by `django-cookie-consent`'s, which changes no page"
    if find_spec("cookie_consent") is None:
        return Figure(name, "not measured: `pip install --group bench` brings it")
    seen = in_process("bench.middleware:django_costs", run.effort.name, str(run.folder))
    return Figure(name, f"{seen['ours'] * 1e6:.0f} µs · {seen['theirs'] * 1e6:.0f} µs")


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing."""


def _sending(chunks: list[bytes], kind: bytes) -> Any:
    headers = [(b"content-type", kind), (b"content-length", str(sum(map(len, chunks))).encode())]
    last = len(chunks) - 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if "session" in scope:
            scope["session"].get("user")
        if kind == b"application/json" and "gem_consent" in scope:
            get_consent(scope).allows("analytics")
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        for at, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": at < last})

    return app


def _saving(app: Any) -> Any:
    async def saving(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["seen"] = "1"
        await app(scope, receive, send)

    return saving


def _calls(app: Any, scopes: list[dict[str, Any]]) -> Task:
    """Call an application as a server does, with each scope in turn."""
    position, is_asked = 0, False

    async def receive() -> dict[str, Any]:
        nonlocal is_asked
        if is_asked:
            await asyncio.Event().wait()
        is_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def task(requests: int) -> None:
        nonlocal position, is_asked
        for _ in range(requests):
            scope = scopes[position % len(scopes)]
            position += 1
            is_asked = False
            await app({**scope, "headers": list(scope["headers"]), "state": {}}, receive, send)

    return task


def _django(content: bytes) -> tuple[Any, Any]:
    """Make Django answer with a page, without and with django-cookie-consent's middleware."""
    import django
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse
    from django.test.utils import override_settings
    from django.urls import path

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            SECRET_KEY=_SECRET,
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            INSTALLED_APPS=["django.contrib.contenttypes", "cookie_consent"],
            MIDDLEWARE=[],
        )
        django.setup()

    def view(request: Any) -> Any:
        return HttpResponse(content)

    globals()["urlpatterns"] = [path("produits/chaise", view)]
    bare = ASGIHandler()
    with override_settings(MIDDLEWARE=["cookie_consent.middleware.CleanCookiesMiddleware"]):
        return bare, ASGIHandler()


_PROGRAM = """
from asgi import make_policy
from bench.middleware import page, _sending, _SECRET, _HTML
from gem_consent import ConsentMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route
from typing import Any

content = page(51_200)
text = content.decode()
settings: Any = {{"policy": make_policy(), "secret_key": _SECRET, "ledger": "sqlite:///{ledger}"}}
function = _sending([content], _HTML)
function_with_consent = ConsentMiddleware(function, **settings)

async def home(request):
    return HTMLResponse(text)

starlette = Starlette(routes=[Route("/", home)])
with_consent = [Middleware(ConsentMiddleware, **settings)]
starlette_with_consent = Starlette(routes=[Route("/", home)], middleware=with_consent)
"""


_QUICKEST = "uvicorn with httptools and uvloop"
_UVICORN = (
    *("uvicorn", "{target}", "--port", "{port}", "--lifespan", "off", "--no-access-log"),
    *("--log-level", "error"),
)
_GRANIAN = ("granian", "--interface", "asginl", "{target}", "--port", "{port}", "--no-log")
_SERVERS = {
    "uvicorn, as its name alone installs it": (*_UVICORN, "--http", "h11", "--loop", "asyncio"),
    "granian": _GRANIAN,
    _QUICKEST: (*_UVICORN, "--http", "httptools", "--loop", "uvloop"),
}


def _server_cpu(run: Run, server: str) -> Iterator[Figure]:
    """Compare the CPU time of two server processes for a request, under the same load in turn."""
    name = f"server CPU a request, {server}: times the bare application's"
    has_goal = server != _QUICKEST
    wrk = shutil.which("wrk")
    if wrk is None:
        yield Figure(name, "not measured: no `wrk` here", "≤ 1.30" if has_goal else "")
        return
    (run.folder / "served.py").write_text(_PROGRAM.format(ledger=run.folder / "served.db"))
    ratio = _cpu_ratio(run, server, "starlette", wrk)
    yield at_most(name, 1.30, ratio) if has_goal else Figure(name, str(ratio))
    yield Figure(f"the same, {server}: times a function's", str(_cpu_ratio(run, server, "function", wrk)))


def _cpu_ratio(run: Run, server: str, app: str, wrk: str) -> Ratio:
    consent, bare = [], []
    for _ in range(run.pick(1, 9)):
        consent.append(_cpu(run, server, f"{app}_with_consent", wrk))
        bare.append(_cpu(run, server, app, wrk))
    return ratio_of(consent, bare)


def _cpu(run: Run, server: str, app: str, wrk: str) -> float:
    port, seconds = _free_port(), run.pick(1, 2)
    command = [part.format(target=f"served:{app}", port=port) for part in _SERVERS[server]]
    variables = environment()
    variables["PYTHONPATH"] += f":{run.folder}"
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=run.folder, env=variables)
    try:
        _wait_for(port, process)
        url = f"http://127.0.0.1:{port}/"
        headers = [part for name, value in _BROWSER.items() for part in ("-H", f"{name}: {value}")]
        load = [wrk, "-t1", "-c8", *headers, url]
        subprocess.run([*load, "-d1s"], stdout=subprocess.DEVNULL, check=True)
        before = _ticks(process.pid)
        told = subprocess.run([*load, f"-d{seconds}s"], capture_output=True, text=True, check=True).stdout
        used = _ticks(process.pid) - before
    finally:
        process.terminate()
        process.wait(20)
    (line,) = [line for line in told.splitlines() if "requests in" in line]
    return used / int(line.split()[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        with suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"the server ended with {process.wait(0.1)}")
    raise TimeoutError(f"no server on port {port}")


def _ticks(pid: int) -> int:
    """Give the CPU time that a process and those below it have used, in the kernel's ticks."""
    stats = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # proc(5): after the name come state, ppid, …, utime (12th from here), stime
        stats[int(place.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    family = {pid}
    while grown := {child for child, (parent, _) in stats.items() if parent in family} - family:
        family |= grown
    return sum(stats[one][1] for one in family if one in stats)
