"""Google Analytics 4 through gtag.js, loaded only once its purpose is granted (Google's "basic" mode)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gem_consent.fields import Message, Text, wrong
from gem_consent.policy import MAX_LIFETIME, Service, Tracker
from gem_consent.services.transfers import DATA_PRIVACY_FRAMEWORK

__all__ = ["GoogleAnalytics"]

_MEASUREMENT_ID = re.compile(r"G-[A-Z0-9]{4,20}\Z")

# Everything about advertising stays denied, in words: since 15 June 2026 `ad_storage` alone decides what goes
# to Google Ads. `default` comes before `js` and `config`, and the sliding expiry is off: gtag.js would
# otherwise keep `_ga` for two years from each visit.
# https://developers.google.com/tag-platform/security/guides/consent
# https://developers.google.com/analytics/devguides/collection/gtagjs/cookies-user-id
_START = """\
window['ga-disable-%(id)s']=false;
window.dataLayer=window.dataLayer||[];
window.gtag=window.gtag||function(){dataLayer.push(arguments)};
var denied={ad_storage:'denied',ad_user_data:'denied',ad_personalization:'denied',analytics_storage:'denied',\
functionality_storage:'denied',personalization_storage:'denied',security_storage:'granted'};
gtag('consent','default',denied);
gtag('set','ads_data_redaction',true);
gtag('set','url_passthrough',false);
gtag('consent','update',{ad_storage:'denied',ad_user_data:'denied',ad_personalization:'denied',\
analytics_storage:'granted'});
gtag('js',new Date());
gtag('config','%(id)s',{cookie_expires:Math.min(secondsLeft,%(max_age)d),cookie_update:false,\
cookie_flags:'SameSite=Lax'+(location.protocol==='https:'?';Secure':''),\
allow_google_signals:false,allow_ad_personalization_signals:false});
var tag=document.createElement('script');tag.async=true;if(nonce)tag.nonce=nonce;
tag.src='https://www.googletagmanager.com/gtag/js?id=%(id)s';document.head.appendChild(tag);
"""

# `ga-disable-…` before any call to gtag(): a denied tag that still runs would send cookieless pings.
# https://developers.google.com/analytics/devguides/collection/gtagjs/user-opt-out
_STOP = """\
window['ga-disable-%(id)s']=true;
if(window.gtag)gtag('consent','update',{ad_storage:'denied',ad_user_data:'denied',ad_personalization:'denied',\
analytics_storage:'denied'});
"""


def GoogleAnalytics(  # noqa: N802 - reads as the value it makes
    measurement_id: str,
    *,
    id: str = "google-analytics",
    purpose: str = "analytics",
    recipients: Sequence[str] = ("Google LLC",),
    countries: Sequence[str] = ("US",),
    transfer_basis: Text | None = DATA_PRIVACY_FRAMEWORK,
) -> Service:
    """Declare Google Analytics 4: nothing of it is loaded before its purpose is granted.

    Args:
        measurement_id: the web data stream's id, ``G-…``.
        id: the service's own id, for sites with two streams.
        purpose: the purpose it serves.
        recipients: who receives the data beside Google Ireland Limited.
        countries: where data go outside the European Economic Area.
        transfer_basis: what the transfer rests on; change it here the day that decision falls.

    Raises:
        PolicyError: the measurement id is not of the form ``G-…``.

    Example:
        >>> GoogleAnalytics("G-XXXXXXXXXX").purpose
        'analytics'
    """
    if not isinstance(measurement_id, str) or not _MEASUREMENT_ID.match(measurement_id):
        raise wrong(
            "GoogleAnalytics.measurement_id",
            measurement_id,
            "the id of a GA4 web stream, 'G-XXXXXXXXXX' (Google Analytics, Admin, Data streams)",
        )
    container = measurement_id.removeprefix("G-")
    return Service(
        id=id,
        name="Google Analytics 4",
        purpose=purpose,
        provider="Google Ireland Limited",
        description=Message(
            "Pages visited, time on each page, version of the browser, device, system, screen size, "
            "visitor number."
        ),
        privacy_url="https://policies.google.com/privacy",
        recipients=recipients,
        countries=countries,
        transfer_basis=transfer_basis,
        trackers=_trackers(container),
        # older Google Analytics on the same site, campaign links, and server-side tagging
        leftovers=("_ga_*", "_gid", "_gat", "_gat_*", "_gac_*", "_dc_gtm_*", "FPID", "FPLC"),
        hosts={
            "script-src": ("https://www.googletagmanager.com",),
            "img-src": ("https://*.google-analytics.com", "https://www.googletagmanager.com"),
            "connect-src": (
                "https://*.google-analytics.com",
                "https://*.analytics.google.com",
                "https://www.googletagmanager.com",
            ),
        },
        start=_START % {"id": measurement_id, "max_age": int(MAX_LIFETIME.total_seconds())},
        stop=_STOP % {"id": measurement_id},
    )


def _trackers(container: str) -> tuple[Tracker, ...]:
    return (
        Tracker("_ga", MAX_LIFETIME, Message("A random visitor number, to tell visitors apart.")),
        Tracker(
            f"_ga_{container}", MAX_LIFETIME, Message("The state of the visit: its number, start and pages.")
        ),
    )
