"""A server that the tests of one module share."""

import pytest

from fbamatte.testing import serve_in_process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("sockets") / "s.sock"
    models = ("testing-null", "testing-sleep-0.05", "testing-broken", "testing-wire", "testing-sleep-0.4")
    with serve_in_process(listen=("127.0.0.1:0", f"unix:{path}"), models=models) as running:
        yield running


@pytest.fixture
def address(server):
    return server.addresses[0]
