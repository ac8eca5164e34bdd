"""The signed cookie that keeps a visitor's choice, and the hint beside it that scripts may read.

A bad cookie is never an error here: it is no choice. Times are given, never read from a clock.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from itsdangerous import BadData, Signer, TimestampSigner, base64_decode

from gem_consent.consent import Choice, expires_at
from gem_consent.errors import ConfigurationError
from gem_consent.policy import Policy

__all__ = [
    "HINT_NAME",
    "MAX_AHEAD_SECONDS",
    "NAME",
    "ConsentCookie",
    "cookie_name",
    "hint_value",
    "new_subject",
    "set_cookie_headers",
    "the_better",
]

NAME = b"gem_consent"
"""What is in the name of each cookie of the library's own."""

HINT_NAME = "gem_consent_hint"
_NAME = "gem_consent"
_SECURE_NAME = f"__Host-{_NAME}"
_MAX_VALUE_BYTES = 2048
MAX_AHEAD_SECONDS = 300
"""How far a choice may lie ahead of this machine's clock, since others' differ; one beyond is none."""

_MAX_REMEMBERED = 1024
_MIN_KEY_CHARACTERS = 32
_SALT = b"gem_consent.cookie.1"
# Base64 forgives unknown characters and two spare bits: only the one spelling that is written is read,
# or one cookie could fill the memory under many names.
_SIGNATURE = re.compile(rb"\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")
_TEXT = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})\.([a-z0-9_~-]*)\Z")


class ConsentCookie:
    """Write choices into signed cookie values, and read them back from a request's cookie headers.

    The value is ``subject.fingerprint.purposes.time.signature``: itsdangerous' ``TimestampSigner`` with
    SHA-256, its signed time being when the visitor chose. Verified values, and they alone, are remembered.

    Args:
        secret_key: one key, or several with the newest last: that one signs, all verify. 32 characters at
            least.

    Attributes:
        rejected: how many values did not verify so far.

    Raises:
        ConfigurationError: a key is missing or too short.

    Example:
        >>> cookie = ConsentCookie("a secret of at least 32 characters!")
        >>> choice = Choice(new_subject(), "0" * 32, frozenset({"analytics"}), decided_at=1_700_000_000)
        >>> header = b"gem_consent=" + cookie.encode(choice).encode()
        >>> cookie.read([header], "gem_consent", now=1_700_000_001) == choice
        True
    """

    def __init__(self, secret_key: str | Sequence[str]) -> None:
        keys = [secret_key] if isinstance(secret_key, str) else list(secret_key or ())
        if not keys or any(not isinstance(key, str) or len(key) < _MIN_KEY_CHARACTERS for key in keys):
            raise ConfigurationError(
                f"secret_key needs {_MIN_KEY_CHARACTERS} characters at least (in each key of a list); "
                "make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe(48))"'
            )
        self._keys = [_derived(key) for key in keys]
        self._signer = _Signer(self._keys)
        self.rejected = 0
        self._verified: OrderedDict[bytes, Choice] = OrderedDict()

    def encode(self, choice: Choice) -> str:
        """Sign a choice: a value of safe cookie characters (RFC 6265, section 4.1.1)."""
        text = ".".join((choice.subject, choice.fingerprint, "~".join(sorted(choice.granted))))
        return _Signer(self._keys, at=choice.decided_at).sign(text).decode()

    def read(self, cookie_headers: Iterable[bytes], name: str, now: int) -> Choice | None:
        """Find the choice that counts among a request's cookies, or ``None``.

        Of several verified ones (a browser sends cookies of one name for several paths and domains) the
        newest counts, and at equal seconds the one that grants less. More than 300 s ahead is none.
        """
        prefix = name.encode() + b"="
        best: Choice | None = None
        for header in cookie_headers:
            for value in _values(header, prefix):
                choice = self._verified.get(value) or self._decode(value)
                if choice and choice.decided_at <= now + MAX_AHEAD_SECONDS:
                    best = choice if best is None else the_better(best, choice)
        return best

    def _decode(self, value: bytes) -> Choice | None:
        choice = self._verify(value) if len(value) <= _MAX_VALUE_BYTES else None
        if choice is None:
            self.rejected += 1
            return None
        self._verified[value] = choice
        if len(self._verified) > _MAX_REMEMBERED:
            self._verified.popitem(last=False)
        return choice

    def _verify(self, value: bytes) -> Choice | None:
        if not _SIGNATURE.search(value):
            return None
        try:
            signed, decided_at = self._signer.opened(value)
        except BadData:
            return None
        match = _TEXT.match(signed.decode("ascii", "replace"))
        if match is None:
            return None
        subject, fingerprint, granted = match.groups()
        return Choice(subject, fingerprint, frozenset(filter(None, granted.split("~"))), decided_at)


