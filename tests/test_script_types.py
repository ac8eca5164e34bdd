"""The scripts of a page keep to the types that their JSDoc states, and no word of it reaches a visitor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gem_consent.scripts import asset, composed, notice_script

STATIC = Path(__file__).parent.parent / "gem_consent" / "static"
TOOLS = f"{sys.prefix}/node/node_modules/.bin"
TSC = shutil.which("tsc", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
# its results change with its version, so that only the one that the Makefile names will do
TERSER = shutil.which("terser", path=TOOLS)
needs_compiler = pytest.mark.skipif(
    TSC is None, reason="TypeScript is not installed: the types of the scripts are not checked"
)
# A service that is granted and one that is not, as a policy's are called.
SERVICES = """
start("tool", "analytics", { "script-src": ["https://tool.example"] }, (secondsLeft) => {
  secondsLeft.toFixed();
}, () => { forget(["_t*"], ["key"]); });
stop("video", "media", ["vid_*"], ["key"], () => {});
"""
SLIPS = [
    ("notice.js", 'ask("settle")', 'ask("settled")'),
    ("notice.js", "granted, renew, start,", "granted, start,"),
    ("press.js", "send(form, button)", "send(button, form)"),
    ("tags.js", "secondsLeft.toFixed()", "secondsLeft.trim()"),
]


def written() -> dict[str, str]:
    """Give the scripts with their parts in place and their comments still there."""
    values = {"style": '""', "fingerprint": "0" * 8, "services": SERVICES, "waiting": ""}
    values["waiting"] = composed("waiting.js", values, squeeze=str)
    return {name: composed(name, values, squeeze=str) for name in ("notice.js", "press.js", "tags.js")}


def complaints(scripts: dict[str, str], folder: Path) -> str:
    """Give what the compiler has against these scripts."""
    for name, script in scripts.items():
        (folder / name).write_text(script, "utf-8")
    options = ["--allowJs", "--checkJs", "--noEmit", "--strict", "--skipDefaultLibCheck"]
    options += ["--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--pretty", "false"]
    given = [TSC or "tsc", *options, *scripts, str(STATIC / "types" / "globals.d.ts")]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@needs_compiler
def test_scripts_keep_to_their_types(tmp_path: Path) -> None:
    """The compiler finds nothing, at its strictest."""
    assert complaints(written(), tmp_path) == ""


@needs_compiler
def test_slips_are_found(tmp_path: Path) -> None:
    """A name that is not there, or a value of another kind, is named with its script and line."""
    scripts, places = written(), []
    for name, right, wrong in SLIPS:
        before, found, after = scripts[name].partition(right)
        assert found
        scripts[name] = before + wrong + after
        places.append(f"{name}({before.count(chr(10)) + 1},")
    said = complaints(scripts, tmp_path)
    assert [place for place in places if place not in said] == []


@pytest.mark.skipif(TERSER is None, reason="terser is not installed: the served script is not compared")
def test_served_script_is_of_this_source() -> None:
    """Who changes the script of the pages also makes what is served of it: ``make script``."""
    makefile = (STATIC.parent.parent / "Makefile").read_text("utf-8")
    (options,) = [line for line in makefile.splitlines() if line.startswith("SHORTEN :=")]
    source = composed("notice.js", {})
    command = [TERSER or "terser", *options.split()[2:]]
    made = subprocess.run(command, input=source, capture_output=True, text=True, check=True, timeout=60)
    assert made.stdout.strip() == notice_script()


def test_types_stay_at_home() -> None:
    """What is served has no comment, and no bracket that only a type was for."""
    tags = composed("tags.js", {"fingerprint": "", "services": "", "waiting": composed("waiting.js", {})})
    for script in (notice_script(), asset("press.js")[1].decode(), tags):
        assert "/*" not in script
        assert "@type" not in script
        assert "(document.currentScript)" not in script
