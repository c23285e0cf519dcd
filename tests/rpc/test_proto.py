"""The contract: its stubs are current and load everywhere, every field says what it means."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

BUF = "@bufbuild/buf@1.75.0"
ROOT = Path(__file__).parents[2]
PROTO = "fbamatte/rpc/v1/matting.proto"
PROTOBUFS = ("3.20.3", "4.24.4", "5.29.5", "6.33.6", "7.36.2")


def load_generator() -> object:
    spec = importlib.util.spec_from_file_location("proto_generate", ROOT / "proto" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unavailable(what: str, output: str) -> None:
    """Skip where there is no package index; in CI that is a failure."""
    message = (
        f"{what} could not be installed: {output.strip().splitlines()[-1] if output.strip() else 'no reason given'}"
    )
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def tools() -> Iterator[str]:
    generator = load_generator()
    try:
        yield generator.tools()
    except (subprocess.CalledProcessError, SystemExit) as error:
        unavailable("grpcio-tools 1.51.3", str(error))


def test_the_committed_stubs_are_what_the_contract_gives(tools: str) -> None:
    command = [sys.executable, str(ROOT / "proto" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), f"{done.stdout}{done.stderr}; run python3 proto/generate.py"


def test_a_stale_stub_is_noticed(tools: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copytree(ROOT / "server/fbamatte/rpc/v1", tmp_path / "server/fbamatte/rpc/v1")
    (tmp_path / "build").symlink_to(ROOT / "build")
    contract = tmp_path / "proto" / PROTO
    contract.write_text(contract.read_text().replace("uint32 width = 1;", "uint64 width = 1;"))
    command = [sys.executable, str(tmp_path / "proto/generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "stale: server/fbamatte/rpc/v1/matting_pb2.py" in done.stdout


ROUND_TRIP = """
import sys
import google.protobuf
from fbamatte.rpc import framing
from fbamatte.rpc.v1 import matting_pb2 as pb, matting_pb2_grpc
from fbamatte.rpc.values import read_attributes, write_attributes

assert google.protobuf.__version__ == sys.argv[1], google.protobuf.__version__
header = pb.FrameHeader(key="a", payload=pb.PAYLOAD_KIND_PLANES)
header.planes.planes.add(kind=pb.PLANE_KIND_PLATE, pixel_type=pb.PIXEL_TYPE_HALF)
attributes = {"empty": [], "nothing": None, "point": (1, 2.5), "map": {}, "deep": {"a": [True, b"x"]}}
write_attributes(header.info.attributes, attributes, "")
message = framing.parse_request(framing.serialize_request(pb.MatteRequest(header=header)))
assert message.WhichOneof("kind") == "header"
assert read_attributes(message.header.info.attributes) == attributes
assert pb.PlaneKind.Name(message.header.planes.planes[0].kind) == "PLANE_KIND_PLATE"
chunk = framing.parse_response(pb.MatteResponse(chunk=pb.Chunk(key="k", data=b"d")).SerializeToString())
assert (chunk.key, bytes(chunk.data)) == ("k", b"d")
assert hasattr(matting_pb2_grpc, "MattingStub")
print("fine")
"""


@pytest.mark.parametrize("version", PROTOBUFS)
def test_the_stubs_load_and_work_on_protobuf(version: str) -> None:
    target = ROOT / "build" / f"protobuf-{version}"
    if not (target / "google" / "protobuf").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        done = subprocess.run([*command, f"protobuf=={version}"], capture_output=True, text=True, check=False)
        if done.returncode:
            unavailable(f"protobuf {version}", done.stderr)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(target), str(ROOT / "server")))}
    if version.startswith("3."):
        # It has no compiled wheel for this Python; hosts that carry it do.
        environment["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
    command = [sys.executable, "-W", "error::UserWarning", "-c", ROUND_TRIP, version]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr


@pytest.fixture(scope="module")
def contract(tools: str, tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorProto:
    found = tmp_path_factory.mktemp("descriptor") / "set"
    options = ["--include_source_info", f"--proto_path={ROOT / 'proto'}", f"--descriptor_set_out={found}"]
    subprocess.run([tools, "-W", "ignore", "-m", "grpc_tools.protoc", *options, PROTO], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file[0]


def elements(contract: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Give the path and name of everything that has to be explained."""

    def message(path: tuple[int, ...], item: descriptor_pb2.DescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
        if item.options.map_entry:
            return
        yield path, item.name
        for number, kind in ((2, item.field), (8, item.oneof_decl)):
            yield from (((*path, number, at), f"{item.name}.{field.name}") for at, field in enumerate(kind))
        for at, nested in enumerate(item.nested_type):
            yield from message((*path, 3, at), nested)
        for at, nested in enumerate(item.enum_type):
            yield from enum((*path, 4, at), nested)

    def enum(path: tuple[int, ...], item: descriptor_pb2.EnumDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
        yield path, item.name
        yield from (((*path, 2, at), value.name) for at, value in enumerate(item.value))

    for at, item in enumerate(contract.message_type):
        yield from message((4, at), item)
    for at, item in enumerate(contract.enum_type):
        yield from enum((5, at), item)
    for at, service in enumerate(contract.service):
        yield (6, at), service.name
        yield from (((6, at, 2, number), method.name) for number, method in enumerate(service.method))


def test_everything_in_the_contract_is_explained(contract: descriptor_pb2.FileDescriptorProto) -> None:
    comments = {tuple(place.path): place.leading_comments.strip() for place in contract.source_code_info.location}
    silent = [name for path, name in elements(contract) if len(comments.get(path, "")) < 4]
    assert len(list(elements(contract))) > 150
    assert not silent


def test_names_follow_the_rules_of_the_trade(contract: descriptor_pb2.FileDescriptorProto) -> None:
    assert contract.package == "fbamatte.rpc.v1"
    assert Path(PROTO).parent.as_posix() == contract.package.replace(".", "/")
    enums = [*contract.enum_type, *(enum for message in contract.message_type for enum in message.enum_type)]
    for enum in enums:
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
        assert enum.value[0].name == f"{prefix}UNSPECIFIED"
        assert enum.value[0].number == 0
        assert all(value.name.startswith(prefix) for value in enum.value)
    (service,) = contract.service
    for method in service.method:
        assert method.input_type.endswith(f".{method.name}Request")
        assert method.output_type.endswith(f".{method.name}Response")
    for message in contract.message_type:
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", field.name) for field in message.field)


def linter() -> str:
    """Return buf's program; on a machine that exists for testing it is installed below build/."""
    local = ROOT / "build" / "buf" / "node_modules" / ".bin" / "buf"
    npm = shutil.which("npm")
    if not local.exists() and npm and os.environ.get("CI"):
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(ROOT / "build" / "buf"), BUF]
        subprocess.run(command, capture_output=True, check=False)
    found = str(local) if local.exists() else shutil.which("buf")
    if found is None:
        pytest.skip(f"buf is not installed: `npm install --prefix build/buf {BUF}` does it")
    return found


def test_a_linter_of_the_trade_agrees() -> None:
    buf = linter()
    done = subprocess.run([buf, "lint", str(ROOT / "proto")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
