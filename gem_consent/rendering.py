"""Everything that visitors see, rendered once and filled per request: one path for all who show it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket

from gem_consent.address import PageAddress, return_address
from gem_consent.consent import UNDECIDED, Consent
from gem_consent.csp import Needs, hash_source
from gem_consent.declaration import declaration
from gem_consent.document import filled, opening_of, whole_head
from gem_consent.errors import ConfigurationError
from gem_consent.locale import match, negotiate
from gem_consent.markup import missing_from_notice, missing_from_preferences, missing_from_settings
from gem_consent.policy import Policy, Service
from gem_consent.proof.event import Event
from gem_consent.proof.notice import Notice, declaration_script, notice_of
from gem_consent.scripts import (
    Layout,
    asset,
    code_digest,
    embed_style,
    notice_script,
    notice_style,
    settings_style,
    stop_script,
    tags_script,
)
from gem_consent.services import frame_url, own_service
from gem_consent.slots import Slots, Slotted, View, ascii_bytes, tokens
from gem_consent.translation import Translation, catalogue_digest, languages_of

__all__ = ["LIBRARY", "Announcement", "Appearance", "Embed", "Renderer", "Slots", "View", "environment_of"]

LIBRARY = f"gem-consent {version('gem-consent')}"

_TEMPLATES = Path(__file__).parent / "templates"
_MAX_TAG_CHARACTERS = 35  # RFC 5646, section 4.4.1: what any language tag fits into
_MAX_REMEMBERED = 256
_MAX_REMEMBERED_BYTES = 8 * 1024

_T = TypeVar("_T")
_Asked: TypeAlias = tuple[View, bytes | None, PageAddress, bool]
"""What an opening depends on beside the document: the view, the languages, the page, whether it is UTF-8."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the preferences page says before all else: ``kind`` is ``saved``, ``erased`` or ``error``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a site lets the notice look: no part of what is asked, so visitors are not asked again for it.

    Args:
        layout: where the notice stands.
        has_control: whether the control is shown after a choice; else the site has a link of its own.
        templates: a folder whose templates come before the library's of the same name.
    """

    layout: Layout = "bar"
    has_control: bool = True
    templates: Path | None = None


class Embed(NamedTuple):
    """One thing of another site's inside a page.

    Args:
        service: the id of the service that it belongs to.
        url: its address, as people copy it.
        title: what it is.
        width: in CSS pixels.
        height: likewise.
    """

    service: str
    url: str
    title: str
    width: int
    height: int


class Renderer:
    """Render one policy's notice, control, preferences page and tags.

    Args:
        policy: what is declared.
        appearance: how it looks.
        obeys_gpc: the script shows no notice to a visitor whose browser sends Global Privacy Control.
        cookie: the name of the consent cookie, as the notice tells it.

    Raises:
        ConfigurationError: the policy names a language that the library does not speak.
    """

    def __init__(
        self,
        policy: Policy,
        appearance: Appearance | None = None,
        *,
        obeys_gpc: bool = False,
        cookie: str = "__Host-gem_consent",
    ) -> None:
        self.policy = policy
        self._cookie = cookie
        self.appearance = appearance or Appearance()
        self._signals = " data-gpc=1" if obeys_gpc else ""
        self.languages = languages_of(policy)
        self._translations = PerLanguage(self.languages, lambda tag: Translation(tag, policy.language))
        self._environments = PerLanguage(self.languages, self._environment)
        self.notices = PerLanguage(self.languages, self._archived)
        self.edition = _digest(
            code_digest(),
            self._signals,
            repr(policy),
            f"{self.appearance.layout} {self.appearance.has_control}",
            *_texts(self.appearance.templates),
            *map(catalogue_digest, self.languages),
        )
        if self.appearance.templates and policy.asks:
            self._require_whole_templates()
        self.hosts = self._hosts({purpose.id for purpose in policy.asked})
        # visitors choose which of these are drawn, so there is an end to how many are kept
        self._part = lru_cache(_MAX_REMEMBERED)(self._drawn)
        self._page = lru_cache(_MAX_REMEMBERED)(self._drawn_page)
        self._openings: OrderedDict[_Asked, tuple[bytes, bytes]] = OrderedDict()
        self._embed = lru_cache(_MAX_REMEMBERED)(self._drawn_embed)
        self._needs = lru_cache(_MAX_REMEMBERED)(self._drawn_needs)
        self._suffix = lru_cache(_MAX_REMEMBERED)(self._drawn_suffix)
        self._matched = lru_cache(_MAX_REMEMBERED)(partial(match, available=self.languages))

    def language(self, page: str | None, accept_language: str | None) -> str:
        """Choose a language: the page's ``lang``, else what the visitor's browser asks for, else the site's.

        A browser is heard only among the languages that the policy names: a site that names none is in one.

        Args:
            page: the ``lang`` of the document's root element.
            accept_language: the request's header; ``None`` for a shared document, which may not depend on it.
        """
        found = self.page_language(page) or negotiate(accept_language, self.policy.languages)
        return found or self.policy.language

    def page_language(self, page: str | None) -> str | None:
        """Give the language of a page's ``lang``; ``None`` where there is none that the notice is in."""
        return self._matched(page) if page and len(page) <= _MAX_TAG_CHARACTERS else None

    def declared_notices(self) -> list[Notice]:
        """Give the notices in the languages that the policy names, which visitors are sure to see."""
        return [self.notices[tag] for tag in self.policy.languages or (self.policy.language,)]

    def find_notice(self, digest: str) -> Notice | None:
        """Give the notice of a digest, in whatever language; draws the rest where none so far has it."""
        found = (notice for notice in self.notices.drawn() if notice.digest == digest)
        rest = (notice for notice in self.notices.values() if notice.digest == digest)
        return next(found, None) or next(rest, None)

    def opened(
        self, view: View, body: bytes, accepted: bytes | None, path: str, page: PageAddress, is_utf8: bool
    ) -> tuple[bytes, bytes | None]:
        """Give a document's opening as ``document.opening_of`` does, and with what goes into it.

        The page has no policy and no parts of its own. What its address gave the last time is remembered: to
        see that a document opens so again takes less than to find out where it opens.

        Args:
            view: what it shows.
            body: its first chunk.
            accepted: the ``Accept-Language`` header; ``None`` for a shared document.
            path: that of the library's own pages, without the application's ``root_path``.
            page: what ``return_address`` takes.
            is_utf8: as in ``Slots``.

        Returns:
            The opening, and the same with what goes into it: ``None`` where it is no whole head.
        """
        asked = view, accepted, page, is_utf8
        known = self._openings.get(asked)
        if known is not None and body.startswith(known[0]):
            return known
        opening = opening_of(body)
        places = whole_head(opening) if opening else None
        if places is None:
            return opening, None
        slots = Slots(page[-1] + path, return_address(*page), is_utf8=is_utf8)
        drawn = opening, filled(opening, places, *self._page(view, places.lang, accepted, slots))
        if len(opening) + len(page[1]) + len(page[2]) + len(accepted or b"") <= _MAX_REMEMBERED_BYTES:
            self._openings[asked] = drawn
            if len(self._openings) > _MAX_REMEMBERED:
                self._openings.popitem(last=False)
        return drawn

    def _drawn_page(
        self, view: View, page: str | None, accepted: bytes | None, slots: Slots
    ) -> tuple[bytes, bytes]:
        language = self.language(page, accepted.decode("latin-1") if accepted else None)
        return self.parts(view, language, slots)

    def parts(
        self, view: View, language: str, slots: Slots, placed: Container[str] = ()
    ) -> tuple[bytes, bytes]:
        """Give what goes into a document's head and into its body, less what the page placed itself."""
        head = b"" if "head" in placed else self.head(view, slots)
        notice = b"" if "notice" in placed else self.notice(view, language, slots)
        return head, notice if "settings" in placed else notice + self.settings(view, language, slots)

    def head(self, view: View, slots: Slots) -> bytes:
        """Give the style, the script and the granted tags, for inside the head; on a quiet page no tags."""
        return self._part("quiet_head" if slots.is_quiet else "head", view, "").fill(slots)

    def notice(self, view: View, language: str, slots: Slots) -> bytes:
        """Give the notice; empty for a visitor who has chosen."""
        return self._part("notice", view, language).fill(slots)

    def settings(self, view: View, language: str, slots: Slots) -> bytes:
        """Give the control by which a choice is changed; hidden until there is one."""
        return self._part("settings", view, language).fill(slots)

    def embed(self, view: View, language: str, slots: Slots, embed: Embed) -> bytes:
        """Give a vendor's frame where its purpose is granted, else a placeholder that names the vendor.

        Raises:
            PolicyError: the policy has no such service, or the address is none of its own.
        """
        return self._embed(view, language, embed).fill(slots)

    def _drawn_embed(self, view: View, language: str, embed: Embed) -> Slotted:
        service = self.policy.require_service(embed.service)
        return Slotted(self._placeholder(view, language, embed, service, frame_url(service, embed.url)))

    def _placeholder(
        self,
        view: View,
        language: str,
        embed: Embed,
        service: Service,
        source: str,
        digest: str | None = None,
    ) -> str:
        purpose = self.policy.purpose_by_id[service.purpose]
        return self._render(
            "embed.html",
            language,
            slots=tokens(self.notices[language].digest if digest is None else digest, language),
            service=service,
            purpose=purpose,
            source=source,
            title=embed.title,
            width=embed.width,
            height=embed.height,
            is_granted=purpose.is_necessary or purpose.id in view.granted,
        )

    def trackers(self, language: str) -> bytes:
        """Give a table of every tracker, for a privacy policy."""
        return self._part("trackers", View(is_shared=True), language).fill(Slots(""))

    def needs(self, view: View, *, placed: frozenset[str] = frozenset(), is_quiet: bool = False) -> Needs:
        """Say what a page's Content-Security-Policy has to allow for this view.

        Args:
            view: what the page shows.
            placed: the parts that its template rendered; of ``embed:<service>`` the frame may be shown once.
            is_quiet: as in ``Slots``.
        """
        return self._needs(view, placed, is_quiet)

    def _drawn_needs(self, view: View, placed: frozenset[str], is_quiet: bool) -> Needs:
        embedded = {part.partition(":")[2] for part in placed if part.startswith("embed")}
        granted = frozenset() if is_quiet else view.granted
        hosts = dict(self.hosts if view.is_shared and not is_quiet else self._hosts(granted))
        for service in self.policy.services:
            if service.id in embedded:
                hosts["frame-src"] = (*hosts.get("frame-src", ()), *service.hosts.get("frame-src", ()))
        styles = [settings_style() if view.is_decided else notice_style(self.appearance.layout)]
        styles += [settings_style()] if view.is_shared and is_quiet else []
        styles += [embed_style()] if embedded else []
        scripts = [notice_script(), *filter(None, [tags_script(self.policy, granted)])]
        return Needs(
            inline_scripts=tuple(map(hash_source, scripts)),
            inline_styles=tuple(map(hash_source, styles)),
            hosts=hosts,
            self_script=True,
            is_placed=bool(placed),
        )

    def _hosts(self, purposes: Container[str]) -> Mapping[str, tuple[str, ...]]:
        """Give the Content-Security-Policy sources that these purposes' services need, by directive."""
        found: dict[str, dict[str, None]] = {}
        for service in self.policy.services:
            for directive, sources in service.hosts.items() if service.purpose in purposes else ():
                found.setdefault(directive, {}).update(dict.fromkeys(sources))
        return {directive: tuple(sources) for directive, sources in found.items()}

    def suffix(self, view: View) -> str:
        """Sum up what a view inserts, never for whom or when: eight hexadecimal digits for an ETag."""
        return self._suffix(view)

    def _drawn_suffix(self, view: View) -> str:
        form = f"{view.is_shared} {view.is_decided} {'~'.join(sorted(view.granted))}"
        return _digest(form, self.policy.fingerprint, self.edition)[:8]

    def preferences(
        self,
        language: str,
        consent: Consent,
        slots: Slots,
        *,
        history: Sequence[Event] | None,
        announcement: Announcement | None = None,
    ) -> tuple[bytes, str]:
        """Give the preferences page and its Content-Security-Policy.

        Args:
            history: the visitor's own events, oldest first; ``None`` where the ledger cannot be read.
        """
        is_erased = announcement is not None and announcement.kind == "erased"
        script = stop_script(self.policy, consent.granted) if consent.is_decided or is_erased else ""
        page = self._render(
            "preferences.html",
            language,
            slots={
                "prefix": slots.prefix,
                "return_to": slots.return_to,
                "digest": self.notices[language].digest,
            },
            consent=consent,
            granted=consent.granted,
            history=history,
            message=announcement,
            open_details=False,
            stop_script=script,
            stylesheet=f"{slots.prefix}/assets/{asset('preferences.css')[0]}",
        )
        return ascii_bytes(page), _own_policy([script] if script else [])

    def gettext(self, language: str, message: str) -> str:
        """Give a text of the library's own in this language."""
        return self._translations[language].catalogue.gettext(message)

    def _drawn(self, name: str, view: View, language: str) -> Slotted:
        draw: Callable[[View, str], str] = getattr(self, f"_draw_{name}")
        return Slotted(draw(view, language))

    def _draw_head(self, view: View, _: str) -> str:
        shown = "~".join(sorted(view.granted)) if view.is_decided else "?"
        tags = tags_script(self.policy, view.granted)
        # whoever has not chosen gets the notice's style alone: the control's comes with the press
        style = settings_style() if view.is_decided else notice_style(self.appearance.layout)
        return (
            f"<style@gem:nonce@>{style}</style>"
            f'<script@gem:nonce@ data-path="@gem:prefix@" data-press="{asset("press.js")[0]}"'
            f' data-fingerprint="{self.policy.fingerprint[:8]}" data-shown="{shown}"{self._signals}'
            f"@gem:csp@@gem:quiet@>"
            f"{notice_script()}</script>" + (f"<script@gem:nonce@>{tags}</script>" if tags else "")
        )

    def _draw_quiet_head(self, view: View, language: str) -> str:
        head = self._draw_head(view, language)
        if tags := tags_script(self.policy, view.granted):
            head = head.removesuffix(f"<script@gem:nonce@>{tags}</script>")
        # a document for everyone has to bring the control's style, which its script may not fetch
        return head + (f"<style@gem:nonce@>{settings_style()}</style>" if view.is_shared else "")

    def _draw_notice(self, view: View, language: str) -> str:
        if view.is_decided or not self.policy.asks:
            return ""
        return self._render("notice.html", language, slots=tokens(self.notices[language].digest, language))

    def _draw_settings(self, view: View, language: str) -> str:
        if not self.policy.asks:
            return ""
        return self._render(
            "settings.html",
            language,
            slots=tokens(self.notices[language].digest, language),
            is_decided=view.is_decided,
            granted=view.granted,
            has_control=self.appearance.has_control,
        )

    def _require_whole_templates(self) -> None:
        """Refuse templates of the site's own that no longer are a notice, a control or a preferences page."""
        asked = self.policy.asked
        for tag in self.languages:
            text = self._translations[tag].text
            digest = self.notices[tag].digest
            gaps = {
                "notice.html": missing_from_notice(
                    self._draw_notice(View(is_shared=True), tag),
                    digest=digest,
                    privacy_url=self.policy.privacy_url,
                    words=[text(words) for purpose in asked for words in (purpose.name, purpose.description)],
                ),
                "settings.html": missing_from_settings(
                    self._draw_settings(View(is_shared=True), tag), has_control=self.appearance.has_control
                ),
                "preferences.html": missing_from_preferences(
                    self.preferences(tag, UNDECIDED, Slots("/p"), history=None)[0].decode(),
                    purposes=[purpose.id for purpose in asked],
                ),
            }
            for name, lacking in gaps.items():
                if lacking:
                    raise ConfigurationError(
                        f"the template {name} of {self.appearance.templates} lacks, in {tag!r}: "
                        f"{'; '.join(lacking)}. Start from the library's own template of that name"
                    )

    def _draw_trackers(self, _: View, language: str) -> str:
        module = (
            self._environments[language].get_template("trackers.html").make_module({"policy": self.policy})
        )
        services = [
            service for id_ in self.policy.purpose_by_id for service in self._services_for(language, id_)
        ]
        return str(module.table(services))  # type: ignore[attr-defined]  # a macro of the template

    def _embeds(self, language: str) -> list[str]:
        """Give the placeholder of each service that may be embedded, as part of what visitors are shown."""
        shown = [
            self._placeholder(
                View(is_shared=True), language, Embed(one.id, "", one.name, 560, 315), one, "", digest=""
            )
            for purpose in self.policy.asked
            for one in self.policy.services_for(purpose.id)
            if one.hosts.get("frame-src")
        ]
        return [Slotted(one).fill(Slots("")).decode() for one in shown]

    def _archived(self, language: str) -> Notice:
        page = self._render(
            "archive.html",
            language,
            slots=dict.fromkeys(tokens("", language), ""),
            granted=frozenset(),
            library=LIBRARY,
            code=code_digest(),
            notice_css=notice_style(self.appearance.layout),
            preferences_css=asset("preferences.css")[1].decode(),
            open_details=True,
            embeds=self._embeds(language),
            embed_css=embed_style(),
            declaration=declaration_script(
                declaration(self.policy, self._translations[language], partial(self._services_for, language))
            ),
        )
        return notice_of(
            page.encode(), fingerprint=self.policy.fingerprint, language=language, library=LIBRARY
        )

    def _services_for(self, language: str, purpose: str) -> tuple[Service, ...]:
        if purpose != "necessary":
            return self.policy.services_for(purpose)
        kept = self._translations[language].retention(self.policy.retention)
        return (own_service(self.policy, self._cookie, kept), *self.policy.services_for(purpose))

    def _render(self, template: str, language: str, **values: object) -> str:
        return (
            self._environments[language]
            .get_template(template)
            .render(
                policy=self.policy,
                language=language,
                services_for=partial(self._services_for, language),
                **values,
            )
        )

    def _environment(self, language: str) -> Environment:
        translation = self._translations[language]
        environment = environment_of(translation, self.appearance.templates)
        environment.filters["purpose_names"] = partial(self._purpose_names, translation)
        return environment

    def _purpose_names(self, translation: Translation, ids: Iterable[str]) -> str:
        """Name purposes in the policy's order; one that an older policy had is named by its id."""
        known = self.policy.purpose_by_id
        wanted = set(ids)
        names = [translation.text(purpose.name) for id_, purpose in known.items() if id_ in wanted]
        return ", ".join([*names, *sorted(wanted - known.keys())])


