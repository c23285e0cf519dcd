"""A model beside closed-form matting and PyMatting's KNN with multi-level F: figures and pictures, one command.

    python benchmarks/model_comparison.py OUT [--model NAME_OR_FILE ...] [--pictures 24] [--size 256] [--docs]

The procedural set (exact α and F; shapes and seeds that no recipe of ours trains on) gives figures, and how often each
model is better than closed-form matting: in scene-linear light through the engine, and in display light straight from
the estimator, as papers do. The example plates have no truth: what is left over after recomposition, the time, and
pictures over three colours. OUT/comparison.md, OUT/procedural.jpg and OUT/plates.jpg are what comes of it. What is
measured stays: run it again with another model.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import stats
from tqdm import tqdm

from fbamatte.compositing.over import over
from fbamatte.evaluation.baselines import load_model
from fbamatte.evaluation.datasets import Case, open_dataset
from fbamatte.evaluation.figures import BY_KEY, SPEED
from fbamatte.evaluation.measure import Solved, solve
from fbamatte.evaluation.metrics.color import HALO_BACKGROUNDS
from fbamatte.evaluation.results import Row
from fbamatte.evaluation.run import Plan, run
from fbamatte.evaluation.summary import mean
from fbamatte.imaging.display import encode_rec709, overlay_trimap, to_display

Plane = NDArray[np.float32]
Line = Callable[[Solved], Plane]

FIRST = ("closed-form", "pymatting-knn")
FIGURES = (
    "sad", "mse", "gradient", "connectivity", "premultiplied_sad", "premultiplied_mse", "foreground_error",
    "edge_halo", SPEED,
)  # fmt: skip
PROJECT = Path(__file__).resolve().parent.parent
PLATES, DOCS = PROJECT / "examples" / "plates", PROJECT / "docs"
# The plates that are shown, and the part where there is something to see: rows, columns.
PARTS = {
    "astronaut/1001": (slice(0, 190), slice(110, 300)),
    "chelsea/1001": (slice(0, 288), slice(216, 432)),
}
WHOLE = (slice(None), slice(None))
SHOWN_FAMILIES = ("hair", "fur", "motion", "net", "leaves", "smoke")
CELL, GAP, HEAD = 180, 6, 26
GROUND, TEXT = (23, 23, 24), (205, 205, 202)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", action="append", default=[], help="beside the two that are always there")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--docs", action="store_true", help="copy the two pictures to docs/images")
    options = parser.parse_args()
    models = (*FIRST, *options.model)
    wish = f"{options.pictures}@{options.size}"
    made, shown = (Plan(name, wish, models, options.out / name) for name in ("procedural", "procedural-display"))
    plates = Plan("plates", str(PLATES), models, options.out / "plates")
    parts = [
        "# Models on what has a truth, and on the example plates\n",
        procedural_part(measured(made), made.labels, "scene-linear light, through the engine"),
        procedural_part(measured(shown), shown.labels, "display light, straight from the estimator"),
        plates_part(measured(plates), plates.labels),
    ]
    text = "\n".join(parts)
    (options.out / "comparison.md").write_text(text)
    print(text)
    items = {name.rpartition("-")[0]: name for name in reversed(made.items())}
    chosen = [items[family] for family in SHOWN_FAMILIES if family in items]
    write_sheet(options.out / "procedural.jpg", made, chosen, {"α": alpha, "over blue": over_color(2)})
    lines = {"α": alpha, "F": foreground, **{f"over {name}": over_color(n) for n, name in enumerate(COLORS)}}
    write_sheet(options.out / "plates.jpg", plates, list(PARTS), lines)
    for name in ("procedural", "plates") if options.docs else ():
        shutil.copyfile(options.out / f"{name}.jpg", DOCS / "images" / f"comparison-{name}.jpg")


def measured(plan: Plan) -> list[Row]:
    with tqdm(total=len(plan.labels) * len(plan.items()), desc=plan.dataset, unit="picture") as bar:

        def tell(_row: Row, done: int, _total: int) -> None:
            bar.update(done - bar.n)

        return run(plan, tell)


def procedural_part(rows: Sequence[Row], models: Sequence[str], light: str) -> str:
    count = len({row.item for row in rows})
    lines = [f"## Procedural set, {count} pictures, {light}\n", _line("model", *(BY_KEY[key].title for key in FIGURES))]
    lines.append("|" + "---|" * (1 + len(FIGURES)))
    lines += [_line(model, *(BY_KEY[key].text(mean(rows, model, key)) for key in FIGURES)) for model in models]
    compared = ("sad", "mse", "premultiplied_mse", "foreground_error", "edge_halo")
    lines += [f"\nBetter than {FIRST[0]} on so many pictures, and Wilcoxon's p that they are alike:\n"]
    lines += [_line("model", *(BY_KEY[key].title for key in compared)), "|" + "---|" * (1 + len(compared))]
    lines += [_line(model, *(versus(rows, model, FIRST[0], key) for key in compared)) for model in models[1:]]
    families = sorted({row.group for row in rows})
    lines += ["\nMSE (10⁻³) by family:\n", _line("model", *families), "|" + "---|" * (1 + len(families))]
    lines += [
        _line(model, *(BY_KEY["mse"].text(mean(rows, model, "mse", family)) for family in families)) for model in models
    ]
    return "\n".join(lines) + "\n"


def versus(rows: Sequence[Row], model: str, other: str, key: str) -> str:
    """Return on how many pictures a model's error is the smaller, and how likely chance alone is."""
    theirs = {row.item: row.figures[key] for row in rows if row.model == other and key in row.figures}
    pairs = [(row.figures[key], theirs[row.item]) for row in rows if row.model == model and row.item in theirs]
    differences = np.array([mine - its for mine, its in pairs if mine != its])
    p = float(stats.wilcoxon(differences).pvalue) if len(differences) else 1.0
    return f"{int((differences < 0).sum())} of {len(pairs)}, p {p:.2g}"


