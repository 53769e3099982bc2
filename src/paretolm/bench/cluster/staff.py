"""Who measures for a request: processes of this machine, or workers on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...bridge.content import content_hash, weight_files
from ...errors import UserError
from ...evaluation.source import TextSource
from ..workers.crew import SMALL, Crew, Hear, crew_size
from .cluster import Cluster
from .crew import ClusterCrew
from .spec import parse_workers

if TYPE_CHECKING:
    from ..desk import Request


def crew_of(request: Request, directory: Path, source: TextSource, threads: int, hear: Hear) -> Crew | ClusterCrew:
    """threads: of the whole call. Nothing is started yet. Raises UserError for workers that cannot be."""
    asked, weights = parse_workers(request.workers), sum(f.stat().st_size for f in weight_files(directory))
    if asked.address is None:
        size = asked.count or crew_size(request.device, weights, threads)
        if size > threads:
            raise UserError(
                f"--workers {size} are more than the {threads} threads of this call; give at most {threads}"
            )
        return Crew(size, threads // size, request.opening, hear)
    if ":" in request.device:
        raise UserError(
            f"--device {request.device} names one of several; on a cluster say {request.device.split(':')[0]}"
        )
    cluster = Cluster(
        asked.address,
        request.store_path.parent,
        threads=request.threads or 1,
        device=request.device,
        memory=2 * weights if weights > SMALL else 0,
    )
    same = {"the model": content_hash(directory), "the text": source.data_hash}
    return ClusterCrew(cluster, request.opening, hear, same)
