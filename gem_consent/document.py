"""Where a streamed HTML document opens its head and its body: feed bytes, get bytes.

Pure: no I/O, clock, log or await. Only the start of a document is read, by the HTML standard's rules
(https://html.spec.whatwg.org/multipage/parsing.html); the rest passes through untouched.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

__all__ = [
    "DocumentStream",
    "Insertions",
    "Outcome",
    "WholeHead",
    "filled",
    "joined",
    "opening_of",
    "whole_head",
]

SEARCH_BYTES = 64 * 1024
PRESCAN_BYTES = 1024
_WORTH_A_VIEW_BYTES = 8 * 1024


class Insertions(NamedTuple):
    """What a document gains, as ASCII bytes; either may be empty.

    Attributes:
        head: Goes after the opening `<head>`; begins with `<style` or `<script`.
        body: Goes after the opening `<body>`; begins with `<section`.
    """

    head: bytes
    body: bytes


class Outcome(enum.Enum):
    """What is known of a document: whether it is changed, and if not, why."""

    SEARCHING = "searching"
    CHANGED = "changed"
    FRAGMENT = "fragment"
    NO_HEAD = "no head"
    NOT_ASCII_COMPATIBLE = "not ASCII-compatible"


class WholeHead(NamedTuple):
    """Where a first chunk opens head and body, when it holds all that lies before them.

    Attributes:
        head_at: Where the head's insertion goes.
        body_at: Where the body's goes.
        lang: As `DocumentStream` hands it over.
    """

    head_at: int
    body_at: int
    lang: str | None


def whole_head(chunk: bytes) -> WholeHead | None:
    """Find both places in the first chunk of a document whose charset is known by its header.

    Most documents are sent so. `None` means that only `DocumentStream` knows; the places are the same.
    """
    match = _TO_BODY.match(chunk, 0, SEARCH_BYTES)
    return None if match is None else WholeHead(match.end(1), match.end(), _lang(match[2] or b""))


def opening_of(chunk: bytes) -> bytes:
    """Give a document's first chunk up to the end of its first `<body>`, as far as a search can tell.

    If `whole_head` finds both places in that, they are the chunk's as well: of what follows it reads nothing,
    and what an end would cut short has no `<body>` after it. Empty where there is none in 64 KiB.
    """
    at = chunk.find(b"<body", 0, SEARCH_BYTES)
    return chunk[: chunk.find(b">", at, SEARCH_BYTES) + 1] if at >= 0 else b""


def filled(chunk: bytes, places: WholeHead, head: bytes, body: bytes) -> bytes:
    """Give a chunk with both insertions."""
    head_at, body_at, _ = places
    return joined(b"".join((chunk[:head_at], head, chunk[head_at:body_at], body)), chunk, body_at)


def joined(opening: bytes, chunk: bytes, start: int) -> bytes:
    """Give a changed opening with what follows it in its chunk.

    Args:
        opening: the changed one.
        chunk: the first chunk as it came.
        start: where in it the rest begins.
    """
    # a view saves the second copy of a large rest, and costs more than it saves for a small one
    if len(chunk) < _WORTH_A_VIEW_BYTES:
        return opening + chunk[start:]
    return b"".join((opening, memoryview(chunk)[start:]))


class DocumentStream:
    """One HTML document on its way out: the same output, `outcome` and `added` under any chunking.

    The head's insertion goes right after `<head>`, or right before the token that implies it; but after a
    `<meta>` that declares the encoding in the first 1,024 bytes when no header does, since browsers look no
    further for it (HTML standard, "prescan a byte stream to determine its encoding"). The body's goes right
    after `<body>` or before the token that implies it; after the last byte when no body opens within 64 KiB
    of the head, or a frameset does. Only whole documents are changed: what first is neither white space nor
    a comment must be a doctype or the tag `<html>`, `<head>` or `<body>`.

    Attributes:
        outcome: `SEARCHING` until the head opens or it is known why the document stays as it is.
        added: Bytes by which the document will have grown at its end; 0 unless `outcome` is `CHANGED`.

    Example:
        >>> insertions = Insertions(head=b"<style></style>", body=b"<section></section>")
        >>> stream = DocumentStream(lambda lang: insertions, has_charset=True)
        >>> stream.feed(b"<!doctype html><title>A</ti")
        b'<!doctype html><style></style><title>A</ti'
        >>> stream.feed(b"tle><p>B"), stream.added, stream.finish()
        (b'tle><section></section><p>B', 34, b'')
    """

    # most documents are placed at once and never need the rest
    outcome = Outcome.SEARCHING
    added = 0
    _due: Sequence[bytes] = ()
    _held: list[bytes]
    _held_from = 0
    _scanner: _Scanner | None = None
    _is_settled = False

    def __init__(self, insertions: Callable[[str | None], tuple[bytes, bytes]], *, has_charset: bool) -> None:
        """Prepare for the first byte.

        Args:
            insertions: Called once, when the head opens, with the stripped value of `<html lang>`, its
                character references as they are; with `None` where it is absent or empty.
            has_charset: Whether the `Content-Type` header names a charset.
        """
        self._insertions = insertions
        self._has_charset = has_charset

    @property
    def is_done(self) -> bool:
        """Whether all that is still to come leaves as it came, the end included."""
        return self._is_settled and not self._due

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return those that may leave: none while `SEARCHING`.

        Once both insertions are made, or none will be, the chunk itself is returned, not a copy.
        """
        if self._is_settled:
            return chunk
        if self._scanner is None:
            places = whole_head(chunk) if self._has_charset else None
            if places is not None:
                self._answer(Outcome.CHANGED, places.lang)
                self._is_settled, insertions, self._due = True, self._due, ()
                return filled(chunk, places, *insertions)
            self._scanner, self._held = _Scanner(self._has_charset), []
        self._held.append(chunk)
        self._scanner.feed(chunk)
        return self._release(self._scanner)

    def finish(self) -> bytes:
        """Return what is left at the end of the document; nothing when called again."""
        rest = b""
        if not self._is_settled:
            if self._scanner is None:
                self._scanner, self._held = _Scanner(self._has_charset), []
            self._scanner.finish()
            rest = self._release(self._scanner)
        rest += b"".join(self._due)
        self._due = ()
        return rest

    def _release(self, scanner: _Scanner) -> bytes:
        if scanner.outcome is Outcome.SEARCHING:
            return b""
        if self.outcome is Outcome.SEARCHING:
            self._answer(scanner.outcome, scanner.lang)
        document = b"".join(self._held)
        self._is_settled = scanner.is_done
        if self.outcome is not Outcome.CHANGED:
            self._held = []
            return document
        view, start = memoryview(document), 0
        pieces: list[bytes | memoryview] = []
        while (place := self._next_place(scanner)) is not None:
            pieces += [view[start : place - self._held_from], self._due[0]]
            self._due = self._due[1:]
            start = place - self._held_from
        end = scanner.safe_at - self._held_from
        pieces.append(view[start:end])
        self._held = [document[end:]]
        self._held_from += end
        return b"".join(pieces)

    def _answer(self, outcome: Outcome, lang: str | None) -> None:
        self.outcome = outcome
        if outcome is Outcome.CHANGED:
            # let go of whoever is asked, who holds this stream: a circle would stay until the next collection
            ask, self._insertions = self._insertions, _asked_already
            self._due = ask(lang)
            self.added = sum(map(len, self._due))

    def _next_place(self, scanner: _Scanner) -> int | None:
        if not self._due:
            return None
        return scanner.head_at if len(self._due) == 2 else scanner.body_at


