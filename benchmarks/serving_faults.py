"""The long versions of the server's fault tests, on this machine only, bounded in number and time.

::

    .venv/bin/python benchmarks/serving_faults.py [1] [14] [18] [19] [--kills 500] [--clients 1000]

1: clients killed in mid-stream. 14: an honest caller's p99 while others misbehave. 18: a crowd of clients.
19: SIGTERM under load. Without numbers all of them. The short versions are in tests/serving/test_faults.py,
whose attacks these are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fbamatte.rpc.client import Client
from fbamatte.testing import RunningServer, running_server
from serving import attacks
from serving.helpers import frame, messages, raw, wait_until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", type=int, nargs="*", default=[1, 14, 18, 19])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=200, help="of the honest caller, for its p99")
    arguments = parser.parse_args()
    for number in arguments.faults:
        FAULTS[number](arguments)


def killed_clients(arguments: argparse.Namespace) -> None:
    """Kill clients in mid-stream, ten at work at a time, and see when their memory is free again."""
    with running_server(
        "--metrics=127.0.0.1:0", "--log-level=error", "--stall-timeout=120", models=["testing-sleep-0.02"]
    ) as server:
        process, seconds, memory, heap = psutil.Process(server.process.pid), [], [], []
        rounds = -(-arguments.kills // 10)
        for number in range(rounds):
            victims = [attacks.victim(server.address, "testing-sleep-0.02") for _ in range(10)]
            for victim in victims:
                assert victim.stdout is not None
                victim.stdout.readline()
            wait_until(lambda: status(server)["streams"][0] == 10, 30)
            for left in range(len(victims) - 1, -1, -1):
                victims[left].kill()
                victims[left].wait()
                seconds.append(wait_until(lambda n=left: status(server)["streams"][0] <= n))
            wait_until(lambda: reserved(server) == 0)
            if number % max(1, rounds // 5) == 1:
                # the server gives back what is free every 10 s
                time.sleep(12)
                memory.append(process.memory_info().rss / 2**20)
                heap.append(allocated(server) / 2**20)
        threads = process.num_threads()
    print(
        f"fault 1: {len(seconds)} clients killed; reclaimed p50 {np.median(seconds) * 1000:.0f} ms, "
        f"p99 {np.quantile(seconds, 0.99) * 1000:.0f} ms; {threads} threads, 0 bytes reserved; settled RSS in MiB "
        f"on the way: {', '.join(f'{value:.0f}' for value in memory)}; of which malloc has given out: "
        f"{', '.join(f'{value:.1f}' for value in heap)}"
    )


def misbehaviour(arguments: argparse.Namespace) -> None:
    """Compare an honest caller's p99 alone and in bad company, in turns so that the machine's mood is shared."""
    names = ("slowloris", "slow_reader", "silent_connections", "ping_flood", "rapid_reset")
    with running_server(
        "--stall-timeout=10", "--log-level=error", models=["testing-sleep-0.05", "testing-wire"]
    ) as server:
        attacks.latencies(server.address, 10)
        for name in names:
            attack, alone, together = getattr(attacks, name), [], []
            for _ in range(4):
                alone.append(attacks.latencies(server.address, arguments.frames // 4))
                with attacks.running(attack, attack, address=server.address):
                    time.sleep(0.2)
                    together.append(attacks.latencies(server.address, arguments.frames // 4))
            before, during = np.quantile(np.concatenate(alone), 0.99), np.quantile(np.concatenate(together), 0.99)
            print(
                f"fault 14: {name}: honest p99 {before * 1000:.1f} ms alone, {during * 1000:.1f} ms in company: "
                f"×{during / before:.2f}"
            )


def crowd(arguments: argparse.Namespace) -> None:
    """Let many clients come at once, each with one frame."""
    with running_server("--log-level=error", models=["testing-null"]) as server:
        process, outcomes, peaks = psutil.Process(server.process.pid), [], [0, 0]

        def call(number: int) -> None:
            begin = time.monotonic()
            with raw(server.address, timeout=120) as stream:
                stream.send(*messages(frame(number)))
                stream.close_sending()
                answer = stream.all_answers().get(f"k{number}")
                outcomes.append((time.monotonic() - begin, answer == "OK", stream.call.code()))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(arguments.clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peaks = [max(peaks[0], process.num_fds()), max(peaks[1], process.memory_info().rss)]
            time.sleep(0.05)
    served = [seconds for seconds, fine, _ in outcomes if fine]
    refused = [code.name for _, fine, code in outcomes if not fine]
    p50, p99 = np.quantile(served, [0.5, 0.99])
    print(
        f"fault 18: {len(outcomes)} clients, {100 * len(refused) / len(outcomes):.1f} % refused, "
        f"p50 {p50:.2f} s, p99 {p99:.2f} s, at most {peaks[0]} file descriptors and {peaks[1] / 2**20:.0f} MiB"
    )


def stopped_under_load(_: argparse.Namespace) -> None:
    """Send SIGTERM while frames are in flight, then the same with a second one."""
    for second in (False, True):
        with running_server("--log-level=error", models=["testing-late-0.5"]) as server, raw(server.address) as stream:
            for number in range(8):
                stream.send(*messages(frame(number)))
            wait_until(lambda address=server.address: stream_is_busy(address))
            begin = time.monotonic()
            os.kill(server.process.pid, signal.SIGTERM)
            if second:
                time.sleep(0.3)
                os.kill(server.process.pid, signal.SIGTERM)
            done = sum(answer == "OK" for answer in stream.all_answers().values())
            code = server.process.wait(40)
            took = time.monotonic() - begin
        print(f"fault 19: {'second ' if second else ''}SIGTERM: {done} of 8 completed, code {code} after {took:.1f} s")


def stream_is_busy(address: str) -> bool:
    with Client(address) as client:
        (device,) = client.server_info().devices
    return bool(device.running + device.queued_batch == 8)


def status(server: RunningServer) -> dict:
    with urllib.request.urlopen(f"http://{server.metrics}/status.json") as answer:
        return json.load(answer)


def reserved(server: RunningServer) -> int:
    now = status(server)
    return now["payload_memory"][0] + now["work_memory"][0]


def allocated(server: RunningServer) -> float:
    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return next(family for family in families if family.name == "fbamatte_heap_bytes").samples[0].value


FAULTS: dict[int, Callable[[argparse.Namespace], None]] = {
    1: killed_clients,
    14: misbehaviour,
    18: crowd,
    19: stopped_under_load,
}

if __name__ == "__main__":
    main()
