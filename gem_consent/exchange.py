"""One request and its response: what the visitor's cookie says, and what the response may carry by it.

Asks the floors below and sends what they answer; never raises into the site's application.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from gem_consent import caching, csp, rewritable, set_cookie
from gem_consent.compression import GzipDocumentStream
from gem_consent.consent import Choice, Consent
from gem_consent.cookie import HINT_NAME, cookie_name
from gem_consent.document import DocumentStream, Insertions, Outcome
from gem_consent.errors import ConfigurationError
from gem_consent.headers import Headers, without
from gem_consent.rendering import Slots, View
from gem_consent.site import Scope, Site, Standing

__all__ = ["Exchange", "Message", "Send", "exchange_of", "get_consent"]

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

STATE_KEY = "gem_consent"

_logger = logging.getLogger("gem_consent")

_SHARED = View(is_shared=True)
_MAX_RETURN_BYTES = 2048
_FILE_EXTENSIONS = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
# Parts of the names of the headers that caching.py, csp.py and set_cookie.py read. Most documents have none
# of them, and then all that those modules would do is to add the two below: 1 µs instead of 6.
_MEANINGFUL = re.compile(
    rb"control|pragma|expires|vary|etag|last-modified|accept-ranges|content-md5|digest|security-policy|set-cookie"
)
_PRIVATE: Headers = [(b"cache-control", b"private"), (b"vary", b"Cookie")]


class _Stream(Protocol):
    @property
    def outcome(self) -> Outcome: ...

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Exchange:
    """One HTTP request and its response, from the middleware's first look to the last byte.

    Args:
        site: the configuration.
        scope: the ASGI scope of the request.
        send: the server's.

    Attributes:
        request: the request's headers by name, in lower case (as ASGI has them); of several, the last.
        is_read: the site's own code has read the consent.
        placed: the parts that a template has rendered.
        nonce: that of the page's Content-Security-Policy, once its headers are known.
    """

    is_read = False
    placed: frozenset[str] = frozenset()
    nonce: str | None = None
    _choice: Choice | None = None
    _standing: Standing | None = None
    _document: _RewrittenDocument | None = None
    _sent: Headers | None = None

    def __init__(self, site: Site, scope: Scope, send: Send) -> None:
        self.site = site
        self.scope = scope
        self.now = int(site.clock())
        self.request = dict(scope["headers"])
        self._send = send

    @property
    def choice(self) -> Choice | None:
        """The verified choice in the visitor's cookie, even if it is over or of another policy."""
        self._judge()
        return self._choice

    @property
    def consent(self) -> Consent:
        """What the visitor allows now; for the library's own use, which takes care of the headers."""
        return (self._standing or self._judge()).consent

    @property
    def view(self) -> View:
        """What this visitor's own documents show."""
        return (self._standing or self._judge()).view

    def read_consent(self) -> Consent:
        """Give the consent to the site's own code: from now on the response depends on the visitor.

        A streamed response that began for everyone can no longer become one visitor's: what asks after that
        is told that nothing is granted.
        """
        if self._is_too_late():
            return self.site.stranger.consent
        self.is_read = True
        return self.consent

    def _is_too_late(self) -> bool:
        """Say whether the headers have left, and did not say that the response is one visitor's."""
        if self._sent is None or self.is_read or caching.is_private(self._sent):
            return False
        _logger.warning(
            "the consent was read after a response for everyone had begun, so nothing counts as granted: "
            "read it before the response starts, or send Cache-Control: private (%r)",
            self.scope["path"],
        )
        return True

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def _judge(self) -> Standing:
        if self._standing is None:
            name = cookie_name(self.site.is_https(self.scope))
            cookies = [value for key, value in self.scope["headers"] if key == b"cookie"]
            self._choice = self.site.cookie.read(cookies, name, self.now)
            standing = self.site.standing(self._choice, self.now)
            if standing is self.site.stranger:
                agent = self.request.get(b"user-agent", b"")
                standing = self.site.undecided(self.scope["headers"], agent)
            self._standing = standing
        return self._standing

    def place(self, part: str) -> View:
        """Note that a template renders this part, and give the view it has to show.

        A part for one visitor makes the response theirs; where documents are shared it is the form for
        everyone.
        """
        self.placed |= {part}
        if self.site.insert == "never" or self.site.documents(self.scope) == "shared" or self._is_too_late():
            return _SHARED
        self.read_consent()
        return self.view

    def language(self, page: str | None, view: View) -> str:
        """Choose the language of what this request shows."""
        accepted = None if view.is_shared else self.request.get(b"accept-language", b"").decode("latin-1")
        return self.site.renderer.language(page, accepted)

    def slots(self, view: View, *, nonce: str | None = None, needs_reload: bool = False) -> Slots:
        """Give what this request fills into a part."""
        return_to = self._page_path()
        query = self.scope.get("query_string", b"")
        if query and not view.is_shared and len(return_to) + len(query) < _MAX_RETURN_BYTES:
            return_to += "?" + _as_sent(query)
        if len(return_to) > _MAX_RETURN_BYTES:
            return_to = ""
        return Slots(self.site.prefix(self.scope), return_to, nonce, needs_reload)

    def _page_path(self) -> str:
        sent = self.scope.get("raw_path")
        path = _as_sent(sent.partition(b"?")[0]) if sent else quote(self.scope["path"])
        # the path holds the root_path (ASGI, "HTTP connection scope"), but older servers leave it out
        root = self.site.root(self.scope)
        return path if path.startswith(f"{root}/") else root + path

    def request_scope(self) -> Scope:
        """Give the scope for the application: this exchange in its state, and for documents what they allow.

        A document that may be changed is asked for in gzip or plain, as bytes rather than as a file, and
        without conditions that speak of bytes the application has not seen.
        """
        scope = self.scope
        # the scope is this request's alone; its state is for whoever looks there, as Starlette's users do
        scope[STATE_KEY] = self
        scope.setdefault("state", {})[STATE_KEY] = self
        if not self.site.changes_documents or not rewritable.may_be_asked(self.request):
            return scope
        headers = scope["headers"]
        if not self.request.keys().isdisjoint(caching.CONDITIONS):
            headers = self._without_conditions(headers)
        headers = rewritable.narrowed(headers, self.request.get(b"accept-encoding"))
        extensions = scope.get("extensions")
        if extensions and not _FILE_EXTENSIONS.isdisjoint(extensions):
            kept = {name: value for name, value in extensions.items() if name not in _FILE_EXTENSIONS}
            return {**scope, "headers": headers, "extensions": kept}
        return scope if headers is scope["headers"] else {**scope, "headers": headers}

    def _without_conditions(self, headers: Headers) -> Headers:
        is_navigation = b"text/html" in self.request.get(b"accept", b"")
        asked = [self.request.get(name, b"") for name in caching.CONDITIONS]
        if not is_navigation and not any(caching.MARK in value for value in asked):
            return headers
        suffixes = [self.site.renderer.suffix(view) for view in (_SHARED, self.view)]
        return caching.request_conditions(headers, suffixes, is_navigation=is_navigation)

    async def send(self, message: Message) -> None:
        """Take a message of the application's, and send on what the visitor may get."""
        kind = message["type"]
        if kind == "http.response.start":
            started = self._started(message)
            if started is not None:
                await self._send(started)
        elif self._document is None:
            await self._send(message)
        elif kind == "http.response.body":
            for answer in self._document.body(message):
                await self._send(answer)
        else:
            if kind in _FILE_EXTENSIONS:
                await self.release()
            await self._send(message)

    @property
    def is_holding(self) -> bool:
        """Whether the start of a document still waits for its head to open."""
        return self._document is not None and self._document.is_held

    async def release(self) -> None:
        """Send what is held of a document: the application leaves it unfinished, or goes on with a file."""
        if self._document is not None:
            for answer in self._document.release():
                await self._send(answer)

    def _started(self, message: Message) -> Message | None:
        """Give the start of the response as it may leave, or ``None`` where it waits for the head to open."""
        headers = message.get("headers") or []
        if not isinstance(headers, list):
            headers = list(headers)
            message = {**message, "headers": headers}
        names = rewritable.by_name(headers)
        if not self._is_document(message["status"], headers, names):
            return self._untouched(message, headers, names)
        has_body = self.scope["method"] != "HEAD" and message["status"] != 304
        if has_body:
            self._document = _RewrittenDocument(self, message, list(headers), names)
            return None
        view = self._confirmed_view() if message["status"] == 304 else self.chosen_view(headers)
        headers = self.changed_headers(list(headers), view)
        if self.scope["method"] == "HEAD":
            headers = without(headers, {b"content-length"})
        return {**message, "headers": headers}

    def _untouched(self, message: Message, headers: Headers, names: Mapping[bytes, bytes]) -> Message:
        is_placed_elsewhere = self.site.insert == "never" and rewritable.is_html(names)
        if self.is_read or is_placed_elsewhere or b"set-cookie" in names:
            message = {**message, "headers": self.untouched_headers(list(headers))}
        self._sent = message.get("headers") or []
        return message

    def _is_document(self, status: int, headers: Headers, names: Mapping[bytes, bytes]) -> bool:
        if not self.site.changes_documents:
            return False
        if status == 304:
            # only documents of ours carry a mark in their ETag, and this request asked about one
            return caching.MARK in self.request.get(b"if-none-match", b"")
        return rewritable.is_document(status, headers, names)

    def chosen_view(self, headers: Headers) -> View:
        """Choose between the form for everyone and the visitor's own, by what the response says of itself."""
        if self.is_read:
            return self.view
        mode = self.site.documents(self.scope)
        is_shared = mode == "shared" or (
            mode == "auto" and headers and caching.is_shared(self.scope["headers"], headers, self._moment())
        )
        return _SHARED if is_shared else self.view

    def _confirmed_view(self) -> View:
        """Give the form that a 304 confirms: the one whose mark the request's tags carry."""
        own = f'-gc{self.site.renderer.suffix(self.view)}"'.encode()
        shared = f'-gc{self.site.renderer.suffix(_SHARED)}"'.encode()
        asked = self.request.get(b"if-none-match", b"")
        return _SHARED if shared in asked and own not in asked else self.view

    def untouched_headers(self, headers: Headers) -> Headers:
        """Give the headers of a response whose body stays as it is."""
        if self.is_read:
            headers = caching.make_private(headers)
        is_html = rewritable.is_html(rewritable.by_name(headers))
        if is_html and self.site.insert == "never" and self.site.policy.asks:
            # the parts were rendered outside this request, in the form for everyone
            headers, _ = csp.amend(headers, self.site.renderer.needs(_SHARED, is_placed=True))
        self._sent = headers
        return self._gated(headers, is_shared=False)

    def changed_headers(self, headers: Headers, view: View) -> Headers:
        """Give the headers of a document that shows this view."""
        needs = self.site.renderer.needs(view, is_placed=bool(self.placed))
        headers, self.nonce = csp.amend(headers, needs)
        headers = caching.changed_document(headers, self.site.renderer.suffix(view))
        if self.is_read or not view.is_shared:
            headers = caching.make_private(headers) + self.site.variance + self._leftover_deletions()
        self._sent = headers
        return self._gated(headers, is_shared=view.is_shared)

    def plain_headers(self, headers: Headers) -> Headers:
        """Give what ``changed_headers`` would, for a visitor's own document with no meaningful header."""
        self._sent = [*headers, *_PRIVATE, *self.site.variance, *self._leftover_deletions()]
        return self._sent

    def _leftover_deletions(self) -> Headers:
        """Delete what the request still carries of services whose purpose the visitor denied."""
        consent, _, refuses_any = self._standing or self._judge()
        if consent.is_decided and not refuses_any:
            return []
        carried = set_cookie.request_cookie_names(self.scope["headers"])
        if not consent.is_decided:
            # a hint that has lost its choice (another key, a moved clock) would hide the notice
            names = [name for name in carried if name == HINT_NAME]
            host = self.request.get(b"host", b"").decode("latin-1")
            return set_cookie.deletions(names, host, (), secure=self.site.is_https(self.scope))
        names = [name for name in carried if self.site.refuses(name, consent.granted)]
        if not names:
            return []
        host = self.request.get(b"host", b"").decode("latin-1")
        paths = set_cookie.path_prefixes(self._page_path())
        return set_cookie.deletions(names, host, paths, secure=self.site.is_https(self.scope))

    def _gated(self, headers: Headers, *, is_shared: bool) -> Headers:
        """Take out the application's own ``Set-Cookie`` lines of declared trackers that were not granted."""
        if not any(key.lower() == b"set-cookie" for key, _ in headers):
            return headers
        # what everyone gets is granted by nobody
        granted = frozenset() if is_shared else self.consent.granted
        kept, withheld = set_cookie.withhold(
            headers, lambda name: self.site.refuses(name, granted), self._moment()
        )
        if withheld:
            _logger.warning("withheld cookies whose purpose was not granted: %s", ", ".join(withheld))
        return kept


