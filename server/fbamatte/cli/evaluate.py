"""``fbamatte evaluate``: how good models are on a data set, in the field's own metrics."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fbamatte.errors import UsageError
from fbamatte.settings import add_flags, from_arguments, option, positional

if TYPE_CHECKING:
    from fbamatte.evaluation.results import Row
    from fbamatte.evaluation.run import Plan


@dataclass(frozen=True)
class EvaluateSettings:
    """What the verb can be told."""

    dataset: str = positional(
        "composition-1k, adobe-training, alphamatting-training, alphamatting-test, distinctions-646, aim-500, folder, "
        "plates, procedural, procedural-display or procedural-clips"
    )
    root: str = positional("where the data set is; for the procedural ones COUNT[@SIZE], as in 48@512")
    model: tuple[str, ...] = option(
        ("closed-form",),
        "estimator by name (also pymatting-cf, -knn, -lbdm, each with +cf for its other foreground) or checkpoint "
        "file; may be given several times",
        metavar="NAME|FILE",
    )
    tta: bool = option(False, "measure each model again with test-time augmentation")
    tta_set: str = option("paper", "its set: paper, quick, or as in all@0.75,1*2,1.25", metavar="SET")
    linear: bool = option(False, "solve display-encoded pictures in scene-linear light, as the engine does")
    backgrounds: str = option("", "pictures behind the foregrounds of a composed data set", metavar="FOLDER")
    workers: int = option(1, "processes", metavar="N")
    limit: int = option(0, "so many pictures from the start of the set (default: all)", metavar="N")
    table: Literal["", "2", "3", "4", "5"] = option("", "print this table of the paper with our figures beside it")
    report: str = option("", "write a self-contained page of it all", metavar="FILE.html")
    report_pictures: int = option(24, "so many shots of the report have pictures: the worst", metavar="N")
    worst: int = option(12, "so many rows has the contact sheet of the worst", metavar="N")
    output: str = option(
        "", "folder of the results; a run goes on where one in it stopped", metavar="OUT", flags=("-o", "--output")
    )
    device: str = option("auto", "where to run: auto, cpu, cuda:0, mps", metavar="DEVICE")
    precision: str = option("auto", "arithmetic of the network", choices=("auto", "fp32", "bf16", "fp16"))


# Data sets that are scene-linear whatever is asked.
_LINEAR = ("procedural", "procedural-clips", "plates")
# What the line of one picture says.
_TOLD = ("sad", "mse")


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "evaluate",
        help="measure models on a data set",
        description="Measure models on a data set that you have, or on pictures drawn on the fly.",
        epilog="Writes results.csv, summary.md, plots and the worst pictures into OUT. Needs fbamatte[train].",
    )
    add_flags(parser, EvaluateSettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure what the options say."""
    settings = from_arguments(EvaluateSettings, options)
    _check(settings)
    from fbamatte.evaluation.run import run as measure

    plan = _plan(settings)
    rows = measure(plan, _tell)
    text = _write(settings, plan, rows)
    print(text)
    if settings.table:
        from fbamatte.evaluation.tables import table_text

        print(table_text(settings.table, rows, settings.dataset))
    return 1 if any(row.problem for row in rows) else 0


def _check(settings: EvaluateSettings) -> None:
    for name, least in (("workers", 1), ("limit", 0), ("report_pictures", 0), ("worst", 0)):
        if getattr(settings, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(settings, name)}; it must be {least} or more")
    for module in ("matplotlib", "skimage"):
        from importlib.util import find_spec

        if find_spec(module) is None:
            raise UsageError(f"evaluate needs {module}: pip install 'fbamatte[train]'")


def _plan(settings: EvaluateSettings) -> Plan:
    from fbamatte.evaluation.run import Plan

    return Plan(
        dataset=settings.dataset,
        root=settings.root,
        models=tuple(dict.fromkeys(settings.model)),
        output=Path(settings.output or f"evaluation-{settings.dataset}"),
        backgrounds=settings.backgrounds,
        augmentations=settings.tta_set if settings.tta else "",
        linear=settings.linear,
        device=settings.device,
        precision=settings.precision,
        limit=settings.limit,
        workers=settings.workers,
    )


def _tell(row: Row, done: int, total: int) -> None:
    from fbamatte.evaluation.figures import BY_KEY

    known = [
        (BY_KEY[key].title.split(" (")[0], BY_KEY[key].text(row.figures[key])) for key in _TOLD if key in row.figures
    ]
    said = [f"{title} {value}" for title, value in known]
    what = f"failed: {row.problem}" if row.problem else "  ".join(said) or "done"
    print(f"{100 * done // max(total, 1):3d} %  {row.model}  {row.item}  {what}", file=sys.stderr, flush=True)


def _write(settings: EvaluateSettings, plan: Plan, rows: list[Row]) -> str:
    """Write everything that comes of the rows; return the summary."""
    from fbamatte import __version__
    from fbamatte.evaluation.plots import write_plots
    from fbamatte.evaluation.report import write_report
    from fbamatte.evaluation.sheet import write_sheet
    from fbamatte.evaluation.summary import models_of, summary

    title = f"{', '.join(plan.labels)} on {plan.dataset}"
    text = summary(rows, title)
    (plan.output / "summary.md").write_text(text, encoding="utf-8")
    write_plots(rows, plan.output / "plots")
    for model in models_of(rows):
        write_sheet(rows, model, settings.worst, plan.output)
    if settings.report:
        light = "scene-linear light" if plan.linear or plan.dataset in _LINEAR else "light as composited"
        count = len({row.item for row in rows if not row.problem})
        facts = f"{count} pictures, {light}, fbamatte {__version__}"
        path = Path(settings.report)
        write_report(path, rows, plan.output, title=title, facts=facts, pictures=settings.report_pictures)
    return text
