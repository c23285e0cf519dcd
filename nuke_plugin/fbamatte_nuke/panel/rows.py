"""Rows of the panel: one node, one job, one model, one error."""

from __future__ import annotations

from typing import Any, Callable

from fbamatte_nuke.panel import style
from fbamatte_nuke.panel.qt import QtCore, QtWidgets
from fbamatte_nuke.panel.state import JobState, ModelState, NodeState
from fbamatte_nuke.panel.widgets import Dot, RangeBar, Short

Action = Callable[..., Any]


def label(text: str = "", name: str = "") -> Any:
    """Return a label with a style name."""
    made = QtWidgets.QLabel(text)
    made.setObjectName(name)
    made.setIndent(0)
    return made


def paragraph(name: str = "") -> Any:
    """Return a label of several lines that is as narrow as its place."""
    made = label("", name)
    made.setWordWrap(True)
    made.setMinimumWidth(60)
    made.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Minimum)
    return made


def button(text: str, tip: str, pressed: Action) -> Any:
    """Return a small button."""
    made = QtWidgets.QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda *_: pressed())
    made.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
    return made


def line(*widgets: Any, spacing: int = 8) -> Any:
    """Return a horizontal layout; an int among ``widgets`` is room that stretches."""
    made = QtWidgets.QHBoxLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setSpacing(spacing)
    for widget in widgets:
        if isinstance(widget, int):
            made.addStretch(widget)
        else:
            made.addWidget(widget)
    return made


class Card(QtWidgets.QFrame):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """A raised box with a column of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("card")
        self.column = QtWidgets.QVBoxLayout(self)
        self.column.setContentsMargins(10, 8, 10, 8)
        self.column.setSpacing(5)


class NodeRow(Card):
    """A node: name, state in words, buttons, bar; below them why something failed."""

    def __init__(self, actions: Any, name: str) -> None:
        super().__init__()
        self.name, self.words, self.error = label(name, "name"), Short("", "muted"), Short("", "error")
        self.bar = RangeBar()
        self.bar.jumped.connect(actions.jump)
        self.render_button = button("Render", "Matte the node's range", lambda: actions.render(name))
        self.cancel_button = button("Cancel", "Stop after the frame in hand", lambda: actions.cancel(name))
        self.show_button = button("Show", "Select the node and open its properties", lambda: actions.select(name))
        top = line(self.name, self.words, self.show_button, self.render_button, self.cancel_button)
        top.setStretch(1, 1)
        self.column.addLayout(top)
        self.column.addWidget(self.bar)
        self.column.addWidget(self.error)

    def show_state(self, state: NodeState) -> None:
        """Bring it up to date."""
        self.words.set_text(state.line)
        self.bar.show_frames(state.frames, state.current, state.reasons)
        reason = next(iter(state.reasons.values()), "")
        self.error.set_text(reason)
        self.error.setVisible(bool(reason))
        self.render_button.setVisible(not state.busy)
        self.cancel_button.setVisible(state.busy)


class JobRow(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """A job: name, how far it is, and a thin bar while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.dot, self.name, self.words, self.bar = (
            Dot(7),
            label("", "name"),
            Short("", "muted"),
            QtWidgets.QProgressBar(),
        )
        self.bar.setTextVisible(False)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        top = line(self.dot, self.name, self.words)
        top.setStretch(2, 1)
        column.addLayout(top)
        column.addWidget(self.bar)

    def show_state(self, state: JobState) -> None:
        """Bring it up to date."""
        self.dot.set_color(style.JOBS[state.state])
        self.name.setText(state.name)
        self.words.set_text(state.words)
        self.bar.setVisible(state.state == "running")
        self.bar.setRange(0, max(1, state.total))
        self.bar.setValue(state.done)


class ModelRow(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """A model: name, title, licence, and whether the work may be sold."""

    def __init__(self) -> None:
        super().__init__()
        self.dot, self.name, self.title, self.licence = Dot(7), label("", "name"), Short("", "muted"), Short()
        top = line(self.dot, self.name, self.title)
        top.setStretch(2, 1)
        self.licence.setContentsMargins(17, 0, 0, 0)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addLayout(top)
        column.addWidget(self.licence)

    def show_state(self, state: ModelState) -> None:
        """Bring it up to date."""
        self.dot.set_color(style.STATES["cached" if state.loaded else "missing"])
        self.dot.setToolTip("in the server's memory" if state.loaded else "loaded when first asked for")
        self.name.setText(state.name)
        self.title.set_text(f"{state.title} (default)" if state.default else state.title)
        use = "" if state.commercial else " · not for commercial work"
        self.licence.set_text(f"{state.licence}{use}")
        color = style.MUTED if state.commercial else style.STATES["stale"]
        self.licence.setStyleSheet(f"color: {color};")


class Rows(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """As many rows as there are states; rows are kept, so that nothing flickers."""

    def __init__(self, make: Action, empty: str = "", spacing: int = 7) -> None:
        super().__init__()
        self._make = make
        self._rows: dict[Any, Any] = {}
        self._empty = label(empty, "muted")
        self._empty.setWordWrap(True)
        self.column = QtWidgets.QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(spacing)
        self.column.addWidget(self._empty)

    def rows(self) -> list[Any]:
        """Return the rows from the top down."""
        return list(self._rows.values())

    def show_states(self, states: dict[Any, Any]) -> None:
        """Show ``states`` by key, in their order; rows whose keys are gone go."""
        if list(states) != list(self._rows):
            for row in self._rows.values():
                row.setParent(None)
                row.deleteLater()
            self._rows = {key: self._make(key) for key in states}
            for row in self._rows.values():
                self.column.addWidget(row)
        for key, state in states.items():
            self._rows[key].show_state(state)
        self._empty.setVisible(not states)
