"""How near a model's alpha comes to photographs with known alpha.

    python benchmarks/validation_photographs.py FOLDER [--model closed-form] [--json FILE]

FOLDER holds ``image/``, ``alpha/`` and one or more ``trimap*/`` of PNGs with equal names. Each model is
given the picture as it stands (display-encoded); errors are over the unknown region.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fbamatte.evaluation import metrics
from fbamatte.evaluation.baselines import load_model
from fbamatte.models import registry

Array = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=registry.DEFAULT, help="also pymatting-cf, -knn and -lbdm")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--pictures", type=Path, help="write each alpha beside the truth into this folder")
    options = parser.parse_args()
    with_known = [path.stem for path in sorted((options.folder / "image").glob("*.png"))]
    figures = {
        trimaps.name: measure(options.folder, trimaps.name, with_known, options)
        for trimaps in sorted(options.folder.glob("trimap*"))
    }
    for trimaps, rows in figures.items():
        print(
            f"{options.model}, {trimaps}: SAD {mean(rows, 'sad'):.2f}, MSE×1000 {1000 * mean(rows, 'mse'):.1f}, "
            f"{mean(rows, 'seconds'):.2f} s a picture, {len(rows)} pictures"
        )
    if options.json:
        options.json.write_text(json.dumps({"model": options.model, "figures": figures}, indent=2))


def measure(folder: Path, trimaps: str, names: list[str], options: argparse.Namespace) -> list[dict[str, object]]:
    model = load_model(options.model)
    rows: list[dict[str, object]] = []
    for name in names:
        image = read(folder / "image" / f"{name}.png", "RGB")
        truth = read(folder / "alpha" / f"{name}.png", "L")
        trimap = read(folder / trimaps / f"{name}.png", "L")
        trimap[(trimap > 0) & (trimap < 1)] = 128 / 255
        started = time.perf_counter()
        alpha = model.estimate(image, trimap).alpha
        seconds = time.perf_counter() - started
        sad, mse = (float(metric(alpha, truth, trimap)) for metric in (metrics.sad, metrics.mse))
        rows.append({"picture": name, "sad": sad, "mse": mse, "seconds": seconds})
        print(f"{trimaps} {name}: SAD {sad:.2f}, MSE×1000 {1000 * mse:.1f}, {seconds:.2f} s", flush=True)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            sheet = np.concatenate([image, *(np.repeat(x[..., None], 3, 2) for x in (trimap, truth, alpha))], axis=1)
            Image.fromarray((255 * sheet + 0.5).astype(np.uint8)).save(options.pictures / f"{trimaps}_{name}.png")
    return rows


def mean(rows: list[dict[str, object]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def read(path: Path, mode: str) -> Array:
    return np.asarray(Image.open(path).convert(mode), np.float32) / 255


if __name__ == "__main__":
    main()
