"""Cards side by side in the terminal, with the difference from the first model in bits per byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..bench.report.table import console
from ..evaluation.isolated import size_text
from ..evaluation.summary import Summary, summarise
from . import words
from .measure import Measured

if TYPE_CHECKING:
    from rich.table import Table

Line = tuple[str, Sequence[str]]


def show(found: Sequence[Measured]) -> None:
    """Prints the table, and what it could not hold."""
    out = console()
    out.print(table(found))
    for line in remarks(found):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def remarks(found: Sequence[Measured]) -> Iterator[str]:
    """What was read, what brackets mean, and what was left out and why."""
    text = found[0].card["text"]
    yield f"{text['documents']} documents of {text['name']}, {text['bytes']:,} bytes; in square brackets 95% intervals"
    if len(found) > 1:
        yield f"in round brackets: minus {_name(found[0])}, paired by document"
    for each in found:
        for part, why in each.card.get("skipped", {}).items():
            yield f"{_name(each)}: {part.replace('_', ' ')} was left out: {why}"


def table(found: Sequence[Measured]) -> Table:
    """A row a number, a column a model."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    made.add_column("")
    for each in found:
        made.add_column(_name(each), justify="right")
    for head, cells in lines(found):
        made.add_row(Text(head), *(Text(cell) for cell in cells))
    return made


def lines(found: Sequence[Measured]) -> Iterator[Line]:
    """(what, one word a model); a number that no model has is left out."""
    cards = [each.card for each in found]
    yield from _facts([c["model"] for c in cards])
    yield "window", [f"{c['text']['window']:,}" for c in cards]
    yield from _bits(found)
    yield "loss, nats/token", [f"{c['text']['loss']:.3f}" for c in cards]
    for kind in ("literal", "paraphrased"):
        yield from _rows(cards, "recall", lambda r, k=kind: _recall(r, k))  # type: ignore[misc]
    yield from _rows(cards, "longer", _longer)
    yield from _rows(cards, "first_tokens", lambda f: {"attention on first 4, by layer": _ends(f["by_layer"])})
    yield from _rows(cards, "blimp", lambda f: {"BLiMP": words.with_interval(f)})
    yield from _rows(cards, "draft", lambda f: {f"same next token as {f['name']}": words.percent(f["value"])})


def _facts(models: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    yield "parameters", [words.million(m["parameters"]) for m in models]
    yield "layers × width", [f"{m['layers']} × {m['width']}" for m in models]
    yield "heads / key-value heads", [f"{m['heads']} / {m['kv_heads']} of {m['head_width']}" for m in models]
    yield "vocabulary", [f"{m['vocabulary']:,}" for m in models]
    yield "trained length", [f"{m['trained_length']:,}" for m in models]
    yield (
        "file",
        [f"{size_text(m['file_bytes'])}, {m['dtype']}" if m["file_bytes"] else m["dtype"] for m in models],
    )
    yield "content", [m["content"][:12] for m in models]
    yield "tokenizer", [m["tokenizer"][:12] for m in models]


# --- bits per byte, paired ---


def paired(found: Sequence[Measured], by: str | None = None) -> list[Summary]:
    """Bits per byte of each model and its difference from the first, paired and clustered by document."""
    rows = {_key(i, m): [r for r in m.rows if r.metric == "bits_per_byte"] for i, m in enumerate(found)}
    return summarise(rows, next(iter(rows)), by=by)


def _bits(found: Sequence[Measured]) -> Iterator[Line]:
    by_domain = paired(found, "domain")
    for group in (None, *dict.fromkeys(s.group for s in by_domain if s.group)):
        of = {s.recipe: s for s in (paired(found) if group is None else by_domain) if s.group == group}
        head = "bits per byte" if group is None else f"  {str(group).replace('_', ' ')}"
        yield head, [_shown(of.get(_key(i, m)), group is None) for i, m in enumerate(found)]


def _shown(summary: Summary | None, interval: bool) -> str:
    if summary is None:
        return "–"
    if summary.delta is None or summary.delta_low is None or not interval:
        return words.bits(summary.mean) + ("" if summary.delta is None else f" ({summary.delta:+.3f})")
    ends = f"[{summary.delta_low:+.3f}, {summary.delta_high:+.3f}]"
    return f"{words.bits(summary.mean)} ({summary.delta:+.3f} {ends})"


def _key(number: int, measured: Measured) -> str:
    """Two directories may have one name."""
    return f"{number} {_name(measured)}"


def _name(measured: Measured) -> str:
    return str(measured.card["model"]["name"])


# --- the rest ---


def _rows(cards: Sequence[Mapping[str, Any]], key: str, told: Callable[[Any], Mapping[str, str]]) -> Iterator[Line]:
    """Lines of a part that not every card has."""
    columns = [told(c[key]) if c.get(key) else {} for c in cards]
    for head in dict.fromkeys(h for column in columns for h in column):
        yield head, [column.get(head, "–") for column in columns]


def _recall(found: Mapping[str, Any], kind: str) -> dict[str, str]:
    cells = [c for c in found["cells"] if c["kind"] == kind]
    return {f"recall, {kind}, {_facts_word(c['num_facts'])}": words.with_interval(c) for c in cells}


def _facts_word(number: int) -> str:
    return "1 fact" if number == 1 else f"{number} facts"


def _longer(found: Mapping[str, Any]) -> dict[str, str]:
    span = words.spans(found["edges"])[-1]
    return {
        f"perplexity at {span} lengths, {name}": words.perplexity(line[-1])
        for name, line in found["perplexity"].items()
    }


def _ends(shares: Sequence[float]) -> str:
    return f"{words.percent(min(shares))} to {words.percent(max(shares))}"
