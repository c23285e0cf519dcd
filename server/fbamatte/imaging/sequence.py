"""Sequences of frames in the words that artists type, through Fileseq.

``plate.%04d.exr``, ``plate.####.exr`` (one digit for each #, a single # means four),
``plate.1001-1100#.exr``, ``plate.@@@.exr``, ``plate.$F4.exr``; ``%V`` is a view's name, ``%v`` its
first letter; a path without any of these is a single picture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fileseq
from fileseq.constants import PAD_STYLE_HASH1, PAD_STYLE_HASH4
from fileseq.exceptions import FileSeqException, MaxSizeException
from fileseq.filesequence import FileSequence
from fileseq.frameset import FrameSet

from fbamatte.errors import ImageReadError, UsageError

# The most frames that one sequence may have: three hours of film at 96 frames per second.
MOST_FRAMES = 1_000_000
DEFAULT_VIEWS = ("left", "right")

_PADDING = re.compile(r"#+|@+|%0?\d*d|\$F\d*")
# Stand in for %V and %v while Fileseq looks at the name: characters that no file name holds.
_VIEW, _VIEW_LETTER = "\ue0f0", "\ue0f1"
_OPENJD_STEP = re.compile(r"^(-?\d+)-(-?\d+):(-?\d+)$")


@dataclass(frozen=True)
class FrameSequence:
    """Frames of one or more views under one pattern.

    Parameters
    ----------
    pattern : str
        As it was given.
    before, after : str
        What stands before and after the number in a path, with stand-ins for views.
    padding : int
        Digits of a number at least; 0 for a single picture that carries none.
    numbers : tuple of int
        Frame numbers in the order they were asked for.
    views : tuple of str
        Stereo views; empty where the pattern has none.
    """

    pattern: str
    before: str
    after: str
    padding: int
    numbers: tuple[int, ...]
    views: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls,
        pattern: str | os.PathLike[str],
        frames: str | Iterable[int] | None = None,
        views: Sequence[str] = (),
        *,
        syntax: str = "fileseq",
    ) -> FrameSequence:
        """Return the sequence that a pattern names.

        Parameters
        ----------
        pattern : str or path
        frames : str or iterable of int, optional
            Which frames; otherwise those in the pattern, otherwise those found on disk. For a
            single picture: the frames it stands for.
        views : sequence of str
            Views for ``%V`` and ``%v``; otherwise ``left`` and ``right``, those that are there.
        syntax : str
            Of ``frames``, see `parse_frames`.

        Raises
        ------
        UsageError
            Pattern or frames that cannot be understood.
        ImageReadError
            No frame of the pattern is on disk, and none was named.
        """
        text = os.fspath(pattern)
        asked = _numbers(frames, syntax)
        before, after, padding, own = _split(text)
        sequence = cls(text, before, after, padding, tuple(asked or own), _views(text, views))
        if sequence.views and not views:
            sequence = sequence._with_views_on_disk()
        if sequence.numbers:
            return sequence
        found = sequence.on_disk() if padding else [_number_in(before)]
        if not found:
            raise ImageReadError(f"{text}: no frame of this sequence is on disk")
        return cls(text, before, after, padding, tuple(found), sequence.views)

    @property
    def is_single(self) -> bool:
        """Whether this is one picture without a frame number to fill in."""
        return self.padding == 0

    def path(self, number: int, view: str = "") -> Path:
        """Return the path of one frame of one view.

        Raises
        ------
        UsageError
            The pattern needs a view and none was given.
        """
        if self.views and not view:
            raise UsageError(f"{self.pattern}: which view? {', '.join(self.views)}")
        written = "" if self.is_single else f"{number:0{self.padding}d}"
        text = self.before + written + self.after
        return Path(text.replace(_VIEW, view).replace(_VIEW_LETTER, view[:1]))

    def on_disk(self, view: str = "") -> list[int]:
        """Return the numbers of the frames that are on disk, in order: of one view, or of any."""
        if self.is_single:
            return []
        found: set[int] = set()
        for each in [view] if view or not self.views else self.views:
            found.update(self._listed(each))
        return sorted(found)

    def missing(self, view: str = "") -> list[int]:
        """Return the frames that were asked for and are not on disk, of one view or of any."""
        lacking: set[int] = set()
        for each in [view] if view or not self.views else self.views:
            if self.is_single:
                lacking.update(() if self.path(0, each).is_file() else self.numbers)
            else:
                lacking.update(set(self.numbers) - set(self._listed(each)))
        return [number for number in self.numbers if number in lacking]

    def check(self) -> None:
        """Raise if any frame is missing.

        Raises
        ------
        ImageReadError
            Naming the pattern and exactly the missing frames.
        """
        for view in self.views or ("",):
            if lacking := self.missing(view):
                where = f"{self.pattern} ({view})" if view else self.pattern
                what = "no such file" if self.is_single else f"missing frames {compact(lacking)}"
                raise ImageReadError(f"{where}: {what}")

    def _listed(self, view: str) -> list[int]:
        """Return what one look into the folder finds: asking for each file by itself is slow on servers."""
        folder, before = os.path.split(self.before.replace(_VIEW, view).replace(_VIEW_LETTER, view[:1]))
        after = self.after.replace(_VIEW, view).replace(_VIEW_LETTER, view[:1])
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  names, not paths: a folder holds many
        except OSError:
            return []
        middles = [n[len(before) : len(n) - len(after)] for n in names if n.startswith(before) and n.endswith(after)]
        numbers = [int(m) for m in middles if re.fullmatch(r"-?[0-9]{1,18}", m)]
        written = {f"{n:0{self.padding}d}" for n in numbers}
        return [int(m) for m in middles if m in written]

    def _with_views_on_disk(self) -> FrameSequence:
        there = [view for view in self.views if self._listed(view) or (self.is_single and self.path(0, view).is_file())]
        return FrameSequence(
            self.pattern, self.before, self.after, self.padding, self.numbers, tuple(there) or self.views
        )


def parse_frames(text: str, syntax: str = "fileseq") -> list[int]:
    """Return the frame numbers that ``text`` lists, in its order, none twice.

    Parameters
    ----------
    text : str
        ``1001-1100``, ``1001-1100x2,1120``, ``-5--1``, ``10-1``.
    syntax : str
        ``fileseq``, or ``openjd`` where a step is written ``1001-1100:2``.

    Raises
    ------
    UsageError
        Not a list of whole frame numbers, or too long.
    """
    if syntax not in {"fileseq", "openjd"}:
        raise UsageError(f"frame syntax {syntax!r}: known are fileseq and openjd")
    written = "".join(text.split())
    if not written:
        raise UsageError("frames: the list is empty")
    if syntax == "openjd":
        written = ",".join(_from_openjd(piece, text) for piece in written.split(","))
    elif ":" in written:
        raise UsageError(f"frames {text!r}: a step is written with x, as in 1001-1100x2; ':' means something else here")
    try:
        numbers = list(FrameSet(written))
    except MaxSizeException:
        raise UsageError(f"frames {text!r}: more than {MOST_FRAMES} frames") from None
    except (FileSeqException, ValueError, ArithmeticError):
        raise UsageError(f"frames {text!r}: not understood; write for example 1001-1100x2,1120") from None
    whole = [number for number in numbers if isinstance(number, int)]
    if len(whole) < len(numbers):
        raise UsageError(f"frames {text!r}: only whole frame numbers")
    if len(whole) > MOST_FRAMES:
        raise UsageError(f"frames {text!r}: more than {MOST_FRAMES} frames")
    return whole


def compact(numbers: Iterable[int]) -> str:
    """Return frame numbers as short as artists write them: ``1001-1003,1010``."""
    return str(fileseq.framesToFrameRange(numbers, sort=True))


def _from_openjd(piece: str, text: str) -> str:
    if "x" in piece or "y" in piece:
        raise UsageError(f"frames {text!r}: a step is written with ':' in Open Job Description, as in 1-10:2")
    match = _OPENJD_STEP.match(piece)
    if not match:
        return piece
    first, last, step = (int(group) for group in match.groups())
    if step == 0 or (last - first) * step < 0:
        raise UsageError(f"frames {text!r}: step {step} never leads from {first} to {last}")
    return f"{first}-{last}x{abs(step)}"


def _numbers(frames: str | Iterable[int] | None, syntax: str) -> list[int]:
    if frames is None or isinstance(frames, str):
        return parse_frames(frames, syntax) if frames else []
    return list(dict.fromkeys(int(number) for number in frames))


def _split(pattern: str) -> tuple[str, str, int, list[int]]:
    """Return what stands before and after the frame number, its padding, and the frames in the pattern."""
    marked = pattern.replace("%V", _VIEW).replace("%v", _VIEW_LETTER)
    folder, name = os.path.split(marked)
    found = _PADDING.findall(name)
    if not found:
        return marked, "", 0, []
    style = PAD_STYLE_HASH1 if "##" in name else PAD_STYLE_HASH4
    try:
        parsed = FileSequence(name, pad_style=style)
    except FileSeqException:
        # A name that ends in "-" looks like the beginning of a range to Fileseq: then it carries none.
        before, after = name.rsplit(found[-1], 1)
        return os.path.join(folder, before), after, fileseq.getPaddingNum(found[-1], style), []  # noqa: PTH118  as below
    own = parse_frames(str(parsed.frameRange())) if parsed.frameSet() else []
    before = os.path.join(folder, parsed.basename())  # noqa: PTH118  a pattern, not a path: kept as typed
    return before, parsed.extension(), max(parsed.zfill(), 1), own


def _number_in(path: str) -> int:
    """Return the frame number that a single picture's name carries, 1 where it has none."""
    found = re.search(r"(?<=[._])(-?\d+)(?=\.[^.]*$)", os.path.basename(path))  # noqa: PTH119  a pattern
    return int(found.group(1)) if found else 1


def _views(pattern: str, views: Sequence[str]) -> tuple[str, ...]:
    if "%V" not in pattern and "%v" not in pattern:
        return ()
    return tuple(views) or DEFAULT_VIEWS
