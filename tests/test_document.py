"""`DocumentStream` places two insertions, the same under any chunking, and changes nothing else.

Trees are compared after an html5lib parse; the table names the places by `{H}` and `{B}`.
"""

from __future__ import annotations

import doctest
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeAlias
from xml.etree import ElementTree

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_consent import document
from gem_consent.document import (
    PRESCAN_BYTES,
    SEARCH_BYTES,
    DocumentStream,
    Insertions,
    Outcome,
    opening_of,
    whole_head,
)

Output: TypeAlias = tuple[bytes, Outcome, int, list[str | None]]

HEAD = b"<style id=gem-h></style>"
BODY = b"<section id=gem-b></section>"
ADDED = len(HEAD) + len(BODY)

PLACES = {
    "ordinary": "<!doctype html>\n<html lang=en>\n<head>{H}\n<title></title></head>\n<body class='x'>{B}<p>B",
    "upper case": "<!DOCTYPE HTML><HTML><HEAD>{H}<TITLE>A</TITLE></HEAD><BODY>{B}B",
    "200 bytes": "<!doctype html><head>{H}</head><body>{B}" + "x" * 163,
    "byte-order mark": "\ufeff<!doctype html><html><head>{H}</head><body>{B}<p>",
    "mark without doctype": "\ufeff \n<html><head>{H}<body>{B}<p>",
    "xhtml prolog": '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">'
    '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en"><head>{H}<meta name="a" /></head><body>{B}<p>',
    "no doctype": "<html><head>{H}</head><body>{B}<p>",
    "head first": "<head>{H}<title></title><body>{B}<p>",
    "body first": "{H}<body>{B}<p>",
    "doctype alone": "<!doctype html>{H}{B}",
    "html alone": "<html>{H}{B}",
    "only space after": "<!doctype html> <html> <head>{H} </head> {B}",
    "text at once": "<!doctype html> {H}{B}text",
    "less-than sign": "<!doctype html>{H}{B}<3",
    "less-than sign at the end": "<!doctype html>{H}<title>A</title>{B}<",
    "unfinished name at the end": "<!doctype html><head>{H}{B}<bod",
    "unfinished tag at the end": "<!doctype html>{H}{B}<html lang='",
    "unfinished comment at the end": "<!doctype html><head>{H}<!-- <body>{B}",
    "unfinished script at the end": "<!doctype html><head>{H}<script><body>{B}",
    "nul is text": "<!doctype html><head>{H}{B}\0",
    "vertical tab is text": "<!doctype html><head>{H}\t\n\f\r {B}\v<title></title>",
    "no-break space is text": "<html><head>{H} {B}&nbsp;",
    "space by reference": "<html>&#32;<head>{H}&#x20;&#09;&Tab;&NewLine;&#10{B}x<body>",
    "references at the end": "<html><head>{H}&#9;&#32{B}",
    "ampersand at the end": "<html><head>{H}{B}&",
    "vertical tab by reference": "<html><head>{H}{B}&#11;<body>",
    "other references": "<html><head>{H}{B}&#320;<body>",
    "title implies head": "<!doctype html>{H}<title>A</title>{B}<p>B",
    "comments before head": "<!-- a --><!doctype html><!-- b --><html><!-- c -->{H}<link>{B}B",
    "head end implies head": "<html>{H}</head><body>{B}<p>",
    "body end implies both": "<html>{H}{B}</body>",
    "html end implies both": "<html><head>{H}{B}</html>",
    "br end implies body": "<html><head>{H}</head>{B}</br>",
    "other end tags are ignored": "<html></p></title><head>{H}</p></template></head></head></p><body>{B}<p>",
    "second html and head": "<html><html lang=fr><head>{H}<html a><head b></head><head><body>{B}<p>",
    "second doctype": "<html><!doctype html><head>{H}<!doctype html></head><!doctype html><body>{B}<p>",
    "all that stays in the head": "<html><head>{H}<base><basefont><bgsound><link><meta><title></title>"
    "<style></style><noscript><p></noscript><noframes><p></noframes><script></script></head><body>{B}<p>",
    "noscript after the head": "<html><head>{H}</head>{B}<noscript></noscript>",
    "style after the head": "<html><head>{H}</head> <style><body></style> <body>{B}<p>",
    "unknown element": "<html><head>{H}{B}<meta-x>",
    "header is not head": "<html>{H}{B}<header><head><body>",
    "long names": "<html></aaaaaaaaaaaaaaaaaaaaaaaa='></aaaaaaaaaaaaaaaa a='<body>'><head>{H}"
    "{B}<bodybodybodybody>",
    "long name with quote": "<html></aaaaaaaaaaaaaaaaaaaaaaaa=b='><head>{H}{B}'><body>",
    "comments shorter than they look": "<!--><html><!---><head>{H}<!--><link><!---><body>{B}--><p>-->",
    "shortest comments": "<!-->\n<!---><!----><!--a--!><html><head>{H}<!--><!---></head><body>{B}<p>",
    "tags in comments": "<!doctype html><!-- <head> --><head>{H}<!-- <body> -- > --!<!-- --><body>{B}<p>",
    "dashes in comments": "<html><head>{H}<!-----><!------><!--!><body>--><!-- <!--><body>{B}<p>",
    "bogus comments": "<?xml <html>\n<!foo></ ><html></><head>{H}<![CDATA[<body]]></3 <body><body>{B}<p>",
    "tags in attributes": "<html data-a='<head>' data-b=\"<body>\"><head a='>' b=\">\">{H}"
    "<meta content='<body>'><body a=/>{B}<p>",
    "spaces around equals": "<html lang = 'a>b' ><head\n a\t=\r\">\"\f/>{H}<link a=b'>{B}c'<body>",
    "equals begins a name": '<html><head =">{H}\n<link a=b/="><link a/=\'><link =="\'>"><body /=">{B}"',
    "quotes close up": "<html a='>'b=\">\"/c><head>{H}<link a=\"\"b='>'/><body a='>'b>{B}<p>",
    "attributes of end tags": "<html><head>{H}<script></script a='>'>"
    "<title></title b=\">\"></head c='>'><body>{B}<p>",
    "duplicate attributes": "<html a=1 a='>'><head>{H}<body a a='>'>{B}<p>",
    "self-closing slashes": "<!doctype html><html/><head/>{H}<meta/><link/><body/>{B}<p>",
    "script is raw text": "<html><head>{H}<script>'</head><body>' </scriptx> </script\n><body>{B}<p>",
    "script within comment": "<html><head>{H}<script><!-- <script> </script> <body> --></script><body>{B}<p>",
    "script ends in comment": "<html><head>{H}<script><!-- </script><body>{B}-->",
    "script after another": "<html><head>{H}<script><!--</script><script><script </script><body>{B}<p>",
    "script with short comment": "<html><head>{H}<script><!--><script></script><body>{B}</script>",
    "script doubly escaped": "<html><head>{H}<script><!--<SCRIPT/></script <body></script><body>{B}<p>",
    "self-closing script": "<html><head>{H}<script src=a /><body></script><body>{B}<p>",
    "title is text": "<html><head>{H}<title><body><!-- </titles></TITLE ><body>{B}<p>",
    "style is raw text": "<html><head>{H}<style><!-- <body> </style><body>{B}<p>",
    "textarea opens the body": "<html><head>{H}{B}<textarea><body></textarea>",
    "iframe srcdoc": "<html><head>{H}</head>{B}<iframe srcdoc='<html><head></head><body>'></iframe>",
    "template": "<html><head>{H}<template><body>a&b <3<p></template></template></head><body>{B}<p>",
    "nested templates": "<html><head>{H}<template><template></template><body><TEMPLATE></template></template>"
    "<body>{B}<p>",
    "texts in a template": "<html><head>{H}<template><textarea></template></textarea>"
    "<script></template></script><iframe></template></iframe></template><body>{B}<p>",
    "plaintext in a template": "<html><head>{H}<template><plaintext></plaintext></template><body>{B}",
    "drawing opens the body": "<html><head>{H}{B}<svg><title><body></title></svg><body>",
    "formula opens the body": "<html><head>{H}<link>{B}<math><mtext><body>",
    "plaintext opens the body": "<html><head>{H}</head>{B}<plaintext><body></plaintext>",
    "lines of windows": "<!doctype html>\r\n<html\r\na>\r\n<head>{H}\r\n<title>A</title>\r\n"
    "</head>\r\n<body\r\na>{B}\r\n",
    "body with a script in it": "<html><head>{H}</head><body onload=\"if (a > b) '<body>'\">{B}<p>",
    "shadow root in the head": "<html><head>{H}<template shadowrootmode=open><body></template>"
    "</head><body>{B}<p>",
    "pictures without script": "<head>{H}<noscript><img src='<body>'></noscript><body>{B}",
    "frameset": "<html><head>{H}</head><frameset><frame><noframes><body></noframes></frameset></html>{B}",
    "frameset at once": "<html>{H}<frameset><frame></frameset>{B}",
}

