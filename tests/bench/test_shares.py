"""How cells fall to workers: nothing lost or doubled, the untouched model first, tasks that decide in one piece."""

from hypothesis import given
from hypothesis import strategies as st

from paretolm.bench.shares import FEW, FREE, rounds


def job(task, recipes, dense=True):
    cells = [{"key": f"{task}/dense", "recipe": "dense", "task": task}] if dense else []
    return cells + [{"key": f"{task}/{i}", "recipe": name, "task": task} for i, name in enumerate(recipes)]


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), min_size=1, max_size=4),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y"])),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_cell_once_and_the_untouched_model_before_those_set_against_it(recipes, alone, size, dense):
    jobs = {str(n): job(str(n), names, dense) for n, names in enumerate(recipes)}
    keys = {f"{n}/dense" for n in jobs}
    found = rounds(jobs, {"0"}, keys, alone, size)
    cells = [cell["key"] for jobs in found for one in jobs for cell in one]
    assert sorted(cells) == sorted(cell["key"] for one in jobs.values() for cell in one)
    assert all(len({cell["task"] for cell in one}) == 1 for jobs in found for one in jobs)
    first = {cell["key"] for one in found[0] for cell in one} if found else set()
    for number, jobs_side_by_side in enumerate(found):
        for one in jobs_side_by_side:
            own = {cell["key"] for cell in one}
            assert not dense or number == 0 or own & keys or f"{one[0]['task']}/dense" in first
    assert sum(cell["task"] == "0" for one in (found or [[]])[-1] for cell in one[:1]) <= 1  # in one piece


def test_many_recipes_are_shared_evenly():
    names = ["shared"] * FEW + ["own"] * FEW
    first, second = rounds({"t": job("t", names)}, (), {"t/dense"}, {"own": ""}, 2)
    assert [[cell["key"] for cell in one] for one in first] == [["t/dense"]]
    kinds = [[cell["recipe"] for cell in one] for one in second]
    assert kinds == [["shared"] * (FEW // 2)] * 2 + [["own"] * FREE] * (FEW // FREE)


def test_what_is_fitted_once_is_measured_by_one_worker():
    names = ["a", "b", "c", "d"] * FEW
    (_, second) = rounds({"t": job("t", names)}, (), {"t/dense"}, {"a": "x", "b": "y", "c": "x", "d": "y"}, 2)
    assert [{cell["recipe"] for cell in one} for one in second] == [{"a", "c"}, {"b", "d"}]


def test_few_recipes_or_one_worker_stay_together():
    few = {"t": job("t", ["a"] * (2 * FEW - 1))}
    assert rounds(few, (), {"t/dense"}, {}, 2) == [[few["t"]]]
    assert len(rounds(few, (), {"t/dense"}, {"a": ""}, 2)) == 2, "they read their own prompts"
    many = {"t": job("t", ["a"] * 50)}
    assert rounds(many, (), {"t/dense"}, {}, 1) == [[many["t"]]]
    assert rounds(many, {"t"}, {"t/dense"}, {}, 2) == [[many["t"]]]
