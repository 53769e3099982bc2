"""Papers made for tests: one whose claims hold, one whose experiment fails, one that kills its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from paretolm.errors import CellError, UserError
from paretolm.papers.claim import Bench, Claim, Direct, Limit, Paper
from paretolm.papers.found import Found
from paretolm.papers.numbers import mean
from paretolm.studies.study import Findings, Number, Place

MODEL, TEXT, LOG = "PARETOLM_MADE_MODEL", "PARETOLM_MADE_TEXT", "PARETOLM_MADE_LOG"
WINDOW = "window(window=32)"


def count(line: str) -> None:
    with Path(os.environ[LOG]).open("a") as log:
        log.write(f"{line}\n")


def counted() -> list[str]:
    path = Path(os.environ[LOG])
    return path.read_text().split() if path.exists() else []


def bench() -> Bench:
    return Bench(
        recipes=(WINDOW,),
        tasks=("perplexity(length=96, streams=20, context=0.9, audit=0)",),
        measure=measure,
        model=os.environ[MODEL],
        text=os.environ[TEXT],
    )


def measure(found: Found) -> Mapping[str, Number]:
    return {"change": found.change("nll", WINDOW), "held": found.held(WINDOW), "plain": found.mean("nll")}


def work(at: Place) -> Findings:
    """Three values."""
    count("work")
    rows = [{"value": float(v)} for v in (1, 2, 3)]
    return Findings(numbers={"mean": mean([r["value"] for r in rows], ["a", "b", "c"])}, rows=rows)


def broken(at: Place) -> Findings:
    """Fails."""
    raise CellError("the lamp went out")


def odd(at: Place) -> Findings:
    """Fails in a way that nobody foresaw."""
    return Findings(numbers={"x": {}["x"]})


def fatal(at: Place) -> Findings:
    """Ends the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Findings()


def claim(experiment: Bench | Direct, *limits: Limit, says: str = "It holds.", **more: object) -> Claim:
    told = {"metric": "m", "setting": "s", "size": "7B", "figure": "f", "section": "1"}
    return Claim(says=says, experiment=experiment, limits=limits, **told, **more)


def direct(work_: object, **more: object) -> Direct:
    return Direct(work=work_, models=(os.environ[MODEL],), text=os.environ[TEXT], **more)


def paper(*claims: Claim) -> Paper:
    return Paper(title="A <b>paper</b> of ours", arxiv=("0000.00000",), family="made", claims=claims)


def made() -> dict[str, Paper]:
    three = Limit(number="mean", at_least=-20, expected=2)
    held = Limit(number="held", at_most=50, expected=34)
    return {
        "good": paper(claim(bench(), held, also=("plain",)), claim(direct(work), three, says="And <this> too.")),
        "bad": paper(claim(direct(broken), three), claim(direct(work), three), claim(direct(odd), three)),
        "deadly": paper(claim(direct(fatal), three)),
        "hungry": paper(claim(direct(work, needs_data=("no_such_set",)), three)),
    }


def names() -> list[str]:
    return sorted(made())


def find(name: str) -> Paper:
    if name not in made():
        raise UserError(f"no claims are checked of {name!r}")
    return made()[name]


def source(name: str) -> Path:
    return Path(__file__)
