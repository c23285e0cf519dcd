"""Every reader on a tiny tree of its data set's shape, and what it says when a file is not there."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataset_trees as trees
from fbamatte.errors import FrameError, ImageReadError, UsageError
from fbamatte.evaluation.datasets import NAMES, open_dataset
from fbamatte.evaluation.datasets.base import Case, read_plane, read_trimap, trimap_around
from fbamatte.frame import Window
from fbamatte.imaging.exr import write_exr
from fbamatte.imaging.image import Image as Picture


def only(shot):
    assert len(shot.frames) == 1
    return shot.frames[0]


def slow_composite(foreground, alpha, background):
    """The data set's own script: one pixel after the other, in whole numbers."""
    w, h = foreground.size
    wratio, hratio = w / background.size[0], h / background.size[1]
    ratio = wratio if wratio > hratio else hratio
    if ratio > 1:
        size = math.ceil(background.size[0] * ratio), math.ceil(background.size[1] * ratio)
        background = background.resize(size, Image.BICUBIC)
    background = background.crop((0, 0, w, h))
    fg, bg, a = foreground.load(), background.load(), alpha.load()
    for y in range(h):
        for x in range(w):
            share = a[x, y] / 255
            if share >= 1:
                bg[x, y] = fg[x, y]
            elif share > 0:
                bg[x, y] = tuple(int(share * f + (1 - share) * b) for f, b in zip(fg[x, y], bg[x, y]))
    return np.asarray(background)


def test_composition_1k_is_composed_as_its_authors_do(tmp_path):
    root = trees.composition_1k(tmp_path)
    dataset = open_dataset("composition-1k", root)
    assert len(dataset.names()) == 40
    assert dataset.names()[:2] == ["fore0_0", "fore0_1"]
    case = only(dataset.load("fore1_3"))
    tests = root / "Combined_Dataset/Test_set/Adobe-licensed images"
    pictures = [Image.open(p) for p in (tests / "fg/fore1.png", tests / "alpha/fore1.png")]
    behind = Image.open(root / "VOCdevkit/VOC2012/JPEGImages/2008_000023.jpg")
    assert np.array_equal(np.round(case.image * 255), slow_composite(*pictures, behind))
    assert np.array_equal(np.round(case.alpha * 255), np.asarray(pictures[1]))
    assert np.array_equal(np.round(case.foreground * 255), np.asarray(pictures[0]))
    assert case.background.shape == case.image.shape
    assert set(np.unique(case.trimap)) == {0, 0.5, 1}
    assert case.light == "display"


def test_composition_1k_takes_backgrounds_from_elsewhere(tmp_path):
    root = trees.composition_1k(tmp_path / "adobe")
    shutil.move(root / "VOCdevkit/VOC2012/JPEGImages", tmp_path / "pictures")
    with pytest.raises(ImageReadError, match="Pascal VOC"):
        open_dataset("composition-1k", root)
    assert only(open_dataset("composition-1k", root, tmp_path / "pictures").load("fore0_0")).image.any()


@pytest.mark.parametrize("coco", ["train2014", "train2017"])
def test_adobe_training_over_coco(tmp_path, coco):
    dataset = open_dataset("adobe-training", trees.adobe_training(tmp_path, coco))
    assert len(dataset.names()) == 200
    first, last = only(dataset.load("licensed_7")), only(dataset.load("other_99"))
    for case in (first, last):
        assert (case.trimap[(case.alpha > 0.02) & (case.alpha < 0.98)] == 0.5).all()
        assert {0, 0.5} <= set(np.unique(case.trimap))
    assert np.array_equal(first.trimap, only(dataset.load("licensed_7")).trimap)
    with pytest.raises(ImageReadError, match=r"000000000001\.jpg"):
        dataset.load("licensed_1")


def test_alphamatting_training_with_its_trimaps(tmp_path):
    root = trees.alphamatting(tmp_path)
    dataset = open_dataset("alphamatting-training", root)
    assert dataset.names() == [f"Trimap{n}/GT0{k}" for n in (1, 2, 3) for k in (1, 2)]
    case = only(dataset.load("Trimap2/GT01"))
    assert case.alpha.max() == 1
    assert case.foreground is None
    shutil.rmtree(root / "trimap_training_lowres/Trimap3")
    assert len(open_dataset("alphamatting-training", root).names()) == 4


def test_alphamatting_test_knows_where_its_alphas_go(tmp_path):
    dataset = open_dataset("alphamatting-test", trees.alphamatting(tmp_path))
    assert len(dataset.names()) == 6
    case = only(dataset.load("Trimap3/troll"))
    assert case.alpha is None
    assert case.submission == "Trimap3/troll.png"


