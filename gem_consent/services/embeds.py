"""From the address that people copy to the one that is framed, for the vendors that are known here."""

from __future__ import annotations

from urllib.parse import urlsplit

from gem_consent.fields import wrong
from gem_consent.policy import Service
from gem_consent.services.calendly import calendly_frame
from gem_consent.services.google_maps import google_maps_frame
from gem_consent.services.openstreetmap import openstreetmap_frame
from gem_consent.services.vimeo import vimeo_frame
from gem_consent.services.youtube import youtube_frame

__all__ = ["frame_url"]

_VENDORS = (youtube_frame, vimeo_frame, google_maps_frame, openstreetmap_frame, calendly_frame)


def frame_url(service: Service, url: str) -> str:
    """Give the address to frame.

    Args:
        service: the one that the address belongs to; its ``frame-src`` hosts say what it may frame.
        url: what people copy: a video's page, a map's share link; or any https address of those hosts.

    Raises:
        PolicyError: the address is of none of the service's hosts.

    Example:
        >>> from gem_consent.services import YouTube
        >>> frame_url(YouTube(), "https://youtu.be/M7lc1UVf-VE")
        'https://www.youtube-nocookie.com/embed/M7lc1UVf-VE'
    """
    try:
        address = urlsplit(url)
        known = next((frame for vendor in _VENDORS if (frame := vendor(address))), url)
        origin = "https://" + (urlsplit(known).netloc if urlsplit(known).scheme == "https" else "")
    except ValueError:
        known, origin = url, ""
    hosts = service.hosts.get("frame-src", ())
    if origin not in hosts:
        allowed = f"an address of the service {service.id!r}, which may frame {', '.join(hosts) or 'nothing'}"
        raise wrong("the embed's url", url, allowed)
    return known
