import numpy as np
import pytest

from fbamatte.frame import Window
from fbamatte.imaging.digest import digest

PIXELS = np.arange(24, dtype=np.float32).reshape(2, 4, 3)


def test_equal_inputs_have_equal_digests():
    settings = {"model": "closed-form", "window": Window(0, 0, 1, 1), "iterations": 3}
    one = digest(PIXELS, settings, "ACEScg", None)
    assert one == digest(PIXELS.copy(), dict(reversed(settings.items())), "ACEScg", None)
    assert len(one) == 32
    assert one == digest(np.asfortranarray(PIXELS), settings, "ACEScg", None)
    assert one == digest(PIXELS.astype(">f4"), settings, "ACEScg", None)


@pytest.mark.parametrize(
    "other",
    [
        (PIXELS + np.eye(4, 3, dtype=np.float32), "a"),
        (PIXELS.reshape(4, 2, 3), "a"),
        (PIXELS.astype(np.float64), "a"),
        (PIXELS, "b"),
        (PIXELS, "a", ""),
        (PIXELS,),
        ("a", PIXELS),
        (PIXELS, b"a"),
        ([PIXELS, "a"],),
    ],
)
def test_other_inputs_have_others(other):
    assert digest(*other) != digest(PIXELS, "a")


def test_known_value():
    # Written down once, so that a change of the recipe, which would make every frame look new, is noticed.
    assert digest("a", 1, b"x", [1, 2], {"k": PIXELS}) == "b75b3760c182747fa210ca3ed5427170"


def test_nothing_to_digest():
    assert digest(np.zeros((0, 3), np.float32)) != digest()
