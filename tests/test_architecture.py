"""The house: imports go down only, and the top level holds what it should."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gem_consent"

FLOORS: list[list[str]] = [
    ["errors", "fields", "headers", "retention", "policy", "consent", "vendor_hosts"],
    [
        "address",
        "caching",
        "client",
        "compression",
        "cookie",
        "csp",
        "decision",
        "document",
        "inventory",
        "loads",
        "locale",
        "markup",
        "proof",
        "rate",
        "rewritable",
        "services",
        "set_cookie",
        "slots",
    ],
    [
        "declaration",
        "gate",
        "ledger",
        "policy_file",
        "recorder",
        "rendering",
        "scripts",
        "site",
        "sites",
        "telemetry",
        "translation",
    ],
    [
        "access",
        "endpoints",
        "evidence",
        "evidence_check",
        "evidence_cover",
        "exchange",
        "export_app",
        "handshake",
        "own_history",
        "parts",
        "receipt",
        "receipt_pages",
        "well_known",
    ],
    ["middleware", "templatetags", "templating", "visits"],
    ["cli", "demo", "testing"],
]
# On one floor only these may be imported by a neighbour, and none of them back.
NEIGHBOURS = {
    ("fields", "errors"),
    ("retention", "errors"),
    ("policy", "retention"),
    ("policy", "fields"),
    ("consent", "errors"),
    ("consent", "policy"),
    ("compression", "document"),
    ("caching", "headers"),
    ("declaration", "translation"),
    ("recorder", "ledger"),
    ("rendering", "declaration"),
    ("rendering", "scripts"),
    ("rendering", "translation"),
    ("site", "recorder"),
    ("site", "ledger"),
    ("site", "rendering"),
    ("sites", "site"),
    ("gate", "site"),
    ("site", "telemetry"),
    ("endpoints", "exchange"),
    ("access", "exchange"),
    ("parts", "exchange"),
    ("own_history", "exchange"),
    ("endpoints", "own_history"),
    ("well_known", "exchange"),
    ("handshake", "exchange"),
    ("endpoints", "receipt_pages"),
    ("evidence", "evidence_cover"),
    ("evidence_check", "evidence_cover"),
    ("receipt_pages", "exchange"),
    ("receipt_pages", "receipt"),
    ("cli", "demo"),
}
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}


def imports_of(path: Path) -> set[str]:
    """Give the first-level modules of the package that a file imports, late imports too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "gem_consent":
            names += [f"gem_consent.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names if name.startswith("gem_consent.")]
        found |= {part[1] for part in parts if part[1] in FLOOR_OF}
    return found


def module_of(path: Path) -> str:
    """Give the first-level module that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """A file imports from floors below its own, or from a neighbour that is named here."""
    module = module_of(path)
    climbing = {
        other
        for other in imports_of(path) - {module}
        if FLOOR_OF[other] > FLOOR_OF[module]
        or (FLOOR_OF[other] == FLOOR_OF[module] and (module, other) not in NEIGHBOURS)
    }
    assert climbing == set()


def test_every_module_has_floor() -> None:
    """A new module is given its place in the house."""
    assert {module_of(path) for path in FILES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", FLOORS[0] + FLOORS[1])
def test_pure_floors_open_nothing(module: str) -> None:
    """Floors 0 and 1 never await, log, open files or read a clock."""
    place = PACKAGE / module
    files = sorted(place.rglob("*.py")) if place.is_dir() else [PACKAGE / f"{module}.py"]
    forbidden = {"asyncio", "anyio", "logging", "os", "pathlib", "socket", "threading", "time"}
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        nodes = list(ast.walk(tree))
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
        assert imported & forbidden == set(), path
        assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in nodes), path
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        assert calls & {"open", "datetime.now", "datetime.utcnow", "print"} == set(), path


def test_import_is_light_and_silent() -> None:
    """Importing the package starts no thread and leaves what is heavy for later."""
    program = (
        "import sys, threading, gem_consent; "
        "print(threading.active_count(), 'user_agents' in sys.modules, 'uvicorn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False", "False"]


def test_top_level_holds_nothing_else() -> None:
    """The repository's top level is what the README says, and hidden files."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    ).stdout
    visible = {line.split("/")[0] for line in listed.splitlines() if not line.startswith(".")}
    allowed = {
        *("gem_consent", "examples", "tests", "docs"),
        *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile"),
    }
    assert visible <= allowed
