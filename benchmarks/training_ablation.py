"""The paper's ablations in miniature, on made pictures: rows of Tables 2 and 3, several seeds each.

    python benchmarks/training_ablation.py OUT [--seeds 3] [--samples 2400] [--width 0.125] [--crop 64] [--workers 2]

Every row sees the same samples in the same order, as many as the others, and is measured on pictures of seeds and shape
families that none is trained on, with guesses and closed-form matting beside it. A rate is chosen first for
each pair of norm and batch size, on other pictures. Run it again to go on: what is measured stays. OUT/report.md and
OUT/ablation.png are what comes of it; ``--docs`` puts both into this project's documentation.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ablation_pictures as pictures
import numpy as np
import torch
from ablation_report import RATE_SEED, ROWS, publish, write_report
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from tqdm import tqdm

from fbamatte.errors import UsageError
from fbamatte.evaluation.datasets import Case, Shot
from fbamatte.evaluation.measure import measure
from fbamatte.models import registry
from fbamatte.models.base import Array, Estimate, Estimator
from fbamatte.training.export import export
from fbamatte.training.loop import Plan, train
from fbamatte.training.recipe import Recipe, load_recipe

TUNED = ("table2-4", "table2-5", "table2-6")
"""Rows that stand for their norm and batch size when a rate is chosen."""
LAST = ("table3-10",)
"""Trained when all others are: its questions are asked of other rows too."""
RATES = (3e-3, 1e-2)
GUESSES = ("half", "distance", "closed-form")
"""What knows no training: a half, the distances to what is known, and closed-form matting."""


class Guess:
    """Alpha from the trimap alone, and the picture itself as F and B: what any network must be far better than.

    Parameters
    ----------
    kind : str
        ``half`` where the trimap does not know; ``distance``: the nearer to known foreground, the more.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def estimate(self, image: Array, trimap: Array) -> Estimate:
        """Return alpha, F and B."""
        alpha = np.where(trimap <= 0, 0, np.where(trimap >= 1, 1, 0.5)).astype(np.float32)
        if self.kind == "distance" and (trimap >= 1).any() and (trimap <= 0).any():
            to_clear, to_solid = (distance_transform_edt(~known) for known in (trimap <= 0, trimap >= 1))
            alpha = (to_clear / (to_clear + to_solid)).astype(np.float32)
        return Estimate(alpha, image.copy(), image.copy())


@dataclass(frozen=True)
class Task:
    """One network to train and measure, or one guess to measure."""

    row: str
    seed: int
    rate: float = 0.0
    samples: int = 0

    @property
    def name(self) -> str:
        """Of its file."""
        return f"rate-{self.row}-{self.rate:g}" if self.seed == RATE_SEED else f"{self.row}-{self.seed}"


