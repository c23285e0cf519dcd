"""What a device cannot do must not be asked of it: seen on torch's meta device, which has no values to copy."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fbamatte.errors import UsageError
from fbamatte.models import devices
from fbamatte.models.config import NetworkConfig
from fbamatte.models.fast import FastNetwork
from fbamatte.models.fast_layers import Convolution
from fbamatte.models.fast_planes import Planes
from fbamatte.models.network import FBANetwork
from fbamatte.models.tiles import WHOLE, Strips

STATISTICS = torch.ops.aten.batch_norm_update_stats.default
META = torch.device("meta")


class Watch(TorchDispatchMode):
    """Notes every tensor that any operation takes or gives."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is STATISTICS:  # torch has no shapes for it
            out = (torch.empty_like(args[1]), torch.empty_like(args[1]))
        else:
            out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, torch.Tensor):
                self.seen.add((tensor.device.type, tensor.dtype, str(function)))
        return out


def watched(dtype, strips):
    with META:
        network = FBANetwork(NetworkConfig(width=0.125)).eval()
        planes = Planes(torch.empty(1, 3, 67, 90), torch.empty(1, 2, 67, 90), torch.empty(1, 2, 67, 90))
    with torch.inference_mode():
        fast = FastNetwork(network, dtype)
        with Watch() as watch:
            out = fast(planes, strips)
    assert (out.device.type, tuple(out.shape)) == ("meta", (1, 7, 67, 90))
    return watch.seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_whole_picture_never_leaves_the_device(dtype):
    """A copy to or from the processor would make a CUDA graph of the picture impossible."""
    assert {(device, name) for device, _, name in watched(dtype, WHOLE) if device != "meta"} == set()


@pytest.mark.parametrize("strips", [WHOLE, Strips(20_000, head=20_000)], ids=["whole", "strips"])
def test_no_float64_where_there_is_none(monkeypatch, strips):
    assert {
        name for device, dtype, name in watched(torch.float32, strips) if (device, dtype) == ("meta", torch.float64)
    }
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", {"mps", "meta"})
    seen = watched(torch.float32, strips)
    assert {name for device, dtype, name in seen if (device, dtype) == ("meta", torch.float64)} == set()


@pytest.mark.parametrize(
    ("device", "computes", "multiplies", "chosen"),
    [
        ("cpu", True, True, "bf16"),
        ("cpu", True, False, "fp32"),
        ("cpu", False, False, "fp32"),
        ("cpu", False, True, "fp32"),  # oneDNN was told to leave instructions alone
        ("cuda:0", True, True, "fp32"),
    ],
)
def test_auto_is_bf16_where_a_processor_multiplies_it(monkeypatch, device, computes, multiplies, chosen):
    monkeypatch.setattr(devices, "computes_bf16", lambda: computes)
    monkeypatch.setattr(devices, "multiplies_bf16", lambda: multiplies)
    assert devices.resolve_precision("auto", torch.device(device))[0] == chosen


@pytest.mark.parametrize(("device", "computes"), [("cpu", True), ("cuda:0", False)])
def test_bf16_that_is_slow_or_another_devices_is_not_refused(monkeypatch, device, computes):
    monkeypatch.setattr(devices, "computes_bf16", lambda: computes)
    monkeypatch.setattr(devices, "multiplies_bf16", lambda: False)
    assert devices.resolve_precision("bf16", torch.device(device)) == ("bf16", torch.bfloat16)


def test_bf16_is_refused_exactly_where_it_cannot_be_computed():
    """By this very processor: oneDNN's own error would otherwise come in the middle of a frame."""
    refused = failed = False
    try:
        devices.resolve_precision("bf16", torch.device("cpu"))
    except UsageError:
        refused = True
    x = torch.ones(1, 16, 5, 7, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        convolution = Convolution(nn.Conv2d(16, 16, 3, padding=1), torch.bfloat16)
        try:
            convolution(x, pad_rows=True)
        except RuntimeError:
            failed = True
    assert refused == failed


def test_who_says_what_a_processor_multiplies():
    """By the kernel's own list, where there is one."""
    listed = Path("/proc/cpuinfo")
    if not listed.is_file() or "flags" not in listed.read_text():
        pytest.skip("no list of this processor's instructions")
    flags = next(line for line in listed.read_text().splitlines() if line.startswith("flags")).split()
    assert devices.multiplies_bf16() == bool({"amx_bf16", "avx512_bf16"} & set(flags))
