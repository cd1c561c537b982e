"""What Brevitas exports, by either exporter of torch, computes in the graph what it computes in torch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from bnnflow.sim import reference
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.standard import to_standard
from tests.transforms.onnx_files import by_onnxruntime

torch = pytest.importorskip("torch")


def _residual_network():  # type: ignore[no-untyped-def]
    import brevitas.nn as qnn
    from torch import nn

    class Residual(nn.Module):
        """4-bit weights and activations, a padded convolution, one quantizer on both sides of a sum."""

        def __init__(self) -> None:
            super().__init__()
            self.image = qnn.QuantIdentity(bit_width=8, return_quant_tensor=True)
            self.first = qnn.QuantConv2d(3, 8, 3, padding=1, bias=False, weight_bit_width=4)
            self.norm = nn.BatchNorm2d(8)
            self.act = qnn.QuantReLU(bit_width=4, return_quant_tensor=True)
            kind = {"weight_bit_width": 4, "weight_scaling_per_output_channel": True}
            self.second = qnn.QuantConv2d(8, 8, 3, padding=1, bias=True, **kind)
            self.pool = nn.MaxPool2d(2)
            self.after = qnn.QuantReLU(bit_width=4, return_quant_tensor=True)
            self.average = qnn.TruncAvgPool2d(kernel_size=2, bit_width=4, float_to_int_impl_type="floor")
            self.scores = qnn.QuantLinear(32, 5, bias=True, weight_bit_width=4)

        def forward(self, x):  # type: ignore[no-untyped-def]
            x = self.act(self.norm(self.first(self.image(x))))
            x = x + self.act(self.second(x))
            x = self.average(self.after(self.pool(getattr(x, "value", x))))
            return self.scores(torch.flatten(getattr(x, "value", x), 1))

    torch.manual_seed(0)
    network = Residual()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 8, 8))
    return network.eval()


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 11), (False, 13), (True, 18)])
def test_exports_of_brevitas(tmp_path: Path, dynamo: bool, opset: int) -> None:
    from brevitas.export import export_qonnx

    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = _residual_network()
        export_qonnx(network, torch.randn(1, 3, 8, 8), str(path), dynamo=dynamo, opset_version=opset)
        x = torch.randn(4, 3, 8, 8)
        with torch.no_grad():
            wanted = network(x)
    wanted = np.asarray(getattr(wanted, "value", wanted))
    graph = read(path)
    np.testing.assert_allclose(reference.run(graph, x.numpy())[graph.output], wanted, atol=1e-5)
    np.testing.assert_allclose(by_onnxruntime(to_standard(onnx.load(str(path))), x.numpy()), wanted, atol=1e-5)
