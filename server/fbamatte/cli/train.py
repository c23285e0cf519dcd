"""``fbamatte train``: a network from a recipe."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fbamatte.errors import UsageError
from fbamatte.settings import add_flags, from_arguments, option, positional

if TYPE_CHECKING:
    import torch

    from fbamatte.training.batch import Source
    from fbamatte.training.distributed import Group
    from fbamatte.training.recipe import Recipe


MADE = ("procedural", "pool")
"""Data that this project makes."""


@dataclass(frozen=True)
class Settings:
    """Flags of the verb."""

    recipe: str = positional("a recipe's name or a .toml file; 'list' shows those that come with the program")
    data: str = option("", "folder with fg, alpha and bg, or a pool, for recipes that train on them", metavar="ROOT")
    cache: str = option("", "where extended foregrounds are kept (default: .fbamatte in ROOT)", metavar="FOLDER")
    prepare: bool = option(False, "extend the foregrounds, or make the pool (--steps objects), then stop")
    cut_outs: str = option("", "make the pool's pictures of these (fg and alpha) instead of drawing", metavar="FOLDER")
    output: str = option("", "the run's folder (default: runs/RECIPE); a run in it goes on", flags=("-o", "--output"))
    encoder: str = option("", "a ResNet-50's ImageNet weights (.pth) to start the encoder from", metavar="FILE")
    device: str = option("auto", "auto, cpu, cuda:N or mps", metavar="DEVICE")
    display_light: bool = option(False, "composite encoded pictures as the paper does, whatever the recipe says")
    rescale: float = option(0.0, "enlarge every second mini-batch by this instead of the recipe's scale")
    steps: int = option(0, "stop after so many steps, to go on later", metavar="N")
    seconds: float = option(0.0, "stop after so long, to go on later", metavar="S")
    log_every: int = option(10, "steps between rows of log.csv", metavar="N")
    sheet_every: int = option(1000, "steps between picture sheets", metavar="N")
    save_every: int = option(1000, "steps between states", metavar="N")
    judge: str = option("", "folder of photographs with known alpha to measure on, never trained on", metavar="FOLDER")
    judge_every: int = option(1000, "steps between measurements", metavar="N")
    workers: int = option(2, "threads that read pictures ahead; processes that make a pool", metavar="N")
    licence: str = option("", "what the data permit, as the model's card shall say", metavar="TEXT")
    commercial: bool = option(False, "the licence of the data permits commercial use")
    tiny: bool = option(False, "make the recipe small enough to try in seconds")


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "train", help="train a network from a recipe", description="Train, or go on with a run that was stopped."
    )
    add_flags(parser, Settings)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; 0 when the run did what was asked."""
    from pathlib import Path

    from fbamatte.models.devices import resolve_device
    from fbamatte.training import distributed
    from fbamatte.training.export import export
    from fbamatte.training.loop import Plan, train

    settings = from_arguments(Settings, arguments)
    if settings.recipe == "list":
        return _list()
    recipe = _recipe(settings)
    if settings.cut_outs and not (settings.prepare and recipe.data == "pool"):
        raise UsageError("--cut-outs goes with --prepare, and with a recipe that trains on a pool")
    if settings.prepare:
        return _prepare(settings, recipe)
    device = resolve_device(settings.device)
    group = distributed.join(device)
    device = group.device(device)
    folder = Path(settings.output or f"runs/{recipe.name}")
    plan = Plan(
        folder, settings.steps, settings.seconds, settings.log_every, settings.sheet_every, settings.save_every,
        settings.judge_every if settings.judge else 0, settings.workers if recipe.data == "folders" else 0,
        settings.encoder,
    )  # fmt: skip
    try:
        judge = _judge(settings, recipe, device) if settings.judge and group.first else None
        result = train(recipe, _source(settings, recipe, device, group), plan, device, judge, group)
        if group.first:
            licence = settings.licence or ("MIT" if recipe.data in MADE else "unknown: that of its data")
            commercial = settings.commercial or recipe.data in MADE
            path = export(result, recipe, folder / f"{recipe.name}.safetensors", licence=licence, commercial=commercial)
            print(f"{path}: {result.step} of {result.steps} steps")
    finally:
        group.close()
    return 0


