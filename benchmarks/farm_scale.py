"""What a farm makes of measured stage times: frames an hour and bytes a second for 1 to 1,000 GPUs.

::

    python benchmarks/farm_stages.py --size 3840x2160 > stages.json
    python benchmarks/farm_scale.py stages.json --estimate 0.5 --storage 5 --plot scale.svg

Every worker has one GPU, some cores and the five stages of `fbamatte matte`, each at work on another frame; all workers
share one storage. Stage times and file sizes are read from the measurement. What nobody measured is a parameter: the
seconds of the estimate on the GPU, the cores, the storage and the links. Prints a table; the last column names what
everything else waits for.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import sys
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGES = ("read", "prepare", "estimate", "finish", "write")
FRAMES_EACH = 40
# As long as the pipes fill, nothing is measured.
WARM_UP = 8
Process = Generator[Any, None, None]


@dataclass(frozen=True)
class Farm:
    """What is asked of the simulation. Seconds per frame, bytes per frame, bytes per second."""

    seconds: dict[str, float]
    bytes_read: int
    bytes_written: int
    gpus: int
    cores: int
    storage: float
    link: float
    jitter: float = 0.1


@dataclass
class Pool:
    """So many of something, for which processes wait in turn."""

    free: int
    waiting: deque[Process] = field(default_factory=deque)
    busy_s: float = 0.0


class Clock:
    """Runs processes in the order of time. A process yields seconds to wait, or a pool to take one of."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Process]] = []
        self._order = itertools.count()

    def start(self, process: Process, after: float = 0.0) -> None:
        """Let a process go on, now or later."""
        heapq.heappush(self._events, (self.now + after, next(self._order), process))

    def give(self, pool: Pool) -> None:
        """Put one back, to whoever waits longest."""
        if pool.waiting:
            self.start(pool.waiting.popleft())
        else:
            pool.free += 1

    def run(self) -> None:
        """Run until nothing is left to happen."""
        while self._events:
            self.now, _, process = heapq.heappop(self._events)
            self._step(process)

    def _step(self, process: Process) -> None:
        for wanted in process:
            if isinstance(wanted, Pool):
                if not wanted.free:
                    wanted.waiting.append(process)
                    return
                wanted.free -= 1
            else:
                self.start(process, wanted)
                return


class Pipe:
    """A bandwidth that serves one request after the other."""

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock, self._speed, self._until = clock, speed, 0.0
        self.busy_s = 0.0

    def seconds_for(self, size: float) -> float:
        """Return how long from now until ``size`` bytes are through, those before them included."""
        self._until = max(self._until, self._clock.now) + size / self._speed
        self.busy_s += size / self._speed
        return self._until - self._clock.now


def simulate(farm: Farm, seed: int = 1) -> dict[str, Any]:
    """Return frames an hour, bytes a second and what the farm waits for."""
    clock, chance = Clock(), random.Random(seed)
    storage = Pipe(clock, farm.storage)
    ends: list[float] = []
    workers = [_worker(clock, farm, storage, chance, ends) for _ in range(farm.gpus)]
    clock.run()
    ends.sort()
    counted = ends[WARM_UP * farm.gpus :]
    span = counted[-1] - ends[WARM_UP * farm.gpus - 1]
    rate = len(counted) / span
    use = {"storage": storage.busy_s / clock.now}
    use["gpu"] = sum(worker["gpu"].busy_s for worker in workers) / farm.gpus / clock.now
    use["cores"] = sum(worker["cores"].busy_s for worker in workers) / farm.gpus / farm.cores / clock.now
    use["link"] = sum(worker["link"].busy_s for worker in workers) / farm.gpus / clock.now
    stage = max((name for name in STAGES if name != "estimate"), key=lambda name: farm.seconds[name])
    use[f"one {stage} at a time"] = farm.seconds[stage] * rate / farm.gpus
    waits_for = max(use, key=lambda name: use[name])
    return {"frames_per_hour": 3600 * rate, "read": rate * farm.bytes_read, "written": rate * farm.bytes_written} | {
        "waits_for": waits_for,
        "use": use[waits_for],
    }


