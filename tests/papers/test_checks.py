"""The claims themselves: every method has its paper's, and each is written so that it can be judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paretolm import papers, studies
from paretolm.evaluation.tasks import names as task_names
from paretolm.papers.check import limit_facts
from paretolm.papers.claim import Bench, Direct, Paper, Rerun
from paretolm.papers.records import read_records
from paretolm.recipes import grammar
from paretolm.recipes.index import method_names, methods
from paretolm.recipes.recipe import Recipe

ROOT = Path(__file__).parents[2]
STORED = ROOT / "results" / "claims"
PAPERS = {name: papers.find(name) for name in papers.names()}
every = pytest.mark.parametrize("name", PAPERS)


def test_every_method_has_its_claims_checked_or_is_a_baseline() -> None:
    covered = {method for paper in PAPERS.values() for method in paper.methods}
    missing = [m.name for m in methods() if m.papers and not m.baseline and m.name not in covered]
    assert not missing, "write src/paretolm/papers/checks/NAME.py, or name the method in the check of its paper"


@every
def test_a_check_names_methods_tasks_and_studies_that_are_there(name: str) -> None:
    paper = PAPERS[name]
    assert set(paper.methods) <= set(method_names())
    assert set(paper.tasks) <= set(task_names())
    assert set(paper.studies) <= set(studies.names())
    known = {m.name: m.papers for m in methods()}
    if name in known:
        assert set(known[name]) & set(paper.arxiv), f"{name} is of another paper"


@every
def test_a_claim_is_whole(name: str) -> None:
    paper = PAPERS[name]
    assert isinstance(paper, Paper)
    assert paper.title
    assert paper.claims
    for claim in paper.claims:
        assert claim.limits
        assert claim.says.endswith(".")
        for field in ("metric", "setting", "size", "figure", "section"):
            assert getattr(claim, field), f"{claim.says}: {field}"


@every
def test_experiments_can_be_read(name: str) -> None:
    for experiment in PAPERS[name].experiments:
        match experiment:
            case Bench():
                for line in experiment.recipes:
                    Recipe.parse(line)
                for line in experiment.tasks:
                    (call,) = grammar.read(line.replace("{data}", "data"))
                    assert call.name in (*task_names(), "speed", "memory")
            case Rerun():
                studies.parse(experiment.study.replace("{data}", "data"))
            case Direct():
                package = ROOT / "src" / "paretolm"
                assert all((package / place).exists() for place in experiment.uses)


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys\nfrom paretolm import papers\nfor n in papers.names(): papers.find(n)\n"
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.split() == ["False", "False"]


@pytest.mark.parametrize("record", read_records(STORED) if STORED.is_dir() else [], ids=lambda r: r["id"])
def test_stored_verdicts_are_of_the_claims_as_they_stand(record: dict) -> None:
    """Limits cannot be moved after the measurement without measuring again."""
    claims = PAPERS[record["id"]].claims
    assert [c["says"] for c in record["claims"]] == [c.says for c in claims]
    for stored, claim in zip(record["claims"], claims, strict=True):
        for kind in ("limits", "needs"):
            kept = [{k: v for k, v in one.items() if k not in ("outcome", "smallest")} for one in stored[kind]]
            assert kept == [limit_facts(limit) for limit in getattr(claim, kind)]
        assert json.dumps(stored["numbers"])
