"""A Ray cluster of two nodes on this machine: prints its address; a line on stdin kills the second node. Ends with
stdin."""

from __future__ import annotations

import os
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
    try:
        second = cluster.add_node(**SMALL)
        print(f"address {cluster.address}", flush=True)
        for _ in sys.stdin:
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