@pytest.mark.parametrize("script_names", [False, True])
def test_distinctions_646(tmp_path, script_names):
    dataset = open_dataset("distinctions-646", trees.distinctions(tmp_path, script_names))
    assert len(dataset.names()) == 40
    case = only(dataset.load("test_1_19"))
    share = case.alpha[..., None]
    assert np.abs(case.image - (share * case.foreground + (1 - share) * case.background)).max() <= 1.01 / 255
    assert (case.trimap[(case.alpha > 0) & (case.alpha < 1)] == 0.5).all()


def test_aim_500(tmp_path):
    dataset = open_dataset("aim-500", trees.aim_500(tmp_path))
    assert dataset.names() == ["o_0", "o_1", "o_2"]
    assert only(dataset.load("o_2")).image.shape == (36, 44, 3)


def test_folder_with_several_trimaps_and_with_colours(tmp_path):
    assert open_dataset("folder", trees.folder(tmp_path / "a")).names() == [
        "trimap1/p0", "trimap1/p1", "trimap2/p0", "trimap2/p1",
    ]  # fmt: skip
    plain = open_dataset("folder", trees.folder(tmp_path / "b", ("trimap",), fg=True))
    assert plain.names() == ["p0", "p1"]
    case = only(plain.load("p1"))
    assert case.foreground is not None
    assert case.background is not None


def test_folder_takes_exr_as_scene_linear(tmp_path, sample_image):
    root = trees.folder(tmp_path, ("trimap",), count=1)
    (root / "image/p0.png").unlink()
    write_exr(root / "image/p0.exr", sample_image(36, 44, 4.5), compression="zip", float_channels="all")
    case = only(open_dataset("folder", root).load("p0"))
    assert case.light == "linear"
    assert case.image.max() == pytest.approx(4.5)


@pytest.fixture
def sample_image():
    def make(height, width, brightest):
        planes = {name: np.full((height, width), brightest, np.float32) for name in "RGB"}
        window = Window.of_size(width, height)
        return Picture(
            channels=planes, display_window=window, data_window=window, pixel_aspect=1.0, view="", colorspace="",
            metadata={}, name="p0.exr",
        )  # fmt: skip

    return make


def test_plates_come_without_truth(tmp_path):
    root = Path(__file__).parents[2] / "examples/plates"
    dataset = open_dataset("plates", root)
    assert {"astronaut/1001", "chelsea/1006"} <= set(dataset.names())
    case = only(dataset.load("chelsea/1001"))
    assert (case.alpha, case.light) == (None, "linear")
    assert set(np.unique(case.trimap)) == {0, 0.5, 1}
    shutil.copytree(root / "chelsea", tmp_path / "shot")
    (tmp_path / "shot/roto.1002.exr").unlink()
    alone = open_dataset("plates", tmp_path / "shot")
    assert alone.names()[:2] == ["1001", "1002"]
    with pytest.raises(ImageReadError, match=r"roto\.1002\.exr: missing"):
        alone.load("1002")


def test_procedural_needs_no_folder():
    dataset = open_dataset("procedural", "9@64")
    assert len(dataset.names()) == 9
    case = only(dataset.load(dataset.names()[1]))
    assert (case.name, case.light, case.image.shape) == ("fur-0001", "linear", (64, 64, 3))
    shown = open_dataset("procedural-display", "9@64").load("fur-0001").frames[0]
    assert shown.light == "display"
    assert shown.image.min() >= 0
    assert shown.image.max() <= 1
    mixed = shown.alpha[..., None] * shown.foreground + (1 - shown.alpha[..., None]) * shown.background
    np.testing.assert_allclose(shown.image, mixed, atol=1e-6)
    clip = open_dataset("procedural-clips", "1@64").load("hair-0000")
    assert len(clip.frames) == 8
    assert clip.motion.shape == (7, 64, 64, 2)


@pytest.mark.parametrize("wrong", ["0", "many", "4@", "4@big", "-1", "20000"])
def test_procedural_refuses_what_is_no_count(wrong):
    with pytest.raises(UsageError, match="COUNT"):
        open_dataset("procedural", wrong)


BUILDERS = {
    "composition-1k": trees.composition_1k,
    "adobe-training": trees.adobe_training,
    "alphamatting-training": trees.alphamatting,
    "alphamatting-test": trees.alphamatting,
    "distinctions-646": trees.distinctions,
    "aim-500": trees.aim_500,
    "folder": trees.folder,
}

