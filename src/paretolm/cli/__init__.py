"""The command line: one verb a file here, found by its name; nothing heavy is imported before it is needed."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ParetoError, UserError, nearest

DEBUG = "PARETOLM_DEBUG"  # set: tracebacks are shown
STOPPED = 130  # exit code


def verbs() -> list[str]:
    """Every command, sorted."""
    return sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def main(argv: list[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 the work failed or some cells did, 2 a mistake in the call, 3 no recipe is
    within the limits, 130 stopped, 141 nobody reads on."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        _check_text(arguments)
        _app(arguments)(arguments, prog_name="paretolm")
    except ParetoError as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except KeyboardInterrupt:
        _ends(argv)
        print("stopped", file=sys.stderr)
        sys.exit(STOPPED)
    except SystemExit as end:
        if end.code == STOPPED:
            _ends(argv)
        raise
    except BrokenPipeError:  # who reads along has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _ends(argv: list[str] | None) -> None:
    """A second Ctrl-C does not change how the process ends, if it is ours alone."""
    if argv is None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_text(arguments: list[str]) -> None:
    """Raises UserError for an argument that is no UTF-8. Bytes of stdin that are none arrive as half characters, which
    whoever reads them refuses by their place."""
    for number, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"argument {number} is not UTF-8 text ({ascii(argument)[:80]}); rename or retype it"
            ) from None
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")


def _app(arguments: list[str]) -> typer.Typer:
    """The asked verb alone where one is named; all of them for help. Raises UserError for an unknown one."""
    named = next((a for a in arguments if not a.startswith("-")), None)
    if named is not None and named not in verbs():
        raise UserError(f"there is no command {named!r}{nearest(named, verbs())}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_root)
    for verb in [named] if named else verbs():
        module = import_module(f".{verb.replace('-', '_')}", __name__)
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            app.command(verb)(module.command)
    return app


def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Make a language model cheaper with published methods, and see what each one really costs and saves."""
    if show_version:
        print(version("paretolm"))
    elif context.invoked_subcommand is None:
        print(context.get_help())
