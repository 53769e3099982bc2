"""A function in a fresh process: its answer, its errors, its end."""

import time

import pytest
import torch

from paretolm.errors import CellError, RecipeError
from paretolm.evaluation.isolated import THREAD_VARIABLES, describe, run_isolated, size_text

JOBS = "tests.evaluation.jobs"


def test_the_answer_comes_back_whatever_is_printed():
    assert run_isolated(f"{JOBS}:add", {"a": 2, "b": 3}) == 5


def test_threads_and_environment_are_set_for_the_child_alone():
    names = [*THREAD_VARIABLES, "MALLOC_ARENA_MAX", "HF_HUB_OFFLINE"]
    found = run_isolated(f"{JOBS}:environment", {"names": names}, threads=3, env={"MALLOC_ARENA_MAX": "1"})
    assert found == dict.fromkeys(THREAD_VARIABLES, "3") | {"MALLOC_ARENA_MAX": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize(
    ("job", "kind", "words"),
    [
        ("mistake", RecipeError, r"^no method 'snapvk'; did you mean 'snapkv'\?$"),
        ("bad_cell", CellError, r"^logits are NaN at token 7$"),
        ("divide_by_zero", CellError, "jobs:divide_by_zero failed: ZeroDivisionError: division by zero"),
        ("no_memory", CellError, r"^out of memory asking for 3.0 GiB$"),
        ("leave", CellError, "ended with status 3 and no answer: the last words"),
        ("not_json", CellError, "TypeError: .*set is not JSON"),
        ("absent", CellError, "AttributeError: .*absent"),
    ],
)
def test_errors_come_back_as_sentences(job, kind, words):
    with pytest.raises(kind, match=words):
        run_isolated(f"{JOBS}:{job}", {})


def test_a_killed_process_says_what_it_held():
    with pytest.raises(CellError, match=r"killed by SIGKILL, when it held [0-9.]+ MiB; .* memory"):
        run_isolated(f"{JOBS}:killed", {})


def test_the_time_limit_ends_the_process():
    start = time.monotonic()
    with pytest.raises(CellError, match=r"ran past its limit of 0\.5 s"):
        run_isolated(f"{JOBS}:sleep", {"seconds": 60}, timeout_s=0.5)
    assert time.monotonic() - start < 30


def test_out_of_memory_is_recognised_in_torch_s_words():
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 79 GiB")
    assert describe(cuda)["message"] == "out of memory asking for 20.0 MiB"
    assert describe(MemoryError())["message"] == "out of memory"


def test_sizes_read_like_sizes():
    assert [size_text(n) for n in (0, 1023, 1536, 3 * 2**30, 5 * 2**40)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "3.0 GiB",
        "5.0 TiB",
    ]
