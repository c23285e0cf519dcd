"""Estimators of alpha, foreground and background: one registry, one protocol."""
