"""Prompts read whole under sparse attention: loss of their own tokens, and the time they take, dense in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Direct

if TYPE_CHECKING:
    from torch import Tensor

    from ...bridge.lm import LM
    from ...evaluation.rows import Row
    from ...evaluation.source import TextSource
    from ...evaluation.streams import TextStream
    from ...recipes.session import Session
    from ...studies.study import Findings, Number, Place

TEXTS = 12  # of the trained length
FROM = 256  # the first token whose loss counts
LENGTHS, REPEATS = 8, 3  # trained lengths of the prompt that is timed
ARMS = {
    "power-attention": "power-attention",
    "minference": "minference",
    "hip-attention": "hip-attention",
    "hyper-attention": "hyper-attention",
}


def losses(at: Place, arms: Mapping[str, str]) -> tuple[dict[str, Number], list[dict[str, object]]]:
    """Change of perplexity against dense and the share of pairs multiplied, by arm; and the rows. Texts of the trained
    length, each read as one prompt in one forward."""
    from ...evaluation.streams import build
    from ..numbers import change, exact

    lm = at.load(at.models[0])
    length = lm.view.trained_length
    texts = build(at.source, lm, length, TEXTS, per_document=length, seed=0)
    at.progress.plan({name: name for name in ("dense", *arms)})
    dense, _ = _read_all(at, lm, "dense", texts)
    numbers: dict[str, Number] = {}
    rows = [_told("dense", row) for row in dense]
    every = len(texts) * pairs(lm, length)
    for name, line in arms.items():
        own, unread = _read_all(at, lm, line, texts)
        numbers[f"{name}, change of perplexity"] = change(own, dense)
        numbers[f"{name}, pairs multiplied"] = exact(100 * (1 - unread / every), "%")
        rows += [_told(name, row) for row in own]
        at.progress.finish(name)
    return numbers, rows


def _read_all(at: Place, lm: LM, line: str, texts: list[TextStream]) -> tuple[list[Row], int]:
    """Rows of every text, and how many pairs were left out."""
    import torch

    from ...recipes.recipe import Recipe
    from ...recipes.session import Session

    with Session.open(lm, Recipe.parse(line)) as session, torch.inference_mode():
        rows = by_document(texts, lambda ids: session.stream().read(ids, last=True).logits)
        return rows, unread(session)


def by_document(texts: list[TextStream], read: Callable[[Tensor], Tensor]) -> list[Row]:
    """Mean loss a document and text, weighted by its tokens; read: logits [1, T, V] of ids [1, T]."""
    import torch

    from ...evaluation.metrics.likelihood import token_nll
    from ...evaluation.rows import Row

    rows = []
    for text in texts:
        nll = token_nll(read(text.ids)[0, :-1], text.ids[0, 1:])
        for place in sorted(set(text.where[FROM + 1 :].tolist()) - {-1}):
            own = nll[FROM:][torch.from_numpy(text.where[FROM + 1 :] == place)]
            rows.append(Row(text.id, text.docs[place], "nll", float(own.mean()), float(len(own))))
    return rows


def _told(arm: str, row: Row) -> dict[str, object]:
    return {"arm": arm, "item": row.item, "doc": row.doc, "nll": row.value, "tokens": row.weight}


def unread(session: Session) -> int:
    """Pairs of query and key that were left out so far, over all heads and layers."""
    return sum(n for counts in session.counters.values() for name, n in counts.items() if name.endswith("_unread"))


def pairs(lm: LM, length: int) -> int:
    """Pairs of a query and a key up to it, over all heads of layers with full attention."""
    heads = sum(lm.view.layers[layer].num_heads for layer in lm.view.full_layers)
    return heads * length * (length + 1) // 2


def prompt(source: TextSource, lm: LM, length: int) -> Tensor:
    """[1, length]; text from its start again where it ends."""
    from ...evaluation.streams import build

    (text,) = build(source, lm, length, 1, per_document=length, seed=0, shrink=True)
    return text.ids.repeat(1, -(-length // text.length))[:, :length]


def times(at: Place) -> Findings:
    """A prompt of 8 trained lengths read by each method, in turns with dense; the first turn is not counted."""
    import torch

    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..timing import faster, turns

    jobs: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack, torch.inference_mode():
        for name, line in {"dense": "dense", **ARMS}.items():
            lm = at.load(at.models[0])
            ids = prompt(at.source, lm, LENGTHS * lm.view.trained_length)
            session = stack.enter_context(Session.open(lm, Recipe.parse(line)))
            jobs[name] = partial(_read, session, ids)
        seconds = turns(jobs, REPEATS)
    numbers = {f"{name}, speed over dense": faster(seconds[name], seconds["dense"]) for name in ARMS}
    rows = [{"arm": name, "repeat": i, "seconds": s} for name, found in seconds.items() for i, s in enumerate(found)]
    return Findings(numbers=numbers, rows=rows)


def _read(session: Session, ids: Tensor) -> None:
    session.stream().read(ids, last=True, logits=False)


TIMES = Direct(
    work=times,
    uses=(
        "papers/checks/_sparse_prefill.py",
        "papers/timing.py",
        "methods/attend/approximate",
        "methods/attend/masks/power_attention.py",
    ),
)
