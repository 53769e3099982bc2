"""Tasks as users name them; what every task promises."""

import subprocess
import sys
from pathlib import Path

import pytest

from paretolm.contracts import Slot
from paretolm.errors import RecipeError
from paretolm.evaluation.rows import METRICS
from paretolm.evaluation.tasks import make, names
from tests.evaluation import sets
from tests.evaluation.judging import lm, source


def test_names_rows_and_statistics_load_no_torch() -> None:
    code = (
        "import sys; from paretolm.evaluation import rows, source, statistics, summary, tasks; tasks.names();"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_wrong_name_or_knob_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'perplexity'"):
        make("perplexty")
    with pytest.raises(RecipeError, match="did you mean 'streams'"):
        make("perplexity", stream=3)
    with pytest.raises(RecipeError, match="at least 1"):
        make("divergence", positions=0)


def test_a_task_prints_what_differs_from_its_defaults() -> None:
    assert str(make("recall")) == "recall"
    assert str(make("perplexity", length=2048, seed=1)) == "perplexity(seed=1, length=2048)"


@pytest.mark.parametrize("name", names())
def test_every_task_says_what_it_sees_and_repeats_itself(name: str, tmp_path: Path) -> None:
    knobs = sets.knobs(name, tmp_path)
    task = make(name, **knobs)
    assert task.headline in METRICS
    assert task.visible(frozenset())
    assert task.visible(frozenset({Slot.KEEP, Slot.DECODE}))
    first, again = task.items(source(), lm()), make(name, **knobs).items(source(), lm())
    assert [i.id for i in first] == [i.id for i in again]
    assert len({i.id for i in first}) == len(first)
    assert all((a.prompt_ids == b.prompt_ids).all() for a, b in zip(first, again, strict=True))
    assert any(
        a.id != b.id or a.prompt_ids.tolist() != b.prompt_ids.tolist()
        for a, b in zip(first, make(name, seed=1, **knobs).items(source(), lm()), strict=True)
    )
    assert all(task.tokens(i) > i.prompt_length for i in first)


def test_what_cannot_be_seen_is_known() -> None:
    unseen = frozenset({Slot.DECODE})
    assert not make("perplexity").visible(unseen)
    assert not make("divergence").visible(frozenset({Slot.PROMPT, Slot.TOKENS}))
    assert make("recall").visible(unseen)