FRAGMENTS = {
    "nothing": "",
    "space": " \n",
    "comment": "<!-- <html> -->",
    "unfinished comment": "<!-- <html>",
    "element": "<div><html><head></head><body>",
    "title": "<title>A</title>",
    "text": "hello <html>",
    "reference": "&nbsp;<html>",
    "end tag": "</html><html>",
    "turbo stream": "<turbo-stream action='append'><template></template></turbo-stream>",
    "template": "<template><html></template>",
    "unfinished html": "<html",
    "unfinished attribute": "<html lang='>",
    "unfinished doctype": "<!doctype html",
    "unfinished mark": "\ufeff",
    "header": "<header>",
    "json": '{"a": "<html>"}',
}


def changed(
    chunks: Iterable[bytes], *, has_charset: bool = True, head: bytes = HEAD, body: bytes = BODY
) -> Output:
    """Feed the chunks and return the output, the outcome, the growth and the languages asked for."""
    langs: list[str | None] = []

    def insertions(lang: str | None) -> Insertions:
        langs.append(lang)
        return Insertions(head, body)

    stream = DocumentStream(insertions, has_charset=has_charset)
    parts = []
    for chunk in chunks:
        parts.append(stream.feed(chunk))
        assert stream.outcome is not Outcome.SEARCHING or parts[-1] == b""
    parts.append(stream.finish())
    return b"".join(parts), stream.outcome, stream.added, langs


