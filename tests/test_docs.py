"""The documentation says what is so: its code runs, its commands exist, and nothing public is left out.

A fenced block is only compiled, unless an HTML comment stands before it: ``<!-- run -->`` runs it by itself,
and ``<!-- file: app.py -->`` names the file that a reader saves it as.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import dataclasses
import inspect
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from ledgers import make_event, url_of
from uvicorn.main import main as uvicorn_command
from walks import ROOT, SECRET, run, serving, states, walk

import gem_consent
from gem_consent import errors
from gem_consent.cli.app import app
from gem_consent.ledger.export import AFTER, BEFORE
from gem_consent.ledger.store import Append, Ledger

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "getting-started.md"
REFERENCE = ROOT / "docs" / "reference.md"
PAGES = [README, ROOT / "examples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
USER_PAGES = [page for page in PAGES if page.parent.name != "design"]
COMMANDS = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>run|file: \S+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    kind: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["kind"], match["mark"] or "", match["text"])


ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.kind == "python"]
SHELL = [(block, line) for block in ALL if block.kind == "sh" for line in block.text.splitlines() if line]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def section(title: str, page: Path = REFERENCE) -> str:
    """Give what stands under a heading, sub-headings included."""
    text = page.read_text("utf-8")
    match = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert match, f"{page.name} has no heading {title!r}"
    end = re.compile(rf"^#{{1,{len(match[1])}}} ", re.MULTILINE).search(text, match.end())
    return text[match.end() : end.start() if end else None]


def first_cells(text: str) -> list[str]:
    """Give the names in the first column of each table row."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


# Code


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_blocks_compile(block: Block) -> None:
    """Every block of Python is Python."""
    compile(block.text, str(block), "exec", dont_inherit=True)


@pytest.mark.parametrize("block", [block for block in PYTHON if block.mark == "run"], ids=str)
def test_marked_blocks_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block that stands by itself runs by itself."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec", dont_inherit=True), {"__name__": "page"})


def test_readme_app_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README holds a whole application before its 40th line, and that application asks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSENT_SECRET", "x" * 40)
    first = next(block for block in PYTHON if block.page == README)
    assert first.line + first.text.count("\n") + 1 < 40
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(first.text, str(first), "exec", dont_inherit=True), names)

    async def look() -> str:
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://example.com") as client:
            return (await client.get("/")).text

    assert 'id="gem-notice"' in asyncio.run(look())


def test_readme_names_two_commands() -> None:
    """The README names the two commands that do all the set-up, and the Makefile has them."""
    lines = [line.partition("#")[0].strip() for block, line in SHELL if block.page == README]
    assert {"make demo", "make test"} <= set(lines)


# Commands


