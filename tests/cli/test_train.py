"""paretolm train: one line when it is done, one sentence for a mistake, exit codes that scripts can trust."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import paretolm
from paretolm.training.allocator import OFF
from paretolm.training.log import read_log
from paretolm.training.loop import Loop
from paretolm.training.run import toml
from tests.training import tiny


@pytest.fixture(autouse=True)
def own_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests keeps its allocator as it is."""
    monkeypatch.setenv(OFF, "1")


@pytest.fixture
def call(run: Any) -> Any:
    """`paretolm train tiny.toml` on a text, both in the folder of the call."""
    Path("tiny.toml").write_text(toml(tiny.settings()))
    tiny.text(Path("text"))

    def trained(*arguments: str, to: str = "to") -> tuple[int, str, str]:
        return run("train", "tiny.toml", "--text", "text", "--to", to, *arguments)

    return trained


def test_a_run_is_told_in_one_line(call: Any) -> None:
    code, out, err = call()
    assert code == 0
    assert out.startswith("step 12 of 12, loss 5.")
    assert out.endswith(" bits per byte on held-out text: model in to/model\n")
    assert out.count("\n") == 1
    assert "training a tokenizer of 300 entries" in err
    assert "step 12/12, loss" in err
    assert call("-q") == (0, out, ""), "the same command again"


def test_json_is_all_of_stdout(call: Any) -> None:
    code, out, err = call("--json", "-q", "--stop-after", "3")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["step"], facts["tokens"], facts["model"]) == (3, 3 * 4 * 32, None)
    assert facts["valid"].keys() == {"all", "valid"}
    for _ in range(2):
        code, out, _ = call("--json", "-q")
        facts = json.loads(out, parse_constant=pytest.fail)
        assert (code, facts["step"], facts["model"]) == (0, 12, "to/model")


def test_what_is_trained_runs(call: Any, run: Any) -> None:
    call("-q", "--set", "steps=1", "--set", "optimizer.name=adamw", "--set", "optimizer.lr=0.001")
    assert run("run", "to/model", "The river", "-n", "4")[0] == 0
    assert paretolm.load("to/model").view.trained_length == 32


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", [[], ["--stop-after", "9"]])
def test_a_signal_is_exit_code_130(
    call: Any, monkeypatch: pytest.MonkeyPatch, number: int, arguments: list[str]
) -> None:
    report = Loop._report

    def signalled(self: Loop, *rest: Any) -> None:
        report(self, *rest)
        if self.step == 4:
            signal.raise_signal(number)

    monkeypatch.setattr(Loop, "_report", signalled)
    code, out, err = call("-q", *arguments)
    assert (code, err) == (130, "")
    assert out.startswith("step 5 of 12, loss ")
    assert out.endswith(": stopped; the same command goes on\n")


def test_of_several_processes_one_speaks(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert call("-q", "--stop-after", "1", "--json") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "stepz=3"], "tiny.toml has no setting 'stepz'; did you mean 'steps'?"),
        (["--set", "steps"], "a change is written like optimizer.lr=0.01"),
        (["--set", "optimizer.name=sgd"], "there is no optimizer 'sgd'; known: adamw, muon"),
        (["--text", "nowhere"], "there is no text at nowhere"),
        (["--valid", "nowhere"], "there is no text at nowhere"),
        (["--tokenizer", "nowhere"], "nowhere is not a tokenizer: No such file"),
        (["--device", "gpu"], "there is no device 'gpu' here"),
        (["--dtype", "float16"], "a model is trained in float32 or bfloat16, not float16"),
        (["--dtype", "flaot32"], "unknown dtype 'flaot32'; did you mean 'float32'?"),
        (["--to", "tiny.toml"], "tiny.toml is a file: a run needs a directory of its own"),
        (["--set", "sequence_length=4000"], "at least 20 are needed"),
    ],
)
def test_a_mistake_is_one_sentence(call: Any, arguments: list[str], said: str) -> None:
    code, out, err = call("-q", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tou", "--to", "to"], "error: there is no run 'tou'; did you mean 'toy'?"),
        (["toy"], "Missing option '--to'"),
        (["--to", "to"], "Missing argument"),
        (["toy", "--to", "to", "--stop-after", "0"], "greater than or equal to 1"),
    ],
)
def test_a_call_that_is_no_call(run: Any, arguments: list[str], said: str) -> None:
    code, out, err = run("train", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert not Path("to").exists()


def test_a_run_that_fails_is_exit_code_1(call: Any) -> None:
    code, out, err = call("-q", "--set", "optimizer.lr=1e30", "--set", "optimizer.adamw_lr=1e30")
    assert (code, out) == (1, "")
    assert err.startswith("error: by step 4 the loss is nan")
    assert err.count("\n") == 1


def test_the_toy_needs_nothing_but_a_place(run: Any) -> None:
    code, out, _ = run("train", "toy", "--to", "my-model", "--set", "steps=2")
    assert code == 0
    assert out.endswith("model in my-model/model\n")
    assert {"step", "loss", "valid"} <= {key for record in read_log(Path("my-model/log.jsonl")) for key in record}
    assert run("run", "my-model/model", "The city of", "-n", "4")[0] == 0


WAITING = """
import os, sys

class Watch:
    def find_spec(self, name, *rest):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
from paretolm.cli import main
main(["train", "toy", "--to", "to"])
"""


@pytest.mark.parametrize(("before", "then"), [(None, "passive"), ("active", "active")])
def test_threads_are_told_to_sleep_before_torch_asks(before: str | None, then: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": before} if before else {}
    done = subprocess.run([sys.executable, "-c", WAITING], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == f"{then}\n"


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from paretolm.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "--stop-after" in out
    assert "Repeatable" in out
    assert not {"torch", "transformers", "tokenizers", "numpy"} & set(out.split())
