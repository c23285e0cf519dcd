"""Pictures with exact alpha, F and B, drawn where they are trained on: CPU or GPU, without end.

A relative of `fbamatte.evaluation.procedural` in torch: crops instead of pictures, drawn in milliseconds, by other
code from other shapes, so that the test set stays unseen.
"""

from fbamatte.training.generator.scene import FAMILIES, ProceduralSource

__all__ = ["FAMILIES", "ProceduralSource"]
