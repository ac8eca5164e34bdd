"""``gem-consent demo``: serve the demonstration site."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    ledger: Annotated[
        str, typer.Option(metavar="URL", help="Where the choices you make are recorded.")
    ] = "sqlite:///gem-consent-demo.db",
) -> None:
    """Serve a small French site behind gem_consent, to click through.

    \b
    Examples:
      gem-consent demo
      gem-consent demo --port 8080 --ledger sqlite:////tmp/demo.db
    """
    # Late: the web server and its application are of no use to the other commands.
    from gem_consent.demo import run

    run(host, port, ledger)
