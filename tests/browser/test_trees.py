"""The table of places, judged by a browser, which knows templates and framesets where html5lib does not."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from test_document import PLACES, marked

pytestmark = pytest.mark.browser

# Gives where the insertions are, the tree without them, and the tree of the document as it was.
_TREES = """\
(pairs) => pairs.map(([source, changed]) => {
  const parsed = (text) => {
    const frame = document.body.appendChild(document.createElement("iframe"));
    frame.contentDocument.open();
    frame.contentDocument.write(text);
    frame.contentDocument.close();
    return frame.contentDocument;
  };
  const tree = (node) => [
    node.nodeName,
    node.nodeValue,
    [...(node.attributes || [])].map(({ name, value }) => [name, value]),
    [...node.childNodes].map(tree),
    node.content instanceof Object ? [...node.content.childNodes].map(tree) : null,
  ];
  const other = parsed(changed), head = other.getElementById("gem-h"), body = other.getElementById("gem-b");
  const places = [head?.parentNode === other.head, body && body === other.body.firstChild];
  head?.remove();
  body?.remove();
  for (const one of [other, other.head, other.body]) one.normalize();
  return [places, tree(other), tree(parsed(source))];
})"""


def test_browsers_see_two_elements_more(browser: Browser) -> None:
    """A style of the head and the first child of the body; every other node is as it was."""
    # what is open at the end swallows whatever comes last
    names = [name for name in PLACES if not name.startswith(("unfinished", "plaintext in"))]
    pairs = [[text.decode().removeprefix("\ufeff") for text in marked(PLACES[name])] for name in names]
    page = browser.new_page()
    found = page.evaluate(_TREES, pairs)
    page.close()
    for name, (places, after, before) in zip(names, found, strict=True):
        assert after == before, name
        assert places == [True, None if name.startswith("frameset") else True], name
