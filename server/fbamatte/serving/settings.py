"""Everything that can be set about a server, once: flags, environment and defaults follow from here."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from fbamatte.errors import UsageError
from fbamatte.settings import option

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Size(int):
    """Bytes, read from a text such as ``4096``, ``512M`` or ``1.5G``."""

    def __new__(cls, value: str | int = 0) -> Size:
        """Read a size; raise `ValueError` where it is none."""
        if not isinstance(value, str):
            return super().__new__(cls, value)
        text = value.strip().upper().removesuffix("B").removesuffix("I")
        unit = _UNITS.get(text[-1:], 1)
        return super().__new__(cls, int(float(text.rstrip("KMGT")) * unit))

    def __str__(self) -> str:
        for unit, factor in reversed(_UNITS.items()):
            if self and self % factor == 0:
                return f"{self // factor}{unit}"
        return str(int(self))


_AUTOMATIC, _2G, _4G = Size(0), Size(2 * 2**30), Size(4 * 2**30)


@dataclass(frozen=True)
class ServerSettings:
    """All settings of a server. A tuple is a flag that may be repeated; 0 or "" is none or automatic."""

    listen: tuple[str, ...] = option(
        ("127.0.0.1:50051",),
        "where to listen: host:port (port 0: any free one) or unix:path; may be repeated",
        metavar="ADDRESS",
    )
    model: tuple[str, ...] = option(
        (),
        "a model to offer, by name or checkpoint file; the first is the default; may be repeated; "
        "without it every known model is offered",
        metavar="NAME|FILE",
    )
    device: tuple[str, ...] = option(
        ("auto",), "cpu, cuda:0, mps, or auto: every GPU, else the CPU; may be repeated", metavar="DEVICE"
    )
    precision: str = option("auto", "arithmetic of the estimate", choices=("auto", "fp32", "bf16", "fp16"))
    tls_cert: str = option("", "certificate chain (PEM) of this server", metavar="FILE")
    tls_key: str = option("", "private key (PEM) of that certificate", metavar="FILE")
    tls_client_ca: str = option("", "demand client certificates signed by this authority (PEM)", metavar="FILE")
    token_file: str = option(
        "", "demand one of the tokens in this file, one a line: [name] token [expiry]", metavar="FILE"
    )
    metrics: str = option("", "where to serve Prometheus metrics and the status page", metavar="ADDRESS")
    ready_file: str = option(
        "", "write addresses and process id here once serving; removed on the way out", metavar="FILE"
    )
    detach: bool = option(False, "serve in the background: return once it serves; needs --ready-file")
    stop: bool = option(False, "stop the server of --ready-file: drain it, wait for its end; no error where none is")
    log: str = option("", "write the log to this file instead of standard error", metavar="FILE")
    idle_timeout: float = option(0.0, "stop after so long without a frame; 0: never", metavar="SECONDS")
    owner: int = option(0, "stop when the process of this id is gone", metavar="PID")
    drain_timeout: float = option(30.0, "how long frames in flight may take once told to stop", metavar="SECONDS")
    stall_timeout: float = option(20.0, "how long a caller may stand still in the middle of a frame", metavar="SECONDS")
    stream_idle_timeout: float = option(
        600.0, "how long a stream may stay open with nothing in flight", metavar="SECONDS"
    )
    queue_size: int = option(256, "frames that may wait for one device", metavar="N")
    lanes: int = option(4, "frames worked on at once per device, each in another stage", metavar="N")
    streams: int = option(128, "streams at once, of all callers", metavar="N")
    streams_per_connection: int = option(32, "streams at once of one connection", metavar="N")
    frames_in_flight: int = option(8, "frames in flight of one stream", metavar="N")
    frame_pixels: int = option(2**27, "most pixels of a frame, width times height", metavar="N")
    frame_side: int = option(65536, "most pixels of a frame across or down", metavar="N")
    payload_bytes: Size = option(_4G, "most bytes of one frame's payload", metavar="SIZE")  # noqa: RUF009 - a field
    memory: Size = option(  # noqa: RUF009 - a field
        _AUTOMATIC, "memory for all frames in flight; 0: half of the machine's", metavar="SIZE"
    )
    model_memory: Size = option(  # noqa: RUF009 - a field
        _AUTOMATIC, "memory for loaded models on one device; 0: half of the device's", metavar="SIZE"
    )
    shared_memory: Size = option(  # noqa: RUF009 - a field
        _2G, "shared memory that one stream may hold; 0: none is lent", metavar="SIZE"
    )
    thumbnails: int = option(24, "finished frames to show on the status page; 0: none", metavar="N")
    log_format: str = option("text", "how to write the log", choices=("text", "json"))
    log_level: str = option("info", "what to write to the log", choices=("debug", "info", "warning", "error"))
    testing: bool = option(False, argparse.SUPPRESS)

    def __post_init__(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise UsageError("--tls-cert and --tls-key belong together; one of them is missing")
        if self.tls_client_ca and not self.tls_cert:
            raise UsageError("--tls-client-ca needs --tls-cert and --tls-key")
        for name in ("queue_size", "lanes", "streams", "streams_per_connection", "frames_in_flight", "frame_pixels"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}, needed at least 1")
