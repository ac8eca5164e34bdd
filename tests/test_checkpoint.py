"""Signed checkpoints against the vectors of Go's note package and of a real log, and any change to them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.errors import ConfigurationError, ConsentError, ProofError
from gem_consent.proof.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    PublicKey,
    SigningKey,
    open_note,
    parse,
    sign,
    sign_note,
    verify,
)
from gem_consent.proof.tree import EMPTY_ROOT, MAX_SIZE

# The vectors of golang.org/x/mod/sumdb/note, note_test.go.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJ"
    "nAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc"
    "+QQ=\n"
)
# A head that Go's checksum database did sign; C2SP tlog-checkpoint shows it under an invented origin.
GO = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_TEXT = "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
GO_SIGNATURE = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="

ORIGIN = "gem-consent/0192f3a4-0000-7000-8000-000000000000"
ROOT = bytes(range(32))
SECRET = "a secret that is only for the tests"
KEY = SigningKey.derive(SECRET, ORIGIN)
CHECKPOINT = Checkpoint(ORIGIN, 1_000_000, ROOT)
NOTE = sign(CHECKPOINT, KEY)


def note(*lines: str, text: str = TEXT) -> bytes:
    """Put a note together by hand."""
    return f"{text}\n{''.join(lines)}".encode()


def keys(*texts: str) -> list[PublicKey]:
    """Read public keys."""
    return [PublicKey.parse(text) for text in texts]


def test_published_note_is_written() -> None:
    """The key of Go's vectors signs its text to the published bytes."""
    key = SigningKey("PeterNeumann", PETER_SEED)
    assert str(key.public_key) == PETER
    assert sign_note(TEXT, key) == note(PETER_LINE)


@pytest.mark.parametrize("lines", [[PETER_LINE], [PETER_LINE, ENOCH_LINE], [ENOCH_LINE, PETER_LINE]])
@pytest.mark.parametrize("known", [[PETER], [ENOCH, PETER]])
def test_published_note_is_opened(lines: list[str], known: list[str]) -> None:
    """The published signatures verify, whoever else signed or is known."""
    assert open_note(note(*lines), keys(*known)) == TEXT


def test_signature_of_real_log_verifies() -> None:
    """A head of Go's checksum database opens with its public key and reads as a checkpoint."""
    text = open_note(note(f"— sum.golang.org {GO_SIGNATURE}\n", text=GO_TEXT), keys(GO))
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert Checkpoint.from_text(text) == Checkpoint("go.sum database tree", 20_852_163, root)


def test_example_of_specification_is_read() -> None:
    """The worked example of C2SP tlog-checkpoint is read; its signature is over another text, and refused."""
    name = "example.com/behind-the-sofa"
    text = GO_TEXT.replace("go.sum database tree", name)
    example = note(f"— {name} {GO_SIGNATURE}\n", text=text)
    assert (parse(example).origin, parse(example).size, parse(example).text) == (name, 20_852_163, text)
    relabelled = note(f"— sum.golang.org {GO_SIGNATURE}\n", text=text)
    with pytest.raises(ProofError, match=r"sum\.golang\.org\+033de0ae does not fit"):
        verify(relabelled, keys(GO))