@pytest.mark.parametrize("line", SHELL, ids=lambda pair: f"{pair[0]}: {pair[1]}")
def test_shell_commands_exist(line: tuple[Block, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that a page shows exists, with every option that it is shown with."""
    monkeypatch.setenv("GEM_CONSENT_LEDGER", "sqlite:///consent.db")
    block, text = line
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    program, *arguments = _before_pipe(list(lexer))
    assert program in CHECKS, f"{block} shows {program}, which no check knows"
    CHECKS[program](arguments)


def _before_pipe(words: list[str]) -> list[str]:
    end = next((at for at, word in enumerate(words) if word in ("|", ">", "&", ";")), len(words))
    return words[:end]


def _gem_consent(arguments: list[str]) -> None:
    if arguments[:1] in ([], ["--version"], ["--help"]):
        return
    name, *rest = arguments
    assert name in COMMANDS
    COMMANDS[name].make_context(name, rest, resilient_parsing=False)


def _uvicorn(arguments: list[str]) -> None:
    uvicorn_command.make_context("uvicorn", list(arguments))


def _make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):(?!=)", makefile, re.MULTILINE))
    assert {word for word in arguments if "=" not in word} <= targets


def _python(arguments: list[str]) -> None:
    if arguments[0] == "-c":
        compile(arguments[1], "<shell>", "exec")
    else:
        assert arguments[:2] == ["-m", "venv"]


def _pip(arguments: list[str]) -> None:
    command, *words = arguments
    assert command == "install"
    known = {"gem-consent", "gem-consent[demo]", "gem-consent[postgres]", "uvicorn", "pytest"}
    known |= {"a2wsgi", "blacksheep", "django", "fastapi", "flask", "litestar", "python-fasthtml"}
    known |= {"quart", "starlette", "--editable", "."}
    assert set(words) <= known


def _export(arguments: list[str]) -> None:
    assert re.match(r"[A-Z_]+=", arguments[0])


def _anything(arguments: list[str]) -> None:
    """A tool of the system's own."""


CHECKS = {
    "gem-consent": _gem_consent,
    "uvicorn": _uvicorn,
    "make": _make,
    "python": _python,
    "python3": _python,
    "pip": _pip,
    "export": _export,
    **dict.fromkeys((".", "umask", "sqlite3", "mkdir", "cp", "pytest"), _anything),
}


@pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)
def test_named_commands_exist(page: Path) -> None:
    """No sentence of a page sends the reader to a command that is not there."""
    named = re.findall(r"`gem-consent ([a-z]+)", prose(page))
    assert set(named) <= set(COMMANDS)


# The reference is complete


def test_every_public_name_is_documented() -> None:
    """Each name that the package exports is in the reference."""
    text = REFERENCE.read_text("utf-8")
    assert [name for name in gem_consent.__all__ if f"`{name}" not in text] == []


@pytest.mark.parametrize("name", ["ConsentMiddleware", "GoogleAnalytics", "export_app"])
def test_every_argument_is_documented(name: str) -> None:
    """Each argument stands in its table, in order, with its default."""
    parameters = inspect.signature(getattr(gem_consent, name)).parameters
    text = section(name)
    assert first_cells(text) == list(parameters)
    for parameter in parameters.values():
        shown = default_shown(text, parameter.name)
        if parameter.default is inspect.Parameter.empty:
            assert shown == "needed"
        elif isinstance(parameter.default, str | bool | None) or type(parameter.default) is tuple:
            expected = repr(parameter.default).replace("'", '"')
            # a text of the library's own is told in words
            assert shown == f"`{expected}`" or parameter.name == "transfer_basis"


@pytest.mark.parametrize("name", ["Policy", "Controller", "Purpose", "Service", "Tracker"])
def test_every_field_is_documented(name: str) -> None:
    """Each field stands in its table, in order, with its default."""
    fields = [field for field in dataclasses.fields(getattr(gem_consent, name)) if field.init]
    text = section(name).partition("\n### ")[0]
    assert first_cells(text) == [field.name for field in fields]
    for field in fields:
        shown = default_shown(text, field.name)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            assert shown == "needed"
        elif isinstance(field.default, str | bool | tuple | None):
            assert shown == "`{}`".format(repr(field.default).replace("'", '"'))


def default_shown(text: str, name: str) -> str:
    match = re.search(rf"^\| `{name}` \| ([^|]+) \|", text, re.MULTILINE)
    assert match, name
    return match[1]


def test_every_part_of_consent_is_documented() -> None:
    """Each field, property and method of a consent is in the reference."""
    public = [name for name in dir(gem_consent.Consent) if not name.startswith("_")]
    text = section("Reading the consent")
    assert [name for name in public if f"| `{name}" not in text] == []


def test_every_column_is_documented() -> None:
    """The columns of the export stand in their table, in the order of the export."""
    assert first_cells(section("Columns of the export")) == [*BEFORE, "purpose:<id>", *AFTER]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_documented(name: str) -> None:
    """Each command has its section, and each of its options stands in the table there, in order."""
    options = [p.opts[0] for p in COMMANDS[name].params if p.opts[0].startswith("--") and p.name != "help"]
    assert first_cells(section(f"gem-consent {name}")) == options


def test_every_exception_is_documented() -> None:
    """Each public exception is in its table."""
    assert set(first_cells(section("Exceptions"))) == set(errors.__all__)


def test_every_status_is_documented() -> None:
    """Each status that a decision is turned away with is in its table."""
    source = (ROOT / "gem_consent" / "endpoints.py").read_text("utf-8")
    used = set(re.findall(r"_Refusal\((\d{3})", source))
    assert used <= set(re.findall(r"^\| (\d{3}) \|", section("Endpoints"), re.MULTILINE))


def test_every_log_line_is_documented() -> None:
    """How each line of the log begins is in the reference."""
    told = section("Log")
    for message in logged():
        beginning = re.sub(r"%[sd]", "…", message).replace("`", "")[:40]
        assert beginning in told, f"docs/reference.md, Log: {message!r} is missing"


def logged() -> Iterator[str]:
    levels = {"warning", "error", "info", "exception", "critical"}
    for path in sorted((ROOT / "gem_consent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in levels
            ):
                owner = node.func.value
                is_log = isinstance(owner, ast.Name) and owner.id in ("log", "_log", "logger", "_logger")
                if is_log and isinstance(node.args[0], ast.Constant):
                    yield str(node.args[0].value)


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    """Every link within the project leads to a file that is there, and to a heading in it."""
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in {slug(line) for line in headings(file)}, target


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffixes == [".fr", ".md"]], ids=str)
def test_french_of_pages_is_spaced(page: Path) -> None:
    """A page in French has no-break spaces where French has them."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    assert re.findall(r".* [;:?!»].*|.*« .*", text) == []


# The guide, followed to the letter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder in which a reader has saved the guide's files."""
    for block in blocks(GUIDE):
        if block.mark.startswith("file: "):
            file = tmp_path / block.mark.removeprefix("file: ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text, "utf-8")
    return tmp_path


GUIDE_LINES = [line for block, line in SHELL if block.page == GUIDE]
SERVERS = [line for line in GUIDE_LINES if line.startswith("uvicorn ")]


@pytest.mark.parametrize("server", SERVERS)
def test_guide_leads_to_a_site(server: str, folder: Path) -> None:
    """Each server of the guide asks, honours both answers, and the guide's commands show the rows."""
    with serving([*shlex.split(server), "--port", "0"], folder, CONSENT_SECRET=SECRET) as site:
        walk(site.address, "googletagmanager.com")
        for line in (line for line in GUIDE_LINES if line.startswith("gem-consent ")):
            answer = run(*shlex.split(line), folder=folder)
            assert (answer.returncode, answer.stderr) == (0, "")
            if " export " in line:
                assert states(answer.stdout) == ["refused", "given"]
    assert "Traceback" not in "".join(site.err)


def test_guide_makes_a_secret(folder: Path) -> None:
    """The guide's line for a secret makes one that the library takes."""
    line = next(line for line in GUIDE_LINES if line.startswith("export "))
    answer = run("sh", "-c", f'{line}\nprintf %s "$CONSENT_SECRET"', folder=folder)
    assert len(answer.stdout) >= 32


def test_copy_keeps_up(tmp_path: Path) -> None:
    """The job of the page for operators adds each row once, however often it runs."""
    (job,) = [block for block in ALL if block.kind == "bash" and "--after" in block.text]
    url = url_of(tmp_path / "consent.db")
    with contextlib.closing(Ledger.open(url)) as book:
        book.append([Append(make_event())])
        export = ("gem-consent", "export", "--ledger", url, "--format", "jsonl")
        (tmp_path / "choices.jsonl").write_text(run(*export, folder=tmp_path).stdout, "utf-8")
        for added in (2, 0, 1):
            book.append([Append(make_event()) for _ in range(added)])
            assert run("sh", "-c", job.text, folder=tmp_path, GEM_CONSENT_LEDGER=url).returncode == 0
    assert (tmp_path / "choices.jsonl").read_text("utf-8") == run(*export, folder=tmp_path).stdout


def test_backups_can_be_read(folder: Path) -> None:
    """The commands that the page for operators gives for a backup make a ledger that can be exported."""
    server = SERVERS[0]
    with serving([*shlex.split(server), "--port", "0"], folder, CONSENT_SECRET=SECRET) as site:
        walk(site.address, "googletagmanager.com")
        shown = [line for block, line in SHELL if block.page.name == "operations.md"]
        lines = [line for line in shown if "consent.db" in line and "/var/lib/" not in line]
        # these ask for an id of the reader's own ledger, and say what they wrote
        lines = [line for line in lines if not re.match("gem-consent (receipt|evidence) ", line)]
        for line in lines:
            if line.startswith("sqlite3") and shutil.which("sqlite3") is None:
                continue
            answer = run("sh", "-c", line, folder=folder)
            assert (answer.returncode, answer.stderr) == (0, ""), line
    copies = [path for path in folder.glob("consent-*.db") if path.stat().st_size]
    assert copies
    for copy in copies:
        command = ["gem-consent", "export", "--ledger", f"sqlite:///{copy.name}", "--format", "csv"]
        assert states(run(*command, folder=folder).stdout) == ["refused", "given"]


# The pages of the frameworks, followed to the letter

FRAMEWORKS = [page for page in sorted((ROOT / "docs" / "frameworks").glob("*.md")) if page.stem != "README"]


def saved(page: Path, folder: Path) -> list[str]:
    """Save a page's files as a reader would; give its commands."""
    for block in blocks(page):
        if block.mark.startswith("file: "):
            file = folder / block.mark.removeprefix("file: ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text, "utf-8")
    return [line for block, line in SHELL if block.page == page]


@pytest.mark.parametrize("page", FRAMEWORKS, ids=lambda page: page.stem)
def test_framework_page_leads_to_a_site(page: Path, tmp_path: Path) -> None:
    """From an empty folder each page leads to a site that asks, and to the rows of what was chosen."""
    lines = saved(page, tmp_path)
    (server,) = [line for line in lines if line.startswith("uvicorn ")]
    (export,) = [line for line in lines if line.startswith("gem-consent ")]
    (secret,) = [line for line in lines if line.startswith("export ")]
    made = run("sh", "-c", f'{secret}\nprintf %s "$GEM_CONSENT_SECRET"', folder=tmp_path).stdout
    with serving([*shlex.split(server), "--port", "0"], tmp_path, GEM_CONSENT_SECRET=made) as site:
        walk(site.address, "googletagmanager.com")
        exported = run(*shlex.split(export), folder=tmp_path)
    assert states(exported.stdout) == ["refused", "given"]
    assert "Traceback" not in "".join(site.err)


@pytest.mark.parametrize("page", FRAMEWORKS, ids=lambda page: page.stem)
def test_framework_page_shows_the_example(page: Path) -> None:
    """The page's site and the example are one and the same."""
    (shown,) = [block.text for block in blocks(page) if block.mark == "file: app.py"]
    assert shown == (ROOT / "examples" / f"{page.stem}_app.py").read_text("utf-8")


def test_page_on_testing_tests(tmp_path: Path) -> None:
    """The tests that the page shows run, and find a tracker that somebody adds."""
    page = ROOT / "docs" / "testing.md"
    saved(page, tmp_path)
    command = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_privacy.py"]
    # the plugins of this environment are not the reader's
    answer = run(*command, folder=tmp_path, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "2 passed" in answer.stdout, answer.stdout
    file = tmp_path / "test_privacy.py"
    tag = "<script src=https://www.googletagmanager.com/gtag/js></script><h1>"
    file.write_text(file.read_text("utf-8").replace("<h1>", tag), "utf-8")
    answer = run(*command, folder=tmp_path, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "(Google Tag Manager). Declare it as a Service" in answer.stdout
