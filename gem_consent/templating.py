"""The Jinja extension: the parts of the notice and the ``{% consent %}`` tag, over the one render path."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, TemplateRuntimeError, nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from markupsafe import Markup

from gem_consent import parts
from gem_consent.access import exchange_of
from gem_consent.errors import ConfigurationError, PolicyError
from gem_consent.exchange import Exchange
from gem_consent.rendering import Embed

__all__ = ["ConsentExtension"]


class ConsentExtension(Extension):
    """Add ``{% consent "purpose" %}…{% else %}…{% endconsent %}`` and five functions to a Jinja environment.

    ``consent_embed(service, url, title=…)`` gives a vendor's frame, or a placeholder while its purpose is not
    granted. ``consent_head()``, ``consent_notice()``, ``consent_settings()`` and ``consent_trackers()`` give
    what the middleware would put into the page, which then adds it no second time. All but the head take
    ``lang=``; where the page has a Content-Security-Policy with a nonce, write ``consent_head(nonce=…)``. The
    template's context needs ``request``: a Starlette request, anything with a ``.scope``, or a scope.

    Example:
        >>> environment = Environment(autoescape=True, extensions=[ConsentExtension])
        >>> template = environment.from_string('{% consent "media" %}<iframe></iframe>{% endconsent %}')
    """

    tags = {"consent"}  # noqa: RUF012 - as jinja2.ext.Extension declares it

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            consent_embed=_embed,
            consent_head=_head,
            consent_notice=_notice,
            consent_settings=_settings,
            consent_trackers=_trackers,
        )

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the tag: what is inside is rendered only where the purpose is granted."""
        line = next(parser.stream).lineno
        purpose = parser.parse_expression()
        granted = parser.parse_statements(("name:else", "name:endconsent"))
        denied: list[nodes.Node] = []
        if next(parser.stream).value == "else":
            denied = parser.parse_statements(("name:endconsent",), drop_needle=True)
        allows = self.call_method("_allows", [nodes.ContextReference(), purpose])
        return nodes.If(allows, granted, [], denied).set_lineno(line)

    def _allows(self, context: Context, purpose: str) -> bool:
        try:
            return _exchange(context).read_consent().allows(purpose)
        except PolicyError as error:
            raise TemplateRuntimeError(f"{{% consent %}}: {error}") from error


def _exchange(context: Context) -> Exchange:
    request: Any = context.get("request")
    if request is None:
        raise TemplateRuntimeError(
            "gem_consent needs 'request' in the template's context: a Starlette request, anything with a "
            ".scope, or a scope"
        )
    try:
        return exchange_of(request)
    except ConfigurationError as error:
        raise TemplateRuntimeError(str(error)) from error


@pass_context
def _head(context: Context, nonce: str | None = None) -> Markup:
    return _markup(parts.head(_exchange(context), nonce))


@pass_context
def _notice(context: Context, lang: str | None = None) -> Markup:
    return _markup(parts.notice(_exchange(context), lang))


@pass_context
def _settings(context: Context, lang: str | None = None) -> Markup:
    return _markup(parts.settings(_exchange(context), lang))


@pass_context
def _embed(
    context: Context,
    service: str,
    url: str,
    *,
    title: str,
    width: int = 560,
    height: int = 315,
    lang: str | None = None,
) -> Markup:
    embed = Embed(service, url, title, int(width), int(height))
    try:
        return _markup(parts.embed(_exchange(context), embed, lang))
    except PolicyError as error:
        raise TemplateRuntimeError(f"consent_embed(): {error}") from error


@pass_context
def _trackers(context: Context, lang: str | None = None) -> Markup:
    return _markup(parts.trackers(_exchange(context), lang))


def _markup(content: bytes) -> Markup:
    return Markup(content.decode("ascii"))  # noqa: S704 - rendered by the library, escaped there
