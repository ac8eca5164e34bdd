"""Services ready-made: what each keeps, whom it sends data to, how it starts and stops, what it frames."""

from gem_consent.services.calendly import Calendly
from gem_consent.services.embeds import frame_url
from gem_consent.services.google_analytics import GoogleAnalytics
from gem_consent.services.google_maps import GoogleMaps
from gem_consent.services.itself import own_service
from gem_consent.services.openstreetmap import OpenStreetMap
from gem_consent.services.vimeo import Vimeo
from gem_consent.services.youtube import YouTube

__all__ = [
    "Calendly",
    "GoogleAnalytics",
    "GoogleMaps",
    "OpenStreetMap",
    "Vimeo",
    "YouTube",
    "frame_url",
    "own_service",
]