# What is taken away, and what the message must name.
MISSING = [
    ("composition-1k", "Combined_Dataset/Test_set/test_bg_names.txt", "test_bg_names.txt"),
    ("composition-1k", "Combined_Dataset/Test_set/Adobe-licensed images/alpha/fore0.png", "alpha/fore0.png"),
    ("composition-1k", "Combined_Dataset/Test_set/Adobe-licensed images/trimaps/fore0_0.png", "trimaps/fore0_0.png"),
    ("composition-1k", "VOCdevkit/VOC2012/JPEGImages/2008_000000.jpg", "2008_000000.jpg"),
    ("adobe-training", "Training_set/Adobe-licensed images/fg/licensed.jpg", "fg/licensed.jpg"),
    ("alphamatting-training", "gt_training_lowres/GT01.png", "gt_training_lowres/GT01.png"),
    ("alphamatting-training", "trimap_training_lowres/Trimap1/GT01.png", "Trimap1/GT01.png"),
    ("alphamatting-test", "trimap_lowres/Trimap1/doll.png", "Trimap1/doll.png"),
    ("distinctions-646", "fg_test.txt", "fg_test.txt"),
    ("distinctions-646", "Test/GT/test_0.png", "GT/test_0.png"),
    ("aim-500", "mask/o_0.png", "mask/o_0"),
    ("folder", "alpha/p0.png", "alpha/p0"),
    ("folder", "trimap1/p0.png", "trimap1/p0"),
]


@pytest.mark.parametrize(("name", "gone", "named"), MISSING)
def test_the_missing_file_is_named(tmp_path, name, gone, named):
    root = BUILDERS[name](tmp_path)
    (root / gone).unlink()
    with pytest.raises(ImageReadError, match="missing") as error:
        _load_first(name, root)
    assert named in str(error.value)


def _load_first(name, root):
    dataset = open_dataset(name, root)
    return dataset.load(dataset.names()[0])


@pytest.mark.parametrize("name", list(BUILDERS))
def test_an_empty_root_says_what_was_looked_for(tmp_path, name):
    with pytest.raises(ImageReadError, match="missing") as error:
        open_dataset(name, tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_broken_picture_is_named(tmp_path):
    root = trees.aim_500(tmp_path)
    (root / "original/o_1.jpg").write_bytes((root / "original/o_1.jpg").read_bytes()[:200])
    with pytest.raises(ImageReadError, match=r"o_1\.jpg: broken"):
        open_dataset("aim-500", root).load("o_1")


def test_parts_of_different_size_are_named(tmp_path):
    root = trees.folder(tmp_path)
    trees.save(root / "alpha/p0.png", trees.soft_alpha(20, 20))
    with pytest.raises(FrameError, match="44×36 but its alpha is 20×20"):
        open_dataset("folder", root).load("trimap1/p0")


def test_a_list_that_is_too_short_is_refused(tmp_path):
    root = trees.composition_1k(tmp_path)
    listed = root / "Combined_Dataset/Test_set/test_bg_names.txt"
    listed.write_text("\n".join(listed.read_text().splitlines()[:30]))
    with pytest.raises(UsageError, match="names 30"):
        open_dataset("composition-1k", root)


def test_unknown_sets_are_refused_with_the_names_that_exist(tmp_path):
    with pytest.raises(UsageError, match="composition-1k") as error:
        open_dataset("composition-2k", tmp_path)
    assert all(name in str(error.value) for name in NAMES)


def test_sixteen_bit_alphas_keep_their_depth(tmp_path):
    values = np.linspace(0, 65535, 44).astype(np.uint16)[None].repeat(36, 0)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.unique(read_plane(tmp_path / "deep.png", "alpha")).size == 44


def test_trimaps_are_cleaned_of_rounding(tmp_path):
    path = trees.save(tmp_path / "t.png", [[0, 3, 128, 100, 252, 255]])
    assert read_trimap(path).tolist() == [[0, 0, 0.5, 0.5, 1, 1]]


def test_a_band_around_the_edge():
    alpha = np.zeros((20, 40), np.float32)
    alpha[:, 20:] = 1
    trimap = trimap_around(alpha, 3)
    assert (trimap[0, :17] == 0).all()
    assert (trimap[0, 17:23] == 0.5).all()
    assert (trimap[0, 23:] == 1).all()


def test_a_case_checks_itself():
    with pytest.raises(FrameError, match="its trimap"):
        Case("x", np.zeros((4, 5, 3), np.float32), np.zeros((5, 4), np.float32))