@pytest.mark.parametrize(
    "extensions", [(), ("an extension", "— another that looks signed AAAA"), ("é sera",)], ids=len
)
@pytest.mark.parametrize(("size", "root"), [(0, EMPTY_ROOT), (1, ROOT), (MAX_SIZE, ROOT)])
def test_signed_checkpoint_is_read_back(size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    """What was signed verifies to the same checkpoint, and reads so without a key."""
    checkpoint = Checkpoint(ORIGIN, size, root, extensions)
    signed = sign(checkpoint, KEY)
    assert verify(signed, [KEY.public_key]) == parse(signed) == checkpoint


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(at: int, flip: int) -> None:
    """No byte of a signed checkpoint can be another."""
    changed = NOTE[:at] + bytes([NOTE[at] ^ flip]) + NOTE[at + 1 :]
    with pytest.raises(ProofError, match=r"\w"):
        verify(changed, [KEY.public_key])


@given(st.integers(0, len(NOTE)), st.integers(0, len(NOTE)), st.binary(max_size=3))
def test_any_cut_is_found(start: int, end: int, between: bytes) -> None:
    """No part of a signed checkpoint can be missing, doubled or replaced."""
    changed = NOTE[:start] + between + NOTE[end:]
    if changed != NOTE:
        with pytest.raises(ProofError, match=r"\w"):
            verify(changed, [KEY.public_key])


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_garbage_is_refused(garbage: bytes) -> None:
    """Whatever bytes are given, the answer is an error of this library."""
    for read in (parse, lambda given: verify(given, [KEY.public_key])):
        with pytest.raises(ProofError, match=r"\w"):
            read(garbage)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (TEXT.encode(), "not a text, an empty line, and signature lines"),
        (note(), "not a text, an empty line, and signature lines"),
        (note(PETER_LINE[:-1]), "each ended"),
        (note(PETER_LINE, text="")[1:], "not a text, an empty line"),
        (note(PETER_LINE, text="\x01" + TEXT), "control character"),
        (note(PETER_LINE, text=TEXT.replace("\n", "\r\n")), "carriage return"),
        (note(PETER_LINE).replace(b"\n", b"\r\n"), "carriage return"),
        (b"\xff" + note(PETER_LINE), "UTF-8 from byte 0"),
        (note(PETER_LINE, "Unexpected line.\n"), "reads “— name base64”; found: 'Unexpected line.'"),
        (note(PETER_LINE.replace("—", "-")), "reads “— name base64”"),
        (note(PETER_LINE.replace(" x08", "  x08")), "reads “— name base64”"),
        (note(PETER_LINE.replace("—", " —")), "reads “— name base64”"),
        (note(PETER_LINE.replace("=\n", "= \n")), "reads “— name base64”"),
        (note(PETER_LINE, "— Bad+Name AAAAAAA=\n"), "no space, plus"),
        (note(PETER_LINE, "— Bad\u2003Name AAAAAAA=\n"), "no space, plus"),
        (note(PETER_LINE, "—  AAAAAAA=\n"), "name is not empty"),
        (note(PETER_LINE.replace("=\n", "\n")), "base64 of the signature by 'PeterNeumann' is not exact"),
        (note(PETER_LINE.replace("=\n", "==\n")), "base64 of the signature"),
        (note(PETER_LINE.replace("nAM=", "nAN=")), "base64 of the signature"),
        (note(PETER_LINE.replace("/", "_")), "base64 of the signature"),
        (note("— PeterNeumann x08g\n"), "cut off: it has 3 bytes"),
        (note("— PeterNeumann x08gow==\n"), "cut off: it has 4 bytes"),
        (note(PETER_LINE.replace("ZJku", "ZJkv")), r"PeterNeumann\+c74f20a3 does not fit"),
        (note("— PeterNeumann x08gowA=\n"), "does not fit"),
        (note(PETER_LINE, text=TEXT.replace("answer", "Answer")), "does not fit"),
        (note(PETER_LINE, text=TEXT + "\n"), "does not fit"),
        (note(PETER_LINE, PETER_LINE), r"two signatures by PeterNeumann\+c74f20a3"),
        (note(ENOCH_LINE), r"None of the 1 known keys signed the note; it is signed by EnochRoot\+af0cfe78"),
        (note(PETER_LINE.replace("PeterNeumann", "CarmenSandiego")), "None of the 1 known keys"),
        (note(PETER_LINE.replace("x08g", "xxxx")), "None of the 1 known keys"),
        (note(PETER_LINE, text="a" * MAX_NOTE_BYTES + "\n"), f"and {MAX_NOTE_BYTES} are the most"),
    ],
)
def test_malformed_note_is_refused(given: bytes, message: str) -> None:
    """A note that is not exactly one, or not signed by who is known, is refused for what is wrong with it."""
    with pytest.raises(ProofError, match=message):
        open_note(given, keys(PETER))


def test_wrong_signature_spoils_the_note() -> None:
    """One good signature does not save a note on which another known key's is wrong."""
    bad = ENOCH_LINE.replace("5n2t", "5n2u")
    assert open_note(note(PETER_LINE, bad), keys(PETER)) == TEXT
    with pytest.raises(ProofError, match=r"EnochRoot\+af0cfe78 does not fit"):
        open_note(note(PETER_LINE, bad), keys(PETER, ENOCH))