class _RewrittenDocument:
    """A document under way: its start is held until the head opens, its bytes go through the scanner."""

    def __init__(
        self, exchange: Exchange, start: Message, headers: Headers, names: Mapping[bytes, bytes]
    ) -> None:
        has_charset = b"charset" in names[b"content-type"].lower()
        document = DocumentStream(self._insertions, has_charset=has_charset)
        is_gzip = b"content-encoding" in names and rewritable.encoding(headers) == "gzip"
        self.is_held = True
        self._stream: _Stream = GzipDocumentStream(document) if is_gzip else document
        self._exchange = exchange
        self._start = start
        self._headers = headers
        self._names = names
        self._is_plain = _MEANINGFUL.search(b" ".join(names)) is None

    def body(self, message: Message) -> Iterator[Message]:
        """Take a body message; give what may be sent now."""
        body = message.get("body", b"")
        ready = self._stream.feed(body if isinstance(body, bytes) else bytes(body))
        if not message.get("more_body", False):
            ready += self._stream.finish()
        if self.is_held:
            if self._stream.outcome is Outcome.SEARCHING:
                return
            yield self._answered()
        yield {**message, "body": ready}

    def release(self) -> Iterator[Message]:
        """Give what is held, if anything, as if the document ended here; more may follow."""
        if not self.is_held:
            return
        ready = self._stream.finish()
        yield self._answered()
        if ready:
            yield {"type": "http.response.body", "body": ready, "more_body": True}

    def _answered(self) -> Message:
        self.is_held = False
        if self._stream.outcome is Outcome.CHANGED:
            added = self._stream.added if isinstance(self._stream, DocumentStream) else None
            return {**self._start, "headers": rewritable.resized(self._headers, self._names, added)}
        return {**self._start, "headers": self._exchange.untouched_headers(self._headers)}

    def _insertions(self, page_language: str | None) -> Insertions:
        """Render what goes into the document, whose head opens and whose language is known by now."""
        exchange, headers = self._exchange, self._headers
        renderer = exchange.site.renderer
        view = exchange.chosen_view([] if self._is_plain else headers)
        needs_reload = not self._is_plain and not view.is_shared and csp.lacks_hosts(headers, renderer.hosts)
        if self._is_plain and not view.is_shared:
            self._headers = exchange.plain_headers(headers)
        else:
            self._headers = exchange.changed_headers(headers, view)
        slots = exchange.slots(view, nonce=exchange.nonce, needs_reload=needs_reload)
        head = b"" if "head" in exchange.placed else renderer.head(view, slots)
        language = exchange.language(page_language, view)
        return Insertions(head, renderer.body(view, language, slots, exchange.placed))


