"""What the panel shows, as plain values: gathered in `source`, drawn in `window`. No Nuke, no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelState:
    """A model of the server."""

    name: str
    title: str = ""
    licence: str = ""
    commercial: bool = False
    loaded: bool = False
    default: bool = False


@dataclass(frozen=True)
class ServerState:
    """The server: ``health`` is ready, busy, starting, away or asking; ``words`` says more."""

    address: str
    health: str = "asking"
    words: str = ""
    advice: str = ""
    models: tuple[ModelState, ...] = ()


@dataclass(frozen=True)
class NodeState:
    """One FBA node.

    Parameters
    ----------
    name : str
        Its full name.
    frames : dict
        Frame → cached, stale, missing or failed, over its range.
    line : str
        The same in a few words.
    current : int
        The frame that the viewer is on.
    reasons : dict
        Frame → why it failed.
    busy : bool
        It has a job.
    """

    name: str
    frames: dict[int, str] = field(default_factory=dict)
    line: str = ""
    current: int = 0
    reasons: dict[int, str] = field(default_factory=dict)
    busy: bool = False


@dataclass(frozen=True)
class JobState:
    """One job: ``state`` as in `fbamatte_nuke.job.Outcome`."""

    name: str
    state: str
    done: int
    total: int
    words: str = ""


@dataclass(frozen=True)
class PanelState:
    """Everything at one moment."""

    server: ServerState
    nodes: tuple[NodeState, ...] = ()
    jobs: tuple[JobState, ...] = ()
    cache: str = ""
    errors: tuple[str, ...] = ()
