"""The other side of kvpress_agreement.py, run by the Python of an environment that has kvpress, and not paretolm.

    python benchmarks/_kvpress_side.py JOBS.json KEYS.safetensors

JOBS: model (a directory), prompts (lists of ids), jobs (prompt, press, arguments). KEYS: for each prompt `full.N`, all
keys [L, H, n, D], and for each job `job.N`, the keys held under the press [L, H, k, D].
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import kvpress
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging


def main(jobs: Path, keys: Path) -> None:
    asked = json.loads(jobs.read_text(encoding="utf-8"))
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32).eval()
    prompts = [torch.tensor([ids]) for ids in asked["prompts"]]
    found = {f"full.{i}": held(model, ids) for i, ids in enumerate(prompts)}
    for i, job in enumerate(asked["jobs"]):
        press = getattr(kvpress, job["press"])(**job["arguments"])
        with press(model):
            found[f"job.{i}"] = held(model, prompts[job["prompt"]])
    versions = {name: version(name) for name in ("kvpress", "transformers", "torch")}
    save_file(found, keys, metadata=versions)


@torch.inference_mode()
def held(model, ids) -> torch.Tensor:
    """[L, H, k, D] keys in the cache once the prompt is read."""
    cache = DynamicCache()
    model.model(ids, past_key_values=cache)
    return torch.cat([layer.keys for layer in cache.layers]).clone()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
