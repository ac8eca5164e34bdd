"""Services ready-made: what each keeps, whom it sends data to, how it is started and stopped."""

from gem_consent.services.google_analytics import GoogleAnalytics
from gem_consent.services.itself import own_service

__all__ = ["GoogleAnalytics", "own_service"]
