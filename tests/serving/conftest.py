"""What tests of the server share."""

import pytest

from fbamatte.testing import serve_in_process
from private_memory import private_memory


@pytest.fixture
def shm():
    """This test's own folder of shared memory, for what runs in this process."""
    with private_memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("sockets") / "s.sock"
    models = ("testing-null", "testing-sleep-0.05", "testing-broken", "testing-wire", "testing-sleep-0.4")
    with serve_in_process(listen=("127.0.0.1:0", f"unix:{path}"), models=models) as running:
        yield running


@pytest.fixture
def address(server):
    return server.addresses[0]