def plates_part(rows: Sequence[Row], models: Sequence[str]) -> str:
    keys = ("recomposition", SPEED)
    lines = [f"## Example plates, {len({row.item for row in rows})} frames\n"]
    lines += [_line("model", *(BY_KEY[key].title for key in keys)), "|" + "---|" * (1 + len(keys))]
    lines += [_line(model, *(BY_KEY[key].text(mean(rows, model, key)) for key in keys)) for model in models]
    return "\n".join(lines) + "\n"


# What a sheet shows of an answer, display-encoded.

COLORS = ("night", "paper", "blue")
"""Names of `HALO_BACKGROUNDS`."""


def alpha(solved: Solved) -> Plane:
    return np.repeat(solved.alpha[..., None], 3, axis=2)


def foreground(solved: Solved) -> Plane:
    return to_display(solved.foreground, solved.case.colorspace)


def over_color(number: int) -> Line:
    def shown(solved: Solved) -> Plane:
        behind = np.broadcast_to(np.array(HALO_BACKGROUNDS[number], np.float32), solved.foreground.shape)
        return encode_rec709(np.clip(over(solved.foreground, solved.alpha, behind), 0, None))

    return shown


def write_sheet(path: Path, plan: Plan, items: Sequence[str], lines: dict[str, Line]) -> None:
    """Write a picture: for each item its plate and trimap, then a column for the truth and each model."""
    dataset = open_dataset(plan.dataset, plan.root, plan.backgrounds)
    cases = [dataset.load(item).frames[0] for item in items]
    columns: list[tuple[str, list[Solved]]] = []
    if all(case.alpha is not None for case in cases):
        columns.append(("truth", [_true(case) for case in cases]))
    for model, label in zip(plan.models, plan.labels, strict=True):
        estimator = load_model(model, plan.device, plan.precision)
        columns.append((label, [solve(case, estimator) for case in cases]))
        estimator.close()
    parts = [PARTS.get(case.name, WHOLE) for case in cases]
    shapes = [case.trimap[part].shape for case, part in zip(cases, parts, strict=True)]
    heights = [round(CELL * height / width) for height, width in shapes]
    tall = HEAD + sum(len(lines) * (height + GAP) + HEAD for height in heights)
    sheet = Image.new("RGB", (GAP + (1 + len(columns)) * (CELL + GAP), tall), GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (label, _) in enumerate(columns, 1):
        draw.text((GAP + place * (CELL + GAP), 6), label, TEXT, font)
    top = HEAD
    for number, (case, part, height) in enumerate(zip(cases, parts, heights, strict=True)):
        draw.text((GAP, top + 6), f"{case.name}: {', '.join(lines).replace('α', 'alpha')}", TEXT, font)
        top += HEAD
        plate = to_display(case.image, case.colorspace)
        for line, picture in enumerate((plate, overlay_trimap(plate, case.trimap))[: len(lines)]):
            sheet.paste(_cell(picture[part], height), (GAP, top + line * (height + GAP)))
        for line, shown in enumerate(lines.values()):
            for place, (_, answers) in enumerate(columns, 1):
                at = (GAP + place * (CELL + GAP), top + line * (height + GAP))
                sheet.paste(_cell(shown(answers[number])[part], height), at)
        top += len(lines) * (height + GAP)
    sheet.save(path, quality=82)


def _true(case: Case) -> Solved:
    assert case.alpha is not None
    assert case.foreground is not None
    assert case.background is not None
    return Solved(case, case.alpha, case.foreground, case.background, 0.0)


def _cell(picture: Plane, height: int) -> Image.Image:
    pixels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((CELL, height), Image.Resampling.LANCZOS)


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
