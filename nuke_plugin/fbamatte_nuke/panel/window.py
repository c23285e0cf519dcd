"""The panel itself: server, nodes, queue, models, cache, errors, from the top down. No Nuke in here."""

from __future__ import annotations

from typing import Any

from fbamatte_nuke.panel import style
from fbamatte_nuke.panel.qt import QtCore, QtWidgets
from fbamatte_nuke.panel.rows import Card, JobRow, ModelRow, NodeRow, Rows, button, label, line, paragraph
from fbamatte_nuke.panel.state import PanelState, ServerState
from fbamatte_nuke.panel.widgets import Dot, Short

_EVERY_MS = 1000


class Window(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """Shows what its source says, once a second while it can be seen.

    Parameters
    ----------
    source : object
        ``state()`` returns a `PanelState`; render, cancel, select, jump, test, clear_old, refresh and
        copy do what the buttons say.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.setObjectName("fba")
        self.setStyleSheet(style.SHEET)
        self.setMinimumWidth(300)
        self.source = source
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 8)
        column.setSpacing(10)
        column.addWidget(self._server_card())
        column.addWidget(self._scrolled(), 1)
        column.addLayout(self._footer())
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.tick)

    def tick(self) -> None:
        """Ask the source and show what it says."""
        self.show_state(self.source.state())

    def show_state(self, state: PanelState) -> None:
        """Show ``state``."""
        self._show_server(state.server)
        self.nodes.show_states({node.name: node for node in state.nodes})
        # The newest first, and no more of them than one wants to read.
        self.jobs.show_states(dict(enumerate(state.jobs[:6])))
        self.models.show_states({model.name: model for model in state.server.models})
        self.cache.set_text(state.cache)
        self.errors.show_states({text: text for text in state.errors[:5]})
        for section, shown in ((self.jobs_title, state.jobs), (self.errors_title, state.errors)):
            section.setVisible(bool(shown))
        self.jobs.setVisible(bool(state.jobs))
        self.errors.setVisible(bool(state.errors))

    def showEvent(self, event: Any) -> None:
        """Begin to ask."""
        super().showEvent(event)
        self.tick()
        self._timer.start(_EVERY_MS)

    def hideEvent(self, event: Any) -> None:
        """Nobody looks: leave Nuke and the server alone."""
        super().hideEvent(event)
        self._timer.stop()

    def _server_card(self) -> Any:
        card = Card()
        self.dot, self.address = Dot(), Short("", "name")
        self.words, self.advice = paragraph("muted"), paragraph("error")
        test = button("Test", "Try the server layer by layer and say what is wrong", self.source.test)
        top = line(self.dot, self.address, test)
        top.setStretch(1, 1)
        card.column.addLayout(top)
        card.column.addWidget(self.words)
        card.column.addWidget(self.advice)
        return card

    def _scrolled(self) -> Any:
        inside = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(8)
        # None of these may hold the window: a cycle is collected on any thread, and Qt dies of that.
        source = self.source
        self.nodes = Rows(lambda name: NodeRow(source, name), "This script has no FBA node yet. Tab, then FBA.")
        self.jobs = Rows(lambda _: JobRow())
        self.models = Rows(lambda _: ModelRow(), "Shown when the server answers.")
        self.errors = Rows(lambda _: ErrorRow(source))
        self.jobs_title, self.errors_title = label("QUEUE", "section"), label("LAST ERRORS", "section")
        sections = (
            (label("NODES", "section"), self.nodes),
            (self.jobs_title, self.jobs),
            (self.errors_title, self.errors),
        )
        for title, rows in (*sections, (label("MODELS", "section"), self.models)):
            column.addWidget(title)
            column.addWidget(rows)
        column.addStretch(1)
        area = QtWidgets.QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        return area

    def _footer(self) -> Any:
        self.cache = Short("", "muted")
        check = button("Check all", "Look into every cached file of every node", self.source.refresh)
        clear = button("Clear old", "Delete what no node shows any more", self.source.clear_old)
        row = line(self.cache, check, clear)
        row.setStretch(0, 1)
        return row

    def _show_server(self, server: ServerState) -> None:
        self.dot.set_color(style.HEALTH.get(server.health, style.HEALTH["asking"]))
        self.address.set_text(server.address)
        self.words.setText(server.words)
        self.words.setVisible(bool(server.words))
        self.advice.setText(server.advice)
        self.advice.setVisible(bool(server.advice))


class ErrorRow(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """What went wrong, in full, with a button to copy it."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        text = self.text = paragraph("error")
        self.text.setTextInteractionFlags(QtCore.Qt.TextInteractionFlag.TextSelectableByMouse)
        copy = button("Copy", "Copy it, for whoever looks after the server", lambda: source.copy(text.text()))
        row = line(self.text, copy)
        row.setStretch(0, 1)
        row.setAlignment(copy, QtCore.Qt.AlignmentFlag.AlignTop)
        self.setLayout(row)

    def show_state(self, text: str) -> None:
        """Show another text."""
        self.text.setText(text)
