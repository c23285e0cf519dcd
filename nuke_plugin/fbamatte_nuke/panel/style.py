"""Colours and spacing of the panel: Nuke's own grey, one quiet colour per state, nothing that shouts."""

from __future__ import annotations

TEXT = "#c8c8c8"
MUTED = "#8b8b8b"
FAINT = "#5e5e5e"
GROUND = "#323232"
RAISED = "#3b3b3b"
LINE = "#454545"
ACCENT = "#6fa8c4"

STATES = {"cached": "#5f9e7f", "stale": "#c79a4b", "missing": "#4a4a4a", "failed": "#c4625a"}
JOBS = {"done": "#5f9e7f", "failed": "#c4625a", "cancelled": "#c79a4b", "waiting": "#6a6a6a", "running": ACCENT}
HEALTH = {"ready": "#5f9e7f", "busy": "#6fa8c4", "starting": "#c79a4b", "away": "#c4625a", "asking": "#6a6a6a"}

SHEET = f"""
QWidget#fba, QWidget#fba QWidget {{ background: {GROUND}; color: {TEXT}; }}
QWidget#fba QLabel {{ background: transparent; }}
QWidget#fba QLabel#section {{ color: {MUTED}; font-weight: 600; padding: 4px 0 0 0; }}
QWidget#fba QLabel#muted {{ color: {MUTED}; }}
QWidget#fba QLabel#error {{ color: #d88a83; }}
QWidget#fba QLabel#name {{ color: #e2e2e2; font-weight: 600; }}
QWidget#fba QFrame#card {{ background: {RAISED}; border-radius: 5px; }}
QWidget#fba QFrame#card QWidget {{ background: transparent; }}
QWidget#fba QPushButton {{
    background: #474747; color: {TEXT}; border: none; border-radius: 3px; padding: 3px 10px;
}}
QWidget#fba QFrame#card QPushButton {{ background: #4b4b4b; }}
QWidget#fba QPushButton:hover, QWidget#fba QFrame#card QPushButton:hover {{ background: #565656; }}
QWidget#fba QPushButton:pressed, QWidget#fba QFrame#card QPushButton:pressed {{ background: #3f3f3f; }}
QWidget#fba QPushButton:disabled {{ color: {FAINT}; }}
QWidget#fba QPushButton:focus {{ border: 1px solid {ACCENT}; padding: 2px 9px; }}
QWidget#fba QProgressBar {{ background: #2a2a2a; border: none; border-radius: 2px; max-height: 4px; min-height: 4px; }}
QWidget#fba QProgressBar::chunk {{ background: {ACCENT}; border-radius: 2px; }}
QWidget#fba QScrollArea {{ border: none; }}
QWidget#fba QScrollBar:vertical {{ background: {GROUND}; width: 8px; margin: 0; }}
QWidget#fba QScrollBar::handle:vertical {{ background: #4d4d4d; border-radius: 4px; min-height: 24px; }}
QWidget#fba QScrollBar::add-line:vertical, QWidget#fba QScrollBar::sub-line:vertical {{ height: 0; }}
"""
