"""Which entries (of think: which key channels) stay in the cache, here and in NVIDIA's kvpress: same model, same
prompts, same policy, same budget.

    python -m venv kvpress-env
    kvpress-env/bin/pip install torch==2.13.0
    kvpress-env/bin/pip install kvpress==0.5.5
    python benchmarks/kvpress_agreement.py --python kvpress-env/bin/python

kvpress runs in that environment, for it wants another transformers than paretolm. Neither side is asked what it chose:
what is compared is read off the keys that each holds once the prompt is read. The exit code is 1 where a case that must
agree does not; settings that differ on purpose stand below, each with the reason. All is written as JSON to --json,
benchmarks/results/kvpress_agreement.json by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

import paretolm
from paretolm.bridge.lm import LM
from paretolm.bridge.locate import locate
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.streams import build
from paretolm.files import write_whole

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._kvpress_cases import CASES, Case

HERE = Path(__file__).parent
RESULT = HERE / "results" / "kvpress_agreement.json"
LENGTHS, EACH = (400, 512, 701, 1000), 5
NEWEST = 32  # keys that think may leave whole
TIE = 1e-6  # relative
MAKE_ONE = (
    "it needs an environment of its own: python -m venv kvpress-env, then kvpress-env/bin/pip install torch==2.13.0, "
    "then kvpress-env/bin/pip install kvpress==0.5.5, then --python kvpress-env/bin/python"
)


@dataclass(frozen=True)
class Layer:
    """One layer of one prompt: what is kept there and here [H, n|D], and how far keys that both keep are apart at most.
    ties: how many of those kept by one alone have keys of one norm."""

    there: Tensor
    here: Tensor
    keys_apart: float
    ties: int

    @property
    def only_one(self) -> Tensor:
        """[H] how many are kept by one of the two."""
        return (self.there ^ self.here).sum(-1)


@dataclass(frozen=True)
class Row:
    """One case over all prompts. kept_there and kept_here count over prompts, layers and key-value heads; a head is one
    of these. keys_apart is the largest difference between numbers of keys that both keep."""

    press: str
    arguments: dict[str, float]
    recipe: str
    same: bool
    what: str
    kept_there: int
    kept_here: int
    only_one: int
    ties: int
    heads: int
    heads_apart: int
    keys_apart: float
    why: str

    @property
    def agrees(self) -> bool:
        return self.only_one == self.ties


def main() -> int:
    options = parse()
    python = environment(options.python)
    with tempfile.TemporaryDirectory() as folder:
        lm, prompts = opened(options.model)
        print(f"kvpress reads {len(prompts)} prompts in {len(CASES)} settings", file=sys.stderr)
        theirs, versions = other_side(python, Path(folder), options.model, prompts)
        print("now paretolm", file=sys.stderr)
        rows = list(compared(lm, prompts, theirs))
    report(rows, versions)
    read = f"{len(prompts)} of the embedded text, {EACH} each of {', '.join(map(str, LENGTHS))} tokens"
    found = {"model": options.model, "prompts": read, "other_side": versions, "rows": rows}
    write_whole(options.json, json.dumps(found, indent=1, default=asdict) + "\n")
    return 1 if any(row.same and not row.agrees for row in rows) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, help="the Python of an environment that has kvpress")
    parser.add_argument("--model", default="reference", help="or a directory with a model of full attention")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the results are written")
    return parser.parse_args()


def environment(python: Path | None) -> Path:
    """Exits with a sentence where it has no kvpress."""
    if python is None:
        sys.exit(f"kvpress is not run by paretolm's own Python; {MAKE_ONE}")
    looking = [str(python), "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('kvpress') is None)"]
    try:
        found = subprocess.run(looking, check=False, capture_output=True).returncode == 0
    except OSError as error:
        sys.exit(f"{python} does not run ({error.strerror}); {MAKE_ONE}")
    if not found:
        sys.exit(f"{python} has no kvpress; {MAKE_ONE}")
    return python


# --- the two sides ---


def opened(model: str) -> tuple[LM, list[Tensor]]:
    """The model, and prompts [1, n] of the embedded text; those of one length share no token."""
    lm, source = paretolm.load(model), TextSource.open()
    streams = [build(source, lm, length, EACH, per_document=length, seed=length) for length in LENGTHS]
    return lm, [stream.ids for some in streams for stream in some]


def other_side(
    python: Path, folder: Path, model: str, prompts: Sequence[Tensor]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Keys by name, as _kvpress_side writes them, and the versions over there."""
    jobs = [{"prompt": i, "press": c.press, "arguments": c.arguments} for c in CASES for i in range(len(prompts))]
    asked = {"model": str(locate(model)), "prompts": [ids[0].tolist() for ids in prompts], "jobs": jobs}
    (folder / "jobs.json").write_text(json.dumps(asked), encoding="utf-8")
    command = [str(python), str(HERE / "_kvpress_side.py"), str(folder / "jobs.json"), str(folder / "keys")]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=offline)
    if ran.returncode:
        sys.exit(f"kvpress failed: {(ran.stderr.strip() or 'without a word').splitlines()[-1]}")
    with safe_open(folder / "keys", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def our_side(lm: LM, line: str, ids: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each layer the positions [H, k] and the keys [H, k, D] held once the prompt is read."""
    with torch.inference_mode(), paretolm.recipe(line).apply(lm) as session:
        stream = session.stream(ids)
        stream.read(ids, last=True, logits=False)
        layers = [layer for _, layer in sorted(stream.cache.held_layers.items())]
        keys = [layer.key_store.read()[0] for layer in layers]
        return [(layer.positions[0].expand(own.shape[:2]), own) for layer, own in zip(layers, keys, strict=True)]


# --- beside one another ---


def compared(lm: LM, prompts: Sequence[Tensor], theirs: dict[str, Tensor]) -> Iterator[Row]:
    for number, case in enumerate(CASES):
        layers = []
        for i, ids in enumerate(prompts):
            full, held = theirs[f"full.{i}"], theirs[f"job.{number * len(prompts) + i}"]
            ours = our_side(lm, case.line(ids.shape[1]), ids)
            compare = channels if case.channels else entries
            layers += [compare(*layer[:2], *layer[2]) for layer in zip(full, held, ours, strict=True)]
        yield summed(case, layers)


def entries(full: Tensor, there: Tensor, positions: Tensor, keys: Tensor) -> Layer:
    """full [H, n, D] and there [H, k, D]: keys without and with a press; positions [H, m], keys [H, m, D]: ours."""
    left, right = spread_out(found_in(full, there), there, full), spread_out(positions.long(), keys, full)
    kept = [~side.isnan().any(-1) for side in (left, right)]
    norms, ties = full.double().norm(dim=-1), 0
    for apart, norm in zip(kept[0] ^ kept[1], norms, strict=True):
        own = norm[apart]
        ties += len(own) if len(own) and own.max() - own.min() <= TIE * own.max() else 0
    return Layer(*kept, far(left, right, kept[0] & kept[1]), ties)


def channels(full: Tensor, there: Tensor, positions: Tensor, keys: Tensor) -> Layer:
    """As `entries`; a channel is kept where a key other than the newest has something in it."""
    kept = [(side[:, :-NEWEST] != 0).any(1) for side in (there, keys)]
    return Layer(*kept, far(there, keys, (there != 0) & (keys != 0)), 0)


def found_in(full: Tensor, kept: Tensor) -> Tensor:
    """[H, k] at which of the keys full [H, n, D] those of kept [H, k, D] stand, equal to the last bit."""
    rows = []
    for every, some in zip(full.numpy(), kept.numpy(), strict=True):
        places = {key.tobytes(): place for place, key in enumerate(every)}
        assert len(places) == len(every), "two tokens have the same key"
        rows.append([places[key.tobytes()] for key in some])
    return torch.tensor(rows)


def spread_out(positions: Tensor, keys: Tensor, like: Tensor) -> Tensor:
    """[H, n, D], as `like`: each key at its position, NaN elsewhere."""
    blank = torch.full_like(like, float("nan"))
    return blank.scatter_(1, positions[..., None].expand_as(keys), keys)


def far(left: Tensor, right: Tensor, where: Tensor) -> float:
    return float((left - right)[where].abs().max())


def summed(case: Case, layers: Sequence[Layer]) -> Row:
    apart = torch.cat([layer.only_one for layer in layers])
    return Row(
        press=case.press,
        arguments=case.arguments,
        recipe=case.recipe,
        same=case.same,
        what="key channels" if case.channels else "entries",
        kept_there=sum(int(layer.there.sum()) for layer in layers),
        kept_here=sum(int(layer.here.sum()) for layer in layers),
        only_one=int(apart.sum()),
        ties=sum(layer.ties for layer in layers) if case.press == "KnormPress" else 0,
        heads=len(apart),
        heads_apart=int((apart > 0).sum()),
        keys_apart=max(layer.keys_apart for layer in layers),
        why=case.why,
    )


# --- what is shown and written ---


def report(rows: Sequence[Row], versions: dict[str, str]) -> None:
    print("the other side:", ", ".join(f"{name} {number}" for name, number in sorted(versions.items())))
    for row in rows:
        settings = ", ".join(f"{name}={value:g}" for name, value in row.arguments.items())
        print(f"{row.press}({settings}) and {row.recipe}: " + verdict(row))
        ties = f", {row.ties} of them ties" if row.ties else ""
        print(f"    {row.what} kept: {row.kept_there} there, {row.kept_here} here, {row.only_one} by one alone{ties}")
        print(
            f"    heads that differ: {row.heads_apart} of {row.heads}; keys that both keep: {row.keys_apart:.2g} apart"
        )
        if row.why:
            print(f"    {row.why}")


def verdict(row: Row) -> str:
    return ("the same" if row.agrees else "DIFFERENT") if row.same else "other settings"


if __name__ == "__main__":
    sys.exit(main())
