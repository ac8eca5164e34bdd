"""OpenStreetMap, embedded by its share link; nothing of it is requested before a visitor says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import SplitResult

from gem_consent.fields import Message, Text
from gem_consent.policy import Service
from gem_consent.services.transfers import UNITED_KINGDOM_ADEQUACY

__all__ = ["OpenStreetMap", "openstreetmap_frame"]

_PLACE = re.compile(r"map=(?P<zoom>\d{1,2})/(?P<latitude>-?\d+(?:\.\d+)?)/(?P<longitude>-?\d+(?:\.\d+)?)")


def OpenStreetMap(  # noqa: N802 - reads as the value it makes
    *,
    id: str = "openstreetmap",
    purpose: str = "media",
    recipients: Sequence[str] = ("Fastly, Inc.",),
    countries: Sequence[str] = ("GB",),
    transfer_basis: Text | None = UNITED_KINGDOM_ADEQUACY,
) -> Service:
    """Declare OpenStreetMap.

    It keeps no tracker on the visitor's device, but loading it sends the visitor's address to the
    OpenStreetMap Foundation and to the network that delivers the tiles (OSMF, "Services and tile users
    privacy FAQ").

    Args:
        id: the service's own id.
        purpose: the purpose it serves.
        recipients: who receives the data beside the OpenStreetMap Foundation.
        countries: where data go outside the European Economic Area.
        transfer_basis: what the transfer rests on.

    Example:
        >>> OpenStreetMap().trackers
        ()
    """
    return Service(
        id=id,
        name="OpenStreetMap",
        purpose=purpose,
        provider="OpenStreetMap Foundation",
        description=Message("Maps: your IP address, the part of the map that you look at."),
        privacy_url="https://osmfoundation.org/wiki/Privacy_Policy",
        recipients=recipients,
        countries=countries,
        transfer_basis=transfer_basis,
        hosts={"frame-src": ("https://www.openstreetmap.org",)},
    )


def openstreetmap_frame(address: SplitResult) -> str | None:
    """Give the frame for an address from "Share, HTML", or of a map, ``#map=17/48.8584/2.2945``."""
    if address.hostname not in ("www.openstreetmap.org", "openstreetmap.org"):
        return None
    if address.path == "/export/embed.html":
        return address._replace(scheme="https", netloc="www.openstreetmap.org").geturl()
    found = _PLACE.search(address.fragment)
    if not found:
        return None
    # as many degrees around the point as a window of about 500 pixels shows at this zoom
    half = 360 / 2 ** int(found["zoom"])
    latitude, longitude = float(found["latitude"]), float(found["longitude"])
    box = f"{longitude - half:.5f},{latitude - half / 2:.5f},{longitude + half:.5f},{latitude + half / 2:.5f}"
    return f"https://www.openstreetmap.org/export/embed.html?bbox={box}&layer=mapnik"
