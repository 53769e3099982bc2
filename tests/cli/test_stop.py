"""Ctrl-C ends a comparison cleanly: a sentence, exit code 130, no process left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.evaluation import judging
from tests.waiting import wait_for


def test_ctrl_c(saved: Path, tmp_path: Path) -> None:
    words = tmp_path / "text.txt"
    words.write_text("\n\n".join(judging.document(i, 60) for i in range(30)))
    call = ["from paretolm.cli import main; main()", "compare", str(saved), "--text", str(words), "-m", "h2o", "-v"]
    process = subprocess.Popen([sys.executable, "-c", *call], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(psutil.Process(process.pid).children, process, 60)
    workers = psutil.Process(process.pid).children()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1].startswith("stopped; what was finished is in .paretolm")
    assert "Traceback" not in err
    assert not psutil.wait_procs(workers, timeout=10)[1]
