"""``ConsentMiddleware``: its configuration, and one ``Exchange`` for each request."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from anyio import get_current_task, to_thread

from gem_consent.cookie import ConsentCookie, cookie_name
from gem_consent.endpoints import respond
from gem_consent.errors import ConfigurationError, ConsentError
from gem_consent.exchange import STATE_KEY, Exchange, Message, Send
from gem_consent.handshake import gated_handshake
from gem_consent.inventory import Inventory
from gem_consent.policy import Policy
from gem_consent.proof.checkpoint import MIN_SECRET_CHARACTERS
from gem_consent.rate import RateLimit
from gem_consent.recorder import Recorder
from gem_consent.rendering import Appearance, Renderer
from gem_consent.scripts import Layout
from gem_consent.site import DocumentsMode, GpcMode, InsertMode, Scope, Site, UndeclaredMode
from gem_consent.sites import PolicyChoice, Sites, checked_domain
from gem_consent.telemetry import Tally
from gem_consent.well_known import GPC_PATH, state_gpc

__all__ = ["ConsentMiddleware"]

Receive = Callable[[], Awaitable[Message]]
SettingsMode: TypeAlias = Literal["auto", "site"]
App = Callable[[Any, Any, Any], Awaitable[None]]

_logger = logging.getLogger("gem_consent")


class ConsentMiddleware:
    """Show a consent notice, keep each visitor's choice, and let services through only once they are granted.

    A pure ASGI middleware: it changes http responses, looks at the cookies that a websocket's handshake sets,
    passes all else through, and opens and closes its ledger with the application's lifespan, or at the first
    decision where there is none.

    Args:
        app: the ASGI application.
        policy: what the site declares; where one application serves several sites, a mapping from host to
            ``Policy``, ``"*"`` for all others, or a function of the ASGI scope that gives a ``Policy``, or
            ``None`` for requests to be left alone.
        secret_key: signs the cookies: 32 characters at least; a list, newest last, to rotate.
        ledger: where choices are proved: ``sqlite:///consent.db`` (relative) or ``sqlite:////var/lib/consent.db``.
        path: the prefix of the library's own pages.
        https_only: whether cookies are https cookies; ``None`` follows each request's scheme.
        documents: ``auto`` follows each document's own ``Cache-Control``; ``shared`` or ``private`` decide
            for all; or a function of the ASGI scope that gives one of the three.
        insert: ``auto`` puts the notice, the control and the tags into documents; ``never`` leaves all of it
            to the site's templates, in the form for everyone.
        layout: where the notice stands: ``bar`` at the foot of the window, ``box`` in its corner, ``top``
            before the page, ``dialog`` in the middle.
        settings: ``auto`` shows a control after a choice; ``site`` leaves it to a link of the site's own.
        templates: a folder with templates of the site's own, which come before the library's of that name.
        keeps_network: whether events hold the visitor's network prefix (/24 or /48).
        undeclared: what happens to cookies that the application sets and the policy does not declare:
            ``report`` names each once in the log; ``refuse`` takes them out as well, but for those of
            sessions, sign-in, CSRF and the like; ``allow`` does neither.
        rate_limit: how many decisions a minute are taken from one address; ``None``: any number. Only where
            the server knows visitors' own addresses.
        gpc: ``refuse`` takes Global Privacy Control for a refusal and shows no notice to its visitors;
            ``ask`` asks them like all others. It never grants anything.
        signing_key: signs the ledger's checkpoints: 32 characters at least; ``None`` takes the newest
            ``secret_key``. The key itself is derived from it, and is another for each ledger.
        share_domain: the domain, such as ``example.com``, whose sub-domains share one choice; ``None`` keeps
            each host's apart.
        spool: for a ledger in PostgreSQL: a file on a persistent volume of this machine, where decisions wait
            while the server is away. A grant that waits there counts.
        clock: the time in seconds since 1970; tests give their own.

    Raises:
        ConfigurationError: an argument is missing or wrong.

    Example:
        >>> from gem_consent import Controller, GoogleAnalytics, Policy
        >>> policy = Policy(
        ...     controller=Controller(name="Example", contact="dpo@example.com"),
        ...     privacy_url="/privacy",
        ...     services=[GoogleAnalytics("G-XXXXXXXXXX")],
        ... )
        >>> async def site(scope, receive, send): ...
        >>> app = ConsentMiddleware(
        ...     site, policy=policy, secret_key="x" * 40, ledger="sqlite:///consent.db"
        ... )
    """

    def __init__(
        self,
        app: App,
        *,
        policy: PolicyChoice,
        secret_key: str | Sequence[str],
        ledger: str,
        path: str = "/privacy-choices",
        https_only: bool | None = None,
        documents: DocumentsMode | Callable[[Mapping[str, Any]], DocumentsMode] = "auto",
        insert: InsertMode = "auto",
        layout: Layout = "bar",
        settings: SettingsMode = "auto",
        templates: str | Path | None = None,
        keeps_network: bool = False,
        undeclared: UndeclaredMode = "report",
        rate_limit: int | None = None,
        gpc: GpcMode = "ask",
        signing_key: str | None = None,
        share_domain: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self._refusal: ConfigurationError | None = None
        self._has_warned = https_only is not None
        try:
            self.sites = _sites(
                policy,
                secret_key,
                ledger,
                path,
                https_only,
                documents,
                insert,
                _appearance(layout, settings, templates),
                keeps_network,
                undeclared,
                _limit(rate_limit),
                gpc,
                signing_key,
                share_domain,
                spool,
                clock,
            )
            self.site = self.sites.first
        except ConfigurationError as error:
            # Starlette makes its middleware once the server asks for the lifespan, and servers take an
            # exception there for "no lifespan" and go on: it is kept, to be told in the lifespan's own words.
            if not _is_in_event_loop():
                raise
            self._refusal = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if self._refusal is not None:
            await _refuse(self._refusal, scope, receive, send)
            return
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        if STATE_KEY in scope:
            # a second middleware further out has this request already: one notice is enough
            await self.app(scope, receive, send)
            return
        if self.site.gpc == "refuse" and scope["path"] == GPC_PATH and not self.site.root(scope):
            send = state_gpc(scope, send)
        site = self.site if self.sites.is_single else self.sites.of(scope)
        exchange = Exchange(site, scope, send)
        if exchange.time >= site.tally.report_at:
            site.tally.report(exchange.now)
        if not self._has_warned and b"x-forwarded-proto" in exchange.request:
            self._warn_of_hidden_https(exchange)
        if site.path in scope["path"] and not site.is_silent and (rest := self._own_path(scope)) is not None:
            response = await respond(exchange, rest, receive)
            await response(scope, receive, send)
            return
        inner = exchange.request_scope()
        try:
            await self.app(inner, receive, exchange.send)
        finally:
            # what the application notes in its scope, its route for one, is for those further out as well
            if inner is not scope and len(inner) > len(scope):
                for key in islice(inner, len(scope), None):
                    scope.setdefault(key, inner[key])
        if exchange.is_holding:
            await exchange.release()
        exchange.end()

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] == "websocket":
            send = gated_handshake(self.sites.of, scope, send)
        await self.app(scope, receive, send)

    def _own_path(self, scope: Scope) -> str | None:
        """Give what follows the prefix in the request's path; ``None`` for the site's own."""
        path: str = scope["path"]
        # the path holds the root_path (ASGI, "HTTP connection scope"), but older servers leave it out
        for prefix in (self.site.prefix(scope), self.site.path):
            rest = path.removeprefix(prefix)
            if rest != path and rest[:1] in ("", "/"):
                return rest
        return None

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the ledger before the application starts, and close it after it has stopped.

        An application without a lifespan, as Django's, raises at once (ASGI, "Lifespan Protocol"), and the
        server would tell nobody when it stops: the ledger has a lifespan all the same.
        """
        is_heard = False

        async def receive_opening() -> Message:
            nonlocal is_heard
            is_heard = True
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await to_thread.run_sync(self.site.recorder.start)
                except ConsentError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            return message

        async def send_closing(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await to_thread.run_sync(self.site.close)
            await send(message)

        try:
            await self.app(scope, receive_opening, send_closing)
        except Exception as error:
            if is_heard:
                raise
            _logger.info("the application has no lifespan of its own, and says so: %s", error)
        if not is_heard:
            await receive_opening()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send_closing({"type": "lifespan.shutdown.complete"})

    def _warn_of_hidden_https(self, exchange: Exchange) -> None:
        forwarded = exchange.request[b"x-forwarded-proto"].strip().lower()
        if forwarded == b"https" and exchange.scope.get("scheme") != "https":
            self._has_warned = True
            _logger.warning(
                "X-Forwarded-Proto says https and the server says http: cookies are set for http. Let the "
                "server trust its proxy (uvicorn --proxy-headers --forwarded-allow-ips), or set "
                "https_only=True"
            )


def _sites(
    policy: PolicyChoice,
    secret_key: str | Sequence[str],
    ledger: str,
    path: str,
    https_only: bool | None,
    documents: DocumentsMode | Callable[[Mapping[str, Any]], DocumentsMode],
    insert: InsertMode,
    appearance: Appearance,
    keeps_network: bool,
    undeclared: UndeclaredMode,
    limit: RateLimit | None,
    gpc: GpcMode,
    signing_key: str | None,
    share_domain: str | None,
    spool: str | os.PathLike[str] | None,
    clock: Callable[[], float],
) -> Sites:
    if insert not in get_args(InsertMode):
        raise ConfigurationError(f"insert is {insert!r}; allowed: one of {', '.join(get_args(InsertMode))}")
    if gpc not in get_args(GpcMode):
        raise ConfigurationError(f"gpc is {gpc!r}; allowed: one of {', '.join(get_args(GpcMode))}")
    if undeclared not in get_args(UndeclaredMode):
        allowed = ", ".join(get_args(UndeclaredMode))
        raise ConfigurationError(f"undeclared is {undeclared!r}; allowed: one of {allowed}")
    domain = checked_domain(share_domain)
    cookie = ConsentCookie(secret_key)
    signing_secret = _signing_secret(secret_key, signing_key)
    recorder = Recorder(
        ledger,
        lambda: sites.notices(),
        signing_secret=signing_secret,
        find_notice=lambda digest: sites.find_notice(digest),
        spool=spool,
    )
    told = cookie_name(is_https=True, domain=domain)
    tally = Tally(lambda: recorder.pending, lambda: recorder.dropped, lambda: cookie.rejected)
    inventory = Inventory()

    def make(one: Policy) -> Site:
        return Site(
            policy=one,
            renderer=Renderer(one, appearance, obeys_gpc=gpc == "refuse", cookie=told),
            cookie=cookie,
            recorder=recorder,
            path=_checked_path(path),
            https_only=https_only,
            documents=_chooser(documents),
            insert=insert,
            keeps_network=keeps_network,
            gpc=gpc,
            clock=clock,
            inventory=inventory,
            tally=tally,
            share_domain=domain,
            limit=limit,
            undeclared=undeclared,
        )

    sites = Sites(policy, make, domain)
    return sites


def _limit(per_minute: int | None) -> RateLimit | None:
    if per_minute is None:
        return None
    if not isinstance(per_minute, int) or per_minute < 1:
        raise ConfigurationError(
            f"rate_limit is {per_minute!r}; allowed: decisions a minute and address, 1 or more; or None"
        )
    return RateLimit(per_minute)


def _appearance(layout: Layout, settings: SettingsMode, templates: str | Path | None) -> Appearance:
    for name, value, allowed in (("layout", layout, Layout), ("settings", settings, SettingsMode)):
        if value not in get_args(allowed):
            raise ConfigurationError(f"{name} is {value!r}; allowed: one of {', '.join(get_args(allowed))}")
    folder = None if templates is None else Path(templates)
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"templates is {str(folder)!r}; allowed: a folder that is there")
    return Appearance(layout, has_control=settings == "auto", templates=folder)


