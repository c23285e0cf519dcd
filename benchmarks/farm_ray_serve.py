"""Ray Serve with our proto on two nodes of this machine: pixels, one node killed, one added.

::

    python benchmarks/farm_ray_serve.py

Prints one JSON object. Needs `pip install fbamatte[ray]`; takes a minute or two and about 2 GB.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fbamatte.farm.ray_serve import serving
from fbamatte.farm.settings import RaySettings
from fbamatte.rpc.client import Client
from fbamatte.serving.settings import ServerSettings
from fbamatte.testing import serve_in_process
from made import frame

CALLERS, FRAMES_EACH = 4, 30


def main() -> int:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    port = free_port()
    settings = ServerSettings(listen=(f"127.0.0.1:{port}",), model=("closed-form", "testing-sleep-0.2"), testing=True)
    spread = RaySettings(engine="ray", address=cluster.address, replicas=2, proxies="head")
    try:
        with serving(settings, spread) as address:
            found = {"unequal": unequal(address), "large_frames_s": large(address)}
            found |= killed(address, cluster, nodes)
            found |= added(address, cluster)
    finally:
        cluster.shutdown()
    print(json.dumps(found))
    return int(bool(found["unequal"]) or found["answered"] != CALLERS * FRAMES_EACH or bool(found["answered_twice"]))


def unequal(address: str) -> int:
    """Return how many frames come back otherwise than from a plain server."""
    frames = [frame(1001 + n) for n in range(6)]
    with ExitStack() as stack:
        plain = stack.enter_context(serve_in_process(models=("closed-form",)))
        client = stack.enter_context(Client(plain.addresses[0], model="closed-form"))
        expected = {matte.number: matte for matte in client.matte(frames)}
    with Client(address, model="closed-form") as client:
        got = {matte.number: matte for matte in client.matte(frames)}
    planes = ("alpha", "foreground", "background", "trimap")
    return sum(
        n not in got or any(not np.array_equal(getattr(got[n], p), getattr(expected[n], p)) for p in planes)
        for n in expected
    )


def large(address: str) -> float:
    """Return the seconds that a frame of 33 MB takes there and back, nothing computed but the exact solve."""
    trimap = np.zeros((1080, 1920), np.float32)
    trimap[:, 960:] = 1
    rng = np.random.default_rng(1)
    picture = type(frame())(rng.random((1080, 1920, 3), dtype=np.float32), trimap)
    with Client(address, model="closed-form") as client:
        started = time.monotonic()
        next(client.matte([picture]))
        return round(time.monotonic() - started, 2)


def killed(address: str, cluster: Cluster, nodes: list[object]) -> dict[str, object]:
    """Kill a node while four callers have frames under way."""
    answered: Counter[int] = Counter()
    lock = threading.Lock()

    def call(caller: int) -> None:
        with Client(address, model="testing-sleep-0.2", patience=90) as client:
            for matte in client.matte(frame(caller * 1000 + n) for n in range(FRAMES_EACH)):
                with lock:
                    answered[matte.number] += 1

    started = time.monotonic()
    callers = [threading.Thread(target=call, args=(n,)) for n in range(CALLERS)]
    for caller in callers:
        caller.start()
    while len(answered) < CALLERS * FRAMES_EACH // 4:
        time.sleep(0.05)
    cluster.remove_node(nodes[0], allow_graceful=False)
    for caller in callers:
        caller.join()
    return {
        "answered": len(answered),
        "answered_twice": sum(count > 1 for count in answered.values()),
        "seconds_with_a_kill": round(time.monotonic() - started, 1),
    }


def added(address: str, cluster: Cluster) -> dict[str, object]:
    """Add a node; return after how long two replicas answer side by side."""
    started = time.monotonic()
    cluster.add_node(num_cpus=1)
    replicas: set[float] = set()
    while time.monotonic() - started < 90:
        seen = [probe(address) for _ in range(12)]
        replicas = {round(time.time() - uptime, 0) for uptime in seen}
        if len(replicas) > 1:
            return {"second_replica_after_s": round(time.monotonic() - started, 1)}
        time.sleep(0.5)
    return {"second_replica_after_s": None}


def probe(address: str) -> float:
    with Client(address) as client:
        return float(client.server_info().uptime_seconds)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    assert ray.__version__
    sys.exit(main())
