"""Where models find the house's compiler of loops."""

from fbamatte.compositing.jit import kernel, summing_kernel

__all__ = ["kernel", "summing_kernel"]
