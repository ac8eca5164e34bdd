"""Django's template tags: the parts of the notice and ``{% consent %}``, over the one render path.

Needs ``"gem_consent"`` in ``INSTALLED_APPS``, and Django served as an ASGI application.
"""

from __future__ import annotations

from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token
from django.utils.safestring import SafeString, mark_safe

from gem_consent import parts
from gem_consent.access import exchange_of
from gem_consent.errors import ConfigurationError
from gem_consent.exchange import Exchange
from gem_consent.rendering import Embed

__all__ = ["register"]

register = Library()


class _ConsentNode(Node):  # type: ignore[misc]  # Django has no types
    """``{% consent purpose %}…{% else %}…{% endconsent %}``."""

    child_nodelists = ("granted", "denied")

    def __init__(self, purpose: FilterExpression, granted: NodeList, denied: NodeList) -> None:
        self.purpose, self.granted, self.denied = purpose, granted, denied

    def render(self, context: Context) -> SafeString:
        allows = _exchange(context).read_consent().allows(self.purpose.resolve(context))
        return (self.granted if allows else self.denied).render(context)


@register.tag
def consent(parser: Parser, token: Token) -> _ConsentNode:
    """Render what is inside only where the purpose is granted, and what follows ``{% else %}`` where not."""
    words = token.split_contents()
    if len(words) != 2:
        raise TemplateSyntaxError('{% consent %} takes one purpose, as in {% consent "analytics" %}')
    granted = parser.parse(("else", "endconsent"))
    denied = NodeList()
    if parser.next_token().contents == "else":
        denied = parser.parse(("endconsent",))
        parser.delete_first_token()
    return _ConsentNode(parser.compile_filter(words[1]), granted, denied)


@register.simple_tag(takes_context=True)
def consent_head(context: Context, nonce: str | None = None) -> SafeString:
    """Give style, script and granted tags, for the head; ``nonce`` for pages with a policy of their own."""
    # Django's own nonce is made when it is first turned into a text
    return _safe(parts.head(_exchange(context), None if nonce is None else str(nonce)))


@register.simple_tag(takes_context=True)
def consent_notice(context: Context, lang: str | None = None) -> SafeString:
    """Give the notice; empty for a visitor who has chosen."""
    return _safe(parts.notice(_exchange(context), lang))


@register.simple_tag(takes_context=True)
def consent_settings(context: Context, lang: str | None = None) -> SafeString:
    """Give the control by which a choice is changed."""
    return _safe(parts.settings(_exchange(context), lang))


@register.simple_tag(takes_context=True)
def consent_embed(
    context: Context,
    service: str,
    url: str,
    *,
    title: str,
    width: int = 560,
    height: int = 315,
    lang: str | None = None,
) -> SafeString:
    """Give a service's frame where its purpose is granted, else a placeholder that asks."""
    shown = Embed(service, url, title, int(width), int(height))
    return _safe(parts.embed(_exchange(context), shown, lang))


@register.simple_tag(takes_context=True)
def consent_trackers(context: Context, lang: str | None = None) -> SafeString:
    """Give a table of every tracker, for a privacy policy."""
    return _safe(parts.trackers(_exchange(context), lang))


def _exchange(context: Context) -> Exchange:
    # a context made with the request has it, whether or not the context processor is there as well
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        raise ConfigurationError(
            "gem_consent needs 'request' in the template's context: render the template with the request, as "
            "django.shortcuts.render does"
        )
    return exchange_of(request)


def _safe(content: bytes) -> SafeString:
    return mark_safe(content.decode("ascii"))  # noqa: S308 - rendered by the library, escaped there
