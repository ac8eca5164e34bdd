"""Domains of vendors that keep trackers or receive visitors' data, each with the name people know it by.

Facts from the vendors' own documentation and the Open Cookie Database, as of November 2026; the list helps
tests to name what they find, and is never a list of what is allowed.
"""

from __future__ import annotations

import re

__all__ = ["named_vendors", "vendor_of"]

_VENDORS = {
    "google-analytics.com": "Google Analytics",
    "analytics.google.com": "Google Analytics",
    "googletagmanager.com": "Google Tag Manager",
    "googleadservices.com": "Google Ads",
    "googlesyndication.com": "Google Ads",
    "doubleclick.net": "Google Ads",
    "youtube.com": "YouTube",
    "youtube-nocookie.com": "YouTube",
    "ytimg.com": "YouTube",
    "maps.googleapis.com": "Google Maps",
    "maps.gstatic.com": "Google Maps",
    "fonts.googleapis.com": "Google Fonts",
    "fonts.gstatic.com": "Google Fonts",
    "recaptcha.net": "reCAPTCHA",
    "matomo.cloud": "Matomo Cloud",
    "plausible.io": "Plausible",
    "posthog.com": "PostHog",
    "clarity.ms": "Microsoft Clarity",
    "bat.bing.com": "Microsoft Advertising",
    "bat.bing.net": "Microsoft Advertising",
    "hotjar.com": "Hotjar",
    "hotjar.io": "Hotjar",
    "contentsquare.net": "Contentsquare",
    "connect.facebook.net": "Meta Pixel",
    "facebook.com": "Facebook",
    "licdn.com": "LinkedIn",
    "ads.linkedin.com": "LinkedIn",
    "tiktok.com": "TikTok",
    "hs-scripts.com": "HubSpot",
    "hs-analytics.net": "HubSpot",
    "hs-banner.com": "HubSpot",
    "hsforms.net": "HubSpot",
    "hubspot.com": "HubSpot",
    "vimeo.com": "Vimeo",
    "vimeocdn.com": "Vimeo",
    "stripe.com": "Stripe",
    "intercom.io": "Intercom",
    "intercomcdn.com": "Intercom",
    "crisp.chat": "Crisp",
    "ads-twitter.com": "X",
    "analytics.twitter.com": "X",
    "platform.twitter.com": "X",
    "platform.x.com": "X",
    "calendly.com": "Calendly",
    "segment.com": "Segment",
    "segment.io": "Segment",
    "mixpanel.com": "Mixpanel",
    "mxpnl.com": "Mixpanel",
    "amplitude.com": "Amplitude",
    "heapanalytics.com": "Heap",
    "heap-api.com": "Heap",
    "fullstory.com": "FullStory",
    "mc.yandex.ru": "Yandex Metrica",
    "ct.pinterest.com": "Pinterest",
    "s.pinimg.com": "Pinterest",
    "sc-static.net": "Snapchat",
    "tr.snapchat.com": "Snapchat",
    "redditstatic.com": "Reddit",
    "criteo.com": "Criteo",
    "criteo.net": "Criteo",
    "taboola.com": "Taboola",
    "outbrain.com": "Outbrain",
    "xiti.com": "Piano Analytics",
}
_NAMED = re.compile(
    r"(?<![a-z0-9.-])(?:[a-z0-9-]+\.)*(?:"
    + "|".join(map(re.escape, _VENDORS))
    + r")(?![a-z0-9-]|\.[a-z0-9])",
    re.IGNORECASE,
)


def vendor_of(host: str) -> str | None:
    """Name the vendor whose domain a host is, or lies under.

    Example:
        >>> vendor_of("region1.google-analytics.com"), vendor_of("www.example.com")
        ('Google Analytics', None)
    """
    labels = host.lower().rstrip(".").split(".")
    domains = (".".join(labels[at:]) for at in range(len(labels)))
    return next((_VENDORS[domain] for domain in domains if domain in _VENDORS), None)


def named_vendors(text: str) -> list[str]:
    """Give the vendors' hosts that a text, such as a script, names; each once."""
    return list(dict.fromkeys(match.group().lower() for match in _NAMED.finditer(text)))
