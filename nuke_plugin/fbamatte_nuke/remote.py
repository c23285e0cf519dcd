"""The server, spoken to with plain values, so that the same calls work in Nuke and through the bridge.

No Nuke in here. Everything that goes in or out is what JSON can say; pixels stay in files.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Callable, Optional

OnProgress = Optional[Callable[[str, float], None]]


class Remote:
    """A connection to a server, kept open.

    Parameters
    ----------
    server : str
        ``host:port`` or ``unix:path``.
    token : str
        Empty: none.
    tls : dict
        ``ca``, ``certificate``, ``key``: paths of PEM files, empty where there is none. All empty: as
        FBAMATTE_TLS says.
    timeout, patience : float
        Seconds that a frame may take, and that a server which does not answer is waited for.
    """

    def __init__(self, server: str, token: str, tls: dict[str, str], timeout: float, patience: float = 20.0) -> None:
        from fbamatte.rpc.client import TLS, Client

        trust = TLS(tls["ca"] or None, tls["certificate"] or None, tls["key"] or None) if any(tls.values()) else None
        self._where = (server, token or None, trust)
        self._client = Client(*self._where, timeout=timeout, patience=patience)

    def matte(self, order: dict[str, Any], on_progress: OnProgress = None) -> dict[str, Any]:
        """Have one frame matted and write the answer to ``order["target"]``.

        Parameters
        ----------
        order : dict
            plate, trimap, target (paths), frame, view, name, and optionally model, input_space,
            pixel_type, priority.

        Returns
        -------
        dict
            Those facts about how it was made that are text or numbers, such as model and seconds.

        Raises
        ------
        FbaMatteError
            As the client raises it.
        OSError
            If a file cannot be read or written.
        """
        from fbamatte.frame import EncodedFrame

        frame = EncodedFrame(
            plate=Path(order["plate"]).read_bytes(),
            trimap=Path(order["trimap"]).read_bytes(),
            number=order["frame"],
            view=order["view"],
            colorspace=order.get("input_space", ""),
            name=order["name"],
        )
        wanted = {name: order[name] for name in ("model", "pixel_type", "priority") if order.get(name)}
        report = None if on_progress is None else lambda _, now: on_progress(now.stage, now.fraction)
        for matte in self._client.matte_exr([frame], None, report, **wanted):
            with Path(order["target"]).open("wb") as stream:
                stream.write(matte.exr)
            return {name: value for name, value in matte.provenance.items() if isinstance(value, (str, int, float))}
        raise RuntimeError("the server ended without an answer")

    def cancel(self) -> None:
        """End what is under way, from any thread."""
        self._client.cancel()

    def info(self) -> dict[str, Any]:
        """Return what the server is and has: version, state, devices, models.

        Raises
        ------
        FbaMatteError
            If it does not answer.
        """
        from google.protobuf.json_format import MessageToDict

        told = self._client.server_info(timeout=5.0)
        models = self._client.list_models(timeout=5.0)
        return {
            "server": MessageToDict(told, preserving_proto_field_name=True),
            "models": [MessageToDict(model, preserving_proto_field_name=True) for model in models],
        }

    def diagnose(self) -> dict[str, Any]:
        """Return why the server cannot be reached, and whether: ok, cause, message, advice."""
        from fbamatte.rpc.diagnose import diagnose

        server, token, tls = self._where
        found = diagnose(server, token, tls)
        return {"ok": found.ok, "cause": found.cause, "message": found.message, "advice": found.advice}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def failure(error: BaseException) -> dict[str, Any]:
    """Return ``error`` as plain values: ``status``, ``message``, and ``errno`` where the system said it."""
    status = getattr(error, "status", "")
    if isinstance(error, OSError):
        return {"status": "OS", "message": error.strerror or str(error), "errno": error.errno}
    if isinstance(error, ImportError):
        return {"status": "IMPORT", "message": str(error)}
    return {"status": status or "INTERNAL", "message": str(error) or type(error).__name__}


def versions() -> dict[str, str]:
    """Return what speaks to the server: Python, grpcio, protobuf, fbamatte.

    Raises
    ------
    Exception
        Whatever importing them raises, in an interpreter where they do not load.
    """
    import fbamatte
    from fbamatte.rpc import client  # before grpc: it says how grpc is to behave in a host

    # isort: split
    import google.protobuf
    import grpc

    return {
        "python": platform.python_version(),
        "grpcio": str(grpc.__version__),
        "protobuf": str(google.protobuf.__version__),
        "fbamatte": str(getattr(fbamatte, "__version__", "")),
        "client": client.__name__,
    }
