"""The parts that a template places by hand: one way to them for every template engine.

A template that is streamed may render a part after the document has got it: then there is nothing to place.
"""

from __future__ import annotations

from collections.abc import Callable

from gem_consent.exchange import Exchange
from gem_consent.rendering import Embed, Renderer, Slots, View
from gem_consent.scripts import embed_style

__all__ = ["embed", "head", "notice", "settings", "trackers"]


def head(exchange: Exchange, nonce: str | None) -> bytes:
    """Give style, script and granted tags, for the head of a page that has this nonce."""
    if "head" in exchange.inserted:
        return b""
    view = exchange.place("head")
    # the page's policy is not known yet; one with a nonce is taken to forbid what a grant would start
    needs_reload = nonce is not None and not view.is_shared
    slots = exchange.slots(view, nonce=nonce, needs_reload=needs_reload)
    return exchange.site.renderer.head(view, slots)


def notice(exchange: Exchange, language: str | None) -> bytes:
    """Give the notice, in this language if it is one; empty for a visitor who has chosen."""
    return _placed(exchange, "notice", Renderer.notice, language)


def settings(exchange: Exchange, language: str | None) -> bytes:
    """Give the control by which a choice is changed."""
    return _placed(exchange, "settings", Renderer.settings, language)


def _placed(
    exchange: Exchange,
    part: str,
    render: Callable[[Renderer, View, str, Slots], bytes],
    language: str | None,
) -> bytes:
    if part in exchange.inserted:
        return b""
    view = exchange.place(part)
    chosen = exchange.language(language, view)
    return render(exchange.site.renderer, view, chosen, exchange.slots(view))


def embed(exchange: Exchange, shown: Embed, language: str | None) -> bytes:
    """Give a service's frame where its purpose is granted, else a placeholder; the first brings the style.

    Raises:
        PolicyError: the policy has no such service, or the address is none that it may show.
    """
    is_first = not any(part.startswith("embed") for part in exchange.placed)
    view = exchange.place(f"embed:{shown.service}")
    chosen = exchange.language(language, view)
    content = exchange.site.renderer.embed(view, chosen, exchange.slots(view), shown)
    return f"<style>{embed_style()}</style>".encode() + content if is_first else content


def trackers(exchange: Exchange, language: str | None) -> bytes:
    """Give a table of every tracker, for a privacy policy."""
    renderer = exchange.site.renderer
    return renderer.trackers(renderer.language(language, None))