class PerLanguage(Mapping[str, _T]):
    """Something in each language, made when it is first asked for: most sites are written in one or two.

    Args:
        languages: the tags.
        make: makes it for one of them.
    """

    def __init__(self, languages: Sequence[str], make: Callable[[str], _T]) -> None:
        self._languages = languages
        self._make = make
        self._made: dict[str, _T] = {}

    def __getitem__(self, language: str) -> _T:
        if language not in self._made and language in self._languages:
            self._made[language] = self._make(language)
        return self._made[language]

    def __iter__(self) -> Iterator[str]:
        return iter(self._languages)

    def __len__(self) -> int:
        return len(self._languages)

    def drawn(self) -> list[_T]:
        """Give what has been made so far."""
        return list(self._made.values())


class _Compiled(BytecodeCache):
    """The compiled templates of this process, shared by all languages: 3 ms for one more instead of 35."""

    def __init__(self) -> None:
        self._bytecode: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._bytecode:
            bucket.bytecode_from_string(self._bytecode[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._bytecode[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


def environment_of(translation: Translation, templates: Path | None = None) -> Environment:
    """Give what renders the library's templates in one language; nothing in it is one policy's.

    Args:
        translation: the language's.
        templates: a folder whose templates come first.
    """
    environment = Environment(
        loader=FileSystemLoader([templates, _TEMPLATES] if templates else [_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_COMPILED,
    )
    environment.install_gettext_translations(translation.catalogue, newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(
        direction=translation.direction,
        text=translation.text,
        duration=translation.duration,
        lifetime=translation.lifetime,
        storage=translation.storage,
    )
    environment.filters.update(
        country=translation.country,
        state=translation.state,
        day=translation.day,
        moment=translation.moment,
        iso=_iso,
        number=_number,
    )
    return environment


def _own_policy(scripts: Sequence[str]) -> str:
    """Give the policy of the library's own page (Content Security Policy Level 3)."""
    allowed = " ".join(f"'{hash_source(script)}'" for script in scripts) or "'none'"
    return (
        f"default-src 'none'; style-src 'self'; script-src {allowed}; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'self'; base-uri 'none'"
    )


def _texts(folder: Path | None) -> Iterator[str]:
    for path in sorted(folder.glob("*.html")) if folder else ():
        yield path.read_text("utf-8")


def _number(value: int) -> str:
    """Group digits by a narrow space that does not break, as ISO 80000-1 has it, in every language."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
