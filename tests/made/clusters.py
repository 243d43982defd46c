"""A real Ray cluster of several nodes on this machine, whose nodes can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

_PROGRAM = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
nodes = [cluster.add_node(**node) for _ in range(int(sys.argv[1]) - 1)]
print(f"address {cluster.address}", flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""


class LocalCluster:
    """A cluster that runs.

    Attributes:
        address: Address of its head.
        folder: Where it writes.
    """

    def __init__(self, process, folder):
        self.folder = folder
        self._process = process
        self.address = self._answer("address").split()[1]

    def kill_node(self):
        """End the newest node at once, with all that runs there."""
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()
        self._answer("killed")

    def _answer(self, start):
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise AssertionError("the cluster did not start")


@contextmanager
def local_cluster(n_nodes, folder, env):
    """A cluster of nodes with one processor each; what its workers find in their environment."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **env}
    with (
        (folder / "cluster.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(n_nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield LocalCluster(process, folder)
        finally:
            assert process.stdin
            assert process.stdout
            process.stdin.close()  # then it ends its nodes, and itself
            process.stdout.read()
