"""Makes the embedded models: trains `reference` and `draft`, measures their cards, and puts both into the package.

    python tools/family.py --text CORPUS --blimp BLIMP --to runs --device cuda       # the full family
    python tools/family.py --text CORPUS --blimp BLIMP --to runs --cpu               # what two cores can do

CORPUS is a directory of training texts with `valid.*` and `test.*` in it, which are never trained on; the cards are
measured on `test.*`. The same command goes on where a killed one was. Without --install the package stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from paretolm.reference import MODELS

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def main() -> None:
    options = parse()
    size = "-cpu" if options.cpu else ""
    big, small = options.to / "reference", options.to / "draft"
    compute = ["--device", options.device, *(["--dtype", options.dtype] if options.dtype else [])]
    paretolm("train", f"reference{size}", "--text", options.text, "--to", big, *compute)
    share_tokens(big, small)
    paretolm("train", f"draft{size}", "--text", options.text, "--tokenizer", big / "tokenizer", "--to", small, *compute)
    homes = [options.to / "models" / run.name for run in (big, small)]
    for run, home in zip((big, small), homes, strict=True):
        home.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(run / "model" / name, home / name)
    card(options, big, homes[0], "--draft", homes[1])
    card(options, small, homes[1])
    if options.install:
        for home in homes:
            shutil.rmtree(MODELS / home.name, ignore_errors=True)
            shutil.copytree(home, MODELS / home.name)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--blimp", type=Path, help="a folder with pairs.jsonl and paradigms.jsonl")
    parser.add_argument("--to", type=Path, required=True, help="directory of the runs")
    parser.add_argument("--cpu", action="store_true", help="the runs reference-cpu and draft-cpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="to compute in; bfloat16 is faster on a CPU with AMX")
    parser.add_argument("--install", action="store_true", help="replace the models of the package")
    return parser.parse_args()


def share_tokens(run: Path, other: Path) -> None:
    """One encoded corpus serves both runs, as they share the tokenizer."""
    other.mkdir(parents=True, exist_ok=True)
    if not (other / "tokens").exists():
        (other / "tokens").symlink_to((run / "tokens").resolve(), target_is_directory=True)


def card(options: argparse.Namespace, run: Path, home: Path, *more: str | Path) -> None:
    test = next(p for p in sorted(options.text.iterdir()) if p.name.split(".")[0] == "test")
    blimp = ["--blimp", options.blimp] if options.blimp else []
    terms = ["--license", "apache-2.0", "--dtype", "float32", "--device", options.device]
    paretolm("card", home, "--text", test, "--run", run, "--to", home, *terms, *blimp, *more)


def paretolm(*words: str | Path) -> None:
    line = [sys.executable, "-m", "paretolm", *map(str, words)]
    print(" ".join(line[2:]), file=sys.stderr, flush=True)
    if done := subprocess.run(line, check=False).returncode:
        sys.exit(done)


if __name__ == "__main__":
    main()
