"""Files that several processes share: what is there stays whole, and locks hold between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import StoreError, UserError
from paretolm.files import locked, write_asked, write_whole

HOLDER = """
import sys
from pathlib import Path
from paretolm.files import locked
with locked(Path(sys.argv[1]), alone=sys.argv[2] == "alone"):
    print("held", flush=True)
    sys.stdin.read()
"""


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "new" / "file.txt"
    write_whole(path, text)
    assert path.read_text(encoding="utf-8") == text
    assert os.listdir(path.parent) == ["file.txt"]


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half\ud800")
    assert (path.read_text(), os.listdir(tmp_path)) == ("before", ["file.txt"])


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_others_may_read_it_as_any_file_of_its_user(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_whole(tmp_path / "file", "")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_place_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"x cannot be written \(.*\); give another --to"):
        write_asked(tmp_path / "file" / "x", "", "another --to")


@pytest.mark.skipif(sys.platform == "win32", reason="nobody waits there")
@pytest.mark.parametrize(("there", "here", "waits"), [("alone", True, True), ("alone", False, True),
                                                      ("shared", True, True), ("shared", False, False)])  # fmt: skip
def test_a_lock_holds_between_processes_until_its_holder_is_killed(
    tmp_path: Path, there: str, here: bool, waits: bool
) -> None:
    asked: list[str] = []
    path = tmp_path / "new" / "lock"
    call = [sys.executable, "-c", HOLDER, str(path), there]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def end() -> None:
            asked.append("waiting")
            holder.kill()

        with locked(path, here, end):
            assert bool(asked) is waits
        holder.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="nobody waits there")
def test_who_does_not_want_to_wait_says_so(tmp_path: Path) -> None:
    def refuse() -> None:
        raise UserError("another is at it")

    with locked(tmp_path / "lock"), pytest.raises(UserError, match="another is at it"), locked(tmp_path / "lock", waiting=refuse):  # fmt: skip
        pass
    with locked(tmp_path / "lock", waiting=refuse):
        pass
