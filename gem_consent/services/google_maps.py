"""Google Maps, embedded by its share link; nothing of it is requested before a visitor says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import SplitResult

from gem_consent.fields import Message, Text
from gem_consent.policy import Service, Tracker
from gem_consent.services.transfers import DATA_PRIVACY_FRAMEWORK

__all__ = ["GoogleMaps", "google_maps_frame"]


def GoogleMaps(  # noqa: N802 - reads as the value it makes
    *,
    id: str = "google-maps",
    purpose: str = "media",
    recipients: Sequence[str] = ("Google LLC",),
    countries: Sequence[str] = ("US",),
    transfer_basis: Text | None = DATA_PRIVACY_FRAMEWORK,
) -> Service:
    """Declare Google Maps.

    Args:
        id: the service's own id.
        purpose: the purpose it serves.
        recipients: who receives the data beside Google Ireland Limited.
        countries: where data go outside the European Economic Area.
        transfer_basis: what the transfer rests on.

    Example:
        >>> GoogleMaps().provider
        'Google Ireland Limited'
    """
    choice = Message("Your choice about this provider's cookies.")
    number = Message("A number that tells browsers apart.")
    return Service(
        id=id,
        name="Google Maps",
        purpose=purpose,
        provider="Google Ireland Limited",
        description=Message("Maps: your IP address, the part of the map that you look at."),
        privacy_url="https://policies.google.com/privacy",
        recipients=recipients,
        countries=countries,
        transfer_basis=transfer_basis,
        # Open Cookie Database 0ee5a17; NID and SOCS from memory: what google.com sets depends on the browser
        trackers=(
            Tracker("NID", timedelta(days=184), number, host="google.com"),
            Tracker("AEC", timedelta(days=184), number, host="google.com"),
            Tracker("OGPC", timedelta(days=31), number, host="google.com"),
            Tracker("SOCS", timedelta(days=393), choice, host="google.com"),
        ),
        hosts={"frame-src": ("https://www.google.com",)},
    )


def google_maps_frame(address: SplitResult) -> str | None:
    """Give the frame for an address from "Share, Embed a map"; others refuse to be framed."""
    if address.hostname not in ("www.google.com", "maps.google.com", "google.com"):
        return None
    is_embed = address.path.startswith("/maps/embed") or "output=embed" in address.query
    return address._replace(scheme="https", netloc="www.google.com").geturl() if is_embed else None
