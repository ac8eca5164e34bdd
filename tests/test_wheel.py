"""The built wheel: what is in it, and that it works where nothing but its own dependencies is installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from walks import ROOT

PACKAGE = ROOT / "gem_consent"
UNREACHABLE = ("No matching distribution found", "Could not fetch URL", "Failed to establish", "timed out")
INSTALL_SECONDS = 300

SITE = """
import asyncio, json

from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from gem_consent import ConsentMiddleware, Controller, GoogleAnalytics, Policy

policy = Policy(
    controller=Controller("Exemple", "dpo@example.com"),
    privacy_url="/confidentialite",
    language="fr",
    services=[GoogleAnalytics("G-XXXXXXXXXX")],
)


async def home(request):
    return HTMLResponse("<!doctype html><html lang=fr><title>Accueil</title><h1>Bonjour</h1>")


site = ConsentMiddleware(
    Starlette(routes=[Route("/", home)]), policy=policy, secret_key="x" * 40, ledger="sqlite:///consent.db"
)


async def ask(method, path, body=b"", *headers):
    sent, waiting = [], [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return waiting.pop() if waiting else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "https",
        "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "client": None, "headers": [(b"host", b"example.com"), (b"origin", b"https://example.com"), *headers],
    }
    await site(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def main():
    status, page = await ask("GET", "/")
    assert status == 200 and b"Tout refuser" in page, page
    notice = json.loads((await ask("GET", "/privacy-choices/state"))[1])["notice"]
    decision = json.dumps({"decision": "grant_all", "notice": notice}).encode()
    agent = b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
    headers = (b"content-type", b"application/json"), (b"user-agent", agent)
    status, answer = await ask("POST", "/privacy-choices", decision, *headers)
    assert status == 200 and json.loads(answer)["purposes"]["analytics"], answer
    assert (await ask("GET", "/privacy-choices"))[0] == 200
    site.site.recorder.close()


asyncio.run(main())
"""


TOUCH = """
import sys

with open(sys.argv[1], "r+b") as file:
    content = file.read()
    at = len(content) // 2
    file.seek(at)
    file.write(bytes([content[at] ^ 1]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy of the sources: no compiled catalogue is there before the build."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.mo")
    for name in ("gem_consent", ".hatch"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--wheel-dir", str(folder)]
    if importlib.util.find_spec("hatchling") and importlib.util.find_spec("babel"):
        options.append("--no-build-isolation")
    pip(Path(sys.executable), "wheel", *options, str(source))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and its dependencies alone."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALL_SECONDS)
    python = folder / "bin" / "python"
    pip(python, "install", str(wheel))
    return python


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    if answer.returncode and any(words in answer.stderr for words in UNREACHABLE):
        pytest.skip("the wheel: pip cannot reach a package index")
    assert answer.returncode == 0, answer.stderr


def strictly(python: Path, folder: Path, *arguments: str) -> str:
    """Run Python with warnings as errors, away from the sources; give what it printed."""
    command = [str(python), "-I", "-W", "error", *arguments]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def test_wheel_holds_the_package(wheel: Path) -> None:
    """Every source, template, script, style, catalogue and the type marker are in the wheel."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    expected = {name for name in sources if "__pycache__" not in name and not name.endswith(".mo")}
    compiled = {name.removesuffix(".po") + ".mo" for name in expected if name.endswith(".po")}
    assert expected | compiled <= packed
    assert compiled
    assert "gem_consent/py.typed" in packed


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    """Beside the package there are its metadata alone: no test, no page of the documentation, no example."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gem_consent"}


def test_wheel_works_without_tools(clean: Path, tmp_path: Path) -> None:
    """With warnings as errors the installed wheel shows a French notice, and records and exports a grant."""
    strictly(clean, tmp_path, "-c", SITE)
    program = str(clean.with_name("gem-consent"))
    exported = strictly(
        clean, tmp_path, program, "export", "--ledger", "sqlite:///consent.db", "--format", "jsonl"
    )
    assert '"state":"given"' in exported
    assert '"browser":"Firefox 145"' in exported


def test_evidence_needs_no_database(clean: Path, tmp_path: Path) -> None:
    """Where nothing but the wheel is, an archive and a receipt are verified by the public key alone."""
    there, here = tmp_path / "site", tmp_path / "inspector"
    there.mkdir()
    here.mkdir()
    program = str(clean.with_name("gem-consent"))
    strictly(clean, there, "-c", SITE)
    ledger = ("--ledger", "sqlite:///consent.db")
    key = strictly(clean, there, program, "public-key", *ledger).strip()
    event = json.loads(strictly(clean, there, program, "export", *ledger, "--format", "jsonl"))["id"]
    for name, *command in (("evidence.zip", "evidence"), ("receipt.json", "receipt", event)):
        run = [str(clean), "-I", program, *command, *ledger, "--output", str(here / name)]
        subprocess.run(run, cwd=there, check=True, capture_output=True, timeout=60)
    shutil.rmtree(there)
    for path in sorted(here.iterdir()):
        assert "It holds" in strictly(clean, here, program, "verify", path.name, "--public-key", key)
        assert strictly(clean, here, "-c", TOUCH, path.name) == ""
        answer = subprocess.run([program, "verify", path.name], cwd=here, capture_output=True, text=True)
        assert (answer.returncode, answer.stderr) == (1, "")
        assert "does not hold" in answer.stdout


def test_installed_command_explains_itself(clean: Path, tmp_path: Path) -> None:
    """The installed command prints its version and its help."""
    program = str(clean.with_name("gem-consent"))
    assert strictly(clean, tmp_path, program, "--version").startswith("gem-consent 0.")
    assert "export" in strictly(clean, tmp_path, program, "--help")


def test_demo_names_what_it_needs(clean: Path, tmp_path: Path) -> None:
    """Without a server installed, the demo says in one line how to get one."""
    command = [str(clean.with_name("gem-consent")), "demo", "--port", "0"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "gem-consent[demo]" in answer.stderr
