"""Texts and prompts of any origin: read within bounds or refused in a sentence. More in tests/evaluation/test_source.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paretolm.errors import CallError
from paretolm.evaluation.source import TextSource
from paretolm.recipes.recipe import Recipe
from tests.contract.tiny import tiny
from tests.evaluation import judging

BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]) << 20, resource.RLIM_INFINITY))
from paretolm.evaluation.source import TextSource
source = TextSource.open(sys.argv[1])
print(len(source.documents), sum(len(d.text) for d in source.documents), source.notes)
"""


def bounded(path: Path, mib: int) -> str:
    """What reading a text with so much address space says."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", BOUNDED, str(path), str(mib)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_line_of_a_gigabyte_is_left_out_in_200_mb(tmp_path: Path) -> None:
    """A hole in a sparse file, which takes no disk."""
    path, lines = tmp_path / "long.jsonl", [json.dumps({"text": f"Document {i}."}) for i in range(30)]
    with path.open("wb") as file:
        file.write("\n".join(lines[:15]).encode() + b"\n" + b'{"text": "')
        file.seek(1 << 30, os.SEEK_CUR)
        file.write(b'"}\n' + "\n".join(lines[15:]).encode())
    assert path.stat().st_blocks * 512 < 10 << 20
    said = bounded(path, 200)
    assert said.startswith("30 ")
    assert "1 lines over 16 MiB were left out" in said


def test_a_text_of_80_mb_without_a_line_end_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"word after word " * (5 << 20))
    said = bounded(path, 800)
    assert f" {64 << 20} (" in said
    assert "1 files were not read to their end: 64 MiB of text are enough" in said


def test_one_token_is_a_text_and_too_short_for_every_task(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a", encoding="utf-8")
    source = TextSource.open(tmp_path / "one.txt")
    assert [d.text for d in source.eval_documents] == ["a"]


def command(*arguments: str | bytes, given: bytes = b"") -> tuple[int, str, str]:
    code = "import sys; from paretolm.cli import main; main()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, input=given, env=env, timeout=300
    )
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.mark.parametrize(
    "arguments", [("compare", "--text", b"\xff.txt"), ("compare", "--title", b"caf\xe9"), ("run", b"caf\xe9")]
)
def test_an_argument_in_another_encoding(arguments: tuple[str | bytes, ...]) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: argument {len(arguments)} is not UTF-8 text (")
    assert err.count("\n") == 1


def test_a_pipe_in_another_encoding() -> None:
    code, out, err = command("run", "-n", "2", given=b"Once upon a caf\xe9")
    assert (code, out.strip()) == (2, "")
    assert "error: the prompt is not whole: character 16 is no character of UTF-8" in err
    assert "Traceback" not in err


def test_half_a_character_in_a_prompt() -> None:
    with Recipe.parse("dense").apply(judging.lm()) as session, pytest.raises(CallError, match="character 7 is no"):
        session.generate("river \ud83d stone")


@pytest.mark.parametrize(("prompt", "new"), [(200, 1), (128, 2), (120, 10)])
def test_a_prompt_beyond_the_positions_a_model_learnt(prompt: int, new: int) -> None:
    lm, ids = tiny("gpt2"), torch.randint(3, 90, (1, prompt), generator=torch.Generator().manual_seed(0))
    with (
        Recipe.parse("dense").apply(lm) as session,
        pytest.raises(CallError, match=rf"takes {prompt + new - 1} tokens, and the model has positions for 128"),
    ):
        session.generate(ids, max_new_tokens=new)


def test_the_last_position_a_model_learnt_is_used() -> None:
    ids = torch.randint(3, 90, (1, 120), generator=torch.Generator().manual_seed(0))
    with Recipe.parse("dense").apply(tiny("gpt2")) as session:
        assert len(session.generate(ids, max_new_tokens=9, eos_token_id=None).ids) == 9
        stream = session.stream()
        stream.read(torch.cat([ids, ids[:, :8]], dim=1), last=True)
        with pytest.raises(CallError, match="takes 129 tokens"):
            stream.step(ids[:, :1])


def test_rotary_positions_have_no_end() -> None:
    with Recipe.parse("window(window=16)").apply(judging.lm()) as session:
        done = session.generate("river stone " * 120, max_new_tokens=2)
    assert done.prompt_length > judging.TRAINED
