"""Small drawn things: the health dot, the bar of cached ranges, text that shortens itself."""

from __future__ import annotations

from typing import Any, Optional

from fbamatte_nuke.panel import style
from fbamatte_nuke.panel.qt import QtCore, QtGui, QtWidgets

# What shows where several frames share a pixel: trouble first.
_ORDER = ("failed", "stale", "missing", "cached")


class Dot(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """A dot of one colour."""

    def __init__(self, diameter: int = 9) -> None:
        super().__init__()
        self._color = style.HEALTH["asking"]
        self._diameter = diameter
        self.setFixedSize(diameter + 2, diameter + 2)

    def set_color(self, color: str) -> None:
        """Show another colour."""
        if color != self._color:
            self._color = color
            self.update()

    def paintEvent(self, _: Any) -> None:
        """Draw it."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(self._color))
        painter.drawEllipse(1, 1, self._diameter, self._diameter)
        painter.end()


class Short(QtWidgets.QLabel):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """One line of text that ends in dots where there is no room; the tooltip has all of it."""

    def __init__(self, text: str = "", name: str = "") -> None:
        super().__init__()
        self._all = ""
        self.setObjectName(name)
        self.setMinimumWidth(40)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Show another text."""
        self._all = text
        self.setToolTip(text)
        self._fit()

    def full_text(self) -> str:
        """Return the whole text."""
        return self._all

    def resizeEvent(self, event: Any) -> None:
        """Shorten it anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        first = self._all.splitlines()[0] if self._all else ""
        room = max(self.contentsRect().width(), 40)
        self.setText(self.fontMetrics().elidedText(first, QtCore.Qt.TextElideMode.ElideRight, room))


class RangeBar(QtWidgets.QWidget):  # type: ignore[misc]  # Qt is chosen when Nuke starts
    """A node's frames from left to right, coloured by state, with the viewer's frame as a thin line."""

    jumped = QtCore.Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._frames: dict[int, str] = {}
        self._reasons: dict[int, str] = {}
        self._current: Optional[int] = None
        self.setFixedHeight(26)
        self.setMouseTracking(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)

    def show_frames(self, frames: dict[int, str], current: int, reasons: dict[int, str]) -> None:
        """Show other states."""
        if (frames, current, reasons) != (self._frames, self._current, self._reasons):
            self._frames, self._current, self._reasons = dict(frames), current, dict(reasons)
            self.update()

    def span(self) -> tuple[int, int]:
        """Return the first and the last frame."""
        return (min(self._frames), max(self._frames)) if self._frames else (0, 0)

    def state_at(self, x: float) -> tuple[int, str]:
        """Return the frame under ``x`` and its state."""
        first, last = self.span()
        frame = first + int(max(0.0, min(x / max(1, self.width()), 0.9999)) * (last - first + 1))
        return frame, self._frames.get(frame, "missing")

    def pixel_states(self, width: int) -> list[str]:
        """Return the state to show in each column of ``width`` pixels; trouble wins over what is fine."""
        first, last = self.span()
        count = last - first + 1
        found = []
        for column in range(width):
            start = first + column * count // width
            end = max(start + 1, first + (column + 1) * count // width)
            states = {self._frames.get(frame, "missing") for frame in range(start, end)}
            found.append(next(state for state in _ORDER if state in states))
        return found

    def paintEvent(self, _: Any) -> None:
        """Draw bar, frame and the two numbers below."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        width = self.width()
        path = QtGui.QPainterPath()
        path.addRoundedRect(QtCore.QRectF(0, 0, width, 8), 3, 3)
        painter.setClipPath(path)
        painter.fillRect(0, 0, width, 8, QtGui.QColor(style.STATES["missing"]))
        self._draw_runs(painter, self.pixel_states(width) if self._frames else [])
        painter.setClipping(False)
        self._draw_current(painter, width)
        self._draw_numbers(painter, width)
        painter.end()

    def mouseMoveEvent(self, event: Any) -> None:
        """Tell of the frame under the pointer."""
        if self._frames:
            frame, state = self.state_at(_x(event))
            self.setToolTip(self._reasons.get(frame, f"frame {frame}: {state}"))

    def mousePressEvent(self, event: Any) -> None:
        """Go to the frame under the pointer."""
        if self._frames and event.button() == QtCore.Qt.MouseButton.LeftButton:
            self.jumped.emit(self.state_at(_x(event))[0])

    def _draw_runs(self, painter: Any, columns: list[str]) -> None:
        start = 0
        for column in range(1, len(columns) + 1):
            if column == len(columns) or columns[column] != columns[start]:
                painter.fillRect(start, 0, column - start, 8, QtGui.QColor(style.STATES[columns[start]]))
                start = column

    def _draw_current(self, painter: Any, width: int) -> None:
        first, last = self.span()
        if self._current is None or not self._frames or not first <= self._current <= last:
            return
        x = round((self._current - first + 0.5) / (last - first + 1) * width)
        painter.fillRect(x - 1, 0, 2, 11, QtGui.QColor("#f0f0f0"))

    def _draw_numbers(self, painter: Any, width: int) -> None:
        if not self._frames:
            return
        font = painter.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.82))
        painter.setFont(font)
        painter.setPen(QtGui.QColor(style.MUTED))
        first, last = self.span()
        box = QtCore.QRectF(0, 11, width, 15)
        painter.drawText(box, int(QtCore.Qt.AlignmentFlag.AlignLeft), str(first))
        if last != first:
            painter.drawText(box, int(QtCore.Qt.AlignmentFlag.AlignRight), str(last))


def _x(event: Any) -> float:
    """Return where the pointer is; Qt 6 has another name for it than Qt 5."""
    place = event.position() if hasattr(event, "position") else event.pos()
    return float(place.x())