def _list() -> int:
    from fbamatte.training import recipe

    for name in recipe.names():
        print(f"{name:20} {recipe.load_recipe(name).title}")
    return 0


def _recipe(settings: Settings) -> Recipe:
    from fbamatte.training.recipe import load_recipe, tiny

    changes: dict[str, Any] = {"light": "display"} if settings.display_light else {}
    if settings.rescale:
        changes["rescale"] = settings.rescale
    recipe = load_recipe(settings.recipe, changes)
    return tiny(recipe) if settings.tiny else recipe


def _prepare(settings: Settings, recipe: Recipe) -> int:
    from fbamatte.training.extension import prepare
    from fbamatte.training.folders import scan

    if recipe.data == "pool":
        return _fill(settings, recipe)
    if recipe.extend == "none" or recipe.data != "folders":
        print(f"recipe {recipe.name} needs nothing prepared")
        return 0
    root = _root(settings, recipe)
    folders = scan(root, bad_data=recipe.bad_data, tell=_teller("looked at"))
    made = prepare(folders.pairs, _cache(settings, root), recipe.extend, _teller("extended"))
    print(f"{made} foregrounds extended, {len(folders.pairs) - made} were; {len(folders.skipped)} pictures skipped")
    return 0


def _fill(settings: Settings, recipe: Recipe) -> int:
    from pathlib import Path

    from fbamatte.training import pool
    from fbamatte.training.folders import scan

    if settings.cut_outs:
        tell = _teller("looked at")
        folders = scan(Path(settings.cut_outs), bad_data=recipe.bad_data, tell=tell, with_backgrounds=False)
        makers, skipped = pool.cut_outs(folders.pairs), len(folders.skipped)
    else:
        makers, skipped = pool.drawn(range(settings.steps or pool.OBJECTS)), 0
    root, workers = _root(settings, recipe), min(settings.workers, len(makers))
    made = pool.fill(root, recipe.seed, makers, _teller("made"), workers)
    print(f"{made} pictures made" + (f"; {skipped} cut-outs skipped" if skipped else ""))
    return 0


def _source(settings: Settings, recipe: Recipe, device: torch.device, group: Group) -> Source:
    if recipe.data == "procedural":
        from fbamatte.training.generator import ProceduralSource

        return ProceduralSource(recipe, device, rank=group.rank, world=group.world)
    if recipe.data == "pool":
        from fbamatte.training.pool import PoolSource

        return PoolSource(recipe, _root(settings, recipe))
    from fbamatte.training.folders import scan
    from fbamatte.training.samples import FolderSource

    root = _root(settings, recipe)
    folders = scan(root, bad_data=recipe.bad_data, tell=_teller("looked at") if group.first else None)
    if folders.skipped and group.first:
        print(f"{len(folders.skipped)} pictures skipped, the first: {folders.skipped[0]}", file=sys.stderr)
    return FolderSource(recipe, folders, _cache(settings, root), rank=group.rank, world=group.world)


def _judge(settings: Settings, recipe: Recipe, device: torch.device) -> Any:
    from pathlib import Path

    from fbamatte.training.judge import photographs_judge

    return photographs_judge(Path(settings.judge), recipe, device)


def _root(settings: Settings, recipe: Recipe) -> Any:
    from pathlib import Path

    if not settings.data:
        raise UsageError(f"recipe {recipe.name} trains on folders; name them with --data ROOT")
    return Path(settings.data)


def _cache(settings: Settings, root: Any) -> Any:
    from pathlib import Path

    return Path(settings.cache) if settings.cache else root / ".fbamatte"


def _teller(what: str) -> Any:
    def tell(done: int, count: int, name: str) -> None:
        end = "\n" if done == count or not sys.stderr.isatty() else ""
        print(
            f"\r\033[K{done}/{count} {what}: {name}" if not end else f"{done}/{count} {what}: {name}",
            end=end,
            file=sys.stderr,
        )

    return tell


def main() -> int:
    """Run the verb alone: all it needs where only torch, numpy, scipy and safetensors are installed."""
    from fbamatte.errors import FbaMatteError

    parser = argparse.ArgumentParser(prog="python -m fbamatte.cli.train")
    add_flags(parser, Settings)
    try:
        return run(parser.parse_args())
    except FbaMatteError as error:
        print(f"fbamatte: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
