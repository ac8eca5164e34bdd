"""Each framework's own application behind the middleware: what is a document is changed, and nothing else."""

from __future__ import annotations

import functools
import gc
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from xml.etree.ElementTree import tostring

import anyio
import pytest
from asgi import HeaderList, http_scope, mentions_vendor, parse, wrap

from hosts.backstage import taken
from hosts.content import BROKEN, DOWNLOAD, EVENTS, FRAGMENT, LOST
from hosts.driver import Browser, Browsers, started
from hosts.limits import FRAMEWORKS, able

PATIENCE_SECONDS = 10
GZIP = {"accept-encoding": "gzip, br"}
CHANGING = {"date", "vary", "set-cookie"}


Hosts = Callable[..., Browsers]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Starts a framework's application once for all tests, behind the middleware or bare."""
    with ExitStack() as stack:

        @functools.cache
        def start(framework: str, *, is_bare: bool = False, backend: str = "asyncio") -> Browsers:
            app = importlib.import_module(f"hosts.{framework}_site").make()
            ledger = tmp_path_factory.mktemp(framework) / "consent.db"
            return stack.enter_context(started(app if is_bare else wrap(app, ledger), backend))

        yield start


@pytest.fixture(params=FRAMEWORKS, scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    """The name of a framework."""
    return str(request.param)


@pytest.fixture
def browser(framework: str, hosts: Hosts) -> Browser:
    """A visitor of that framework's site."""
    return hosts(framework)()


@pytest.fixture
def bare(framework: str, hosts: Hosts) -> Browser:
    """A visitor of the same site without the middleware."""
    return hosts(framework, is_bare=True)()


def stable(headers: HeaderList) -> list[tuple[bytes, bytes]]:
    return sorted((key.lower(), value) for key, value in headers if key.lower().decode() not in CHANGING)


def is_part(element: Any) -> bool:
    return str(element.get("id", "")).startswith("gem-") or (
        element.tag in ("style", "script") and (element.tag == "style" or "data-path" in element.attrib)
    )


def without_parts(text: str) -> str:
    """Take what the middleware inserts out of a page; give the rest as its tree says it."""
    tree = parse(text)
    for parent in (tree.find("head"), tree.find("body")):
        before = None
        for child in list(parent):
            if not is_part(child):
                before = child
                continue
            if before is None:
                parent.text = (parent.text or "") + (child.tail or "")
            else:
                before.tail = (before.tail or "") + (child.tail or "")
            parent.remove(child)
    return tostring(tree, encoding="unicode")


def as_tree(text: str) -> str:
    return tostring(parse(text), encoding="unicode")


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("path", ["/", "/streamed", "/shared", "/page-file", "/cookies"])
def test_documents_get_notice(browser: Browser, bare: Browser, path: str) -> None:
    """Streamed, shared, from a file or with cookies: a page gains the notice, once, and nothing else."""
    answer = browser.ask(path)
    assert answer.status == 200
    assert answer.is_complete
    parse(answer.text)
    assert answer.text.count('id="gem-notice"') == 1
    assert mentions_vendor(answer.text) == []
    original = bare.ask(path).text
    assert squeezed(without_parts(answer.text)) == squeezed(as_tree(original))


def test_choice_changes_page(browser: Browser) -> None:
    """Refused, the page has no tag; granted, it has; withdrawn, it has none again."""
    assert browser.decide("deny_all").status == 200
    assert mentions_vendor(browser.ask("/").text) == []
    assert browser.decide("grant_all").status == 200
    assert mentions_vendor(browser.ask("/").text) != []
    assert 'id="gem-notice"' not in browser.ask("/").text
    assert browser.decide("withdraw").status == 200
    assert mentions_vendor(browser.ask("/").text) == []


def test_view_reads_consent(browser: Browser) -> None:
    """A view of each framework reads the consent of its own request, and its answer becomes private."""
    first = browser.ask("/measured")
    assert first.json == {"measured": False}
    assert "private" in str(first.header("cache-control"))
    browser.decide("grant_all")
    assert browser.ask("/measured").json == {"measured": True}


def test_flask_request_reads_consent(hosts: Hosts) -> None:
    """Flask's own request is taken as well as its environ."""
    browser = hosts("flask")()
    browser.decide("grant_all")
    assert browser.ask("/measured-by-request").json == {"measured": True}


@pytest.mark.parametrize("framework", able("compression"))
@pytest.mark.parametrize("path", ["/", "/streamed"])
def test_compressed_documents_get_notice(framework: str, browser: Browser, path: str) -> None:
    """What an inner middleware has compressed is rewritten, and stays compressed."""
    answer = browser.ask(path, headers=GZIP)
    assert answer.header("content-encoding") == "gzip" or path == "/streamed"
    assert 'id="gem-notice"' in answer.text
    assert "</html>" in answer.text


@pytest.mark.parametrize(("path", "status", "content"), [("/nowhere", 404, LOST), ("/broken", 500, BROKEN)])
def test_error_pages_get_notice(browser: Browser, path: str, status: int, content: str) -> None:
    """An error page of the site's own is a document as any other."""
    answer = browser.ask(path)
    assert answer.status == status
    assert 'id="gem-notice"' in answer.text
    assert squeezed(without_parts(answer.text)) == squeezed(as_tree(content))


# Django's own FileResponse is what it warns of under ASGI
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
@pytest.mark.parametrize("path", ["/fragment", "/download", "/events"])
def test_everything_else_passes(browser: Browser, bare: Browser, path: str) -> None:
    """A fragment, a file to keep and a stream of events leave as they came, header for header."""
    answer, original = browser.ask(path), bare.ask(path)
    assert answer.status == 200
    assert answer.body == original.body
    assert [m["type"] for m in answer.messages] == [m["type"] for m in original.messages]
    assert stable(answer.headers) == stable(original.headers)
    expected = {"/fragment": FRAGMENT.encode(), "/download": DOWNLOAD, "/events": EVENTS[0].encode()}
    assert expected[path] in answer.body


@pytest.mark.parametrize("framework", able("ranges"))
def test_ranges_pass(framework: str, browser: Browser) -> None:
    """A part of a file is the part that was asked for."""
    answer = browser.ask("/download", headers={"range": "bytes=10-19"})
    assert answer.status == 206
    assert answer.body == DOWNLOAD[10:20]


@pytest.mark.parametrize("header", [{"hx-request": "true"}, {"turbo-frame": "row"}, {"accept": "*/*"}])
def test_fragments_are_known_by_bytes(browser: Browser, header: dict[str, str]) -> None:
    """HTMX and Turbo get a fragment as it is, and a whole page with the notice."""
    assert browser.ask("/fragment", headers=header).text == FRAGMENT
    assert 'id="gem-notice"' in browser.ask("/", headers=header).text


def test_body_reaches_site(browser: Browser) -> None:
    """What is posted to the site's own address arrives there whole, in however many pieces."""
    headers = {"content-type": "text/plain", "content-length": "6"}
    assert browser.ask("/echo", "POST", headers, body=[b"one", b"two"]).body == b"onetwo"


def test_head_promises_no_length(browser: Browser, bare: Browser) -> None:
    """A HEAD request is answered as the framework does, but for the length of a page that will grow."""
    answer, original = browser.ask("/", "HEAD"), bare.ask("/", "HEAD")
    assert answer.status == original.status
    assert answer.header("content-type") == original.header("content-type")
    assert answer.header("content-length") is None or not str(answer.header("content-type")).startswith(
        "text/html"
    )


def test_tracker_cookie_is_withheld(browser: Browser) -> None:
    """The site's own session cookie is set; a declared tracker's is not before it is granted."""
    assert set(browser.ask("/cookies").cookies) == {"session"}
    browser.decide("grant_all")
    assert "_ga" in browser.ask("/cookies").cookies


def test_root_path_is_kept(framework: str, hosts: Hosts) -> None:
    """Mounted under a path, the notice's addresses lie under it."""
    browser = hosts(framework)(root_path="/shop")
    page = browser.ask("/shop/").text
    assert 'action="/shop/privacy-choices"' in page
    assert browser.ask("/shop/privacy-choices/state").json["decided"] is False


@pytest.mark.parametrize("framework", able("tasks"))
def test_background_task_runs(framework: str, browser: Browser) -> None:
    """What the site does after its answer is done."""
    assert 'id="gem-notice"' in browser.ask("/background").text
    assert taken() == [framework]


@pytest.mark.parametrize("framework", able("websockets"))
def test_websockets_pass(framework: str, browser: Browser) -> None:
    """A websocket is opened, answers and is closed."""
    sent = browser.portal.call(_talk, browser.app)
    assert sent[0]["type"] == "websocket.accept"
    assert [message["text"] for message in sent if "hello" in message.get("text", "")] != [], sent


async def _talk(app: Any) -> list[Any]:
    coming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": '{"message": "hello"}'}]
    has_answered = anyio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        if coming:
            return coming.pop(0)
        await has_answered.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "websocket.send":
            has_answered.set()

    scope = http_scope("/socket", "GET", {}, type="websocket", scheme="wss", subprotocols=[], extensions={})
    del scope["method"]
    with anyio.fail_after(PATIENCE_SECONDS):
        await app(scope, receive, send)
    return sent


# Django leaves its request's temporary file to the garbage collector when an answer cannot be sent
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function SpooledTemporaryFile")
@pytest.mark.parametrize("path", ["/streamed", "/events", "/"])
def test_visitor_may_leave(browser: Browser, bare: Browser, path: str) -> None:
    """A visitor who leaves after the first bytes ends the response as without the middleware."""
    assert browser.portal.call(_leave, browser.app, path) == bare.portal.call(_leave, bare.app, path)
    assert browser.ask("/").status == 200
    gc.collect()


async def _leave(app: Any, path: str) -> str:
    """Ask for a page, be gone at its first bytes; say how the application took it."""
    is_gone = anyio.Event()
    waiting = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if is_gone.is_set():
            # ASGI 2.4, "Disconnected Client - send exception"
            raise OSError("the visitor is gone")
        if message["type"] == "http.response.body" and message.get("body"):
            is_gone.set()

    with anyio.fail_after(PATIENCE_SECONDS):
        try:
            await app(http_scope(path, "GET", {"accept": "text/html"}), receive, send)
        except Exception as error:
            return type(error).__name__
    return "ended"


@pytest.mark.parametrize("framework", able("trio"))
def test_trio_serves_alike(framework: str, hosts: Hosts) -> None:
    """Under trio the page asks, and a grant is recorded and holds."""
    browser = hosts(framework, backend="trio")()
    assert 'id="gem-notice"' in browser.ask("/").text
    browser.decide("grant_all")
    assert mentions_vendor(browser.ask("/").text) != []


# what was begun and could not be finished
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine .* never")
@pytest.mark.parametrize("framework", [one for one in FRAMEWORKS if one not in able("trio")])
def test_limit_of_trio_is_not_ours(framework: str) -> None:
    """What does not run under trio does not without the middleware."""
    site = importlib.import_module(f"hosts.{framework}_site").make()
    try:
        with started(site, "trio") as browsers:
            status = browsers().ask("/", headers=GZIP).status
    except (RuntimeError, ExceptionGroup):
        status = 500
    gc.collect()
    assert status == 500
