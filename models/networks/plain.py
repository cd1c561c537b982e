"""Networks of plain torch modules: what tools that look inside a network ask of it, and of modules that torch lacks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Quantizer(nn.Module):
    """Gives every number one of a few levels; in eval mode, too, it has a stand-in gradient."""


class Bend(nn.Module):
    """A function of every number by itself that is not linear, with a gradient of its own."""


class Scaling(nn.Module):
    """A product and a sum, of a channel or of all."""


class Pooling(nn.Module):
    """Sums over windows of a map."""


class Adding(nn.Module):
    """Adds several tensors."""


class Border(nn.Module):
    """Puts a border around maps."""


class GainNorm(nn.BatchNorm2d):
    """A batch norm whose factor is not its `weight`."""

    def gain(self) -> Tensor:
        """(channels,), what normalized values are multiplied by."""
        raise NotImplementedError


def gain(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """(channels,), what a batch norm multiplies normalized values by."""
    return norm.gain() if isinstance(norm, GainNorm) else norm.weight


class PlainNetwork(nn.Module):
    """A network of modules that hide nothing, always in eval mode, without gradients of its weights.

    Layers are torch's `Conv2d` and `Linear` and hold the weights that are computed with; batch norms, max and average
    pools and activations are torch's; other modules are of the classes above, or linear.

    Args:
        body: images to (images, classes) scores.
        input_shape: of an image.
        paths: of each layer with weights, from input to output: its name and the name of its module in `body`.
    """

    def __init__(self, body: nn.Module, input_shape: tuple[int, ...], paths: Mapping[str, str]) -> None:
        super().__init__()
        self.body = body
        self.input_shape = input_shape
        self.paths = dict(paths)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(images, *input shape) to (images, classes) scores."""
        scores: Tensor = self.body(x)
        return scores

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module (Conv2d or Linear) of every layer with weights, from input to output."""
        modules = [(name, self.body.get_submodule(path)) for name, path in self.paths.items()]
        return [(name, module) for name, module in modules if isinstance(module, nn.Conv2d | nn.Linear)]

    def hidden_layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The layers whose filters other layers read, by name: all but the last."""
        return dict(self.weight_layers()[:-1])

    def label(self, path: str) -> str:
        """What users call the module `path`."""
        return path.removeprefix("body.")

    @property
    def trunk(self) -> set[str]:
        """Paths of modules through whose outputs every path from input to scores goes; empty where none is known."""
        return set()

    @property
    def joins(self) -> dict[str, str]:
        """Those of the trunk that join paths: name and path."""
        return {}

    def with_sums(self) -> PlainNetwork:
        """This network, its scores now the last sums themselves where one scale and shift stands behind them all."""
        return self

    def tail(self, path: str, x: Tensor) -> tuple[nn.Module, Tensor, str]:
        """A part of the network that holds the module `path`, what it is given for `x`, and the module's path in it."""
        return self, x, path
