"""paretolm machine: what this machine could do at best, which every speed is held against."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Json, Quiet

if TYPE_CHECKING:
    from ..evaluation.roofline import Roofline

Threads = Annotated[int | None, typer.Option(min=1, help="By default all that this process may use.")]
Again = Annotated[bool, typer.Option("--again", help="Measure once more and keep the better points.")]


def command(
    device: Device = "cpu", threads: Threads = None, again: Again = False, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Show the roofline: memory bandwidth by working set, and arithmetic by dtype.

    It is measured once for a processor, a number of threads and a version of torch, then kept. A busy machine
    measures too little: measure --again when it is calm. No speed above it is ever printed as a result.
    """
    from ..evaluation.machine import machine, usable_threads
    from ..evaluation.roofline import is_stored, load_roofline, roofline_path

    threads = threads or usable_threads()
    if not quiet and (again or not is_stored(threads, device)):
        print("measuring the roofline, less than a minute", file=sys.stderr)
    found = load_roofline(threads, device, again)
    if as_json:
        print(json.dumps({"machine": machine().as_json(), "roofline": found.as_json(), "path": str(roofline_path())}))
    else:
        _show(found, str(machine()), str(roofline_path()))


def _show(found: Roofline, machine: str, path: str) -> None:
    from rich.table import Table

    from ..bench.report.table import console
    from ..bench.report.text import digits, size

    out = console()
    out.print(machine, markup=False, highlight=False, soft_wrap=True)
    threads = f"{found.threads} thread{'s' if found.threads > 1 else ''}"
    out.print(f"{found.device}, {threads}, measured {found.measured}", markup=False, highlight=False)
    bandwidth = Table("working set", "bandwidth", box=None, pad_edge=False)
    for working_set, rate in found.bandwidth:
        bandwidth.add_row(size(working_set), f"{digits(rate / 1e9)} GB/s")
    flops = Table("dtype", "arithmetic", box=None, pad_edge=False)
    for dtype, rate in found.flops.items():
        flops.add_row(dtype, f"{digits(rate / 1e9)} GFLOP/s")
    for table in (bandwidth, flops):
        out.print()
        out.print(table)
    out.print()
    spread = f"passes over one point differ by {100 * found.spread:.0f}% (the median point)"
    out.print(f"{spread}; kept in {path}", markup=False, highlight=False, soft_wrap=True)