def _asked_already(lang: str | None) -> tuple[bytes, bytes]:
    raise AssertionError("the insertions of a document are asked for once")


def _compile(pattern: str) -> re.Pattern[bytes]:
    """Compile with `_` for the standard's white space (no vertical tab), `~` for what ends a tag's name."""
    return re.compile(pattern.replace("_", r"\t\n\f\r ").replace("~", r"(?=[\t\n\f\r />])").encode("ascii"))


# The fast patterns accept only what has one reading, so that no failed match costs more than linear time.
_ATTRIBUTES = r"""(?:[_]+[^_/>="'<]+(?:=(?:"[^"]*"|'[^']*'|[^_>"'=<`]+))?)*[_]*/?"""
_COMMENT = r"<!--(?!-?>)[^-]*(?:-(?!-)[^-]*)*-->"
_MISC = rf"[_]*(?:{_COMMENT}[_]*)*"
_TO_HEAD = (
    rf"(?:\xef\xbb\xbf)?{_MISC}(?:<!(?i:doctype)[^>]*>{_MISC})?"
    rf"(?:<(?i:html)({_ATTRIBUTES})>{_MISC})?<(?i:head){_ATTRIBUTES}>"
)
_IN_HEAD = (
    rf"(?:[_]+|{_COMMENT}|<(?i:meta|link|base){_ATTRIBUTES}>|(</(?i:head)>)"
    rf"|<(?i:title){_ATTRIBUTES}>[^<]*</(?i:title)>|<(?i:style){_ATTRIBUTES}>[^<]*</(?i:style)>"
    rf"|<(?i:script){_ATTRIBUTES}>[^<]*(?:<(?!/(?i:script)|!--)[^<]*)*</(?i:script)>)*"
)
_BEGINNING = _compile(_TO_HEAD)
_HEAD_CONTENT = _compile(_IN_HEAD)