def _signing_secret(secret_key: str | Sequence[str], signing_key: str | None) -> str:
    """Give the secret that checkpoints are signed with: its own setting, else the newest cookie key."""
    if signing_key is None:
        return secret_key if isinstance(secret_key, str) else secret_key[-1]
    if not isinstance(signing_key, str) or len(signing_key) < MIN_SECRET_CHARACTERS:
        raise ConfigurationError(
            f"signing_key needs {MIN_SECRET_CHARACTERS} characters at least; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    return signing_key


def _is_in_event_loop() -> bool:
    try:
        get_current_task()
    except RuntimeError:
        return False
    return True


async def _refuse(error: ConfigurationError, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse to start: in the lifespan's words where there is one, else by the error itself."""
    if scope["type"] != "lifespan":
        raise error
    await receive()
    await send({"type": "lifespan.startup.failed", "message": str(error)})


def _checked_path(path: str) -> str:
    is_usable = path.startswith("/") and path.isascii() and not set(path) & set(" ?#\\\"<>%'")
    if not is_usable or len(path) < 2 or path.endswith("/") or "//" in path:
        raise ConfigurationError(f"path is {path!r}; allowed: a path such as '/privacy-choices'")
    return path


def _chooser(
    documents: DocumentsMode | Callable[[Mapping[str, Any]], DocumentsMode],
) -> Callable[[Mapping[str, Any]], DocumentsMode]:
    if callable(documents):
        return documents
    if documents not in get_args(DocumentsMode):
        raise ConfigurationError(
            f"documents is {documents!r}; allowed: one of {', '.join(get_args(DocumentsMode))}, or a function"
        )
    return lambda _: documents
