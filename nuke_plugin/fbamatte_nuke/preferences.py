"""Where the plug-in's settings come from: environment, then ``~/.nuke/fbamatte.json``, then a default.

A knob on the node wins over both. A token comes from the environment or from a file that the
preferences name; it is never a knob, since knobs are saved in scripts.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fbamatte_nuke.problems import Problem

DEFAULT_SERVER = "localhost:50051"
MODES = ("auto", "in-process", "bridge")


@dataclass(frozen=True)
class Preferences:
    """Settings of one user or studio.

    Parameters
    ----------
    server : str
        ``host:port`` or ``unix:path``. FBAMATTE_SERVER.
    token_file : str
        A file whose first line is the server's token. FBAMATTE_TOKEN_FILE; FBAMATTE_TOKEN wins.
    tls_ca, tls_cert, tls_key : str
        PEM files: the authority to trust, and this client's own certificate and key.
        FBAMATTE_TLS_CA, FBAMATTE_TLS_CERT, FBAMATTE_TLS_KEY.
    cache_dir : str
        FBAMATTE_CACHE.
    mode : str
        ``in-process``: gRPC in Nuke's own interpreter. ``bridge``: in another one. ``auto``: the
        former, and the latter where the former does not load. FBAMATTE_NUKE_MODE.
    bridge_python : str
        The interpreter for the bridge, with ``pip install fbamatte``. FBAMATTE_PYTHON.
    timeout : float
        Seconds that one frame may take. FBAMATTE_TIMEOUT.
    patience : float
        Seconds to wait for a server that does not answer, as while it starts. FBAMATTE_PATIENCE.
    """

    server: str = DEFAULT_SERVER
    token_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    cache_dir: str = ""
    mode: str = "auto"
    bridge_python: str = ""
    timeout: float = 900.0
    patience: float = 20.0

    def token(self) -> str:
        """Return the token; empty where there is none.

        Raises
        ------
        Problem
            If the file that should hold it cannot be read.
        """
        if os.environ.get("FBAMATTE_TOKEN"):
            return os.environ["FBAMATTE_TOKEN"].strip()
        if not self.token_file:
            return ""
        try:
            lines = Path(self.token_file).expanduser().read_text(encoding="utf-8").split()
        except OSError as error:
            raise Problem(f"token file {self.token_file}: {error.strerror}", "Correct it", fatal=True) from error
        return lines[0] if lines else ""


_VARIABLES = {
    "server": "FBAMATTE_SERVER",
    "token_file": "FBAMATTE_TOKEN_FILE",
    "tls_ca": "FBAMATTE_TLS_CA",
    "tls_cert": "FBAMATTE_TLS_CERT",
    "tls_key": "FBAMATTE_TLS_KEY",
    "cache_dir": "FBAMATTE_CACHE",
    "mode": "FBAMATTE_NUKE_MODE",
    "bridge_python": "FBAMATTE_PYTHON",
    "timeout": "FBAMATTE_TIMEOUT",
    "patience": "FBAMATTE_PATIENCE",
}


def path() -> Path:
    """Return the preferences file; ``FBAMATTE_NUKE_PREFERENCES`` names another."""
    return Path(os.environ.get("FBAMATTE_NUKE_PREFERENCES") or "~/.nuke/fbamatte.json").expanduser()


def load() -> Preferences:
    """Return the settings as environment and file say them now.

    Raises
    ------
    Problem
        If the file is damaged or a value cannot be right.
    """
    found: dict[str, Any] = {}
    stored = _stored()
    for entry in fields(Preferences):
        value = os.environ.get(_VARIABLES[entry.name]) or stored.get(entry.name)
        if value not in (None, ""):
            found[entry.name] = value
    for name in ("timeout", "patience"):
        found[name] = _seconds(name, found.get(name, getattr(Preferences, name)))
    loaded = Preferences(**found)
    if loaded.mode not in MODES:
        raise Problem(f"mode {loaded.mode!r} is not known", f"Choose one of {', '.join(MODES)}", fatal=True)
    return loaded


def _seconds(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise Problem(f"{name} {value!r} is no number of seconds", "Correct it", fatal=True) from error


def save(**changes: Any) -> Preferences:
    """Write changed settings into the preferences file and return what holds now.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    merged = replace(Preferences(), **{**_stored(), **changes})
    kept = {name: value for name, value in asdict(merged).items() if value != getattr(Preferences, name)}
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    part.replace(target)
    return load()


def _stored() -> dict[str, Any]:
    try:
        text = path().read_text(encoding="utf-8")
    except OSError:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Problem(f"{path()}: {error}", "Correct the preferences file or delete it", fatal=True) from error
    names = {entry.name for entry in fields(Preferences)}
    return {name: value for name, value in found.items() if name in names} if isinstance(found, dict) else {}
