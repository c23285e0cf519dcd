"""How long the metrics take, and how near the four of the MATLAB code come to its values.

    python benchmarks/metrics_speed.py [--width 3840] [--height 2160] [--repeat 3]

The picture is a procedural one, enlarged: its unknown region is that of a real frame, not noise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fbamatte.evaluation import metrics
from fbamatte.evaluation.procedural import sample

DATA = Path(__file__).parents[1] / "tests" / "data" / "metrics"
# Computed by the Composition-1k authors' MATLAB code in GNU Octave 7.3, printed with six and nine digits.
MATLAB = {
    "a": {"sad": 0.771306, "mse": 0.008640694, "gradient": 0.612489, "connectivity": 0.710573},
    "b": {"sad": 1.349683, "mse": 0.008665724, "gradient": 1.028996, "connectivity": 1.194382},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    against_matlab()
    speed(options.width, options.height, options.repeat)


def against_matlab() -> None:
    for case, values in MATLAB.items():
        files = (DATA / f"{case}_{name}.png" for name in ("gt", "pred", "trimap"))
        truth, prediction, trimap = (np.asarray(Image.open(file)) for file in files)
        for name, expected in values.items():
            ours = getattr(metrics, name)(prediction / 255, truth / 255, trimap)
            print(
                f"case {case} {name:13s} {ours:.9f}  MATLAB {expected:.9f}  relative error {ours / expected - 1:+.1e}"
            )


def speed(width: int, height: int, repeat: int) -> None:
    s = sample(0, (height // 4, width // 4), "hair")
    truth, trimap = enlarged(s.alpha), enlarged(s.trimap, nearest=True)
    foreground = np.stack([enlarged(s.foreground[..., c]) for c in range(3)], axis=-1)
    rng = np.random.default_rng(0)
    estimate = np.clip(truth + 0.05 * rng.standard_normal(truth.shape, np.float32), 0, 1)
    estimate = np.where(trimap == 0.5, estimate, truth).astype(np.float32)
    spoiled = (foreground + 0.02).astype(np.float32)
    print(f"{truth.shape[1]}×{truth.shape[0]}, {100 * (trimap == 0.5).mean():.0f} % unknown, best of {repeat}")
    for name in ("sad", "mse", "gradient", "connectivity"):
        report(name, repeat, lambda name=name: getattr(metrics, name)(estimate, truth, trimap))
    report("premultiplied_sad", repeat, lambda: metrics.premultiplied_sad(spoiled, foreground, trimap))
    report("foreground_error", repeat, lambda: metrics.foreground_error(spoiled, foreground, truth))
    report("edge_halo", repeat, lambda: metrics.edge_halo(estimate, spoiled, truth, foreground))
    clip = [np.stack([p, p]) for p in (estimate, truth, trimap)]
    motion = np.full((1, *truth.shape, 2), 1.5, np.float32)
    report("dtssd, a pair", repeat, lambda: metrics.dtssd(*clip))
    report("messddt, a pair", repeat, lambda: metrics.messddt(*clip, motion))


def enlarged(plane: np.ndarray, nearest: bool = False) -> np.ndarray:
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    size = plane.shape[1] * 4, plane.shape[0] * 4
    grown = np.asarray(Image.fromarray(plane).resize(size, how))
    return grown if nearest else np.clip(grown, 0, None if plane.max() > 1 else 1)


def report(name: str, repeat: int, work: Callable[[], float]) -> None:
    runs = [timed(work) for _ in range(repeat)]
    print(f"{name:18s} {min(wall for wall, _ in runs):6.2f} s, of which {min(cpu for _, cpu in runs):6.2f} s computing")


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Return wall and processor seconds: on a machine with others on it only the latter means much."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