class Study:
    """A folder with what is measured so far.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command.

    Raises
    ------
    UsageError
        If the folder holds results of other settings.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        fixed = {key: getattr(options, key) for key in ("samples", "width", "crop", "pool", "measured", "size")}
        path = self.out / "settings.json"
        if path.is_file() and json.loads(path.read_text()) != fixed:
            raise UsageError(f"{self.out} holds results of {path.read_text()}: take another folder")
        path.write_text(json.dumps(fixed))

    @cached_property
    def pool(self) -> Tensor:
        """What is trained on."""
        return pictures.draw_pool(self.out / "pool.pt", self.recipe("table3-fba", 0, 0.0, 6), self.options.pool)

    @cached_property
    def test(self) -> list[Case]:
        """What rows are measured on."""
        return pictures.test_pictures(self.options.measured, self.options.size)

    @cached_property
    def validation(self) -> list[Case]:
        """What rates are chosen on."""
        return pictures.validation_pictures(max(2, self.options.measured // 2), self.options.size)

    def recipe(self, row: str, seed: int, rate: float, samples: int) -> Recipe:
        """Return a row's recipe made small; what the row is about stays as it is."""
        return replace(
            load_recipe(row), data="procedural", width=self.options.width, crops=(self.options.crop,), crop_to=0,
            trimap_radii=pictures.RADII, learning_rate=rate, epochs=1, epoch_samples=samples, schedule="cosine",
            clip=1.0, rescale=1.0, pretrained=False, seed=seed,
        )  # fmt: skip

    def result(self, task: Task) -> dict[str, Any] | None:
        """Return what was measured of a task, if it was."""
        path = self.out / f"{task.name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def run(self, task: Task) -> None:
        """Train, measure, keep."""
        begun = time.process_time()
        if task.row in GUESSES:
            estimator = registry.load(task.row) if task.row in registry.names() else Guess(task.row)
            found: dict[str, Any] = {"pictures": figures(estimator, self.test)}
        else:
            found = self._trained(task)
        found = {"row": task.row, "seed": task.seed, "cpu_seconds": time.process_time() - begun, **found}
        temporary = self.out / f"{task.name}.part"
        temporary.write_text(json.dumps(found, indent=1))
        temporary.replace(self.out / f"{task.name}.json")

    def _trained(self, task: Task) -> dict[str, Any]:
        recipe = self.recipe(task.row, task.seed, task.rate, task.samples)
        folder = self.out / "runs" / task.name
        steps = task.samples // recipe.batch
        plan = Plan(folder, log_every=max(1, steps // 40), sheet_every=0, save_every=200)
        result = train(recipe, pictures.Shown(recipe, self.pool), plan, torch.device("cpu"))
        path = export(result, recipe, folder / f"{task.name}.safetensors", licence="MIT", commercial=True)
        measured = self.validation if task.seed == RATE_SEED else self.test
        found = figures(registry.load(str(path), "cpu"), measured)
        with (folder / "log.csv").open(newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        tenth = max(1, len(losses) // 10)
        shutil.rmtree(folder)
        return {
            "rate": task.rate, "samples": task.samples, "steps": result.steps,
            "loss": [float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))], "pictures": found,
        }  # fmt: skip

    def chosen_rate(self, row: str) -> float:
        """Return the rate that did best in MSE for the row's norm and batch size."""
        whole = load_recipe(row)
        like = next(t for t in TUNED if (load_recipe(t).norm, load_recipe(t).batch) == (whole.norm, whole.batch))
        errors = {task.rate: mean(self.result(task), "mse") for task in self.rate_tasks() if task.row == like}
        return min(errors, key=lambda rate: errors[rate])

    def rate_tasks(self) -> list[Task]:
        """Return runs at each rate, of a seed of their own."""
        return [Task(row, RATE_SEED, rate, self.options.samples) for row in TUNED for rate in RATES]

    def stages(self) -> Iterator[list[Task]]:
        """Yield what can be done side by side; the rows one seed after the other, to be compared early."""
        yield [*self.rate_tasks(), *(Task(guess, 0) for guess in GUESSES)]
        rates = {row: self.chosen_rate(row) for row in ROWS}
        first = [row for row in ROWS if row not in LAST]
        yield [
            Task(row, seed, rates[row], self.options.samples)
            for rows in (first, LAST)
            for seed in range(self.options.seeds)
            for row in rows
        ]

    @property
    def count(self) -> int:
        """How many tasks there are."""
        return len(GUESSES) + len(TUNED) * len(RATES) + int(self.options.seeds) * len(ROWS)


def figures(estimator: Estimator | Guess, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Return an estimator's figures for each picture."""
    return {case.name: measure(Shot([case]), estimator)[0] for case in cases}  # type: ignore[arg-type]


def mean(result: dict[str, Any] | None, key: str) -> float:
    """Return a figure's mean over the pictures of a result."""
    assert result is not None
    return float(np.mean([found[key] for found in result["pictures"].values()]))


_study: Study | None = None


def _start(options: argparse.Namespace) -> None:
    """Prepare a worker: one thread, and the pictures when they are first asked for."""
    global _study  # noqa: PLW0603 - one study is what such a process works on
    torch.set_num_threads(1)
    _study = Study(options)


def _run(task: Task) -> str:
    assert _study is not None
    _study.run(task)
    return task.name


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2400, help="that each row is trained on: a multiple of 6")
    parser.add_argument("--pool", type=int, default=1200, help="different pictures that these come from")
    parser.add_argument("--width", type=float, default=0.125, help="of the network")
    parser.add_argument("--crop", type=int, default=64, help="side of the training pictures")
    parser.add_argument("--measured", type=int, default=36, help="pictures that rows are measured on")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures measured on")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--docs", action="store_true", help="write docs/ablation.md's results and its plot")
    options = parser.parse_args(arguments)
    study = Study(options)
    assert len(study.pool) == options.pool  # drawn here, once
    workers = ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn"), _start, (options,))
    with workers, tqdm(total=study.count, desc="ablation", unit="run", smoothing=0.1) as bar:
        for tasks in study.stages():
            missing = [task for task in tasks if study.result(task) is None]
            bar.update(len(tasks) - len(missing))
            for done in as_completed([workers.submit(_run, task) for task in missing]):
                bar.set_postfix_str(done.result())
                bar.update()
    print(write_report(study.out))
    if options.docs:
        publish(study.out)


if __name__ == "__main__":
    main()
