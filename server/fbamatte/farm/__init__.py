"""Whole sequences: the batch runner that the command and every farm use."""
