"""The examples, each in a real server, walked by visitors without a script."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from walks import ROOT, SECRET, Visitor, run, serving, states, walk

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def command(example: str) -> list[str]:
    return ["uvicorn", f"examples.{example}:app", "--port", "0", "--lifespan", "on"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_asks_and_records(example: str, tmp_path: Path) -> None:
    """Each example asks, honours a whole choice from refusal to withdrawal, and its ledger shows the rows."""
    settings = {"GEM_CONSENT_SECRET": SECRET, "GEM_CONSENT_LEDGER": f"sqlite:///{tmp_path}/consent.db"}
    with serving(command(example), ROOT, **settings) as site:
        walk(site.address, "googletagmanager.com")
        choose(Visitor(site.address), has_map=example != "starlette_app")
        exported = run("gem-consent", "export", "--format", "csv", folder=ROOT, **settings)
    assert (exported.returncode, exported.stderr) == (0, "")
    assert states(exported.stdout) == ["refused", "given", "refused", "given", "withdrawn"]
    assert "Traceback" not in "".join(site.err)


def choose(visitor: Visitor, *, has_map: bool) -> None:
    """Refuse, grant and withdraw; what needs a consent is there in between alone."""
    first = visitor.look()
    assert first.find("map") is None
    for page, decision, is_granted in (
        (first, "deny_all", False),
        (None, "grant_all", True),
        (None, "withdraw", False),
    ):
        visitor.press(page or visitor.look("/privacy-choices"), decision)
        then = visitor.look()
        assert ("googletagmanager.com" in then.response.text) is is_granted
        assert (then.find("map") is not None) is (is_granted and has_map)
        assert visitor.look("/privacy").response.status_code == 200
    visitor.close()


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_refuses_without_secret(example: str) -> None:
    """Without a secret in the environment each example says so in one line and does not start."""
    answer = run(*command(example), folder=ROOT)
    assert answer.returncode != 0
    assert "GEM_CONSENT_SECRET is not set" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_views_read_the_consent(tmp_path: Path) -> None:
    """The FastAPI example's JSON route and template follow the choice; what they answer is private."""
    settings = {"GEM_CONSENT_SECRET": SECRET, "GEM_CONSENT_LEDGER": f"sqlite:///{tmp_path}/consent.db"}
    with serving(command("fastapi_app"), ROOT, **settings) as site:
        visitor = Visitor(site.address)
        first = visitor.look()
        assert first.find("map") is None
        assert measured(visitor) is False
        visitor.press(first, "grant_all")
        assert visitor.look().find("map") is not None
        assert measured(visitor) is True
        table = [code.text for code in visitor.look("/privacy").root.iter("code")]
        assert {"_ga", "gem_consent_hint"} <= set(table)
        visitor.close()


def measured(visitor: Visitor) -> bool:
    response: httpx.Response = visitor.client.get("/measured")
    assert "private" in response.headers["cache-control"]
    answer: bool = response.json()["measured"]
    return answer


def test_readme_lists_every_example() -> None:
    """The list of examples names each file, and no other."""
    text = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert all(f"({example}.py)" in text for example in EXAMPLES)
