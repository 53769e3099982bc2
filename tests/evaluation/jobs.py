"""Jobs for the isolated runner's tests: what may happen to a process."""

import os
import signal
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import Any

from paretolm.contracts import ModelRef
from paretolm.errors import CellError, RecipeError


def add(a: int, b: int) -> int:
    print("noise on stdout")
    os.write(1, b"noise from a library\n")
    return a + b


def environment(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def divide_by_zero() -> float:
    return 1 / 0


def mistake() -> None:
    raise RecipeError("no method 'snapvk'; did you mean 'snapkv'?")


def bad_cell() -> None:
    raise CellError("logits are NaN at token 7")


def no_memory() -> None:
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 3221225472 bytes. Error code 12 (Cannot allocate memory)"
    )


def killed() -> None:
    held = bytearray(64 * 2**20)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)
    print(len(held))


def leave() -> None:
    print("the last words", file=sys.stderr)
    os._exit(3)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


_CALLS: list[int] = []


def count_calls() -> dict[str, int]:
    _CALLS.append(1)
    return {"calls": len(_CALLS), "pid": os.getpid()}


def not_json() -> object:
    return {1, 2}


def hold_and_free(mib: int) -> dict[str, int]:
    from paretolm.evaluation.gauges import gauge_for

    gauge = gauge_for("cpu")
    before = gauge.steady()
    gauge.reset_peak()
    resident = gauge.resident()
    blocks = [bytearray(b"x" * 2**20) for _ in range(mib)]
    held = gauge.steady() - before
    blocks.clear()
    return {"held": held, "peak": gauge.peak() - resident, "freed": gauge.steady() - before}


def weigh_heavy(model: str, draft: str) -> dict[str, Any]:
    """Memory of this process under a recipe that doubles the weights, holds an index and opens a second model."""
    from paretolm.evaluation import memory
    from paretolm.recipes.recipe import Recipe
    from tests.saboteurs.heavy import Doubling, Drafted, Indexed

    here = (Indexed(mib=3), Drafted(draft=ModelRef(draft)))
    memory.open_session = partial(_open_heavy, Doubling(), here)
    return memory.weigh_here(Recipe((Doubling(), *here)), model, {}, 64, None, decode=4, chunk=64, seed=0)


@contextmanager
def _open_heavy(weights: Any, here: tuple[Any, ...], recipe: Any, model: str, options: Any, gauge: Any) -> Any:
    """memory.open_session for methods that no index knows by name."""
    from paretolm.bridge.loading import load_lm, own_memory
    from paretolm.recipes.convert import bake
    from paretolm.recipes.recipe import Recipe

    empty = gauge.steady()
    lm = bake(load_lm(model, mapped=True), Recipe((weights,)))
    own_memory(lm.model)
    with Recipe(here).apply(lm) as session:
        yield session, empty, 0