def get_consent(request: Any) -> Consent:
    """Give what the visitor of this request allows; the response becomes private by it.

    Args:
        request: an ASGI scope, anything with a ``.scope`` (a Starlette, FastAPI, Django, Quart, Litestar or
            BlackSheep request), a WSGI environ, or anything with an ``.environ`` (a Flask request); the last
            two where the WSGI application runs through a2wsgi.

    Raises:
        ConfigurationError: the request did not pass through ``ConsentMiddleware``.
    """
    return exchange_of(request).read_consent()


def exchange_of(request: Any) -> Exchange:
    """Find the exchange of a request.

    Raises:
        ConfigurationError: the request did not pass through ``ConsentMiddleware``.
    """
    exchange = _scope_of(request).get(STATE_KEY)
    if not isinstance(exchange, Exchange):
        raise ConfigurationError(
            "this request did not pass through ConsentMiddleware: add it to the application, "
            "outside whatever asks for the consent (websockets pass it by)"
        )
    return exchange


def _scope_of(request: Any) -> Mapping[str, Any]:
    for found in (request, getattr(request, "scope", None), getattr(request, "environ", None)):
        if isinstance(found, Mapping):
            # a2wsgi keeps the scope of the request in the environ that it makes
            inner = found.get("asgi.scope", found)
            return inner if isinstance(inner, Mapping) else found
    return {}


def _as_sent(value: bytes) -> str:
    # what no browser sends unencoded is encoded, since a form would send it back in the page's own charset
    return value.decode() if value.isascii() else quote(value, safe="/%:@!$&'()*+,;=?~-._")
