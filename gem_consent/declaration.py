"""What a policy declares, as data in one language: the part of a notice's page that programs read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gem_consent.fields import Message
from gem_consent.policy import Policy, Service, Tracker
from gem_consent.translation import Translation

__all__ = ["declaration"]

_WITHDRAWAL = Message(
    "Follow the link “Manage my cookies” on any page of the site, then press “Withdraw my agreement”."
)


def declaration(
    policy: Policy, translation: Translation, services_for: Callable[[str], Sequence[Service]]
) -> dict[str, Any]:
    """Say who asks, for which purposes, services and trackers, in the words that the notice shows.

    Args:
        policy: what the site declares.
        translation: the notice's language.
        services_for: gives a purpose's services, the library's own among them.
    """
    return {
        "language": translation.language,
        "fingerprint": policy.fingerprint,
        "policy_version": policy.version,
        "controller": {
            "name": policy.controller.name,
            "contact": policy.controller.contact,
            "address": translation.text(policy.controller.address),
        },
        "privacy_url": policy.privacy_url,
        "kept_for": translation.duration(policy.lifetime),
        "withdrawal": translation.text(_WITHDRAWAL),
        "purposes": [
            {
                "id": purpose.id,
                "name": translation.text(purpose.name),
                "description": translation.text(purpose.description),
                "is_necessary": purpose.is_necessary,
                "services": [_service(one, translation) for one in services_for(purpose.id)],
            }
            for purpose in policy.purpose_by_id.values()
        ],
    }


def _service(service: Service, translation: Translation) -> dict[str, Any]:
    return {
        "id": service.id,
        "name": service.name,
        "provider": service.provider,
        "description": translation.text(service.description),
        "privacy_url": service.privacy_url,
        "recipients": list(service.recipients),
        "countries": list(service.countries),
        "transfer_basis": translation.text(service.transfer_basis),
        "trackers": [_tracker(one, translation) for one in service.trackers],
    }


def _tracker(tracker: Tracker, translation: Translation) -> dict[str, Any]:
    return {
        "name": tracker.name,
        "description": translation.text(tracker.description),
        "kept_for": translation.lifetime(tracker.lifetime),
        "storage": tracker.storage,
        "host": tracker.host,
    }
