"""Three ways to prune: what tells the loss on tasks, divergence or perplexity, and what text to calibrate on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..contracts import knob
from ..errors import RecipeError
from ..evaluation.task import Item, Task
from ..evaluation.tasks import make
from ._pruned import GENERAL, NONE, TASK, Losses, Version, correlations, gain, kept, mean, rank_correlation, version
from ._versions import Bench, planted_texts
from .study import Column, Figure, Findings, Line, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM

METHODS = ("magnitude", "wanda", "sparsegpt")
CALIBRATED = ("wanda", "sparsegpt")
_DEPTHS = 5  # of the recall task
_CHANCE = {"closed-book": 25, "blimp": 50}


@dataclass(frozen=True, kw_only=True)
class JsCompressionEval(Study):
    """Evaluating the Impact of Compression Techniques on Task-Specific Performance of Large Language Models (2409.11233).

    Every method at every sparsity: perplexity and Jensen-Shannon divergence from the whole model on the text to be
    judged, and tasks on which the whole model is above chance: recall of planted facts, facts from memory, and BLiMP
    where its directory is given. The task loss of a version is the mean over tasks of points lost. Rank correlations
    are Spearman's over the versions calibrated on general text. The calibrated methods are then calibrated on text
    of the recall task (facts planted in the same documents, asked for and answered), and their recall is compared
    item by item.
    """

    papers: ClassVar[tuple[str, ...]] = ("2409.11233",)
    models: ClassVar[tuple[int, int | None]] = (1, 1)

    sparsities: tuple[float, ...] = knob((0.3, 0.5, 0.7), help="shares of weights that become zero, two or more")
    nsamples: int = knob(16, low=1, help="pieces of text calibrated on")
    streams: int = knob(6, low=1, help="texts of perplexity and divergence")
    questions: int = knob(50, low=10, help="about planted facts, spread over five depths")
    length: float = knob(0.5, low=0.01, high=1, help="text of a question, in trained lengths")
    facts: int = knob(120, low=10, help="facts from memory")
    blimp: str | None = knob(None, help="BLiMP's directory; by itself left out")
    pairs: int = knob(200, low=10, help="pairs of BLiMP")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.sparsities)) < 2 or not all(0 < s < 1 for s in self.sparsities):
            raise RecipeError(f"{self.name}: sparsities are two or more numbers between 0 and 1, not {self.sparsities}")

    def run(self, at: Place) -> Findings:
        (model,) = at.models
        lm = at.load(model)
        bench = Bench(lm, self._tasks(lm, at))
        texts = [d.text for d in at.source.fit_documents]
        on = {NONE: list[str](), GENERAL: texts, TASK: planted_texts(lm, texts, self.seed)}
        unit = {"model": at.content(model), "text": at.source.data_hash}
        todo = [("dense", 0.0, NONE), *self._versions()]
        at.progress.plan({str(v): f"{v[0]} at {v[1]:g}, calibrated on {v[2]}" for v in todo})
        found = []
        for which in todo:
            work = partial(self._score, bench, which, on[which[2]])
            found.append(version(at.once(self, unit | {"version": list(which)}, work)))
            at.progress.finish(str(which))
        return self._findings(found[0], found[1:])

    def sources(self) -> tuple[str, ...]:
        shelf = (f"methods/weights/{stem}.py" for stem in (*METHODS, "_pruning", "_matrices"))
        tasks = ("text/perplexity", "text/divergence", "context/recall", "choice/closed_book", "choice/blimp")
        scored = (f"evaluation/tasks/{name}.py" for name in (*tasks, "_choice", "_reading"))
        return (*super().sources(), "studies/_versions.py", "bridge/layerwise.py", *shelf, *scored)

    def _versions(self) -> list[tuple[str, float, str]]:
        first = [(m, s, GENERAL if m in CALIBRATED else NONE) for m, s in itertools.product(METHODS, self.sparsities)]
        return [*first, *((m, s, TASK) for m, s in itertools.product(CALIBRATED, self.sparsities))]

    def _tasks(self, lm: LM, at: Place) -> dict[str, tuple[Task, list[Item]]]:
        length, seed = min(lm.view.trained_length, 2048), self.seed
        made = {
            "perplexity": make("perplexity", length=length, streams=self.streams, audit=0, seed=seed),
            "divergence": make("divergence", length=length, streams=self.streams, seed=seed),
            "recall": make("recall", lengths=(self.length,), repeats=max(1, self.questions // _DEPTHS), seed=seed),
            "closed-book": make("closed-book", limit=self.facts, seed=seed),
        }
        if self.blimp:
            made["blimp"] = make("blimp", path=self.blimp, limit=self.pairs, seed=seed)
        return {name: (task, task.items(at.source, lm)) for name, task in made.items()}

    def _score(self, bench: Bench, which: tuple[str, float, str], texts: Sequence[str]) -> dict[str, Any]:
        method, sparsity, source = which
        knobs = f", nsamples={self.nsamples}, seed={self.seed}" if method in CALIBRATED else ""
        line = f"{method}(sparsity={sparsity}{knobs})"
        rows = bench.dense() if method == "dense" else bench.version(line, texts)
        answers = {name: {r.item: r.value for r in rows[name] if r.metric in ("acc", "recall")} for name in rows}
        nll = [asdict(r) for r in rows["perplexity"] if r.metric == "nll"]
        scores = {name: items for name, items in answers.items() if items}
        return asdict(Version(method, sparsity, source, nll, mean(rows["divergence"], "js"), scores))

    def _findings(self, dense: Version, versions: list[Version]) -> Findings:
        first = [v for v in versions if v.calibrated_on != TASK]
        lost = Losses(dense, first, self.seed)
        return Findings(
            tables=(_scores(dense, versions), _ranks(first, lost), _calibrations(versions)),
            figures=(
                _figure(first, lost, "js", "JS divergence, bits"),
                _figure(first, lost, "perplexity", "perplexity"),
            ),
            numbers={
                **correlations(first, lost),
                **{f"gain of {m} by task text": gain(versions, m, "recall", self.seed) for m in CALIBRATED},
                **kept(dense, first, lost, self.seed),
            },
            notes=(
                "perplexity and divergence: of the text to be judged, after a prompt, through the cache",
                "a task cannot fall far below chance, so that losses level out there and ranks among them say little",
                "intervals of correlations and losses: other items of the same tasks, the same versions",
            ),
            rows=[asdict(v) for v in (dense, *versions)],
        )


def _scores(dense: Version, versions: Sequence[Version]) -> Table:
    tasks = list(dense.scores)
    columns = (
        Column("version"),
        Column("sparsity", format=".2g"),
        Column("calibrated on"),
        Column("perplexity", format=".2f"),
        Column("JS", "bits", ".4f", "divergence from the whole model"),
        *(Column(task, "%", ".1f") for task in tasks),
    )
    rows: list[tuple[Value, ...]] = [
        (v.method, v.sparsity, v.calibrated_on, v.perplexity, v.js, *(v.share(t) for t in tasks))
        for v in (dense, *versions)
    ]
    chances = ", ".join(f"{task} {_CHANCE[task]}%" for task in tasks if task in _CHANCE)
    return Table(f"Pruned versions (by chance: {chances})", columns, tuple(rows))


def _ranks(versions: Sequence[Version], lost: Losses) -> Table:
    """Rank correlations task by task."""
    sides: Mapping[str, list[float]] = {
        "JS divergence": [v.js for v in versions],
        "perplexity": [v.perplexity for v in versions],
    }
    rows: list[tuple[Value, ...]] = [
        (name, *(rank_correlation(x, y) for y in lost.by_task.T), rank_correlation(x, lost.mean))
        for name, x in sides.items()
    ]
    tasks = (*(f"loss of {task}" for task in lost.tasks), "mean loss")
    columns = (Column("rank correlation of"), *(Column(f"with {task}", format=".2f") for task in tasks))
    return Table(f"What tells the loss on tasks, over {len(versions)} versions", columns, tuple(rows))


def _calibrations(versions: Sequence[Version]) -> Table:
    of = {(v.method, v.sparsity, v.calibrated_on): v for v in versions}
    rows: list[tuple[Value, ...]] = []
    for method, sparsity in sorted({(m, s) for m, s, on in of if on == TASK}):
        pair = [of[method, sparsity, on] for on in (GENERAL, TASK)]
        shares = [v.share(task) for task in ("recall", "closed-book") for v in pair]
        rows.append((method, sparsity, *shares, *(v.perplexity for v in pair)))
    shown = [(task, on) for task in ("recall", "closed-book") for on in (GENERAL, TASK)]
    columns = (
        Column("method"),
        Column("sparsity", format=".2g"),
        *(Column(f"{task}, {on}", "%", ".1f") for task, on in shown),
        *(Column(f"perplexity, {on}", format=".2f") for on in (GENERAL, TASK)),
    )
    return Table("What it was calibrated on (task text: that of recall)", columns, tuple(rows))


def _figure(versions: Sequence[Version], lost: Losses, measure: str, name: str) -> Figure:
    lines = []
    for method in METHODS:
        at = [i for i, v in enumerate(versions) if v.method == method]
        x = tuple(float(getattr(versions[i], measure)) for i in at)
        lines.append(Line(method, x, tuple(float(lost.mean[i]) for i in at), points=True))
    return Figure(f"Loss on tasks against {name}", name, "points lost", tuple(lines), log_x=measure == "perplexity")
