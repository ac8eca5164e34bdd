"""A consent notice for any ASGI site: signed choices, services only after opt-in, and the proof of both."""

from gem_consent.access import get_consent
from gem_consent.consent import UNDECIDED, Consent
from gem_consent.errors import ConfigurationError, ConsentError, LedgerError, LedgerUnavailable, PolicyError
from gem_consent.export_app import export_app
from gem_consent.middleware import ConsentMiddleware
from gem_consent.policy import Controller, Policy, Purpose, Service, Tracker
from gem_consent.policy_file import load_policy
from gem_consent.retention import Retention
from gem_consent.services import Calendly, GoogleAnalytics, GoogleMaps, OpenStreetMap, Vimeo, YouTube
from gem_consent.templating import ConsentExtension

__all__ = [
    "UNDECIDED",
    "Calendly",
    "ConfigurationError",
    "Consent",
    "ConsentError",
    "ConsentExtension",
    "ConsentMiddleware",
    "Controller",
    "GoogleAnalytics",
    "GoogleMaps",
    "LedgerError",
    "LedgerUnavailable",
    "OpenStreetMap",
    "Policy",
    "PolicyError",
    "Purpose",
    "Retention",
    "Service",
    "Tracker",
    "Vimeo",
    "YouTube",
    "export_app",
    "get_consent",
    "load_policy",
]
