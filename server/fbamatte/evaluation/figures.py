"""The figures that a run collects, each with the name and the scale in which people print it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One column of a run.

    Parameters
    ----------
    key : str
        In files.
    title : str
        For people, with its unit.
    scale : float
        What the value is multiplied by to be printed.
    digits : int
        Behind the point.
    meaning : str
        A sentence.
    """

    key: str
    title: str
    scale: float
    digits: int
    meaning: str

    def text(self, value: float | None) -> str:
        """Return the value as printed; a dash where there is none."""
        if value is None:
            return "–"
        scaled = value * self.scale
        return f"{scaled:.{self.digits}f}" if self.digits >= 0 else f"{scaled:.1e}"


FIGURES = (
    Figure("sad", "SAD (10³)", 1, 2, "Sum of absolute alpha differences over the unknown region, in thousands"),
    Figure("mse", "MSE (10⁻³)", 1000, 2, "Mean squared alpha difference over the unknown region"),
    Figure("gradient", "Grad (10³)", 1, 2, "Difference of gradient magnitudes"),
    Figure("connectivity", "Conn (10³)", 1, 2, "Difference in connectedness to the source region"),
    Figure("premultiplied_sad", "αF SAD (10³)", 1, 2, "As SAD, for display-encoded F times alpha, three channels"),
    Figure("premultiplied_mse", "αF MSE (10⁻³)", 1000, 2, "As MSE, for display-encoded F times alpha"),
    Figure("foreground_error", "F error (10⁻²)", 100, 2, "Mean difference of display-encoded F where 0.05 < α < 0.95"),
    Figure("edge_halo", "Halo (ΔE00)", 1, 2, "Colour difference at the edge over three new backgrounds"),
    Figure("recomposition", "Recomp. error", 1, -1, "Largest difference of αF + (1−α)B from the picture"),
    Figure("dtssd", "dtSSD", 1, 2, "Alpha's change in time against the true change"),
    Figure("messddt", "MESSDdt", 1, 2, "Change of the squared error along the motion"),
    Figure("seconds_per_megapixel", "s/Mpx", 1, 2, "Seconds of the whole estimate per megapixel"),
)
BY_KEY = {figure.key: figure for figure in FIGURES}

# Speed is no error: it has an axis of its own.
SPEED = "seconds_per_megapixel"
ERRORS = tuple(figure.key for figure in FIGURES if figure.key != SPEED)
