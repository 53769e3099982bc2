"""paretolm methods: what a recipe may be made of."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ..recipes.index import method_info
from ..recipes.index import methods as all_methods
from ._options import Json

if TYPE_CHECKING:
    from ..recipes.source import KnobInfo, MethodInfo

app = typer.Typer(help="List the methods a recipe may be made of, and their knobs.")


@app.callback(invoke_without_command=True)
def listing(context: typer.Context, as_json: Json = False) -> None:
    """List the methods, by the place where they act."""
    if context.invoked_subcommand is not None:
        return
    found = all_methods()
    if as_json:
        print(json.dumps([asdict(m) for m in found]))
    else:
        _table(found)


@app.command()
def show(name: Annotated[str, typer.Argument(help="As a recipe has it.")], as_json: Json = False) -> None:
    """Show one method and its knobs."""
    info = method_info(name)
    if as_json:
        print(json.dumps(asdict(info)))
    else:
        _describe(info)


def _table(found: tuple[MethodInfo, ...]) -> None:
    from rich.table import Table

    from ..bench.report.table import console

    table = Table("method", "acts on", "paper", "what it does", box=None, pad_edge=False)
    for m in found:
        table.add_row(m.name, m.shelf, ", ".join(m.papers), m.summary)
    console().print(table)


def _describe(info: MethodInfo) -> None:
    from rich.table import Table

    from ..bench.report.table import console

    out = console()
    out.print(f"{info.name}  ({info.shelf or 'another package'})", style="bold", markup=False, highlight=False)
    out.print(info.summary, markup=False, highlight=False)
    if info.papers:
        out.print(", ".join(f"https://arxiv.org/abs/{p}" for p in info.papers), highlight=False)
    if info.knobs:
        table = Table("knob", "default", "range", "meaning", box=None, pad_edge=False)
        for k in info.knobs:
            table.add_row(k.name, "required" if k.default is None else k.default, _range(k), k.help)
        out.print(table)


def _range(knob: KnobInfo) -> str:
    if knob.choices:
        return ", ".join(map(str, knob.choices))
    if knob.low is None and knob.high is None:
        return knob.annotation
    if knob.high is None:
        return f"at least {knob.low:g}"
    return f"at most {knob.high:g}" if knob.low is None else f"{knob.low:g} to {knob.high:g}"
