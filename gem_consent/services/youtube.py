"""YouTube, embedded from its privacy-enhanced host; nothing of it is requested before a visitor says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import SplitResult, parse_qs

from gem_consent.fields import Message, Text
from gem_consent.policy import Service, Tracker
from gem_consent.services.transfers import DATA_PRIVACY_FRAMEWORK

__all__ = ["YouTube", "youtube_frame"]

_VIDEO = re.compile(r"[A-Za-z0-9_-]{6,20}\Z")
_HOSTS = frozenset(
    {"youtube.com", "www.youtube.com", "m.youtube.com", "www.youtube-nocookie.com", "youtu.be"}
)


def YouTube(  # noqa: N802 - reads as the value it makes
    *,
    id: str = "youtube",
    purpose: str = "media",
    recipients: Sequence[str] = ("Google LLC",),
    countries: Sequence[str] = ("US",),
    transfer_basis: Text | None = DATA_PRIVACY_FRAMEWORK,
) -> Service:
    """Declare YouTube videos.

    The host ``youtube-nocookie.com`` keeps no cookie before the video plays, but writes to the browser's
    storage as it loads: it needs consent all the same.

    Args:
        id: the service's own id.
        purpose: the purpose it serves.
        recipients: who receives the data beside Google Ireland Limited.
        countries: where data go outside the European Economic Area.
        transfer_basis: what the transfer rests on.

    Example:
        >>> YouTube().hosts["frame-src"]
        ('https://www.youtube-nocookie.com',)
    """
    half_a_year, number = timedelta(days=180), Message("A number that tells browsers apart.")
    return Service(
        id=id,
        name="YouTube",
        purpose=purpose,
        provider="Google Ireland Limited",
        description=Message("Videos: your IP address, the video, what you do with the player."),
        privacy_url="https://policies.google.com/privacy",
        recipients=recipients,
        countries=countries,
        transfer_basis=transfer_basis,
        # Open Cookie Database 0ee5a17; the two stored keys: kukie.io, "YouTube embeds and cookie consent"
        trackers=(
            Tracker("VISITOR_INFO1_LIVE", half_a_year, number, host="youtube.com"),
            Tracker("VISITOR_PRIVACY_METADATA", half_a_year, number, host="youtube.com"),
            Tracker("__Secure-ROLLOUT_TOKEN", half_a_year, number, host="youtube.com"),
            Tracker("YSC", None, number, host="youtube.com"),
            *(
                Tracker(name, Message("Until you delete it"), number, "localStorage", "youtube-nocookie.com")
                for name in ("yt-remote-device-id", "ytidb::LAST_RESULT_ENTRY_KEY")
            ),
        ),
        hosts={"frame-src": ("https://www.youtube-nocookie.com",)},
    )


def youtube_frame(address: SplitResult) -> str | None:
    """Give the frame for a video's address, in any of the forms in which people copy it."""
    if address.hostname not in _HOSTS:
        return None
    parts = address.path.strip("/").split("/")
    query = parse_qs(address.query)
    if address.hostname == "youtu.be" or parts[0] in ("embed", "shorts", "live"):
        video = parts[-1]
    else:
        video = query.get("v", [""])[0]
    if not _VIDEO.match(video):
        return None
    start = query.get("start", query.get("t", [""]))[0].removesuffix("s")
    return f"https://www.youtube-nocookie.com/embed/{video}" + (
        f"?start={start}" if start.isdecimal() else ""
    )