# The same once more for the way that most pages take: all of it at once, in half the time. It knows lower
# case alone, and values that begin right after the `=` of a name; the scanner knows the rest. What has one
# reading is never read again: hence the possessive and atomic groups.
_PLAIN_TAG = r"""(?=[_/>])[^"'<>=`]*+(?:(?<![_/"])=(?:"[^"]*+"|[^_"'<>=`]++(?=[_>]))[^"'<>=`]*+)*+>"""
_PLAIN_COMMENT = r"!--(?!-?>)[^-]*+(?:-(?!-)[^-]*+)*+-->"
_PLAIN_MISC = rf"[_]*+(?:<{_PLAIN_COMMENT}[_]*+)*+"
_PLAIN_HEAD = (
    rf"(?:\xef\xbb\xbf)?{_PLAIN_MISC}(?:<!(?:doctype|DOCTYPE)[^>]*+>{_PLAIN_MISC})?"
    rf"(?:<html({_PLAIN_TAG}){_PLAIN_MISC})?<head{_PLAIN_TAG}"
)
_PLAIN_IN_HEAD = (
    rf"[_]*+(?:<(?:(?:meta|link|base){_PLAIN_TAG}|/head>|title{_PLAIN_TAG}[^<]*+</title>"
    rf"|style{_PLAIN_TAG}[^<]*+</style>|script{_PLAIN_TAG}[^<]*+(?:<(?!/[sS]|!--)[^<]*+)*+</script>"
    rf"|{_PLAIN_COMMENT})[_]*+)*+"
)
_TO_BODY = _compile(rf"((?>{_PLAIN_HEAD}))(?>{_PLAIN_IN_HEAD})<body{_PLAIN_TAG}")
_REST_OF_TAG = _compile(rf"{_ATTRIBUTES}>")

_SPACE = _compile(r"[_]*")
_UP_TO_MARKUP = _compile(r"[^<]*")
_MARKUP = _compile(
    r"(?i)<(?:(?P<partial>(?:!(?:-{0,3}|d(?:o(?:c(?:t(?:yp?)?)?)?)?)|/?(?:[a-z][^_/>]{0,14})?)\Z)"
    r"|(?P<empty>!---?>)|(?P<comment>!--)|(?P<doctype>!doctype)|(?P<bogus>[!?]|/(?=[^a-z]))"
    r"|(?P<tag>/?[a-z][^_/>]{0,14}))"
)
_SPACE_REFERENCE = _compile(
    r"&(?:\#0{0,24}(?:9|1[023]|32)(?:;|(?![0-9]))|\#[xX]0{0,24}(?:[9aAcCdD]|20)(?:;|(?![0-9a-fA-F]))|Tab;|NewLine;)"
)
_PARTIAL_REFERENCE = _compile(
    r"&(?:\#(?:[0-9]{0,32}|[xX][0-9a-fA-F]{0,32})|T(?:ab?)?|N(?:e(?:w(?:L(?:i(?:ne?)?)?)?)?)?)?\Z"
)
_COMMENT_END = _compile(r"--!?>")
_GREATER_THAN = _compile(r">")

