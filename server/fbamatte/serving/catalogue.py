"""The models that callers may ask for. A request names one of them and nothing else: never a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from fbamatte.engine import Engine
from fbamatte.errors import CheckpointError, ModelNotFoundError
from fbamatte.models import registry
from fbamatte.models.base import ModelInfo

# Trained values are held in float, whatever the arithmetic of the estimate.
BYTES_PER_PARAMETER = 4
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Parameters
    ----------
    info : ModelInfo
        What is known without loading it.
    load : callable
        ``load(device, precision) -> Engine``; on the device's own thread.
    file : Path, optional
        Where its weights are; another file may take that place.
    stamp : tuple of int
        What told that file from others when it was described, see `_stamp`.
    """

    info: ModelInfo
    load: Callable[[str, str], Engine]
    file: Path | None = None
    stamp: tuple[int, ...] = ()


class Catalogue:
    """Models by the names that requests may use.

    Parameters
    ----------
    sources : mapping
        By name; the first is the default.
    find : callable, optional
        Asked for the sources of names that are new since, given those that are known.
    """

    def __init__(
        self, sources: Mapping[str, Source], find: Callable[[Collection[str]], Mapping[str, Source]] = lambda _: {}
    ) -> None:
        assert sources, "a server without a model"
        self._sources = dict(sources)
        self._find = find
        self.default = next(iter(self._sources))

    @classmethod
    def of_registry(cls, models: Sequence[str] = (), extra: Mapping[str, Source] | None = None) -> Catalogue:
        """Return a catalogue of registered models.

        Parameters
        ----------
        models : sequence of str
            Names or checkpoint files, as the server's operator gave them; empty: all that are registered, those that
            are imported later among them.
        extra : mapping, optional
            Further sources that may be named, such as the stand-ins of `fbamatte.testing`.

        Raises
        ------
        ModelNotFoundError, CheckpointError
            If one of them is not to be had.
        """
        extra = extra or {}
        if models:
            sources = (extra.get(name) or _registered(name) for name in models)
            return cls({source.info.name: source for source in sources})
        find = _Finder()
        return cls({**find(()), **{name: extra[name] for name in extra}}, find)

    def names(self) -> list[str]:
        """Return the names, the default first."""
        return list(self._sources)

    def refresh(self) -> None:
        """Look for models that were imported since the server started, or have replaced one that is known."""
        for name in self._sources:
            self.version(name)
        found = self._find(self._sources)
        if found:
            _log.info("models found", models=sorted(found))
            # Replaced, not changed: other threads may be reading it.
            self._sources = {**self._sources, **found}

    def resolve(self, name: str) -> str:
        """Return the name of the model that a request means; the default where it says nothing.

        Raises
        ------
        ModelNotFoundError
            If it is none of ours; the message lists those.
        """
        if not name:
            return self.default
        if name not in self._sources:
            self.refresh()
        if name not in self._sources:
            raise ModelNotFoundError(f"no model called {name[:80]!r}; this server has: {', '.join(self._sources)}")
        return name

    def info(self, name: str) -> ModelInfo:
        """Return what is known about a model of this catalogue."""
        return self._sources[name].info

    def version(self, name: str) -> str:
        """Return what tells a model from one that takes its place under its name: the digest of its weights.

        Looks whether its file is still the one that was described. A file that is gone or damaged changes nothing.
        """
        source = self._sources[name]
        if source.file is not None and (stamp := _stamp(source.file)) not in ((), source.stamp):
            self._sources = {**self._sources, name: _replaced(source, source.file, stamp)}
        return self._sources[name].info.sha256

    def bytes_of(self, name: str) -> int:
        """Return the memory that a model's trained values take."""
        return self._sources[name].info.parameters * BYTES_PER_PARAMETER

    def load(self, name: str, device: str, precision: str) -> Engine:
        """Return an engine around a freshly loaded model; on the device's own thread."""
        return self._sources[name].load(device, precision)


class _Finder:
    """Finds registered models that are not known yet; says once of each damaged file that it is left out."""

    def __init__(self) -> None:
        self._damaged: dict[str, str] = {}

    def __call__(self, known: Collection[str]) -> dict[str, Source]:
        found = {}
        for name in sorted(registry.names(), key=lambda name: name != registry.DEFAULT):
            if name in known:
                continue
            try:
                found[name] = _registered(name)
            except (CheckpointError, ModelNotFoundError) as error:
                # One damaged file in the models folder is no reason not to serve the others.
                if self._damaged.get(name) != str(error):
                    _log.error("model left out", model=name, reason=str(error))
                self._damaged[name] = str(error)
        return found


def _registered(name: str) -> Source:
    file = None if name in registry.BUILT_IN else registry.path_of(name)
    # Taken first: what replaces the file while it is read is then noticed.
    stamp = _stamp(file) if file else ()
    return Source(registry.describe(name), lambda device, precision: Engine(name, device, precision), file, stamp)


def _stamp(file: Path) -> tuple[int, ...]:
    """Return what changes when a file is written or another takes its place; empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _replaced(source: Source, file: Path, stamp: tuple[int, ...]) -> Source:
    """Return the source of the file that is there now; what there was, where that is no model."""
    try:
        info = replace(registry.describe(file), name=source.info.name)
    except (CheckpointError, ModelNotFoundError) as error:
        _log.error("model not replaced", model=source.info.name, reason=str(error))
        info = source.info
    else:
        _log.info("model replaced", model=info.name, sha256=info.sha256)
    return replace(source, info=info, stamp=stamp)
