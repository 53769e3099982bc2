"""One paper checked: every experiment once, every claim judged, all of it as plain JSON values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ..bench.records.keys import file_hash, library_versions, shared_code
from ..bench.report.text import seconds as spelt_seconds
from ..errors import ParetoError
from ..evaluation.isolated import describe
from ..evaluation.machine import machine
from . import find, source
from .claim import Claim, Experiment, Paper
from .experiments import Outcome, Spot, carry_out, described
from .progress import Stages
from .records import FORMAT
from .verdict import Judged, judge

FAILED, NOT_RUN = "failed", "not run"  # no verdicts


def check(name: str, spot: Spot) -> dict[str, Any]:
    """The record of one paper. What fails or lacks its data fails for the claims that rest on it, and no other."""
    paper, started, clock = find(name), time.time(), time.monotonic()
    stages = Stages(spot.progress, name, len(paper.experiments))
    results: dict[Experiment, Outcome | tuple[str, str]] = {}
    took: dict[Experiment, float] = {}
    for experiment in paper.experiments:
        began = time.monotonic()
        with stages.stage() as progress:
            results[experiment] = _attempt(experiment, Spot(spot.store, spot.data, spot.threads, progress))
        took[experiment] = round(time.monotonic() - began, 1)
    claims = [_claim(c, results[c.experiment]) | {"seconds": took[c.experiment]} for c in paper.claims]
    return _heading(name, paper) | {
        "claims": claims,
        "created": _now(started),
        "seconds": round(time.monotonic() - clock, 1),
    }


def _heading(name: str, paper: Paper) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": name,
        "title": paper.title,
        "arxiv": list(paper.arxiv),
        "family": paper.family,
        "stands_for": {"methods": paper.methods, "tasks": paper.tasks, "studies": paper.studies},
        "versions": {"paretolm": version("paretolm"), **library_versions()},
        "check": file_hash(source(name)),
        "code": shared_code(),
        "machine": str(machine()),
    }


def _attempt(experiment: Experiment, spot: Spot) -> Outcome | tuple[str, str]:
    """The outcome, or (state, reason) where there is none."""
    if lacking := spot.lacking(experiment):
        return NOT_RUN, f"needs {', '.join(lacking)} in the directory given as --data"
    try:
        return carry_out(experiment, spot)
    except Exception as error:  # whatever it was, the other claims are checked
        told = describe(error)
        return FAILED, told["message"] if isinstance(error, ParetoError) else f"{told['kind']}: {told['message']}"


def failed(name: str, reason: str) -> dict[str, Any]:
    """The record of a paper whose process ended before it answered."""
    paper = find(name)
    claims = [_claim(c, (FAILED, reason)) | {"seconds": 0.0} for c in paper.claims]
    return _heading(name, paper) | {"claims": claims, "created": _now(time.time()), "seconds": 0.0}


def _now(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _claim(claim: Claim, found: Outcome | tuple[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        **{name: getattr(claim, name) for name in ("says", "metric", "setting", "size", "figure", "section")},
        "experiment": described(claim.experiment),
        "limits": [limit_facts(limit) for limit in claim.limits],
        "needs": [limit_facts(limit) for limit in claim.needs],
    }
    if not isinstance(found, Outcome):
        state, reason = found
        return told | {"state": state, "why": reason, "numbers": {}, "keys": [], "models": {}}
    measured = {"keys": list(found.keys), "models": dict(found.models)}
    try:
        ruling = judge(claim, found.numbers)
    except ParetoError as error:
        return told | {"state": FAILED, "why": str(error), "numbers": {}} | measured
    return told | {
        "state": ruling.verdict,
        "why": ruling.why,
        "limits": [_judged(j) for j in ruling.limits],
        "needs": [_judged(j) for j in ruling.needs],
        "numbers": {name: asdict(found.numbers[name]) for name in claim.numbers},
        **measured,
    }


def limit_facts(limit: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(limit).items() if value is not None}


def _judged(j: Judged) -> dict[str, Any]:
    return limit_facts(j.limit) | {"outcome": j.outcome, "smallest": j.smallest}


def summary(record: Mapping[str, Any]) -> str:
    """'streaming-llm: 1 reproduced, 1 not (41 s)'."""
    states = [c["state"] for c in record["claims"]]
    told = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    return f"{record['id']}: {told} ({spelt_seconds(record['seconds'])})"
