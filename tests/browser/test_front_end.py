"""The page on front ends of one's own, followed to the letter, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from walks import ROOT, SECRET, run, serving, states

pytestmark = pytest.mark.browser

FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_own_notice_decides(browser: Browser, tmp_path: Path) -> None:
    """The buttons decide by fetch; what is drawn follows the cookie, later and for a new policy too."""
    for name, text in FILE.findall((ROOT / "docs" / "front-end.md").read_text("utf-8")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    asked: list[str] = []
    with serving(["uvicorn", "app:app", "--port", "0"], tmp_path, CONSENT_SECRET=SECRET) as site:
        context = browser.new_context()
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.goto(site.address)
        shown = page.locator("#app")
        expect(shown).to_contain_text("May we measure your visit?")
        for button, words, is_measured in (
            ("Refuse", "You allowed: nothing.", False),
            ("Accept", "You allowed: analytics.", True),
        ):
            assert not any("googletagmanager" in url for url in asked)
            page.get_by_role("button", name=button).click()
            expect(shown).to_contain_text(words)
            answer = page.evaluate("fetch('/api').then((answer) => answer.json())")
            assert answer == {"measured": is_measured}
        page.reload()
        expect(shown).to_contain_text("You allowed: analytics.")
        page.wait_for_selector('script[src*="googletagmanager.com"]', state="attached")
        command = ["gem-consent", "export", "--ledger", "sqlite:///consent.db", "--format", "csv"]
        assert states(run(*command, folder=tmp_path).stdout) == ["refused", "given"]
    app = tmp_path / "app.py"
    app.write_text(app.read_text("utf-8").replace('"/privacy",', '"/privacy", version="2",'), "utf-8")
    with serving(["uvicorn", "app:app", "--port", "0"], tmp_path, CONSENT_SECRET=SECRET) as site:
        page.goto(site.address)
        expect(shown).to_contain_text("May we measure your visit?")
        context.close()
