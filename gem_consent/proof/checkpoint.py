"""Checkpoints: a tree's size and root, signed, as C2SP tlog-checkpoint over C2SP signed-note with Ed25519.

Pure: it reads no clock, keeps no key, and shows no secret. What a checkpoint promises is the tree's to prove.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gem_consent.errors import ConfigurationError, ProofError
from gem_consent.proof.tree import EMPTY_ROOT, HASH_BYTES, MAX_SIZE

__all__ = [
    "MAX_NOTE_BYTES",
    "MIN_SECRET_CHARACTERS",
    "Checkpoint",
    "PublicKey",
    "SigningKey",
    "open_note",
    "parse",
    "sign",
    "sign_note",
    "verify",
    "verify_signers",
]

MAX_NOTE_BYTES = 128 * 1024
"""How long a note may be: the 16 signatures of 5 kB that C2SP signed-note asks for, in base64, fit."""

MIN_SECRET_CHARACTERS = 32
"""How long a secret must be for a signing key to be derived from it."""

_ED25519 = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 4
# The number is the derivation's: a change of it would change every derived key, and needs a new one.
_DERIVATION = b"gem_consent.checkpoint.1\n"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")  # and what UTF-8 cannot write
_LINE = re.compile(r"[^\x00-\x1f\ud800-\udfff]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of its tree at one size (C2SP tlog-checkpoint, "Note text").

    Args:
        origin: which log: ``gem-consent/`` and the ledger's UUID.
        size: how many leaves the tree has.
        root: its root, 32 bytes.
        extensions: further lines, opaque here (``ledger/checkpoints.py`` says what a ledger writes).

    Raises:
        ProofError: a field cannot stand in a checkpoint.

    Example:
        >>> print(Checkpoint("example.com/log", 0, EMPTY_ROOT).text, end="")
        example.com/log
        0
        47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            _require_line(line)
        if not 0 <= self.size <= MAX_SIZE:
            raise ProofError(
                f"A checkpoint's tree size is a whole number up to {MAX_SIZE}; given: {self.size}"
            )
        if len(self.root) != HASH_BYTES:
            raise ProofError(f"A checkpoint's root has {HASH_BYTES} bytes; given: {len(self.root)}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise ProofError("A checkpoint of a tree without leaves has another root than the empty tree's")

    @property
    def text(self) -> str:
        """The note text: each field on a line, the last one ended too."""
        lines = (self.origin, str(self.size), _base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """Read a note text, and refuse whatever ``text`` would not have written.

        Raises:
            ProofError: it is no checkpoint; the message says why.
        """
        *lines, rest = text.split("\n")
        if rest or len(lines) < 3:
            raise ProofError("A checkpoint has three lines at least (origin, size and root), each one ended")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise ProofError(
                f"A checkpoint's tree size is decimal, without leading zeros; given: {size[:40]!r}"
            )
        return cls(origin, int(size), _bytes_of(root, "a checkpoint's root"), tuple(extensions))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who may sign: a name and an Ed25519 public key, to be kept outside the ledger's machine.

    Its text is ``name+id+base64(0x01 || key)``: the verifier key of Go's ``sumdb/note``.

    Args:
        name: not empty, no Unicode space, no ``+``; a log's key bears the name of its origin.
        key: 32 bytes (RFC 8032, section 5.1.5).

    Raises:
        ProofError: the name or the key cannot be one.

    Example:
        >>> key = PublicKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
        >>> key.name, key.id.hex()
        ('PeterNeumann', 'c74f20a3')
    """

    name: str
    key: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len(self.key) != _KEY_BYTES:
            raise ProofError(f"An Ed25519 public key has {_KEY_BYTES} bytes; given: {len(self.key)}")

    @property
    def id(self) -> bytes:
        """What names it in a signature: ``SHA-256(name || 0x0A || 0x01 || key)[:4]`` (C2SP signed-note)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(_ED25519 + self.key)}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read what ``str`` writes, and nothing else: one changed character is found.

        Raises:
            ProofError: it is no public key of this kind; the message says why.
        """
        parts = text.split("+", 2)  # base64 has a plus too, a name has none
        if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise ProofError(f"A public key reads name+8 hexadecimal digits+base64; given: {text[:120]!r}")
        name, key_id, encoded = parts
        content = _bytes_of(encoded, f"the public key of {name[:120]!r}")
        if content[:1] != _ED25519:
            raise ProofError(
                f"The public key of {name[:120]!r} is not of type 1 (Ed25519), the only one known here"
            )
        key = cls(name, content[1:])
        if key.id.hex() != key_id:
            raise ProofError(
                f"The public key of {name[:120]!r} was changed: its id is {key.id.hex()}, not {key_id}"
            )
        return key

    def verifies(self, text: str, signature: bytes) -> bool:
        """Say whether this key made the signature (64 bytes, RFC 8032, section 5.1.7) over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a log signs with. Its ``repr`` shows the name alone.

    Args:
        name: as ``PublicKey`` has it: the log's origin.
        seed: the 32 bytes of an Ed25519 private key (RFC 8032, section 5.1.5).

    Raises:
        ProofError: the name cannot be one, or the seed has another length.

    Example:
        >>> SigningKey("example.com/log", bytes(32))
        SigningKey(name='example.com/log')
    """

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len(self.seed) != _KEY_BYTES:
            raise ProofError(f"An Ed25519 seed has {_KEY_BYTES} bytes; given: {len(self.seed)}")

    @classmethod
    def derive(cls, secret_key: str, name: str) -> SigningKey:
        """Derive a log's key from the application's secret: HKDF with SHA-256 (RFC 5869), the same each time.

        The name is part of the derivation: logs that share a secret share no key, so a checkpoint of one
        cannot pass for another's.

        Args:
            secret_key: one secret, 32 characters at least; of several, the newest. Derive from the older ones
                too: their public keys go on verifying what they signed.
            name: the log's origin.

        Raises:
            ConfigurationError: the secret is too short.
            ProofError: the name cannot be one.
        """
        if len(secret_key) < MIN_SECRET_CHARACTERS:
            raise ConfigurationError(
                f"secret_key needs {MIN_SECRET_CHARACTERS} characters at least to derive a signing key from"
            )
        _require_name(name)
        hkdf = HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=_DERIVATION + name.encode())
        return cls(name, hkdf.derive(secret_key.encode()))

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies: the part to hand out."""
        return PublicKey(self.name, self._private.public_key().public_bytes_raw())

    def signature(self, text: str) -> bytes:
        """Sign a text: 64 bytes, the same each time (RFC 8032, section 5.1.6)."""
        return self._private.sign(text.encode())

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def sign(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """Sign a checkpoint with the key of its log.

    A log signs nothing that is inconsistent with what it signed before (C2SP tlog-checkpoint, "Signatures"):
    that is for the caller to know.

    Raises:
        ProofError: the key bears another name than the checkpoint's origin.
    """
    if key.name != checkpoint.origin:
        raise ProofError(f"A checkpoint of {checkpoint.origin!r} cannot be signed by the key of {key.name!r}")
    return sign_note(checkpoint.text, key)


def verify(note: bytes, keys: Iterable[PublicKey]) -> Checkpoint:
    """Read a signed checkpoint, and answer for it: a known key of the log that it names has signed it.

    C2SP tlog-checkpoint only recommends that the key bear the origin's name. Here it must, or one log could
    sign another's checkpoint. Other known keys may sign as well, and no signature of theirs may be wrong.

    Args:
        note: the whole signed note.
        keys: the public keys to be believed, kept elsewhere than the ledger; older ones too.

    Raises:
        ProofError: it is malformed, forged or altered, or no known key of its log signed it.
    """
    return verify_signers(note, keys)[0]


def verify_signers(note: bytes, keys: Iterable[PublicKey]) -> tuple[Checkpoint, frozenset[PublicKey]]:
    """Read a signed checkpoint as ``verify`` does, and say which of the known keys signed it.

    Raises:
        ProofError: as ``verify``.
    """
    text, signers = _opened(note, keys)
    checkpoint = Checkpoint.from_text(text)
    if checkpoint.origin not in {key.name for key in signers}:
        raise ProofError(
            f"The checkpoint says it is of {checkpoint.origin[:120]!r}, and no key of that log signed it"
        )
    return checkpoint, frozenset(signers)


def parse(note: bytes) -> Checkpoint:
    """Read a checkpoint without asking who signed it: it vouches for nothing. ``verify`` is what to rely on.

    Raises:
        ProofError: it is malformed.
    """
    return Checkpoint.from_text(_split(note)[0])


def sign_note(text: str, key: SigningKey) -> bytes:
    """Sign a text of whole lines (C2SP signed-note, "Format").

    Raises:
        ProofError: the text cannot be a note's.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ProofError("A note's text ends with a line feed and has no other control character")
    return f"{text}\n— {key.name} {_base64(key.public_key.id + key.signature(text))}\n".encode()