_UTF8_MARK = b"\xef\xbb\xbf"
_FOREIGN_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")

_HEAD_TAGS = frozenset(b"base basefont bgsound link meta title noframes style script template".split())
_ROOT_TAGS = frozenset(b"html head body".split())
_BODY_ENDS = frozenset(b"/body /html /br".split())
_RAW_TAGS = frozenset(b"title style script noframes noscript".split())
_TEMPLATE_RAW_TAGS = _RAW_TAGS | frozenset(b"textarea iframe noembed xmp plaintext".split())
_RAW_ENDS = {name: _compile(rf"(?i)</{name.decode()}~") for name in _TEMPLATE_RAW_TAGS}
_RAW_ENDS[b"plaintext"] = _compile(r"(?!)")

_SCRIPT = _compile(r"(?i)</script~|<!--")
_SCRIPT_ESCAPED = _compile(r"(?i)-->|</?script~")
_SCRIPT_DOUBLE_ESCAPED = _compile(r"(?i)-->|</script~")


class _Mode(enum.Enum):
    """The standard's insertion modes, with "initial" apart: there it is open whether this is a document."""

    INITIAL = enum.auto()
    BEFORE_HEAD = enum.auto()
    IN_HEAD = enum.auto()
    AFTER_HEAD = enum.auto()


class _Part(enum.Enum):
    """Where in a tag the next byte lies."""

    TAG_NAME = enum.auto()
    BEFORE_NAME = enum.auto()
    NAME = enum.auto()
    BEFORE_VALUE = enum.auto()
    DOUBLE_QUOTED = enum.auto()
    SINGLE_QUOTED = enum.auto()
    UNQUOTED = enum.auto()
    CLOSED = enum.auto()


# For each part: what it runs over, where the byte after that leads, and where any other byte leads.
_PARTS: dict[_Part, tuple[re.Pattern[bytes], dict[int, _Part], _Part]] = {
    _Part.TAG_NAME: (_compile("[^_/>]*"), {ord(">"): _Part.CLOSED}, _Part.BEFORE_NAME),
    _Part.BEFORE_NAME: (_compile("[_/]*"), {ord(">"): _Part.CLOSED}, _Part.NAME),
    _Part.NAME: (
        _compile("[^/>=]*"),
        {ord(">"): _Part.CLOSED, ord("="): _Part.BEFORE_VALUE},
        _Part.BEFORE_NAME,
    ),
    _Part.BEFORE_VALUE: (
        _SPACE,
        {ord(">"): _Part.CLOSED, ord('"'): _Part.DOUBLE_QUOTED, ord("'"): _Part.SINGLE_QUOTED},
        _Part.UNQUOTED,
    ),
    _Part.DOUBLE_QUOTED: (_compile('[^"]*'), {}, _Part.BEFORE_NAME),
    _Part.SINGLE_QUOTED: (_compile("[^']*"), {}, _Part.BEFORE_NAME),
    _Part.UNQUOTED: (_compile("[^_>]*"), {ord(">"): _Part.CLOSED}, _Part.BEFORE_NAME),
}

_ATTRIBUTE = _compile(r"""[_/]*([^_/>][^_/>=]*)(?:[_]*=[_]*(?:"([^"]*)"|'([^']*)'|([^_>"'][^_>]*)|))?""")


def _attributes(source: bytes) -> dict[bytes, bytes]:
    """Read what stands between a whole tag's name and its `>`; of duplicates the first counts."""
    found: dict[bytes, bytes] = {}
    for name, double, single, unquoted in _ATTRIBUTE.findall(source):
        found.setdefault(name.lower(), double or single or unquoted)
    return found


