"""paretolm machine: the roofline that is stored, and measuring it again."""

from __future__ import annotations

import json

import pytest

from paretolm.evaluation import roofline as module
from paretolm.evaluation.roofline import MIB, Roofline


@pytest.fixture
def rates(monkeypatch):
    """What the next measurements find, bytes/s."""
    found = iter([2e9, 5e9, 3e9])

    def measured(job, arguments, **options):
        roofline = Roofline(
            "m", arguments["device"], arguments["threads"], ((MIB, next(found)),), {"float32": 4e9}, 0.12, "2026-07-01"
        )
        return roofline.as_json()

    monkeypatch.setattr(module, "run_isolated", measured)


def test_it_is_measured_once_and_again_when_asked(run, rates):
    code, out, err = run("machine", "--threads", "2")
    assert code == 0
    assert "measuring" in err
    assert "1.00 MiB" in out
    assert "2.00 GB/s" in out
    assert "4.00 GFLOP/s" in out
    assert "differ by 12%" in out
    assert "cpu, 2 threads, measured 2026-07-01" in out
    code, out, err = run("machine", "--threads", "2", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out.splitlines()[-1])
    assert told["roofline"]["bandwidth"] == [[MIB, 2e9]]
    assert told["path"].endswith(f"roofline-{told['machine']['hash']}.json")
    assert "5.00 GB/s" in run("machine", "--threads", "2", "--again")[1]
    assert "5.00 GB/s" in run("machine", "--threads", "2", "--again")[1], "a busier moment does not lower it"


def test_another_number_of_threads_has_its_own(run, rates):
    assert "2.00 GB/s" in run("machine", "--threads", "1")[1]
    assert "5.00 GB/s" in run("machine", "--threads", "2")[1]
    assert "2.00 GB/s" in run("machine", "--threads", "1")[1]


def test_quiet_says_nothing_beside_the_result(run, rates):
    assert run("machine", "--threads", "1", "--quiet")[2] == ""
