"""The command ``gem-consent``: gathers the commands, and turns every error into one line and an exit code."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup

from gem_consent.cli.checkpoint import checkpoint
from gem_consent.cli.copy import copy
from gem_consent.cli.demo import demo
from gem_consent.cli.erase import erase
from gem_consent.cli.evidence import evidence
from gem_consent.cli.export import export
from gem_consent.cli.inventory import inventory
from gem_consent.cli.notice import notice
from gem_consent.cli.public_key import public_key
from gem_consent.cli.purge import purge
from gem_consent.cli.receipt import receipt
from gem_consent.cli.stats import stats
from gem_consent.cli.verify import verify
from gem_consent.errors import ConfigurationError, ConsentError

__all__ = ["app", "main"]

FAILURE = 1
USAGE = 2


class _Commands(TyperGroup):
    """Commands whose errors are one line on standard error: exit 2 for wrong usage, 1 for a failure."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            raise _reported(error.format_message(), error.exit_code) from error

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            hint = f" (see {ctx.command_path} {ctx.invoked_subcommand or ''}".rstrip() + " --help)"
            raise _reported(error.format_message() + hint, error.exit_code) from error
        except ConsentError as error:
            code = USAGE if isinstance(error, ConfigurationError) else FAILURE
            raise _reported(str(error), code) from error


def _reported(message: str, code: int) -> typer.Exit:
    typer.echo("gem-consent: " + " ".join(message.split()), err=True)
    return typer.Exit(code)


app = typer.Typer(
    cls=_Commands,
    name="gem-consent",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(checkpoint)
app.command()(copy)
app.command()(demo)
app.command()(erase)
app.command()(evidence)
app.command()(export)
app.command()(inventory)
app.command()(notice)
app.command()(public_key)
app.command()(purge)
app.command()(receipt)
app.command()(stats)
app.command()(verify)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"gem-consent {_version()}")
        raise typer.Exit


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gem-consent")
    except PackageNotFoundError:
        return "(run from its source, not installed)"


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Try gem_consent, and read the ledger in which it keeps the choices of a site's visitors."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(USAGE)


def main() -> None:
    """Run the command line; the entry point ``gem-consent``."""
    app(prog_name="gem-consent")