def _values(header: bytes, prefix: bytes) -> Sequence[bytes]:
    """Give the values of the cookies of one name; there is hardly ever more than one."""
    at = header.find(prefix)
    if at < 0:
        return ()
    start = at + len(prefix)
    if (at == 0 or header[at - 2 : at] == b"; ") and header.find(prefix, start) < 0:
        end = header.find(b";", start)
        return (header[start : end if end >= 0 else None].rstrip(b" \t"),)
    pairs = (part.strip(b" \t") for part in header.split(b";"))
    return [pair[len(prefix) :] for pair in pairs if pair.startswith(prefix)]


class _Signer(TimestampSigner):
    """A ``TimestampSigner`` over keys that are derived already, for a time that is given."""

    def __init__(self, keys: list[bytes], at: int = 0) -> None:
        super().__init__(keys, salt=_SALT, sep=".", key_derivation="none", digest_method=hashlib.sha256)
        self._at = at

    def get_timestamp(self) -> int:
        return self._at

    def opened(self, value: bytes) -> tuple[bytes, int]:
        """Give what was signed and when, as ``unsign`` does, without a calendar's date made of the seconds.

        Raises:
            BadData: the signature does not fit, or there is no time.
        """
        signed, _, at = Signer.unsign(self, value).rpartition(b".")
        return signed, int.from_bytes(base64_decode(at), "big")


def _derived(key: str) -> bytes:
    # itsdangerous derives its key again at each signature; its own default derivation, done once here
    return TimestampSigner(key, salt=_SALT, digest_method=hashlib.sha256).derive_key()


def the_better(best: Choice | None, choice: Choice | None) -> Choice | None:
    """Give the newer of two verified choices, and at equal seconds the one that grants less."""
    if best is None or choice is None:
        return best or choice
    return min(best, choice, key=lambda one: (-one.decided_at, len(one.granted)))


def new_subject() -> str:
    """Make a visitor's id: 128 random bits in 32 hexadecimal digits, no formula to any spreadsheet."""
    return secrets.token_hex(16)


def cookie_name(is_https: bool, domain: str | None = None) -> str:
    """Give the consent cookie's name: ``__Host-`` (RFC 6265bis, section 4.1.3.2) wherever https allows.

    One that sub-domains share is ``__Secure-``, since no ``__Host-`` cookie has a ``Domain``.
    """
    if not is_https:
        return _NAME
    return f"__Secure-{_NAME}" if domain else _SECURE_NAME


def hint_value(choice: Choice, policy: Policy) -> str:
    """Write the hint: eight digits of the fingerprint, the granted purposes, the end in seconds since 1970.

    Scripts read it to know what to show; the server never believes it.
    """
    return (
        f"{policy.fingerprint[:8]}.{'~'.join(sorted(choice.granted))}.{expires_at(choice.decided_at, policy)}"
    )


def set_cookie_headers(
    cookie: ConsentCookie,
    choice: Choice,
    policy: Policy,
    *,
    is_https: bool,
    now: int,
    domain: str | None = None,
) -> list[tuple[bytes, bytes]]:
    """Give the two ``Set-Cookie`` headers of a decision; both end when the choice does.

    Args:
        domain: the domain whose sub-domains share the choice; what this host kept alone goes then.
    """
    left = max(0, expires_at(choice.decided_at, policy) - now)
    secure = "; Secure" if is_https else ""
    place = f"; Domain={domain}" if domain else ""
    common = f"Max-Age={left}; Path=/{place}; SameSite=Lax{secure}"
    own = [cookie_name(is_https), HINT_NAME] if domain else []
    lines = [
        *(f"{name}=; Max-Age=0; Path=/; SameSite=Lax{secure}" for name in own),
        f"{cookie_name(is_https, domain)}={cookie.encode(choice)}; {common}; HttpOnly",
        f"{HINT_NAME}={hint_value(choice, policy)}; {common}",
    ]
    return [(b"set-cookie", line.encode()) for line in lines]
