"""Calendly, embedded as a page for appointments; nothing of it is requested before a visitor says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import SplitResult

from gem_consent.fields import Message, Text
from gem_consent.policy import Service, Tracker
from gem_consent.services.transfers import DATA_PRIVACY_FRAMEWORK

__all__ = ["Calendly", "calendly_frame"]


def Calendly(  # noqa: N802 - reads as the value it makes
    *,
    id: str = "calendly",
    purpose: str = "media",
    recipients: Sequence[str] = (),
    countries: Sequence[str] = ("US",),
    transfer_basis: Text | None = DATA_PRIVACY_FRAMEWORK,
) -> Service:
    """Declare Calendly. Its own notice stays: ``hide_gdpr_banner`` would hide what Calendly itself asks.

    Args:
        id: the service's own id.
        purpose: the purpose it serves.
        recipients: who receives the data beside Calendly LLC.
        countries: where data go outside the European Economic Area.
        transfer_basis: what the transfer rests on (Calendly's Data Processing Addendum of 1 June 2026).

    Example:
        >>> Calendly().name
        'Calendly'
    """
    robots = Message("Tells people from robots.")
    return Service(
        id=id,
        name="Calendly",
        purpose=purpose,
        provider="Calendly LLC",
        description=Message("Appointments: your IP address, and what you enter to make one."),
        privacy_url="https://calendly.com/legal/privacy-notice",
        recipients=recipients,
        countries=countries,
        transfer_basis=transfer_basis,
        # from memory: check them in a browser, for Calendly changes them
        trackers=(
            Tracker("__cf_bm", timedelta(minutes=30), robots, host="calendly.com"),
            Tracker("_cfuvid", None, robots, host="calendly.com"),
            Tracker(
                "_calendly_session",
                timedelta(days=21),
                Message("The state of the appointment that you are making."),
                host="calendly.com",
            ),
            Tracker(
                "OptanonConsent",
                timedelta(days=365),
                Message("Your choice about this provider's cookies."),
                host="calendly.com",
            ),
        ),
        hosts={"frame-src": ("https://calendly.com",)},
    )


def calendly_frame(address: SplitResult) -> str | None:
    """Give the frame for the address of a page for appointments."""
    if address.hostname not in ("calendly.com", "www.calendly.com") or address.path.strip("/") == "":
        return None
    return address._replace(scheme="https", netloc="calendly.com").geturl()