def open_note(note: bytes, keys: Iterable[PublicKey]) -> str:
    """Give the text of a note that a known key has signed (C2SP signed-note, "Signatures").

    Signatures by unknown keys are ignored. Each known key signs once at most, and a wrong signature by one
    spoils the note, whoever else signed it.

    Raises:
        ProofError: the note is malformed, a known key's signature is wrong, or none is there.
    """
    return _opened(note, keys)[0]


def _opened(note: bytes, keys: Iterable[PublicKey]) -> tuple[str, set[PublicKey]]:
    text, signatures = _split(note)
    known = {(key.name, key.id): key for key in keys}
    signers: set[PublicKey] = set()
    for name, content in signatures:
        key = known.get((name, content[:_ID_BYTES]))
        if key is None:
            continue
        if key in signers:
            raise ProofError(f"The note has two signatures by {_named(name, content)}")
        if not key.verifies(text, content[_ID_BYTES:]):
            raise ProofError(
                f"The signature by {_named(name, content)} does not fit: the note was altered or forged"
            )
        signers.add(key)
    if not signers:
        found = ", ".join(_named(name, content) for name, content in signatures[:3])
        raise ProofError(f"None of the {len(known)} known keys signed the note; it is signed by {found}")
    return text, signers


def _split(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Part a note into its text and its signature lines: names, and ids with signatures."""
    if len(note) > MAX_NOTE_BYTES:
        raise ProofError(f"The note has {len(note)} bytes, and {MAX_NOTE_BYTES} are the most")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise ProofError(f"The note is not in UTF-8 from byte {error.start} on") from error
    if _CONTROL.search(whole):
        raise ProofError(
            "The note has a control character (a carriage return, perhaps); only line feeds may be in it"
        )
    # The last empty line parts them: the text may have empty lines of its own.
    text, parted, signatures = whole.rpartition("\n\n")
    if not (text and parted and signatures.endswith("\n")):
        raise ProofError("The note is not a text, an empty line, and signature lines that are each ended")
    return f"{text}\n", [_signature(line) for line in signatures[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    dash, *fields = line.split(" ")
    if dash != "—" or len(fields) != 2:
        raise ProofError(f"A signature line reads “— name base64”; found: {line[:120]!r}")
    name, encoded = fields
    _require_name(name)
    content = _bytes_of(encoded, f"the signature by {name[:120]!r}")
    if len(content) <= _ID_BYTES:
        raise ProofError(f"The signature by {name[:120]!r} is cut off: it has {len(content)} bytes")
    return name, content


def _named(name: str, content: bytes) -> str:
    return f"{name[:120]}+{content[:_ID_BYTES].hex()}"


def _require_name(name: str) -> None:
    # A control character could not stand in a note's line, nor can half a surrogate pair be written at all.
    if not _LINE.fullmatch(name) or "+" in name or any(character.isspace() for character in name):
        raise ProofError(
            f"A key's name is not empty and has no space, plus or control character; given: {name[:120]!r}"
        )


def _require_line(line: str) -> None:
    if not _LINE.fullmatch(line):
        raise ProofError(
            f"A checkpoint's line is not empty and has no control character; given: {line[:120]!r}"
        )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes_of(encoded: str, what: str) -> bytes:
    """Decode base64 (RFC 4648, section 4) in its one spelling: padded, and no spare bit set (section 3.5)."""
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        content = b""
    if not content or _base64(content) != encoded:
        raise ProofError(f"The base64 of {what} is not exact: {encoded[:120]!r}")
    return content