def test_unknown_signatures_are_ignored() -> None:
    """Sixteen large signatures of kinds unknown here, doubled or not, stand beside the log's."""
    large = base64.b64encode(bytes(4 + 4_900)).decode()
    others = [f"— witness.example/{number // 2} {large}\n" for number in range(16)]
    assert verify(NOTE + "".join(others).encode(), [KEY.public_key]) == CHECKPOINT


def test_old_key_still_verifies() -> None:
    """After a rotation, what the old key signed verifies with both keys, and not with the new one alone."""
    newer = SigningKey.derive("another secret, as long as the first", ORIGIN)
    assert verify(NOTE, [newer.public_key, KEY.public_key]) == CHECKPOINT
    with pytest.raises(ProofError, match="None of the 1 known keys"):
        verify(NOTE, [newer.public_key])
    with pytest.raises(ProofError, match="None of the 0 known keys"):
        verify(NOTE, [])


def test_key_of_other_log_is_refused() -> None:
    """A key signs for the log that it is named after, and its signature counts for no other."""
    other = SigningKey.derive(SECRET, "gem-consent/another")
    with pytest.raises(ProofError, match="cannot be signed by the key of 'gem-consent/another'"):
        sign(CHECKPOINT, other)
    foreign = sign_note(CHECKPOINT.text, other)
    with pytest.raises(ProofError, match=f"says it is of '{ORIGIN}', and no key of that log signed it"):
        verify(foreign, [other.public_key, KEY.public_key])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "three lines at least"),
        ("log\n1\n", "three lines at least"),
        (CHECKPOINT.text[:-1], "three lines at least"),
        (CHECKPOINT.text + "unended", "each one ended"),
        (CHECKPOINT.text + "\n", "line is not empty"),
        (CHECKPOINT.text + "a\n\nb\n", "line is not empty"),
        ("\n" + CHECKPOINT.text, "size is decimal"),
        (CHECKPOINT.text.replace(ORIGIN, ""), "line is not empty"),
        (CHECKPOINT.text.replace("\n", "\t\n", 1), "no control character"),
        *(
            (CHECKPOINT.text.replace("1000000", size), f"size is decimal.*{size[:1]}")
            for size in ("01", "00", "-1", "1 ", " 1", "1_0", "1e6", "0x1", "1.0", "", "٣", "1" * 20)
        ),
        (CHECKPOINT.text.replace("1000000", str(MAX_SIZE + 1)), f"up to {MAX_SIZE}"),
        (CHECKPOINT.text.replace("1000000", "0"), "another root than the empty tree's"),
        (CHECKPOINT.text.replace("Hh8=", "Hh8"), "base64 of a checkpoint's root"),
        (CHECKPOINT.text.replace("Hh8=", "Hh9="), "base64 of a checkpoint's root"),
        (CHECKPOINT.text.replace("Hh8=", "Hh8A"), "root has 32 bytes; given: 33"),
    ],
)
def test_malformed_checkpoint_is_refused(text: str, message: str) -> None:
    """A signed text that is no checkpoint to the letter is refused, though the signature is good."""
    with pytest.raises(ProofError, match=message):
        Checkpoint.from_text(text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Checkpoint("", 1, ROOT), "line is not empty"),
        (lambda: Checkpoint("two\nlines", 1, ROOT), "no control character"),
        (lambda: Checkpoint("half \ud800", 1, ROOT), "no control character"),
        (lambda: Checkpoint(ORIGIN, 1, ROOT, ("",)), "line is not empty"),
        (lambda: Checkpoint(ORIGIN, 1, ROOT, ("a\n\nb",)), "no control character"),
        (lambda: Checkpoint(ORIGIN, -1, ROOT), "given: -1"),
        (lambda: Checkpoint(ORIGIN, 0, ROOT), "another root"),
        (lambda: Checkpoint(ORIGIN, 1, ROOT[:31]), "given: 31"),
        (lambda: sign_note("no line end", KEY), "ends with a line feed"),
        (lambda: sign_note("a\r\n", KEY), "no other control character"),
        (lambda: sign_note("half \ud800\n", KEY), "no other control character"),
        (lambda: SigningKey("a name", bytes(32)), "no space, plus"),
        (lambda: SigningKey("name", bytes(31)), "given: 31"),
        (lambda: SigningKey.derive(SECRET, "half\ud800"), "no space, plus or control"),
        (lambda: PublicKey("a+b", bytes(32)), "no space, plus"),
        (lambda: PublicKey("name", bytes(33)), "given: 33"),
    ],
)
def test_impossible_part_is_refused(make: Callable[[], object], message: str) -> None:
    """Nothing is made that could not be read back."""
    with pytest.raises(ProofError, match=message):
        make()


