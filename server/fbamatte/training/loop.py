"""The loop: from a recipe and a source of mini-batches to a checkpoint, top to bottom."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fbamatte.errors import FrameError
from fbamatte.training.batch import Batch, Source
from fbamatte.training.distributed import Group
from fbamatte.training.losses import COLOR_TERMS, Terms, alpha_losses, color_losses, weighted_sum
from fbamatte.training.optimiser import Average, clip_gradient, make_optimiser, rate_at
from fbamatte.training.recipe import Recipe
from fbamatte.training.records import Log, Progress, Row, write_sheet
from fbamatte.training.state import load_state, save_state
from fbamatte.training.students import estimate, load_encoder, make_network

Judge = Callable[[nn.Module, int], Row]


@dataclass(frozen=True)
class Plan:
    """How a run is run; nothing here changes what it learns.

    Parameters
    ----------
    folder : Path
        Of the run: its state, log, sheets and the trained network.
    stop_after : int
        Steps at which to end before the recipe does; 0: at its end.
    seconds : float
        Time after which to save and end, to be resumed; 0: none.
    log_every, sheet_every, save_every, judge_every : int
        Steps between; 0: never.
    workers : int
        Threads that make mini-batches ahead; 0: made when they are needed.
    encoder : str
        File of pretrained encoder weights; empty: none.
    """

    folder: Path
    stop_after: int = 0
    seconds: float = 0.0
    log_every: int = 10
    sheet_every: int = 1000
    save_every: int = 1000
    judge_every: int = 0
    workers: int = 0
    encoder: str = ""


@dataclass(frozen=True, eq=False)
class Result:
    """What a run ended with.

    Parameters
    ----------
    step, steps : int
        Steps done, of how many.
    network : nn.Module
        As after the last step.
    average : Average
        Of its weights: what ships.
    losses : list of float
        Of the steps of this call.
    """

    step: int
    steps: int
    network: nn.Module
    average: Average
    losses: list[float]


def train(  # noqa: PLR0915 - one visible loop, top to bottom
    recipe: Recipe,
    source: Source,
    plan: Plan,
    device: torch.device,
    judge: Judge | None = None,
    group: Group | None = None,
) -> Result:
    """Train, or go on where the folder's state left off.

    Raises
    ------
    FrameError
        If the loss or its gradient is not a number; the message names step and pictures. The folder then
        holds the state from before that step.
    CheckpointError, UsageError
        If the folder's state is damaged or another recipe's.
    """
    group = group or Group()
    network = make_network(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if plan.encoder:
        load_encoder(network, plan.encoder)
    optimiser, average = make_optimiser(network, recipe), Average(network, recipe.ema)
    steps_per_epoch = max(1, source.samples_per_epoch // (recipe.batch * group.world))
    last = recipe.epochs * steps_per_epoch
    end = min(last, plan.stop_after or last)

    saved = load_state(plan.folder, recipe)
    first = saved.step if saved else 0
    if saved:
        network.load_state_dict(saved.parts["network"])
        optimiser.load_state_dict(saved.parts["optimiser"])
        average.state = {key: value.to(device) for key, value in saved.parts["average"].items()}

    def save(step: int) -> None:
        if group.first:
            parts = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "average": average.state}
            save_state(plan.folder, recipe, step, parts)

    plan.folder.mkdir(parents=True, exist_ok=True)
    log = Log(plan.folder / "log.csv", first) if group.first else None
    progress, begun, losses, done = Progress(first, end), time.monotonic(), list[float](), first
    wrapped = group.wrap(network, device)
    network.train()

    for step, batch in _ahead(source, first, end, plan.workers):
        batch = batch.to(device)  # noqa: PLW2901 - the same pictures, elsewhere
        rate = rate_at(recipe, step, steps_per_epoch)
        for parameters in optimiser.param_groups:
            parameters["lr"] = rate

        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            output = estimate(wrapped, batch, recipe)
        terms = losses_of(output.float(), batch, recipe)
        loss = weighted_sum(terms, recipe.weights)
        loss.backward()  # type: ignore[no-untyped-call]
        slope = clip_gradient(network, recipe.clip)
        value = float(loss.detach())
        if not group.all_finite(value + slope, device):
            save(step)
            raise FrameError(
                f"step {step}: the loss is {value} and its gradient {slope}, with {'; '.join(batch.names)}; "
                f"{plan.folder} holds the state from before this step"
            )
        optimiser.step()
        average.update(network, step)
        losses.append(value)
        done = step + 1

        if log and (_due(done, plan.log_every) or done == end):
            row: Row = {"step": step, "epoch": step // steps_per_epoch, "rate": rate, "loss": value, "slope": slope}
            log.write({**row, **{name: float(term.detach()) for name, term in terms.items()}})
            progress.show(step, value)
        if group.first and _due(done, plan.sheet_every):
            write_sheet(plan.folder / "sheets" / f"{done:08d}.png", batch, output)
        if group.first and judge and _due(done, plan.judge_every):
            _judge(judge, network, average, done, plan.folder)
        if _due(done, plan.save_every):
            save(done)
        if group.any(bool(plan.seconds) and time.monotonic() - begun > plan.seconds, device):
            break

    save(done)
    return Result(done, last, network, average, losses)


def losses_of(output: Tensor, batch: Batch, recipe: Recipe) -> Terms:
    """Return the named losses of an estimate, those that the recipe weighs."""
    display = recipe.light == "display"
    unknown, whole = batch.unknown, torch.ones_like(batch.alpha)
    regions = {"unknown": unknown, "whole": whole}
    # the refining network corrects its alpha beside choosing it, and both are held to the truth
    count = output.shape[1] if recipe.architecture == "refine" else 1
    each = [
        alpha_losses(
            output[:, n, None], batch.alpha, batch.foreground, batch.background, batch.image,
            regions[recipe.alpha_region], display_light=display,
        )
        for n in range(count)
    ]  # fmt: skip
    terms = {name: torch.stack([terms[name] for terms in each]).sum(dim=0) for name in each[0]}
    if any(name in recipe.weights for name in COLOR_TERMS):
        terms |= color_losses(
            (output[:, 1:4], output[:, 4:7]), (batch.foreground, batch.background), batch.alpha, batch.image,
            regions[recipe.color_region], display_light=display,
        )  # fmt: skip
    return {name: terms[name] for name, weight in recipe.weights.items() if weight}


def _ahead(source: Source, first: int, end: int, workers: int) -> Iterator[tuple[int, Batch]]:
    """Yield steps with their mini-batches, some made ahead by threads; in order all the same."""
    if not workers:
        for step in range(first, end):
            yield step, source.batch(step)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Batch]] = deque()
        for step in range(first, end):
            while len(waiting) < min(2 * workers, end - step):
                waiting.append(pool.submit(source.batch, step + len(waiting)))
            yield step, waiting.popleft().result()


def _judge(judge: Judge, network: nn.Module, average: Average, step: int, folder: Path) -> None:
    """Measure the averaged weights and write a row; the network goes on with its own."""
    own: dict[str, Any] = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(average.state)
    network.eval()
    figures = judge(network, step)
    network.load_state_dict(own)
    network.train()
    Log(folder / "judged.csv", step).write({"step": step, **figures})


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
