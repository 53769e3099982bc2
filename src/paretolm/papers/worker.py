"""The process that checks one paper at a time: `python -m paretolm.papers.worker`, as the bench's workers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..bench.records.relay import workplace
from ..bench.workers.worker import Worker, serve
from ..errors import UserError


class Checker(Worker):
    """do_check answers the record of a paper."""

    def do_check(self, name: str, store: str, data: str | None, threads: int) -> dict[str, Any]:
        from .check import check
        from .experiments import Spot
        from .progress import Telling

        self.tell({"event": "at", "cells": [name]})
        where = None if data is None else Path(data)
        if where and not where.is_dir():
            raise UserError(f"there is no directory {where}; --data must lie under the same path on every node")
        return check(name, Spot(workplace(Path(store)), where, threads, Telling(self.tell, name)))


if __name__ == "__main__":
    serve(Checker)
