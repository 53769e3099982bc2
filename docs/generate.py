"""Writes what the documentation can read off the code: `python -m docs.generate` in the repository's root.

`--check` writes nothing and names what has drifted.

Whole pages: docs/methods.md, docs/architectures.md, docs/composition.md, docs/cli.md, docs/claims.md from the records of
`paretolm claims` in results/claims, and docs/shelves.md from those in results/shelves. Parts between `<!-- begin NAME -->` and
`<!-- end NAME -->`: the methods of README.md; the worked example of CONTRIBUTING.md.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from paretolm import cli
from paretolm.contracts import Method, Phase, Slot
from paretolm.papers.records import read_records
from paretolm.papers.table import markdown
from paretolm.recipes.index import load_method, methods
from paretolm.recipes.recipe import recipe
from paretolm.recipes.source import KnobInfo, MethodInfo
from tests.contract.discovery import SPECS
from tests.contract.tiny import ARCHITECTURES, MUST_WORK, tiny

from .composition import composition_page
from .shelves import shelves_page
from .tables import table

ROOT = Path(__file__).resolve().parents[1]
NOTICE = "<!-- Written by docs/generate.py from the code: edit the code, then run `make docs`. -->"
EXAMPLE = ROOT / "examples" / "adding_a_method"
SLOTS = {
    Slot.PROMPT: "the prompt, before the model reads it",
    Slot.TOKENS: "the tokenizer",
    Slot.WEIGHTS: "weight matrices",
    Slot.BLOCK: "layers and their parts",
    Slot.FREQUENCY: "how positions turn into angles",
    Slot.INDEX: "which position a key and a query get",
    Slot.ATTEND: "which keys a query reads",
    Slot.KEEP: "which entries of the cache stay",
    Slot.STORE: "in what form they stay",
    Slot.DECODE: "the loop that chooses tokens",
    Slot.LOGITS: "the next-token scores",
}


def pages() -> dict[Path, str]:
    """Every generated page, and every page with generated parts, as it should be."""
    readme, contributing = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
    text = contributing.read_text(encoding="utf-8")
    for path in sorted(EXAMPLE.glob("*.py")):
        text = filled(text, path.name, f"```python\n{path.read_text(encoding='utf-8').strip()}\n```")
    return {
        readme: filled(readme.read_text(encoding="utf-8"), "methods", "\n".join(method_table())),
        contributing: text,
        ROOT / "docs" / "methods.md": page("Methods", method_pages()),
        ROOT / "docs" / "architectures.md": page("Architectures", architecture_page()),
        ROOT / "docs" / "composition.md": page("Which methods compose", composition_page()),
        ROOT / "docs" / "shelves.md": page("Shelves side by side", shelves_page()),
        ROOT / "docs" / "cli.md": page("Commands", command_page()),
        ROOT / "docs" / "claims.md": page("Claimed and measured", claims_page()),
    }


def page(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"# {title}", "", NOTICE, "", *lines]).rstrip() + "\n"


def filled(text: str, name: str, content: str) -> str:
    """`text` with `content` between the markers `name`. Raises ValueError where it has no such markers."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    parts = re.split(f"({re.escape(begin)}|{re.escape(end)})", text)
    if len(parts) != 5 or parts[1] != begin or parts[3] != end:
        raise ValueError(f"the markers {begin} and {end} must stand once each, in this order")
    return "".join([*parts[:2], f"\n{content}\n", *parts[3:]])


# --- methods ---


def slots_of(info: MethodInfo) -> list[Slot]:
    """Where it acts on an ordinary model."""
    steps = recipe(SPECS[info.name].acts).plan(tiny().view).pairs
    return sorted({edit.slot for _, edit in steps}, key=lambda slot: slot.order)


def papers(info: MethodInfo) -> str:
    return ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in info.papers)


def method_table() -> Iterator[str]:
    rows = [
        (f"[`{m.name}`](docs/methods.md#{m.name})", " + ".join(s.value for s in slots_of(m)), m.summary, papers(m))
        for m in methods()
    ]
    yield f"{len(rows)} so far."
    yield ""
    yield from table(("method", "acts on", "what it does", "paper"), rows)


def method_pages() -> Iterator[str]:
    yield "Places where methods act, in order of application:"
    yield ""
    yield from table(("slot", "place", "methods"), slot_rows())
    for info in methods():
        yield from ("", f"## {info.name}", "")
        yield from method_page(info)


def slot_rows() -> Iterator[tuple[str, str, str]]:
    for slot, place in SLOTS.items():
        yield slot.value, place, ", ".join(f"[{m.name}](#{m.name})" for m in methods() if slot in slots_of(m)) or "none"


def method_page(info: MethodInfo) -> Iterator[str]:
    cls, spec = load_method(info.name), SPECS[info.name]
    edits = [edit for _, edit in recipe(spec.acts).plan(tiny().view).pairs]
    yield described(cls)
    yield ""
    yield f"- Papers: {papers(info)}" + (" (a baseline that papers compare with)" if info.baseline else "")
    yield f"- Acts on: {', '.join(slot.value for slot in slots_of(info))}"
    early = any(edit.phase is Phase.PREFILL for edit in edits)
    yield f"- In force: {'from the first token of the prompt' if early else 'after the prompt, which is read densely'}"
    for word, needs in (
        ("Needs", {n for e in edits for n in e.needs}),
        ("Gives up", {n for e in edits for n in e.breaks}),
    ):
        if needs:
            yield f"- {word}: {', '.join(sorted(need.value for need in needs))}"
    yield f"- Exact: {'yes, the output distribution stays' if info.exact else 'no'}"
    yield f"- Neutral setting: {f'`{spec.neutral}`' if spec.neutral else 'none; judged against a simple twin'}"
    yield from ("", *table(("knob", "type", "default", "range", "meaning"), map(knob_row, info.knobs)))