def test_public_key_has_one_spelling() -> None:
    """A verifier key reads back as itself, and no part or change of it is one."""
    for text in (PETER, ENOCH, GO):
        assert str(PublicKey.parse(text)) == text
    cuts = {PETER[start:end] for start in range(len(PETER)) for end in range(start, len(PETER) + 1)}
    changes = {PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))}
    for text in cuts | changes - {PETER}:
        if text != PETER:
            with pytest.raises(ProofError, match=r"\w"):
                PublicKey.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "base64|32 bytes"),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "not of type 1"),
        (PETER.replace("c74f20a3", "C74F20A3"), "8 hexadecimal digits"),
        (PETER.replace("c74f20a3", "c74f20a4"), "was changed: its id is c74f20a3, not c74f20a4"),
        (PETER.replace("Peter", "Pater"), "was changed"),
        (PETER + "\n", "not exact"),
        (" " + PETER, "no space"),
        ("", "reads name"),
    ],
)
def test_malformed_public_key_is_refused(text: str, message: str) -> None:
    """A verifier key of another kind, or mistyped, is refused for what is wrong with it."""
    with pytest.raises(ProofError, match=message):
        PublicKey.parse(text)


def test_impossible_public_key_verifies_nothing() -> None:
    """Thirty-two bytes that are no point of the curve verify nothing and raise nothing."""
    signature = KEY.signature(TEXT)
    assert KEY.public_key.verifies(TEXT, signature)
    assert not PublicKey(ORIGIN, b"\xff" * 32).verifies(TEXT, signature)
    assert not KEY.public_key.verifies(TEXT, signature[:-1])
    assert not KEY.public_key.verifies("half \ud800", signature)


def test_derived_key_never_changes() -> None:
    """The derivation is RFC 5869's: with another one, old checkpoints would lose their key."""
    extracted = hmac.digest(bytes(32), SECRET.encode(), hashlib.sha256)
    label = b"gem_consent.checkpoint.1\n" + ORIGIN.encode()
    assert KEY.seed == hmac.digest(extracted, label + b"\x01", hashlib.sha256)
    assert str(KEY.public_key) == f"{ORIGIN}+2b75eca7+AQFOSUP7js1hDSyIT83ehSfWWvcRzO29QITCtNPVe3y6"


def test_derived_key_is_bound() -> None:
    """Another log or another secret has another key."""
    others = {
        SigningKey.derive(SECRET, ORIGIN + "0").seed,
        SigningKey.derive(SECRET + "0", ORIGIN).seed,
        KEY.seed,
    }
    assert len(others) == 3


def test_short_secret_is_refused() -> None:
    """A secret that could be guessed derives nothing, and the message does not repeat it."""
    with pytest.raises(ConfigurationError, match="32 characters at least") as caught:
        SigningKey.derive("short secret", ORIGIN)
    assert "short secret" not in str(caught.value)


def test_secret_is_never_shown() -> None:
    """Neither the key's text nor an error about it holds the seed."""
    shown = f"{KEY!r} {KEY} {[KEY]}"
    assert ORIGIN in shown
    for form in (KEY.seed.hex(), base64.b64encode(KEY.seed).decode(), repr(KEY.seed), SECRET):
        assert form not in shown


def test_proof_error_is_of_the_family() -> None:
    """Whoever catches the library's errors catches this one."""
    assert issubclass(ProofError, ConsentError)
