"""Run models over a data set: resumable, on several processes, one line of the table at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from fbamatte.engine import tta
from fbamatte.errors import FbaMatteError, ResourceError
from fbamatte.evaluation.baselines import describe_model, load_model
from fbamatte.evaluation.datasets import Case, DataSet, Shot, open_dataset
from fbamatte.evaluation.measure import Solved, measure
from fbamatte.evaluation.results import Results, Row
from fbamatte.evaluation.views import write_views
from fbamatte.models.base import Estimator

TTA_SUFFIX = "+tta"
Progress = Callable[[Row, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Parameters
    ----------
    dataset, root, backgrounds : str
        As `fbamatte.evaluation.datasets.open_dataset` takes them.
    models : tuple of str
        Names or checkpoint files.
    augmentations : str
        As `fbamatte.engine.tta.parse` takes them; each model is then measured with and without. Empty: without.
    linear : bool
        Solve display-encoded pictures in linear light too.
    device, precision : str
        Of the models.
    output : Path
        Folder of the results.
    limit : int
        So many items of the set, from its start; 0: all.
    workers : int
        Processes.
    """

    dataset: str
    root: str
    models: tuple[str, ...]
    output: Path
    backgrounds: str = ""
    augmentations: str = ""
    linear: bool = False
    device: str = "auto"
    precision: str = "auto"
    limit: int = 0
    workers: int = 1

    @property
    def labels(self) -> list[str]:
        """The models as tables call them: a checkpoint by its file's name; each again with test-time augmentation."""
        plain = [Path(model).stem if Path(model).is_file() else model for model in self.models]
        return [label + way for label in plain for way in self.ways]

    @property
    def ways(self) -> tuple[str, ...]:
        """Suffixes of the models' names: without, and where asked for with, test-time augmentation."""
        return ("", TTA_SUFFIX) if self.augmentations else ("",)

    def items(self) -> list[str]:
        """Return the names of the shots."""
        names = open_dataset(self.dataset, self.root, self.backgrounds).names()
        return names[: self.limit] if self.limit else names

    def settings(self) -> dict[str, str]:
        """Return what decides the figures beside model and item."""
        root = self.root if self.dataset.startswith("procedural") else str(Path(self.root).absolute())
        light = "linear" if self.linear else "as composited"
        chosen = {"dataset": self.dataset, "root": root, "light": light, "precision": self.precision}
        if self.dataset.startswith("procedural"):
            # The count may grow; the size may not.
            chosen["root"] = "@" + root.partition("@")[2]
        return chosen | ({"augmentations": self.augmentations} if self.augmentations else {})


def run(plan: Plan, progress: Progress) -> list[Row]:
    """Measure what is not measured yet and return all rows of the plan.

    Parameters
    ----------
    progress : callable
        Told of each row, how many are there now and how many there will be.

    Raises
    ------
    UsageError, ModelNotFoundError, ImageReadError
        If the plan cannot begin. A shot that cannot be read or matted becomes a row with a problem.
    ResourceError
        If a process died.
    """
    for model in plan.models:
        describe_model(model)
    if plan.precision not in {"auto", "fp32"}:
        from fbamatte.models.devices import resolve_device, resolve_precision  # noqa: PLC0415 - brings torch

        resolve_precision(plan.precision, resolve_device(plan.device))
    if plan.augmentations:
        tta.parse(plan.augmentations)
    items = plan.items()
    with contextlib.closing(Results(plan.output, plan.settings())) as results:
        return _run(plan, items, results, progress)


def _run(plan: Plan, items: list[str], results: Results, progress: Progress) -> list[Row]:
    tasks = [(model, label) for model, label in zip((m for m in plan.models for _ in plan.ways), plan.labels)]
    missing = [(model, label, item) for model, label in tasks for item in items if not results.has(label, item)]
    total = len(tasks) * len(items)
    done = total - len(missing)
    for row in _measured(plan, missing):
        results.add(row)
        done += 1
        progress(row, done, total)
    return results.rows(plan.labels, items)


def _measured(plan: Plan, tasks: list[tuple[str, str, str]]) -> Iterator[Row]:
    if plan.workers <= 1 or len(tasks) <= 1:
        worker = Worker(plan)
        for task in tasks:
            yield worker.row(*task)
        worker.close()
        return
    # Started afresh: a forked process inherits the locks of numerical libraries in whatever state they are.
    context = multiprocessing.get_context("spawn")
    share = max(1, (os.cpu_count() or 1) // plan.workers)
    with ProcessPoolExecutor(plan.workers, context, _start, (plan, share)) as pool:
        futures: list[Future[Row]] = [pool.submit(_row, *task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise ResourceError(
                f"a worker process died, most likely for want of memory; {plan.output} keeps what is measured: "
                "run again with fewer --workers"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class Worker:
    """Measures one shot after another; holds a data set and one loaded model."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._dataset: DataSet = open_dataset(plan.dataset, plan.root, plan.backgrounds)
        self._augmentations = tta.parse(plan.augmentations) if plan.augmentations else ()
        self._loaded: tuple[str, Estimator] | None = None

    def row(self, model: str, label: str, item: str) -> Row:
        """Return one row of the table and leave its pictures in the output folder."""
        try:
            shot = self._dataset.load(item)
            ways = self._augmentations if label.endswith(TTA_SUFFIX) else ()
            figures, solved = measure(shot, self._estimator(model), linear=self._plan.linear, augmentations=ways)
        except FbaMatteError as error:
            return Row(label, item, problem=str(error))
        middle = solved[len(solved) // 2]
        write_views(self._plan.output / "pictures", item, label, middle)
        _write_submission(self._plan.output / "submission" / label, solved)
        height, width = middle.alpha.shape
        return Row(label, item, width, height, figures)

    def _estimator(self, model: str) -> Estimator:
        if self._loaded is None or self._loaded[0] != model:
            self.close()
            self._loaded = model, load_model(model, self._plan.device, self._plan.precision)
            # What is compiled or allocated on first use is no part of any picture's time.
            measure(_warm_up(), self._loaded[1], linear=self._plan.linear)
        return self._loaded[1]

    def close(self) -> None:
        """Free the model."""
        if self._loaded is not None:
            self._loaded[1].close()
            self._loaded = None


def _warm_up() -> Shot:
    ramp = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (48, 1))
    trimap = np.where(ramp < 0.2, 0, np.where(ramp > 0.8, 1, 0.5)).astype(np.float32)
    return Shot([Case("warm-up", np.repeat(ramp[..., None], 3, 2), trimap, ramp)])


_worker: Worker | None = None


def _start(plan: Plan, threads: int) -> None:
    """Prepare a process of the pool: its own data set, its share of the cores."""
    global _worker  # noqa: PLW0603  # one worker is what such a process is
    for library in ("numba", "torch"):
        if library in sys.modules:
            sys.modules[library].set_num_threads(threads)
    _worker = Worker(plan)


def _row(model: str, label: str, item: str) -> Row:
    assert _worker is not None
    return _worker.row(model, label, item)


def _write_submission(folder: Path, solved: list[Solved]) -> None:
    for one in solved:
        if one.case.submission:
            path = folder / one.case.submission
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(np.round(one.alpha * 255).astype(np.uint8)).save(path)