def described(cls: type[Method]) -> str:
    """The class's docstring; before it the module's, where that says more than a line. Shapes are for readers of code."""
    told = [inspect.cleandoc(inspect.getmodule(cls).__doc__ or ""), inspect.getdoc(cls) or ""]
    paragraphs = [p for doc in told if doc.count("\n") or doc is told[1] for p in doc.split("\n\n")]
    return "\n\n".join(p for p in dict.fromkeys(paragraphs) if not p.startswith("Shapes:"))


def knob_row(knob: KnobInfo) -> tuple[str, ...]:
    if knob.choices:
        span = ", ".join(str(choice) for choice in knob.choices)
    elif knob.low is None and knob.high is None:
        span = ""
    else:
        low, high = (f"{end:g}" if end is not None else None for end in (knob.low, knob.high))
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
    return f"`{knob.name}`", knob.annotation, knob.default or "must be given", span, knob.help


# --- architectures ---


def refusal(info: MethodInfo, architecture: str) -> str:
    """Why a tiny model of this architecture has no place for the method; '' where it has one."""
    conflicts = recipe(SPECS[info.name].acts).check(tiny(architecture).view)
    return conflicts[0].message if conflicts else ""


def architecture_page() -> Iterator[str]:
    refused = {(m.name, a): refusal(m, a) for m in methods() for a in ARCHITECTURES}
    num_refused = sum(map(bool, refused.values()))
    yield (
        f"Every method is tried on a small random model of each architecture (law 6 of [laws.md](laws.md)). Of "
        f"{len(refused)} pairs {len(refused) - num_refused} work and {num_refused} are refused with the reason, before "
        "anything is computed. A larger model of the same architecture is judged by the same rules."
    )
    yield ""
    yield from table(("architecture", "class", "its layers", "refused"), architecture_rows(refused))
    yield from ("", "## Which pairs work", "")
    head = ("method", *ARCHITECTURES)
    yield from table(
        head, ((m.name, *("no" if refused[m.name, a] else "yes" for a in ARCHITECTURES)) for m in methods())
    )
    yield from ("", "## Why the others do not")
    for architecture in ARCHITECTURES:
        found = reasons({m.name: refused[m.name, architecture] for m in methods()}, architecture)
        if found:
            yield from ("", f"### {architecture}", "")
            yield from (f"- {why}: {', '.join(f'`{name}`' for name in names)}" for why, names in found.items())


def reasons(refused: dict[str, str], architecture: str) -> dict[str, list[str]]:
    """Reason -> methods; where a message only repeats what the model has no place for, that alone."""
    view = tiny(architecture).view
    found: dict[str, list[str]] = {}
    for name, message in refused.items():
        if message:
            known = [why for why in (*view.refusals.values(), *view.breaks.values()) if why in message]
            found.setdefault(known[0] if known else message, []).append(name)
    return found


def architecture_rows(refused: dict[tuple[str, str], str]) -> Iterator[tuple[str, ...]]:
    for name in ARCHITECTURES:
        view = tiny(name).view
        kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(x.kind for x in view.layers).items())
        must = " (cache and attention methods must work here)" if name in MUST_WORK else ""
        count = sum(bool(why) for (_, architecture), why in refused.items() if architecture == name)
        yield name, view.architecture, kinds + must, str(count)


# --- commands ---


def claims_page() -> Iterator[str]:
    yield "What papers claim, mostly of models of billions of parameters, beside what `paretolm claims` measures on the"
    yield "embedded models of 8 and 1 million. Limits stand in the check's file before anything is measured. A limit is met"
    yield "or missed where the whole 95% interval lies on one side of it; where it lies on both, it is missed if what the"
    yield "claim expects would have been seen with 80% power, else nothing can be told. All limits met: reproduced; some:"
    yield "partly; none: not reproduced. A verdict here says nothing of the paper's own models."
    yield ""
    yield "`results/claims` has the records with every limit, and a page to filter them. [How a check is"
    yield "written](../CONTRIBUTING.md#a-papers-claims-are-one-file)."
    yield ""
    yield from markdown(read_records(ROOT / "results" / "claims"))


def command_page() -> Iterator[str]:
    """`paretolm --help` and that of every command, as typer writes them for a page."""
    command = typer.main.get_command(cli._app([]))
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="paretolm"), name="paretolm")
    yield text.partition("\n")[2].strip()


def main(check: bool) -> int:
    """Writes the pages, or counts those that differ."""
    drifted = []
    for path, text in pages().items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        drifted.append(path)
        if not check:
            path.write_text(text, encoding="utf-8")
    for path in drifted:
        print(f"{path.relative_to(ROOT)} {'has drifted from the code: run `make docs`' if check else 'written'}")
    return len(drifted) if check else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
