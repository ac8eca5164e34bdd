"""Reads what a request says about who sends it: signals, bots, a coarse browser, a network prefix.

Never keeps a full user agent or address, and never asks a browser for more than it sends by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from gem_consent.headers import Headers, values

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Client", "coarse", "has_gpc", "is_bot", "is_crawler", "is_prefetch", "network_prefix"]

_MAX_USER_AGENT_CHARACTERS = 512
_MAX_FAMILY_CHARACTERS = 40
_HARMFUL = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9 ./()&_+-]")
_MAJOR = re.compile(r"[A-Za-z0-9]{1,6}\Z")

# "Cubot" is a maker of phones. HeadlessChrome is left out on purpose: sites test their pages with it, and a
# notice that hides from tests helps nobody, while a real bot that sees one costs nothing. "Amazon CloudFront"
# is what every visitor is called behind a CloudFront that keeps the real name.
_CRAWLER = re.compile(
    r"(?<!cu)bots?(?![a-z])|crawl|spider|slurp|scrap[ey]|archiver|heritrix|lighthouse|ptst/|gtmetrix|qwantify"
    r"|googleother|(?:mediapartners|apis|feedfetcher)-google|google-(?:inspection|read|site|safety|page|favicon)"
    r"|(?:chatgpt|claude|perplexity|mistralai|gemini-deep|duckassist)-(?:user|research)|anthropic-ai|cohere-ai"
    r"|external(?:hit|agent|fetcher)|facebookcatalog|(?:link|url|uri|bing|web) ?preview|^whatsapp/"
    r"|slack-imgproxy|vkshare|embedly|iframely|kakaotalk-scrap|surveyagent|\+https?://"
    r"|pingdom|statuscake|site24x7|newrelicpinger|datadog|hetrixtools|uptime|health-?check|kube-probe|googlehc",
)
_TOOL = re.compile(
    r"^(?:curl|wget|java|php|ruby|okhttp|node|undici|axios|got|dart|httpie|insomnia|reqwest|monit|dalvik)\b"
    r"|python-|python/|aiohttp|go-http-client|node-fetch|libwww-perl|guzzle|httpclient|postmanruntime|http_request"
    r"|validator",
)


@dataclass(frozen=True, slots=True)
class Client:
    """What may be kept about a browser: coarse on purpose.

    Args:
        browser: family and major version, such as ``Firefox 145``; ``Other`` if not known.
        system: likewise, such as ``Android 14``.
        device: ``desktop``, ``mobile``, ``tablet``, ``bot`` or ``other``.
    """

    browser: str
    system: str
    device: str


def has_gpc(headers: Headers) -> bool:
    """Say whether the browser sends Global Privacy Control (W3C GPC): one ``Sec-GPC`` is exactly ``1``."""
    return "1" in values(headers, b"sec-gpc")


def is_prefetch(headers: Headers) -> bool:
    """Say whether nobody looks at the answer yet: ``Sec-Purpose`` (Fetch), ``Purpose``, ``X-Moz``."""
    purposes = (value for name in (b"sec-purpose", b"purpose", b"x-moz") for value in values(headers, name))
    return any(purpose.partition(";")[0].strip().lower() == "prefetch" for purpose in purposes)


def is_crawler(user_agent: bytes) -> bool:
    """Say whether a machine fetches this by itself: search engine, assistant, preview, archive, monitor.

    A list of names, not of rules: an unknown browser counts as a person, and so does a program in somebody's
    hands, such as curl. Only the first 512 characters are read.
    """
    return _is_crawler(user_agent[:_MAX_USER_AGENT_CHARACTERS])


# a site's visitors share few names
@lru_cache(maxsize=512)
def _is_crawler(name: bytes) -> bool:
    return _has_name_of_crawler(name.decode("latin-1").lower())


def _has_name_of_crawler(name: str) -> bool:
    return _CRAWLER.search(name) is not None


def is_bot(user_agent: str) -> bool:
    """Say whether no browser sends this: a crawler, a program such as curl or an HTTP library, or no name."""
    name = user_agent[:_MAX_USER_AGENT_CHARACTERS].lower()
    return not name.strip() or _has_name_of_crawler(name) or _TOOL.search(name) is not None


def coarse(user_agent: str) -> Client:
    """Reduce a user agent to what a record may hold; anything that cannot be read is ``Other``.

    Args:
        user_agent: the header's value, of any length and content; the first 512 characters are read.
    """
    return _coarse(user_agent[:_MAX_USER_AGENT_CHARACTERS])


@lru_cache(maxsize=512)
def _coarse(user_agent: str) -> Client:
    if not user_agent.strip():
        return Client("Other", "Other", "other")
    # Imported at the first decision only: it compiles its patterns for 0.35 s, which a server's start need
    # not pay.
    from user_agents import parse

    parsed = parse(user_agent)
    return Client(
        _family(parsed.browser), _family(parsed.os), "bot" if is_bot(user_agent) else _device(parsed)
    )


def _family(part: Any) -> str:
    # A family may be a piece of the visitor's own string: only what is harmless in a page or a sheet is kept.
    family = _HARMFUL.sub("", str(part.family))[:_MAX_FAMILY_CHARACTERS].strip() or "Other"
    major = str(part.version[0]) if part.version else ""
    return f"{family} {major}" if _MAJOR.match(major) else family


def _device(parsed: Any) -> str:
    if parsed.is_tablet:
        return "tablet"
    if parsed.is_mobile:
        return "mobile"
    return "desktop" if parsed.is_pc else "other"


def network_prefix(address: str | None) -> str | None:
    """Shorten an address to its network: /24 for IPv4, /48 for IPv6, an IPv4-mapped one as IPv4.

    Args:
        address: without a port; ``None`` or garbage gives ``None``.

    Example:
        >>> network_prefix("192.0.2.77"), network_prefix("2001:db8:1:2::3")
        ('192.0.2.0/24', '2001:db8:1::/48')
    """
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return str(ip_network((parsed, 48 if parsed.version == 6 else 24), strict=False))
