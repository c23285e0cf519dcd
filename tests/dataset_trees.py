"""Tiny made-up trees of the same shape as the published data sets."""

from pathlib import Path

import numpy as np
from PIL import Image

RNG_SEED = 11


def save(path: Path, pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def soft_alpha(height=36, width=44, radius=11.0):
    y, x = np.mgrid[:height, :width]
    return np.clip((radius - np.hypot(y - height / 2, x - width / 2)) / 4 + 0.5, 0, 1) * 255


def trimap_of(alpha):
    return np.where(alpha <= 0, 0, np.where(alpha >= 255, 255, 128))


def colors(seed, height=36, width=44):
    rng = np.random.default_rng([RNG_SEED, seed])
    small = rng.integers(20, 235, (height // 4, width // 4, 3))
    return small.repeat(4, 0).repeat(4, 1)


def voc(root: Path, names, size=(30, 50)):
    for k, name in enumerate(names):
        save(root / "VOCdevkit/VOC2012/JPEGImages" / name, colors(100 + k, *size))


def composition_1k(root: Path, foregrounds=2) -> Path:
    """Backgrounds are now too small in height, so the composition has to enlarge them."""
    tests = root / "Combined_Dataset/Test_set"
    names = [f"fore{k}.png" for k in range(foregrounds)]
    behind = [f"2008_{k:06d}.jpg" for k in range(20 * foregrounds)]
    for k, name in enumerate(names):
        alpha = soft_alpha(radius=9 + k)
        save(tests / "Adobe-licensed images/fg" / name, colors(k))
        save(tests / "Adobe-licensed images/alpha" / name, alpha)
        for n in range(20):
            save(tests / "Adobe-licensed images/trimaps" / f"{name[:-4]}_{n}.png", trimap_of(alpha))
    (tests / "test_fg_names.txt").write_text("\r\n".join(names) + "\r\n")
    (tests / "test_bg_names.txt").write_text("\n".join(behind) + "\n")
    voc(root, behind)
    return root


def adobe_training(root: Path, coco="train2014") -> Path:
    training = root / "Training_set"
    names = ["licensed.jpg", "other.jpg"]
    behind = [f"COCO_train2014_{k:012d}.jpg" for k in range(200)]
    for k, (name, part) in enumerate(zip(names, ("Adobe-licensed images", "Other"))):
        save(training / part / "fg" / name, colors(k))
        save(training / part / "alpha" / name, soft_alpha(radius=9 + k))
    (training / "training_fg_names.txt").write_text("\n".join(names))
    (training / "training_bg_names.txt").write_text("\n".join(behind))
    for name in (behind[0], behind[7], behind[199]):
        save(root / coco / (name if "2014" in coco else name.removeprefix("COCO_train2014_")), colors(9, 50, 60))
    return root


def alphamatting(root: Path, pictures=("GT01", "GT02"), tests=("doll", "troll")) -> Path:
    for k, name in enumerate(pictures):
        save(root / "input_training_lowres" / f"{name}.png", colors(k))
        save(root / "gt_training_lowres" / f"{name}.png", np.repeat(soft_alpha()[..., None], 3, 2))
        for width in ("Trimap1", "Trimap2", "Trimap3"):
            save(root / "trimap_training_lowres" / width / f"{name}.png", trimap_of(soft_alpha()))
    for k, name in enumerate(tests):
        save(root / "input_lowres" / f"{name}.png", colors(20 + k))
        for width in ("Trimap1", "Trimap2", "Trimap3"):
            save(root / "trimap_lowres" / width / f"{name}.png", trimap_of(soft_alpha()))
    return root


def distinctions(root: Path, script_names=False) -> Path:
    fg, gt = ("Test_ori/Fg_images", "Test_ori/Alpha_matte") if script_names else ("Test/FG", "Test/GT")
    behind = [f"2009_{k:06d}.jpg" for k in range(40)]
    for k in range(2):
        save(root / fg / f"test_{k}.png", colors(k))
        save(root / gt / f"test_{k}.png", soft_alpha(radius=8 + k))
    (root / "fg_test.txt").write_text("test_0.png\ntest_1.png\n")
    (root / "bg_test.txt").write_text("\n".join(behind))
    voc(root, behind, (60, 70))
    return root


def aim_500(root: Path) -> Path:
    for k in range(3):
        save(root / "original" / f"o_{k}.jpg", colors(k))
        save(root / "mask" / f"o_{k}.png", soft_alpha(radius=8 + k))
        save(root / "trimap" / f"o_{k}.png", trimap_of(soft_alpha(radius=8 + k)))
    return root


def folder(root: Path, trimaps=("trimap1", "trimap2"), fg=False, count=2) -> Path:
    for k in range(count):
        alpha = soft_alpha(radius=9 + k)
        foreground, background = colors(k), colors(50 + k)
        share = alpha[..., None] / 255
        save(root / "image" / f"p{k}.png", share * foreground + (1 - share) * background + 0.5)
        save(root / "alpha" / f"p{k}.png", alpha)
        for name in trimaps:
            save(root / name / f"p{k}.png", trimap_of(alpha))
        if fg:
            save(root / "fg" / f"p{k}.png", foreground)
            save(root / "bg" / f"p{k}.png", background)
    return root