def _worker(clock: Clock, farm: Farm, storage: Pipe, chance: random.Random, ends: list[float]) -> dict[str, Any]:
    """Start the stages of one worker; they hand frames on through places for one."""
    cores, gpu, link = Pool(farm.cores), Pool(1), Pipe(clock, farm.link)
    parts = {"cores": cores, "gpu": gpu, "link": link}
    filled = [Pool(0) for _ in STAGES]
    empty = [Pool(1) for _ in STAGES]

    def stage(index: int, name: str) -> Process:
        for _ in range(FRAMES_EACH):
            if index:
                yield filled[index - 1]
                clock.give(empty[index - 1])
            if name == "read":
                yield max(storage.seconds_for(farm.bytes_read), link.seconds_for(farm.bytes_read))
            pool = gpu if name == "estimate" else cores
            seconds = farm.seconds[name] * chance.uniform(1 - farm.jitter, 1 + farm.jitter)
            yield pool
            yield seconds
            pool.busy_s += seconds
            clock.give(pool)
            if name == "write":
                yield max(storage.seconds_for(farm.bytes_written), link.seconds_for(farm.bytes_written))
                ends.append(clock.now)
            else:
                yield empty[index]
                clock.give(filled[index])

    for index, name in enumerate(STAGES):
        # not all at the same moment, as no farm begins
        clock.start(stage(index, name), chance.random() * sum(farm.seconds.values()))
    return parts


def main() -> int:
    options = arguments().parse_args()
    measured = json.loads(options.stages.read_text())
    print(f"{measured['width']}×{measured['height']}, {options.cores} cores a GPU, storage {options.storage:g} GB/s")
    print("\n| estimate s | GPUs | frames/hour | read GB/s | written GB/s | waits for |\n|---|---|---|---|---|---|")
    curves: dict[float, list[tuple[int, float]]] = {}
    for estimate in options.estimate:
        for gpus in options.gpus:
            found = simulate(farm_of(measured, options, estimate, gpus))
            curves.setdefault(estimate, []).append((gpus, found["frames_per_hour"]))
            gigabytes = f"{found['read'] / 1e9:.3g} | {found['written'] / 1e9:.3g}"
            waits = f"{found['waits_for']}, {100 * found['use']:.0f} % busy"
            print(f"| {estimate:g} | {gpus} | {found['frames_per_hour']:,.0f} | {gigabytes} | {waits} |", flush=True)
    if options.plot:
        draw(curves, options.plot, f"{measured['width']}×{measured['height']}, storage {options.storage:g} GB/s")
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", type=Path, help="what farm_stages.py printed")
    parser.add_argument("--estimate", type=_numbers, default=(0.2, 1.0, 5.0), help="seconds on the GPU: a parameter")
    parser.add_argument("--gpus", type=_whole_numbers, default=(1, 10, 100, 1000))
    parser.add_argument("--cores", type=int, default=8, help="for each GPU: a parameter")
    parser.add_argument("--storage", type=float, default=5.0, help="GB/s of all machines together: a parameter")
    parser.add_argument("--link", type=float, default=1.25, help="GB/s of each GPU's machine: a parameter")
    parser.add_argument("--codec-speed", type=float, default=1.0, help="how much faster the farm's cores are")
    parser.add_argument("--plot", type=Path)
    return parser


def farm_of(measured: dict[str, Any], options: argparse.Namespace, estimate: float, gpus: int) -> Farm:
    seconds = {name: value / options.codec_speed for name, value in measured["seconds"].items()}
    return Farm(
        {**seconds, "estimate": estimate},
        measured["bytes_read"],
        measured["bytes_written"],
        gpus,
        options.cores,
        options.storage * 1e9,
        options.link * 1e9,
    )


def draw(curves: dict[float, list[tuple[int, float]]], path: Path, title: str) -> None:
    """Draw frames an hour over GPUs, both logarithmic."""
    import matplotlib as mpl  # noqa: PLC0415 - the table needs no plotting library

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "fbamatte"
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(7, 4.2))
    for estimate, points in curves.items():
        axes.loglog(*zip(*points, strict=True), marker="o", label=f"{estimate:g} s")
    axes.set(xlabel="GPUs", ylabel="frames per hour", title=title)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(title="estimate (parameter)", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _whole_numbers(text: str) -> Iterable[int]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
