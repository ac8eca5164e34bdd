"""Vimeo, embedded with ``dnt=1``; nothing of it is requested before a visitor says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import SplitResult, parse_qs

from gem_consent.fields import Message, Text
from gem_consent.policy import Service, Tracker
from gem_consent.services.transfers import STANDARD_CLAUSES

__all__ = ["Vimeo", "vimeo_frame"]

_PATH = re.compile(r"/(?:video/)?(?P<video>\d+)(?:/(?P<hash>[0-9a-f]+))?/?\Z")


def Vimeo(  # noqa: N802 - reads as the value it makes
    *,
    id: str = "vimeo",
    purpose: str = "media",
    recipients: Sequence[str] = (),
    countries: Sequence[str] = ("US",),
    transfer_basis: Text | None = STANDARD_CLAUSES,
) -> Service:
    """Declare Vimeo videos.

    With ``dnt=1`` the player keeps no session data, cookies or statistics (amp.dev, ``amp-vimeo``); its
    network still sets a cookie against robots, and receives the visitor's address.

    Args:
        id: the service's own id.
        purpose: the purpose it serves.
        recipients: who receives the data beside Vimeo.com, Inc.
        countries: where data go outside the European Economic Area.
        transfer_basis: what the transfer rests on; say here what your contract says.

    Example:
        >>> Vimeo().purpose
        'media'
    """
    return Service(
        id=id,
        name="Vimeo",
        purpose=purpose,
        provider="Vimeo.com, Inc.",
        description=Message("Videos: your IP address, the video, what you do with the player."),
        privacy_url="https://vimeo.com/privacy",
        recipients=recipients,
        countries=countries,
        transfer_basis=transfer_basis,
        # __cf_bm from memory, _cfuvid by the Open Cookie Database 0ee5a17: check them in a browser
        trackers=(
            Tracker("__cf_bm", timedelta(minutes=30), Message("Tells people from robots."), host="vimeo.com"),
            Tracker("_cfuvid", None, Message("Tells people from robots."), host="vimeo.com"),
        ),
        hosts={"frame-src": ("https://player.vimeo.com",)},
    )


def vimeo_frame(address: SplitResult) -> str | None:
    """Give the frame for a video's address; an unlisted video's hash is kept."""
    found = _PATH.match(address.path)
    if address.hostname not in ("vimeo.com", "www.vimeo.com", "player.vimeo.com") or not found:
        return None
    key = found["hash"] or parse_qs(address.query).get("h", [""])[0]
    secret = f"h={key}&" if re.fullmatch(r"[0-9a-f]+", key) else ""
    return f"https://player.vimeo.com/video/{found['video']}?{secret}dnt=1"
