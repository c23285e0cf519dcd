"""A host whose plugin talks to a server can still start programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "server"

BUSY_HOST = """
import itertools
import subprocess
import threading

import fbamatte.rpc.client
import grpc

def call():
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        method = channel.unary_unary("/nobody/listens")
        for _ in itertools.count():
            try:
                method(b"")
            except grpc.RpcError:
                pass

threading.Thread(target=call, daemon=True).start()
for _ in range(100):
    # What Python below 3.10 does for any program, later ones do where there is something to run after the fork.
    done = subprocess.run(["echo", "fine"], capture_output=True, text=True, preexec_fn=int)
    assert (done.stdout, done.stderr) == ("fine\\n", ""), done
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_programs_start_while_calls_are_made() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    environment["PYTHONPATH"] = str(SERVER)
    command = [sys.executable, "-c", BUSY_HOST]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