def bytewise(source: bytes) -> list[bytes]:
    """Cut into single bytes."""
    return [source[i : i + 1] for i in range(len(source))]


def marked(source: str, encoding: str = "utf-8") -> tuple[bytes, bytes]:
    """Return a table entry as the input and the output that it stands for."""
    output = source.encode(encoding).replace(b"{H}", HEAD).replace(b"{B}", BODY)
    return source.replace("{H}", "").replace("{B}", "").encode(encoding), output


@pytest.mark.parametrize("source", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("has_charset", [True, False])
def test_insertions_land_in_their_places(source: str, has_charset: bool) -> None:
    """Each document gains both insertions where the table says, whole and byte by byte."""
    given_bytes, expected = marked(source)
    whole = changed([given_bytes], has_charset=has_charset)
    assert whole[:3] == (expected, Outcome.CHANGED, ADDED)
    assert changed(bytewise(given_bytes), has_charset=has_charset) == whole


@pytest.mark.parametrize("source", FRAGMENTS.values(), ids=FRAGMENTS.keys())
def test_fragments_pass_untouched(source: str) -> None:
    """What is no whole document keeps its bytes, and no insertion is asked for."""
    untouched: Output = (source.encode(), Outcome.FRAGMENT, 0, [])
    assert changed([source.encode()]) == untouched
    assert changed(bytewise(source.encode())) == untouched


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_encodings_pass_untouched(encoding: str) -> None:
    """A byte-order mark of UTF-16 or UTF-32 leaves the document alone."""
    source = (
        "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    ) + "<html><head></head><body></body></html>"
    untouched: Output = (source.encode(encoding), Outcome.NOT_ASCII_COMPATIBLE, 0, [])
    assert changed([source.encode(encoding)]) == untouched
    assert changed(bytewise(source.encode(encoding))) == untouched


def test_latin_1_bytes_stay_themselves() -> None:
    """Bytes above ASCII are copied, whatever the encoding."""
    source, expected = marked("<html><head>{H}<title>\xe9\xff</title></head><body>{B}\xe0", "latin-1")
    assert changed([source])[0] == expected


@pytest.mark.parametrize(
    ("tag", "lang"),
    [
        (b"<html lang=fr>", "fr"),
        (b"<HTML class=a LANG=' fr-CA '>", "fr-CA"),
        (b'<html lang = "de" lang=fr>', "de"),
        (b"<html><html lang=fr>", "fr"),
        (b"<html lang=de><html lang=fr>", "de"),
        (b"<html a='>' lang=fr/>", "fr/"),
        (b"<html lang>", None),
        (b"<html lang=''>", None),
        (b"<html xml:lang=fr>", None),
        (b"<!doctype html>", None),
        (b"<!-- <html lang=fr> --><html data-lang=de>", None),
    ],
)
def test_page_language_is_handed_over(tag: bytes, lang: str | None) -> None:
    """The first `lang` of `<html>` is read once, whichever path reads it."""
    source = tag + b"<head></head><body></body>"
    assert changed([source])[3] == [lang]
    assert changed(bytewise(source))[3] == [lang]


@pytest.mark.parametrize(
    "meta",
    [
        "<meta charset=utf-8>",
        "<META CHARSET='utf-8' />",
        "<title>A</title><script>'<meta charset=a>'</script><meta charset=utf-8>",
        "<meta name=a content=charset><meta http-equiv=Content-Type content='text/html; charset=latin1'>",
        "<meta http-equiv=content-type content=text/html><meta charset=utf-8>",
        "</head><meta charset=utf-8>",
        "<!-- " + "x" * 900 + " --><meta charset=utf-8>",
    ],
)
def test_encoding_declaration_stays_first(meta: str) -> None:
    """Without a charset in the header, the head's insertion goes after the `<meta>` that names one."""
    source, expected = marked(f"<!doctype html><html><head>{meta}{{H}}<link><body>{{B}}")
    assert changed([source], has_charset=False)[0] == expected
    assert changed(bytewise(source), has_charset=False)[0] == expected
    assert changed([source], has_charset=True)[0].startswith(b"<!doctype html><html><head>" + HEAD)


@pytest.mark.parametrize(
    "rest",
    [
        "<meta name=charset content=utf-8>",
        "<meta http-equiv=refresh content='0;charset'>",
        "<!-- <meta charset=utf-8> -->",
        "<template><meta charset=utf-8></template>",
        "<body><meta charset=utf-8>",
        "<frameset><meta charset=utf-8>",
        "<title><meta charset=utf-8></title>",
        "<meta charset=utf-8",
        "<!-- " + "x" * 980 + " --><meta charset=utf-8>",
    ],
)
def test_other_metas_do_not_count(rest: str) -> None:
    """What declares no encoding, or lies elsewhere, leaves the insertion where the head opens."""
    source = ("<!doctype html><head>" + rest).encode()
    output = changed([source], has_charset=False)[0]
    assert output.startswith(b"<!doctype html><head>" + HEAD)
    assert changed(bytewise(source), has_charset=False)[0] == output


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_prescan_limit_is_exact(excess: int) -> None:
    """A declaration counts when its last byte is among the first 1,024."""
    meta = b"<meta charset=utf-8>"
    before = b"<!doctype html><head>"
    source = before + b" " * (PRESCAN_BYTES + excess - len(before) - len(meta)) + meta + b"<title>A</title>"
    place = source.index(meta) + len(meta) if excess <= 0 else len(before)
    output = changed([source], has_charset=False)[0]
    assert output.index(HEAD) == place
    assert changed(bytewise(source), has_charset=False)[0] == output


def test_prescan_holds_no_more() -> None:
    """Waiting for a declaration holds back 1,024 bytes at most, and what precedes the head not at all."""
    stream = DocumentStream(lambda lang: Insertions(HEAD, BODY), has_charset=False)
    assert stream.feed(b"<!doctype html><head><!--") == b"<!doctype html><head>"
    assert (stream.outcome, stream.added) == (Outcome.CHANGED, ADDED)
    assert stream.feed(b"x" * 500) == b""
    assert stream.feed(b"x" * 500).startswith(HEAD + b"<!--xxx")


@pytest.mark.parametrize(
    ("chunk", "held"),
    [
        (b"<link rel=a href='" + b"x" * 3000, 0),
        (b"<!-- " + b"x" * 3000, 0),
        (b"<script>" + b"x" * 3000, 0),
        (b"<title>" + b"x" * 3000, 0),
        (b"<?" + b"x" * 3000, 0),
        (b"<title></title></he", 4),
        (b"<title></title><!-", 3),
        (b"<title></title>&#0000003", 9),
    ],
)
def test_only_undecided_beginnings_wait(chunk: bytes, held: int) -> None:
    """After the head has opened, nothing waits but the beginning of a token that may imply the body."""
    stream = DocumentStream(lambda lang: Insertions(HEAD, BODY), has_charset=True)
    assert stream.feed(b"<html><head>") == b"<html><head>" + HEAD
    assert stream.feed(chunk) == chunk[: len(chunk) - held]
    assert stream.feed(b"") == b""


@pytest.mark.parametrize("filler", [b" ", b"<!---->", b"<!-- x"])
@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_head_search_ends_at_64_kib(filler: bytes, excess: int) -> None:
    """The head counts when it opens before the last byte of the first 64 KiB; later ones change nothing."""
    tail = b"--><head>" if filler == b"<!-- x" else b"<head>"
    size = SEARCH_BYTES + excess - len(b"<!doctype html>") - len(tail)
    source = b"<!doctype html>" + (filler * size)[:size] + tail + b"<body>"
    if filler == b"<!---->":
        source = source.replace(
            filler * (size // 7) + filler[: size % 7], filler * (size // 7) + b" " * (size % 7)
        )
    output, outcome, added, langs = changed([source])
    assert outcome is (Outcome.CHANGED if excess <= 0 else Outcome.NO_HEAD)
    assert (len(output) - len(source), len(langs)) == ((ADDED, 1) if excess <= 0 else (0, 0))
    assert changed(bytewise(source)) == (output, outcome, added, langs)


def test_64_kib_without_head_decide() -> None:
    """A document of exactly 64 KiB that has not opened its head stays as it is."""
    source = b"<!doctype html>".ljust(SEARCH_BYTES)
    assert changed([source]) == (source, Outcome.NO_HEAD, 0, [])
    assert changed([source[:-1]])[1] is Outcome.CHANGED


def test_distant_body_gets_its_insertion_last() -> None:
    """When 64 KiB pass after the head without a body, the body's insertion follows the last byte."""
    source = (
        b"<!doctype html><head><style>" + b"x" * SEARCH_BYTES + b"</style></head><body><p>A</p></body></html>"
    )
    whole = changed([source])
    assert whole[:3] == (source.replace(b"<head>", b"<head>" + HEAD) + BODY, Outcome.CHANGED, ADDED)
    assert changed(bytewise(source)) == whole
    assert changed([source[:30], source[30:]]) == whole


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_body_search_ends_at_64_kib(excess: int) -> None:
    """The body counts when its tag closes within 64 KiB after the head."""
    size = SEARCH_BYTES + excess - len(b"<body>")
    source = b"<html><head>" + b" " * size + b"<body>text"
    output, *rest = changed([source])
    assert output.endswith(BODY + b"text" if excess <= 0 else b"text" + BODY)
    assert changed(bytewise(source)) == (output, *rest)


@pytest.mark.parametrize(("head", "body"), [(HEAD, b""), (b"", BODY), (b"", b"")])
def test_either_insertion_may_be_empty(head: bytes, body: bytes) -> None:
    """An empty insertion adds nothing and does not disturb the other."""
    output, outcome, added, langs = changed([b"<html lang=a>text"], head=head, body=body)
    assert output == b"<html lang=a>" + head + body + b"text"
    assert (outcome, added, langs) == (Outcome.CHANGED, len(head + body), ["a"])


def test_growth_is_known_when_the_head_opens() -> None:
    """`outcome` and `added` hold from the chunk in which the head opens, before the body does."""
    stream = DocumentStream(lambda lang: Insertions(HEAD, BODY), has_charset=True)
    assert (stream.feed(b"<!doctype html><html><he"), stream.outcome, stream.added) == (
        b"",
        Outcome.SEARCHING,
        0,
    )
    assert stream.feed(b"ad>") == b"<!doctype html><html><head>" + HEAD
    assert (stream.outcome, stream.added) == (Outcome.CHANGED, ADDED)
    assert stream.feed(b"<body>") == b"<body>" + BODY


def test_second_finish_gives_nothing() -> None:
    """Finishing twice adds the body's insertion once."""
    stream = DocumentStream(lambda lang: Insertions(HEAD, BODY), has_charset=True)
    stream.feed(b"<html><head>")
    assert (stream.finish(), stream.finish()) == (BODY, b"")


@pytest.mark.parametrize(
    "start",
    [b"<html><head></head><body>", b"<p>", b"<frameset>", b"\xff\xfe<", b"<html>" + b" " * SEARCH_BYTES],
)
def test_settled_stream_copies_nothing(start: bytes) -> None:
    """Once the document's answer is given, each chunk comes back as the same object."""
    stream = DocumentStream(lambda lang: Insertions(HEAD, BODY), has_charset=True)
    stream.feed(start if start != b"<frameset>" else b"<html><frameset>")
    chunk = b"<head><body>" * 10
    assert all(stream.feed(chunk) is chunk for _ in range(3))


def test_50_mb_stream_in_flat_memory() -> None:
    """A document of 50 MB needs no more memory than one of its chunks."""
    stream = DocumentStream(lambda lang: Insertions(HEAD, BODY), has_charset=True)
    size = len(stream.feed(b"<!doctype html><title>A</title>"))
    tracemalloc.start()
    for _ in range(800):
        size += len(stream.feed(b"<p>" + bytes(64 * 1024 - 3)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size + len(stream.finish()) == 31 + 800 * 64 * 1024 + ADDED
    assert peak < 512 * 1024


@pytest.mark.parametrize(
    "filler",
    [
        b"<!-- " + b"-" * SEARCH_BYTES,
        b"<meta a='" + b"x" * SEARCH_BYTES,
        b"<link a " + b"a=b " * (SEARCH_BYTES // 4),
        b"<script>" + b"<!--<script " * (SEARCH_BYTES // 12),
        b"</" + b"x" * SEARCH_BYTES,
        b"<title><</title>" * (SEARCH_BYTES // 16),
        b"<!---- -->" * (SEARCH_BYTES // 10),
        b" " * SEARCH_BYTES,
    ],
    ids=["comment", "value", "attributes", "script", "name", "titles", "comments", "space"],
)
@pytest.mark.parametrize("start", [b"<!doctype html>", b"<!doctype html><head>"])
def test_hostile_bytes_are_scanned_once(start: bytes, filler: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No beginning makes the scanner keep, and so read again, more than a few bytes from chunk to chunk."""
    scanner = document._Scanner(has_charset=True)
    longest = 0
    for chunk in bytewise(start + filler):
        scanner.feed(chunk)
        longest = max(longest, len(scanner._text))
    assert longest <= 48


def test_docstring_example_runs() -> None:
    """The example of `DocumentStream` says the truth."""
    results = doctest.testmod(document)
    assert (results.failed, results.attempted > 0) == (0, True)


NAMES = [
    "html",
    "head",
    "body",
    "title",
    "meta",
    "link",
    "base",
    "style",
    "script",
    "noscript",
    "noframes",
    "template",
    "textarea",
    "p",
    "br",
    "div",
    "frameset",
]
ATTRIBUTES = [
    "a",
    "a=b",
    "a='>'",
    'a="<body>"',
    "a = b",
    "a=b/",
    "=",
    "a='",
    'a="',
    "/",
    "\n",
    "lang=fr",
    "charset=x",
    "\0",
]
TEXTS = [
    " ",
    "\n",
    "\f",
    "\t\r",
    "\v",
    "x",
    "é",
    "\0",
    "<",
    ">",
    "&",
    "&#32;",
    "&#0010",
    "&nbsp;",
    "-->",
    "<3",
    "</3",
    "</>",
    "<!",
    "'",
    '"',
    "=",
    "--",
    "<script",
    "</title",
]
MARKUP = [
    "<!doctype html>",
    "<!DocType a '>",
    "<!---->",
    "<!-->",
    "<!--->",
    "<!-- a --!>",
    "<!--",
    "-->",
    "<!-- - -- -->",
    "<?xml ?>",
    "<![CDATA[",
    "<script><!--<script></script>--></script>",
    "<script>'<body>'</script>",
    "<style><body></style>",
    "<title><!--</title>",
    "<html lang=en>",
    "<head>",
    "</head>",
    "<body>",
    "<meta charset=utf-8>",
]


@st.composite
def tags(draw: st.DrawFn, names: list[str], attributes: list[str]) -> str:
    """A start or end tag, perhaps with attributes, in any case, perhaps unfinished."""
    name = draw(st.sampled_from(names))
    inside = draw(st.lists(st.sampled_from(attributes), max_size=3))
    space = draw(st.sampled_from([" ", "\n", "/", ""])) if inside else ""
    tag = draw(st.sampled_from(["<", "<", "</"])) + name + space + " ".join(inside)
    tag += draw(st.sampled_from([">", ">", ">", "/>", " >"]))
    return tag.upper() if draw(st.booleans()) else tag


PIECES = st.one_of(tags(NAMES, ATTRIBUTES), st.sampled_from(TEXTS), st.sampled_from(MARKUP))
STARTS = st.sampled_from(
    ["", "\ufeff", " ", "<!doctype html>", "<!doctype html>\n<html lang=fr>\n<head>\n", "<html>"]
)


@given(
    start=STARTS,
    pieces=st.lists(PIECES, max_size=14),
    cuts=st.lists(st.integers(0, 300), max_size=12),
    has_charset=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_chunking_changes_nothing(start: str, pieces: list[str], cuts: list[int], has_charset: bool) -> None:
    """Any cuts, empty chunks and single bytes give what the whole gives: the input and its insertions."""
    source = (start + "".join(pieces)).encode()
    edges = [0, *sorted(min(cut, len(source)) for cut in cuts), len(source)]
    whole = changed([source], has_charset=has_charset)
    chunks = [source[a:b] for a, b in pairwise(edges)]
    assert changed(chunks, has_charset=has_charset) == whole
    assert changed(bytewise(source), has_charset=has_charset) == whole
    assert whole[0].replace(HEAD, b"").replace(BODY, b"") == source
    assert len(whole[0]) == len(source) + whole[2]


# html5lib 1.1 knows no <template>, and a <frameset> leaves no body or takes an implied one back: both are in
# the table of places. Comments, tags and raw texts are closed: what is open at the end swallows an insertion.
WHOLE_ATTRIBUTES = ["a", "a=b", "a='>'", 'b="<body>"', "c = d", "=", "lang=fr", "id='x' id=y", "a='<!--'"]
WHOLE_NAMES = [
    "html",
    "head",
    "body",
    "meta",
    "link",
    "base",
    "p",
    "br",
    "div",
    "span",
    "table",
    "ul",
    "select",
    "b",
    "svg",
    "textarea-x",
]
WHOLE_TEXTS = [
    " ",
    "\n",
    "\f",
    "\v",
    "x ",
    "é",
    "&#32;",
    "&#10;",
    "&nbsp;",
    "&amp;",
    "< ",
    "-->",
    "</ >",
    "</>",
]
WHOLE_MARKUP = [
    "<!-- a -->",
    "<!-->",
    "<!--->",
    "<!--a--!>",
    "<!--<body>-->",
    "<?xml <head> ?>",
    "<!foo>",
    "<!doctype html>",
    "<title></head><body></title>",
    "<title/>A&amp;B</title a='>'>",
    "<style><!--<body></style>",
    "<script>'<body></scriptx>'</script>",
    "<script><!--<script></script><body>--></script >",
    "<script><!--><script></script>",
    "<script><!-- </script>",
    "<noframes><body></noframes>",
    "<noscript><p><body></noscript>",
    "<textarea><body></textarea>",
    "</head>",
    "</head\n>",
    "</p>",
    "</br>",
    "</body>",
    "</html>",
    "<meta charset=utf-8>",
    "<meta http-equiv=content-type content='text/html; charset=utf-8'>",
    "<bgsound><basefont>",
]
WHOLE_PIECES = st.one_of(
    tags(WHOLE_NAMES, WHOLE_ATTRIBUTES), st.sampled_from(WHOLE_TEXTS), st.sampled_from(WHOLE_MARKUP)
)
WHOLE_STARTS = st.sampled_from(
    [
        "<!doctype html>",
        "\ufeff<!-- a --><!doctype html>\n<html>",
        "<html>\n<head>",
        "<body>",
        "<?xml?><head a='>'>",
    ]
)


def parsed(source: bytes) -> Any:
    """Parse as a browser with scripting does, comments outside the root included."""
    builder = html5lib.getTreeBuilder("etree", ElementTree, fullTree=True)
    parser = html5lib.HTMLParser(tree=builder, namespaceHTMLElements=False)
    return parser.parse(source, override_encoding="utf-8", scripting=True)


def nodes(element: Any) -> tuple[Any, ...]:
    """Return the tree as nested tuples, for comparison."""
    return (element.tag, dict(element.attrib), element.text or "", element.tail or "", *map(nodes, element))


def removed(parent: Any, name: str) -> Any:
    """Take the one child with this id out, and leave the text that follows it."""
    (child,) = [child for child in parent if child.get("id") == name]
    place = list(parent).index(child)
    if place:
        parent[place - 1].tail = (parent[place - 1].tail or "") + (child.tail or "") or None
    else:
        parent.text = (parent.text or "") + (child.tail or "") or None
    child.tail = None
    parent.remove(child)
    return child


@given(start=WHOLE_STARTS, pieces=st.lists(WHOLE_PIECES, max_size=12), has_charset=st.booleans())
@settings(deadline=None, max_examples=300)
def test_tree_gains_two_elements_only(start: str, pieces: list[str], has_charset: bool) -> None:
    """The insertions are elements of the head and the body's first child; all other nodes stay the same."""
    source = (start + "".join(pieces)).encode()
    output, outcome, _, _ = changed([source], has_charset=has_charset)
    assert outcome is Outcome.CHANGED
    tree = parsed(output)
    head, body = tree.find("html/head"), tree.find("html/body")
    assert (body.text or "", body[0].get("id")) == ("", "gem-b")
    assert nodes(removed(body, "gem-b"))[:3] == ("section", {"id": "gem-b"}, "")
    assert nodes(removed(head, "gem-h"))[:3] == ("style", {"id": "gem-h"}, "")
    assert nodes(tree) == nodes(parsed(source))


# What the pattern for whole heads might read in another way than the standard does.
NEARLY_PLAIN = [
    '<meta ="a>b">',
    '<meta a="x"="y>z">',
    '<meta a = "x>y">',
    '<meta a= "x>y">',
    '<meta a=b"c>d">',
    '<meta a=b`c="d>e">',
    "<meta a='x>y'>",
    '<meta a=b=c content="x>y">',
    '<meta a/b="x>y"/>',
    '<meta a="x"b="y>z">',
    "<META CHARSET=UTF-8>",
    "<metadata>",
    "<link rel=icon href=data:,>",
    '<base href="/a?b=c&d">',
    "<title></head><body></title>",
    "<TITLE>a</TITLE>",
    '<title lang="</title>">a</title>',
    "<title>a<b</title>",
    "<style>a>b{}</style>",
    "<style><!-- </style>",
    '<script>if (a < b) "<body>"</script>',
    "<script>'</SCRIPT >'</script>",
    "<script><!-- <script> </script> --></script>",
    '<script type="application/json">{"a": "<!doctype>"}</script>',
    '<iframe srcdoc="<head><body>"></iframe>',
    "<noscript><link></noscript>",
    "<noscript><p>a</noscript>",
    "<template><body></template>",
    '<template shadowrootmode="open"><p>a</p></template>',
    "<!-- </head><body> -->",
    "<!--><body>-->",
    "<!---><body>-->",
    "<!-- a --!><body>",
    "<!-- - -- -->",
    "<![CDATA[<body>]]>",
    "</head>",
    "</head><link>",
    "</head x='>'>",
    "<head>",
    "<frameset>",
    "<svg><title><body></title></svg>",
    "<math></math>",
    "<plaintext>",
    "<textarea><body></textarea>",
    " ",
    "\n",
    "x",
    "&#32;",
]
NEARLY_PLAIN_STARTS = [
    "<!DOCTYPE html><html><head>",
    '<!doctype html public "a>b"><html lang="fr"><head>',
    "<html lang=fr><head profile=x>",
    "<html a='>'><head>",
    '<html ="a>"><head>',
    "\ufeff<!doctype html>\n<!-- a -->\n<html lang='fr'>\n<head>\n",
    "<head/>",
    "<head\f>",
    "<heading><head>",
    '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head>',
]


@pytest.mark.parametrize("piece", NEARLY_PLAIN)
@pytest.mark.parametrize("start", NEARLY_PLAIN_STARTS)
def test_short_way_reads_as_the_scanner(start: str, piece: str) -> None:
    """A head that is placed at once is placed where the scanner places it, byte by byte."""
    source = f'{start}<meta name="a">{piece}<title>A</title></head><body class="x">B'.encode()
    assert changed([source]) == changed(bytewise(source))


@given(st.sampled_from(NEARLY_PLAIN_STARTS), st.lists(st.sampled_from(NEARLY_PLAIN), max_size=6))
def test_short_way_reads_any_head_as_the_scanner(start: str, pieces: list[str]) -> None:
    """The same for heads of many such pieces."""
    source = f"{start}{''.join(pieces)}</head><body>B".encode()
    assert changed([source]) == changed(bytewise(source))


@given(st.sampled_from(NEARLY_PLAIN_STARTS), st.lists(st.sampled_from(NEARLY_PLAIN), max_size=6), st.text())
def test_opening_tells_as_much_as_the_chunk(start: str, pieces: list[str], rest: str) -> None:
    """Where the opening alone shows both places, they are the whole chunk's, whatever follows it."""
    for between in ("</head><body>", "<body class='>'>", "<script><body>", "<!--<body>-->"):
        source = f"{start}{''.join(pieces)}{between}B<body>{rest}".encode()
        opening = opening_of(source)
        places = whole_head(opening)
        assert source.startswith(opening)
        assert places is None or places == whole_head(source)
        assert places is None or places.body_at == len(opening)


@pytest.mark.parametrize(
    "source", [b"", b"<title>A</title>", b"<html><head><body class=a", b" " * 70_000 + b"<body>"]
)
def test_opening_may_be_missing(source: bytes) -> None:
    """Without a whole `<body>` in the first 64 KiB there is none."""
    assert opening_of(source) == b""


@pytest.mark.parametrize(
    "head",
    [
        '<meta charset="utf-8"><title>A</title><link rel="a" href="/a"><script src="/a"></script></head>',
        "\n<title>A</title>\n<style>a{}</style>\n<!-- a -->\n",
    ],
)
def test_ordinary_head_is_placed_at_once(head: str) -> None:
    """The heads that most pages have are found by the pattern alone."""
    source = f'<!DOCTYPE html>\n<html lang="fr">\n<head>{head}<body class="a">\n'.encode()
    places = whole_head(source)
    assert places is not None
    assert (source[: places.head_at][-6:], places.body_at, places.lang) == (b"<head>", len(source) - 1, "fr")
