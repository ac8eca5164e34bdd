"""One request and its response: what the visitor's cookie says, and what the response may carry by it.

Asks the floors below and sends what they answer; never raises into the site's application.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from gem_consent import caching, csp, rewritable, set_cookie
from gem_consent.address import page_path, return_address
from gem_consent.compression import GzipDocumentStream
from gem_consent.consent import Choice, Consent
from gem_consent.document import DocumentStream, Outcome, joined
from gem_consent.gate import gated, sets_cookies
from gem_consent.headers import Headers, without
from gem_consent.rendering import Slots, View
from gem_consent.site import Carried, Scope, Site

__all__ = ["STATE_KEY", "Exchange", "Message", "Send"]

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

STATE_KEY = "gem_consent"

_logger = logging.getLogger("gem_consent")

_SHARED = View(is_shared=True)
_PARTS = frozenset({"head", "notice", "settings"})
_NONE: frozenset[str] = frozenset()
_UTF8 = frozenset({b"utf-8", b"utf8"})
_FILE_EXTENSIONS = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class Exchange:
    """One HTTP request and its response, from the middleware's first look to the last byte.

    Args:
        site: the configuration.
        scope: the ASGI scope of the request.
        send: the server's.

    Attributes:
        time: when the request came, in seconds since 1970 (UTC).
        request: the request's headers by name, in lower case (as ASGI has them); of several, the last.
        is_read: the site's own code has read the consent.
        is_asked: the request may be answered by a document, and was passed on so that it can be changed; HTML
            that comes all the same, as it may not be left by a cache to who asks for the page, is private.
        placed: the parts that a template has rendered.
        inserted: those that this middleware has put into the document.
        nonce: that of the page's Content-Security-Policy, once its headers are known.
        is_quiet: the page's policy forbids what starts a service, so that none is.
        is_holding: the start of a document still waits for its head to open.
        sent: the response's headers, once they have left.
    """

    __slots__ = (
        "_carried",
        "_document",
        "_held",
        "_send",
        "inserted",
        "is_asked",
        "is_holding",
        "is_quiet",
        "is_read",
        "nonce",
        "placed",
        "request",
        "scope",
        "sent",
        "site",
        "time",
    )

    def __init__(self, site: Site, scope: Scope, send: Send) -> None:
        self.site = site
        self.scope = scope
        self.time = site.clock()
        self.request: dict[bytes, bytes] = dict(scope["headers"])
        self.is_read = self.is_quiet = self.is_holding = False
        self.is_asked = True
        self.placed = self.inserted = _NONE
        self.nonce: str | None = None
        self.sent: Headers | None = None
        self._send = send
        self._carried: Carried | None = None
        self._held: _Held | None = None
        self._document: _RewrittenDocument | None = None

    @property
    def now(self) -> int:
        """The second in which the request came, since 1970 (UTC)."""
        return int(self.time)

    @property
    def choice(self) -> Choice | None:
        """The verified choice in the visitor's cookie, even if it is over or of another policy."""
        return (self._carried or self._judge()).choice

    @property
    def consent(self) -> Consent:
        """What the visitor allows now; for the library's own use, which takes care of the headers."""
        return (self._carried or self._judge()).standing.consent

    @property
    def view(self) -> View:
        """What this visitor's own documents show."""
        return (self._carried or self._judge()).standing.view

    def read_consent(self) -> Consent:
        """Give the consent to the site's own code: from now on the response depends on the visitor.

        A streamed response that began for everyone can no longer become one visitor's: what asks after that
        is told that nothing is granted.
        """
        if self.sent is not None and self._is_too_late(self.sent):
            return self.site.stranger.consent
        self.is_read = True
        return (self._carried or self._judge()).standing.consent

    def _is_too_late(self, sent: Headers) -> bool:
        """Say whether the headers that have left did not say that the response is one visitor's."""
        if self.is_read or caching.is_private(sent):
            return False
        _logger.warning(
            "the consent was read after a response for everyone had begun, so nothing counts as granted: "
            "read it before the response starts, or send Cache-Control: private. What reads it stands below",
            stack_info=True,
        )
        return True

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def _judge(self) -> Carried:
        site, request = self.site, self.request
        line = request.get(b"cookie")
        if line is None:
            carried = site.newcomer
        else:
            scope = self.scope
            if len(scope["headers"]) != len(request):
                # HTTP/2 may split it (RFC 9113, section 8.2.3)
                line = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
            known = site.remembered.get((line, scope.get("scheme")))
            if known is not None and known.starts_at <= self.time < known.standing.ends_at:
                carried = known
            else:
                carried = site.carried(line, scope, self.now)
        if carried.standing is site.stranger:
            carried = site.undecided(carried, self.scope["headers"], request.get(b"user-agent", b""))
        self._carried = carried
        return carried

    def place(self, part: str) -> View:
        """Note that a template renders this part, and give the view it has to show.

        A part for one visitor makes the response theirs; where documents are shared it is the form for
        everyone.
        """
        self.placed |= {part}
        if self.site.insert == "never" or self.site.documents(self.scope) == "shared":
            return _SHARED
        if self.sent is not None and self._is_too_late(self.sent):
            return _SHARED
        self.read_consent()
        return self.view

    def language(self, page: str | None, view: View) -> str:
        """Choose the language of what this request shows."""
        renderer = self.site.renderer
        if (found := renderer.page_language(page)) is not None:
            return found
        accepted = None if view.is_shared else self.request.get(b"accept-language", b"").decode("latin-1")
        return renderer.language(None, accepted)

    def slots(
        self, view: View, *, nonce: str | None = None, needs_reload: bool = False, is_utf8: bool = False
    ) -> Slots:
        """Give what this request fills into a part."""
        scope = self.scope
        root = self.site.root(scope)
        query = b"" if view.is_shared else scope.get("query_string", b"")
        return_to = return_address(scope.get("raw_path"), scope["path"], query, root)
        return Slots(root + self.site.path, return_to, nonce, needs_reload, self.is_quiet, is_utf8)

    def request_scope(self) -> Scope:
        """Give the scope for the application: this exchange in its state, and for documents what they allow.

        Where it is not the server's own, what the application notes in it is for those further out as well.
        A document that may be changed is asked for in gzip or plain, as bytes rather than as a file, and
        without conditions that speak of bytes the application has not seen.
        """
        scope = self.scope
        # the scope is this request's alone; its state is for whoever looks there, as Starlette's users do
        scope[STATE_KEY] = self
        if "state" in scope:
            scope["state"][STATE_KEY] = self
        else:
            scope["state"] = {STATE_KEY: self}
        # a router that mounts another application writes the path of that into the one it gets
        self.scope = {**scope}
        request = self.request
        accept, destination = request.get(b"accept"), request.get(b"sec-fetch-dest")
        if not self.site.changes_documents:
            return scope
        if not rewritable.may_be_asked(accept, destination):
            self.is_asked = False
            return scope
        headers = scope["headers"]
        if not request.keys().isdisjoint(caching.CONDITIONS):
            headers = self._without_conditions(headers)
        headers = rewritable.narrowed(headers, request)
        extensions = scope.get("extensions")
        if extensions and not _FILE_EXTENSIONS.isdisjoint(extensions):
            kept = {name: value for name, value in extensions.items() if name not in _FILE_EXTENSIONS}
            return {**scope, "headers": headers, "extensions": kept}
        inner = {**scope}
        inner["headers"] = headers
        return inner

    def _without_conditions(self, headers: Headers) -> Headers:
        is_navigation = b"text/html" in self.request.get(b"accept", b"")
        asked = [self.request.get(name, b"") for name in caching.CONDITIONS]
        if not is_navigation and not any(caching.MARK in value for value in asked):
            return headers
        suffixes = [self.site.renderer.suffix(view) for view in (_SHARED, self.view)]
        return caching.request_conditions(headers, suffixes, is_navigation=is_navigation)

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message of the application's, and send on what the visitor may get.

        Most messages leave as they are: a coroutine of our own around each would cost more than the rest.
        """
        if message["type"] == "http.response.start":
            return self._send_start(message)
        if self._held is not None:
            return self._send_first(self._held, message)
        if self._document is None:
            return self._send(message)
        return self._send_of(self._document, message)

    async def _send_first(self, held: _Held, message: Message) -> None:
        self._held = None
        if message["type"] == "http.response.body" and (changed := self._changed_at_once(held, message)):
            start, body = changed
            await self._send(start)
            await self._send(body)
            return
        self._document = _RewrittenDocument(self, held)
        await self._send_of(self._document, message)

    async def _send_of(self, document: _RewrittenDocument, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            for answer in document.body(message):
                await self._send(answer)
            if document.is_done:
                self._document = None
        else:
            if kind in _FILE_EXTENSIONS:
                await self.release()
            await self._send(message)

    def end(self) -> None:
        """Let go of what leads back here, which would stay until the garbage collector comes.

        The scope holds this exchange, and a server's ``send`` is most often a method of what holds the scope.
        """
        self._document, self._send = None, _ended
        # outer middleware may still read the consent, or render a page
        del self.scope[STATE_KEY], self.scope["state"]

    async def release(self) -> None:
        """Send what is held of a document: the application leaves it unfinished, or goes on with a file."""
        if self._held is not None:
            self._document, self._held = _RewrittenDocument(self, self._held), None
        if self._document is not None:
            for answer in self._document.release():
                await self._send(answer)

    def _send_start(self, message: Message) -> Awaitable[None]:
        """Send the start of a response, or hold it; with plain headers in a few steps of its own."""
        headers = message.get("headers") or []
        if type(headers) is not list:
            headers = list(headers)
            message = {**message, "headers": headers}
        kind, is_plain = b"", True
        for name, value in headers:
            if name == b"content-type":
                kind = value
            elif name not in rewritable.PLAIN:
                is_plain = False
                break
        status = message["status"]
        if is_plain and status != 304:
            charset = rewritable.html_charset(kind)
            if charset is None:
                if self.is_read:
                    headers = headers + self.site.privacy
                    message = {**message}
                    message["headers"] = headers
                self.sent = headers
                return self._send(message)
            if status == 200 and self.site.changes_documents and self.scope["method"] != "HEAD":
                self._held, self.is_holding = (message, headers, charset, True), True
                return _done()
        started = self._started(message, headers)
        return _done() if started is None else self._send(started)

    def _started(self, message: Message, headers: Headers) -> Message | None:
        """Give the start of the response as it may leave, or ``None`` where it waits for the head to open."""
        status, names = message["status"], rewritable.by_name(headers)
        charset = rewritable.html_charset(names.get(b"content-type", b""))
        if (charset is None and status != 304) or not self._is_document(status, headers, names):
            return self._untouched(message, headers, names, is_html=charset is not None)
        if charset is not None and status != 304 and self.scope["method"] != "HEAD":
            self._held = message, headers, charset, rewritable.is_ordinary(names)
            self.is_holding = True
            return None
        view = self._confirmed_view() if message["status"] == 304 else self.chosen_view(headers)
        headers = self.changed_headers(list(headers), view)
        if self.scope["method"] == "HEAD":
            headers = without(headers, {b"content-length"})
        return {**message, "headers": headers}

    def _changed_at_once(self, held: _Held, message: Message) -> tuple[Message, Message] | None:
        """Change a document whose first chunk has the whole head in it; with ordinary headers, most are such.

        The same as a ``_RewrittenDocument`` does, in the few steps that such a document needs. Nothing is
        given where only that can tell.
        """
        start, headers, charset, is_ordinary = held
        body = message.get("body")
        if not is_ordinary or not charset or self.placed or type(body) is not bytes:
            return None
        site, scope = self.site, self.scope
        is_shared = not self.is_read and site.documents(scope) == "shared"
        view = _SHARED if is_shared else (self._carried or self._judge()).standing.view
        root = site.root(scope)
        query = b"" if is_shared else scope.get("query_string", b"")
        opening, changed = site.renderer.opened(
            view,
            body,
            None if is_shared else self.request.get(b"accept-language"),
            site.path,
            (scope.get("raw_path"), scope["path"], query, root),
            charset in _UTF8,
        )
        if changed is None:
            return None
        headers = rewritable.resized(headers, len(changed) - len(opening))
        if not is_shared:
            headers = headers + site.privacy
            if (self._carried or self._judge()).has_leftovers:
                headers += self.leftover_deletions()
        self.sent, self.inserted, self.is_holding = headers, _PARTS, False
        site.tally.documents["shared" if is_shared else "changed"] += 1
        start, message = {**start}, {**message}
        start["headers"] = headers
        message["body"] = joined(changed, body, len(opening))
        return start, message

    def _untouched(
        self, message: Message, headers: Headers, names: Mapping[bytes, bytes], *, is_html: bool
    ) -> Message:
        self.sent = headers
        if is_html and self.site.changes_documents and message["status"] != 304:
            self.site.tally.documents[rewritable.objection(message["status"], headers, names)] += 1
        is_placed_elsewhere = self.site.insert == "never" and is_html
        if is_placed_elsewhere or b"set-cookie" in names or (is_html and not self.is_asked):
            return {**message, "headers": self.untouched_headers(list(headers))}
        if self.is_read:
            is_ordinary = rewritable.is_ordinary(names)
            self.sent = [*headers, *self.site.privacy] if is_ordinary else caching.make_private(headers)
            return {**message, "headers": self.sent}
        return message

    def _is_document(self, status: int, headers: Headers, names: Mapping[bytes, bytes]) -> bool:
        """Say whether HTML, or a 304 for it, may be changed."""
        if not self.site.changes_documents:
            return False
        if status == 304:
            # only documents of ours carry a mark in their ETag, and this request asked about one
            return caching.MARK in self.request.get(b"if-none-match", b"")
        return not rewritable.objection(status, headers, names)

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
        is_html = rewritable.is_html(rewritable.by_name(headers))
        if self.is_read or (is_html and not self.is_asked):
            headers = caching.make_private(headers)
        if is_html and self.site.insert == "never" and self.site.policy.asks:
            # the parts were rendered outside this request, in the form for everyone
            headers, _ = csp.amend(
                headers, self.site.renderer.needs(_SHARED, placed=self.placed | {"head", "embed"})
            )
        self.sent = headers
        return self._gated(headers, is_shared=False)

    def changed_headers(self, headers: Headers, view: View) -> Headers:
        """Give the headers of a document that shows this view."""
        self.is_quiet = csp.requires_trusted_types(headers)
        is_bare = self.is_quiet and "head" not in self.placed
        needs = self.site.renderer.needs(view, placed=self.placed, is_quiet=is_bare)
        headers, self.nonce = csp.amend(headers, needs)
        headers = caching.changed_document(headers, self.site.renderer.suffix(view))
        if self.is_read or not view.is_shared:
            headers = [
                *caching.make_private(headers),
                *self.site.variance,
                *self.leftover_deletions(),
            ]
        self.sent = headers
        return self._gated(headers, is_shared=view.is_shared)

    def note_quiet(self, view: View, reason: str) -> None:
        """Count a page on which something granted is not started, and log the first."""
        tally = self.site.tally
        if not (view.is_shared or view.granted):
            return
        if not tally.quiet[reason]:
            _logger.warning(
                "nothing that needs consent is started on some pages, since %s forbids it",
                reason,
            )
        tally.quiet[reason] += 1

    def leftover_deletions(self) -> Sequence[tuple[bytes, bytes]]:
        """Delete what the request still carries of services whose purpose the visitor denied."""
        who = self._carried or self._judge()
        if not who.has_leftovers:
            return ()
        carried = set_cookie.request_cookie_names(self.scope["headers"])
        names = [name for name in carried if self.site.is_leftover(name, who.standing.consent)]
        host = self.request.get(b"host", b"").decode("latin-1")
        # the hint is set for the whole site
        path = page_path(self.scope.get("raw_path"), self.scope["path"], self.site.root(self.scope))
        paths = set_cookie.path_prefixes(path) if who.standing.consent.is_decided else ()
        return set_cookie.deletions(names, host, paths, secure=self.site.is_https(self.scope))

    def _gated(self, headers: Headers, *, is_shared: bool) -> Headers:
        if not sets_cookies(headers):
            return headers
        # what everyone gets is granted by nobody
        return gated(self.site, headers, frozenset() if is_shared else self.consent.granted, self.now)


async def _done() -> None:
    """Send nothing now."""


async def _ended(message: Message) -> None:
    """Send nothing any more: for the server the response is over once the application has returned."""


_Held: TypeAlias = tuple[Message, Headers, bytes, bool]
"""The start of a document, its headers, its charset, and whether the headers are ordinary."""


class _RewrittenDocument:
    """A document under way: its start is held until the head opens, its bytes go through the scanner."""

    is_done = False
    _stream: DocumentStream | GzipDocumentStream | None = None

    def __init__(self, exchange: Exchange, held: _Held) -> None:
        self._exchange = exchange
        self._start, self._headers, self._charset, self._is_ordinary = held

    def body(self, message: Message) -> Sequence[Message]:
        """Take a body message; give what may be sent now."""
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = bytes(body)
        stream = self._stream or self._opened()
        ready = stream.feed(body)
        if not message.get("more_body", False):
            ready += stream.finish()
        self.is_done = stream.is_done
        if not self._exchange.is_holding:
            return ({**message, "body": ready},)
        if stream.outcome is Outcome.SEARCHING:
            return ()
        return self._answered(stream), {**message, "body": ready}

    def _opened(self) -> DocumentStream | GzipDocumentStream:
        document = DocumentStream(self._insertions, has_charset=bool(self._charset))
        is_gzip = not self._is_ordinary and rewritable.encoding(self._headers) == "gzip"
        self._stream = GzipDocumentStream(document) if is_gzip else document
        return self._stream

    def release(self) -> Sequence[Message]:
        """Give what is held, if anything, as if the document ended here; more may follow."""
        if not self._exchange.is_holding:
            return ()
        stream = self._stream or self._opened()
        ready = stream.finish()
        start = self._answered(stream)
        rest: Message = {"type": "http.response.body", "body": ready, "more_body": True}
        return (start, rest) if ready else (start,)

    def _answered(self, stream: DocumentStream | GzipDocumentStream) -> Message:
        self._exchange.is_holding = False
        if stream.outcome is Outcome.CHANGED:
            return {**self._start, "headers": rewritable.resized(self._headers, stream.added)}
        self._exchange.site.tally.documents[stream.outcome.value] += 1
        return {**self._start, "headers": self._exchange.untouched_headers(self._headers)}

    def _insertions(self, page_language: str | None) -> tuple[bytes, bytes]:
        """Render what goes into the document, whose head opens and whose language is known by now."""
        exchange, headers = self._exchange, self._headers
        renderer = exchange.site.renderer
        view = exchange.chosen_view(headers)
        needs_reload = not view.is_shared and csp.lacks_hosts(headers, renderer.hosts)
        self._headers = exchange.changed_headers(headers, view)
        exchange.site.tally.documents["shared" if view.is_shared else "changed"] += 1
        if exchange.is_quiet:
            exchange.note_quiet(view, "Trusted Types")
        slots = exchange.slots(
            view, nonce=exchange.nonce, needs_reload=needs_reload, is_utf8=self._charset in _UTF8
        )
        language = exchange.language(page_language, view)
        exchange.inserted = _PARTS - exchange.placed
        return renderer.parts(view, language, slots, exchange.placed)