@lru_cache(maxsize=256)
def _lang(source: bytes) -> str | None:
    value = _attributes(source).get(b"lang") if source else None
    return value.decode("latin-1").strip() or None if value is not None else None


def _end_of(pattern: re.Pattern[bytes], text: bytes, start: int, end: int) -> int:
    match = pattern.match(text, start, end)
    return match.end() if match else start


class _Scanner:
    """The tokenizer and the first insertion modes of the standard, as far as they place two insertions.

    Each state reads what it can and returns whether there is more to read. Between two chunks only the
    beginning of an undecided token stays, at most some 40 bytes. Places are offsets in the document.

    Limits accepted: `<svg>` and `<math>` within a template of the head are read as HTML; a reference to a
    space with more than 24 leading zeros is read as text; a `<frameset>` that would take back an implied
    body no longer does once the insertion holds text.
    """

    def __init__(self, has_charset: bool) -> None:
        self.outcome = Outcome.SEARCHING
        self.lang: str | None = None
        self.head_at: int | None = None
        self.body_at: int | None = None
        self.is_done = False
        self._has_charset = has_charset
        self._opened_at: int | None = None
        self._text = b""
        self._text_from = 0
        self._at = 0
        self._end = 0
        self._is_final = False
        self._state: Callable[[], bool] = self._start
        self._mode = _Mode.INITIAL
        self._template_depth = 0
        self._tag_at = 0
        self._tag = b""
        self._part = _Part.TAG_NAME
        self._source: list[bytes] = []
        self._script_end = _SCRIPT

    @property
    def safe_at(self) -> int:
        """Where the bytes end that no insertion still to be placed can precede."""
        if self._opened_at is not None and self.head_at is None:
            return self._opened_at
        return self._seen if self.is_done or self._state != self._content else self._here

    @property
    def _here(self) -> int:
        return self._text_from + self._at

    @property
    def _seen(self) -> int:
        return self._text_from + len(self._text)

    def feed(self, chunk: bytes) -> None:
        self._text_from = self._here
        self._text = self._text[self._at :] + chunk
        self._at = 0
        self._read()

    def finish(self) -> None:
        self._is_final = True
        self._read()
        if self.is_done:
            return
        if self._state == self._content:
            self._open_body(self._here)
        elif self._state == self._in_tag and self._opened_at is None:
            self._open_body(self._tag_at)  # the end of the document drops an unfinished tag
        else:
            self._open_body(self._seen)

    def _read(self) -> None:
        """Read on, never past the limits, so that the answer rests on the same bytes under any chunking."""
        self._clip()
        while not self.is_done and self._state():
            pass
        if self.is_done:
            return
        if self._opened_at is None:
            if self._seen >= SEARCH_BYTES:
                self._stop(Outcome.NO_HEAD)
        elif self._seen >= self._opened_at + SEARCH_BYTES:
            self._stop()
        elif self._seen >= PRESCAN_BYTES:
            self._place_head(self._opened_at)

    def _clip(self) -> None:
        limit = (self._opened_at or 0) + SEARCH_BYTES
        self._end = min(len(self._text), limit - self._text_from)

    def _stop(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome or self.outcome
        self.is_done = True
        if self._opened_at is not None:
            self._place_head(self._opened_at)

    def _open_head(self, place: int) -> None:
        self.outcome = Outcome.CHANGED
        self._opened_at = place
        self._mode = _Mode.IN_HEAD
        self._clip()
        if self._has_charset or place >= PRESCAN_BYTES:
            self._place_head(place)

    def _place_head(self, place: int) -> None:
        if self.head_at is None:
            self.head_at = place

    def _open_body(self, place: int) -> bool:
        """Place the body's insertion, and the head's where that is open or implied by the same token."""
        if self._mode is _Mode.INITIAL:
            self._stop(Outcome.FRAGMENT)
            return False
        if self._opened_at is None:
            self._open_head(place)
        self.body_at = place
        self._stop()
        return False

    def _start(self) -> bool:
        """Read a byte-order mark, or a document's common beginning in one go."""
        if beginning := _BEGINNING.match(self._text, 0, self._end):
            self._state = self._content
            self._at = beginning.end()
            self._read_lang(beginning[1] or b"")
            self._open_head(self._at)
            return True
        first = self._text[:4]
        if first.startswith(_FOREIGN_MARKS):
            self._stop(Outcome.NOT_ASCII_COMPATIBLE)
        elif first.startswith(_UTF8_MARK):
            self._at = len(_UTF8_MARK)
        elif any(mark.startswith(first) for mark in (_UTF8_MARK, *_FOREIGN_MARKS)):
            return False
        self._state = self._content
        return True

    def _read_lang(self, source: bytes) -> None:
        if self.lang is None:
            self.lang = _lang(source)

    def _content(self) -> bool:
        """Read text up to the next token ("data state")."""
        if self._template_depth:
            self._at = _end_of(_UP_TO_MARKUP, self._text, self._at, self._end)
        else:
            if self._opened_at is not None and self._here >= PRESCAN_BYTES:
                self._place_head(self._opened_at)
            if self.head_at is not None:
                self._skip_head_content()
            self._at = _end_of(_SPACE, self._text, self._at, self._end)
        if self._at == self._end:
            return False
        if self._text[self._at] == ord("<"):
            return self._markup()
        if self._text[self._at] == ord("&"):
            return self._reference()
        return self._open_body(self._here)

    def _skip_head_content(self) -> None:
        match = _HEAD_CONTENT.match(self._text, self._at, self._end)
        if match:
            self._at = match.end()
            if match[1]:
                self._mode = _Mode.AFTER_HEAD

    def _reference(self) -> bool:
        if not self._is_final and _PARTIAL_REFERENCE.match(self._text, self._at, self._end):
            return False
        if space := _SPACE_REFERENCE.match(self._text, self._at, self._end):
            self._at = space.end()
            return True
        return self._open_body(self._here)

    def _markup(self) -> bool:
        """Tell a tag, a comment and a doctype from text ("tag open", "markup declaration open" states)."""
        match = _MARKUP.match(self._text, self._at, self._end)
        if match is None:
            return self._less_than_sign()
        if match.lastgroup == "partial":
            return False
        place = self._here
        self._at = match.end()
        if match.lastgroup == "tag":
            return self._enter_tag(match["tag"].lower(), place)
        if match.lastgroup == "comment":
            self._state = self._in_comment
        elif match.lastgroup == "doctype":
            self._state = self._in_doctype
        elif match.lastgroup == "bogus":
            self._state = self._in_bogus_comment
        return True

    def _less_than_sign(self) -> bool:
        if not self._template_depth:
            return self._open_body(self._here)
        self._at += 1
        return True

    def _in_comment(self) -> bool:
        return self._read_to(_COMMENT_END, keep=3)

    def _in_doctype(self) -> bool:
        is_closed = self._in_bogus_comment()
        if is_closed and self._mode is _Mode.INITIAL:
            self._mode = _Mode.BEFORE_HEAD
        return is_closed

    def _in_bogus_comment(self) -> bool:
        return self._read_to(_GREATER_THAN, keep=0)

    def _read_to(self, pattern: re.Pattern[bytes], *, keep: int) -> bool:
        match = pattern.search(self._text, self._at, self._end)
        if match is None:
            self._at = max(self._at, self._end - keep)
            return False
        self._at = match.end()
        self._state = self._content
        return True

    def _enter_tag(self, name: bytes, place: int) -> bool:
        """Do what a tag implies as soon as its name is known (`name` of an end tag begins with a slash)."""
        self._tag, self._tag_at = name, place
        self._part, self._source = _Part.TAG_NAME, []
        if not self._template_depth:
            if self._mode is _Mode.INITIAL and name not in _ROOT_TAGS:
                return self._open_body(place)
            if self._opened_at is None and self._implies_head(name):
                self._open_head(place)
            if name == b"frameset":
                self._stop()
                return False
            if self._opened_at is not None and self._implies_body(name):
                return self._open_body(place)
        self._state = self._in_tag
        return True

    def _implies_head(self, name: bytes) -> bool:
        if name.startswith(b"/"):
            return name == b"/head" or name in _BODY_ENDS
        return name not in (b"html", b"head")

    def _implies_body(self, name: bytes) -> bool:
        if name.startswith(b"/"):
            return name in _BODY_ENDS
        if name == b"noscript":
            return self._mode is _Mode.AFTER_HEAD
        return name not in _HEAD_TAGS and name not in _ROOT_TAGS

    def _in_tag(self) -> bool:
        """Read a tag to its `>` (the standard's attribute states)."""
        start, part = self._at, self._part
        if part is _Part.TAG_NAME and (rest := _REST_OF_TAG.match(self._text, start, self._end)):
            self._at, part = rest.end(), _Part.CLOSED
        while part is not _Part.CLOSED and self._at < self._end:
            run, leads, otherwise = _PARTS[part]
            self._at = _end_of(run, self._text, self._at, self._end)
            if self._at < self._end:
                part = leads.get(self._text[self._at], otherwise)
                self._at += 1
        self._part = part
        if self._tag in (b"html", b"meta"):
            self._source.append(self._text[start : self._at])
        if part is not _Part.CLOSED:
            return False
        self._state = self._content
        return self._leave_tag(self._tag)

    def _leave_tag(self, name: bytes) -> bool:
        if name == b"template":
            self._template_depth += 1
        elif name == b"/template":
            self._template_depth = max(0, self._template_depth - 1)
        elif name in (_TEMPLATE_RAW_TAGS if self._template_depth else _RAW_TAGS):
            self._script_end = _SCRIPT
            self._state = self._in_script if name == b"script" else self._in_raw_text
        elif not self._template_depth:
            return self._leave_root_tag(name)
        return True

    def _leave_root_tag(self, name: bytes) -> bool:
        if name == b"body":
            return self._open_body(self._here)
        if name == b"/head":
            self._mode = _Mode.AFTER_HEAD
        elif name == b"meta":
            self._read_meta()
        elif self._opened_at is None:
            if name == b"head":
                self._open_head(self._here)
            elif name == b"html":
                self._mode = _Mode.BEFORE_HEAD
                self._read_lang(b"".join(self._source)[:-1])
        return True

    def _read_meta(self) -> None:
        if self.head_at is not None or self._here > PRESCAN_BYTES:
            return
        found = _attributes(b"".join(self._source)[:-1])
        is_content_type = found.get(b"http-equiv", b"").lower() == b"content-type"
        if b"charset" in found or (is_content_type and b"charset" in found.get(b"content", b"").lower()):
            self._place_head(self._here)

    def _in_raw_text(self) -> bool:
        match = _RAW_ENDS[self._tag].search(self._text, self._at, self._end)
        if match is None:
            self._at = max(self._at, self._end - len(self._tag) - 2)
            return False
        return self._end_raw_text(match.end())

    def _end_raw_text(self, end: int) -> bool:
        self._at = end
        self._tag, self._part = b"/" + self._tag, _Part.TAG_NAME
        self._state = self._in_tag
        return True

    def _in_script(self) -> bool:
        """Read a script to its end, hidden by `<!--` with `<script` ("script data double escaped state")."""
        match = self._script_end.search(self._text, self._at, self._end)
        if match is None:
            self._at = max(self._at, self._end - len(b"</script"))
            return False
        found, self._at = match[0].lower(), match.end()
        if found == b"<!--":
            self._script_end = _SCRIPT_ESCAPED
            self._at -= 2  # its dashes may end it: <!-->
        elif found == b"-->":
            self._script_end = _SCRIPT
        elif found == b"<script":
            self._script_end = _SCRIPT_DOUBLE_ESCAPED
        elif self._script_end is _SCRIPT_DOUBLE_ESCAPED:
            self._script_end = _SCRIPT_ESCAPED
        else:
            return self._end_raw_text(match.end())
        return True
