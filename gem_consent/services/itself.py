"""What this library itself keeps, declared like any other service: two cookies and the record of choices."""

from __future__ import annotations

from gem_consent.policy import Message, Policy, Service, Text, Tracker

__all__ = ["own_service"]


def own_service(policy: Policy, cookie: str = "__Host-gem_consent", kept: Text = "") -> Service:
    """Declare the library's own cookies and its ledger for a policy.

    They are exempt from consent: trackers that keep the visitor's choice (CNIL recommendation 2020-092; art.
    82 of the French law 78-17). The record of choices is what art. 7(1) of the GDPR asks for.

    Args:
        policy: the site's.
        cookie: the name of the consent cookie.
        kept: how long the record is kept, in words.
    """
    return Service(
        id="gem_consent",
        name="gem_consent",
        purpose="necessary",
        provider=policy.controller.name,
        description=Message("Keeps your choice about cookies, and the proof of it."),
        trackers=(
            Tracker(
                cookie,
                policy.lifetime,
                Message("Your choice, with a random number and a signature. Scripts cannot read it."),
            ),
            Tracker(
                "gem_consent_hint",
                policy.lifetime,
                Message("What you accepted and until when, so that pages show what you chose."),
            ),
            Tracker(
                "gem_consent",
                kept or Message("As long as your choice may have to be proved"),
                Message("Record of your choices: date, purposes, random number, kind of browser."),
                storage="server",
            ),
        ),
    )
