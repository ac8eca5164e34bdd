"""``python -m bench [PART …]``: measure, show, and write the results into ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.figures import Effort, Run
from bench.report import PARTS, put, section


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless named")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="a look that it runs; writes nothing")
    effort.add_argument("--big", action="store_true", help="also 10 million events: 7 GB, twenty minutes")
    parser.add_argument(
        "--folder", type=Path, help="keep what was made for the next run, such as big ledgers"
    )
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}")
    wanted = Effort.QUICK if asked.quick else Effort.BIG if asked.big else Effort.USUAL
    with tempfile.TemporaryDirectory(prefix="gem-consent-bench-") as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for part in asked.parts or PARTS:
            _measure(part, Run(wanted, folder))


def _measure(part: str, run: Run) -> None:
    lines = []
    for line in section(part, run):
        print(line, flush=True)
        lines.append(line)
    if run.effort is not Effort.QUICK:
        put(part, "\n".join(lines))


main()
