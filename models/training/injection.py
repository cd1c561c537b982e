"""Wrong bits in a network of torch modules: behind the quantizers of weights, and on the outputs of activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from brevitas.nn.quant_layer import QuantNonLinearActLayer
from torch import Tensor, nn
from torch.nn import functional

from bnnflow import Problem

from ..networks.signs import BinarySign, SurrogateSign
from .bit_errors import BitErrors
from .evaluate import AnyNetwork

MemoriesOf = Callable[[AnyNetwork], "Memories"]
"""What the hardware of a network holds of its weights."""

CLEAR, SET, FLIP = 0, 1, 2
_DRAW = 31

Importance = Callable[[AnyNetwork], Mapping[str, np.ndarray]]
"""Scores of a network's filters by layer, (filters,) each, high for important ones; layers may be missing."""


@dataclass(frozen=True, slots=True)
class WrongBits:
    """The wrong bits of a layer's weights on one device.

    Attributes:
        index: (n,) int64, weight * bits + bit: weights in torch's order, the least significant bit first.
        effect: (n,) uint8: CLEAR, the bit is read as 0; SET, as 1; FLIP, as the opposite.
    """

    index: np.ndarray
    effect: np.ndarray


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds behind a batch norm as the hardware stores them, one for each channel.

    Attributes:
        values: (channels,) int64.
        held: (channels,) int64, what is stored for each: of those that no sum reaches, the nearest that does as much.
        bits: of each.
        signed: whether they are stored in two's complement.
        slopes: (channels,) float32, how far the norm's input moves where a threshold is one more.
    """

    values: np.ndarray
    held: np.ndarray
    bits: int
    signed: bool
    slopes: np.ndarray


@dataclass(frozen=True, slots=True)
class Memories:
    """What the hardware's memories make of a network's weights.

    Attributes:
        signs: of a network as it is, by layer: +1 where a weight is stored, -1 where its negative is, int8 of the
            weights' shape. Compilation moves negative gains of batch norms into weights.
        inputs: by layer, what a wrong weight is multiplied by less what the layer has as its input, float32 of the
            padded input's shape, (C, H, W) or (inputs,); missing where that is 0. Hardware holds pixels as they are,
            and their shift in thresholds; behind a border that stands for 0 it corrects the sums of the right weights.
        thresholds: of a network as it is, by the path of the batch norm in front of them.
        wrong: wrong bits by layer, and of thresholds by the path of their batch norm, channel * bits + bit, in place of
            drawn ones; None: they are drawn.
        key: tells them from others.
    """

    signs: Callable[[AnyNetwork], Mapping[str, np.ndarray]]
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    thresholds: Callable[[AnyNetwork], Mapping[str, Thresholds]] = lambda network: {}
    wrong: Mapping[str, WrongBits] | None = None
    key: str = ""


class Through(torch.autograd.Function):
    """Other values forward; the gradient as if they were the same."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor) -> Tensor:
        """The other values."""
        return other

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The gradient as it comes."""
        return grads[0], None


class Injection:
    """Wrong bits in a network while it is in training mode; made by `injected`.

    Attributes:
        always: in eval mode, too.
    """

    def __init__(
        self,
        network: AnyNetwork,
        spec: BitErrors,
        seed: int,
        importance: Importance | None,
        memories: Memories | None,
    ) -> None:
        if spec.guide and importance is None:
            raise Problem("guided bit errors need scores of the filters", key="guide", hint="leave guide out")
        if memories is None and not spec.weights.symmetric:
            what = "0 and 1 are wrong at different rates, and what the hardware stores of the weights is not known"
            raise Problem(what, key="weights", hint="give one rate for both")
        if memories is None and spec.thresholds:
            raise Problem("what thresholds the hardware stores is not known", key="thresholds", hint="leave them out")
        self.network, self.spec, self.seed = network, spec, seed
        self.importance, self.memories = importance, memories
        self.always = False
        self._layers = dict(network.weight_layers())
        self._rates: dict[str, tuple[Tensor, Tensor]] = {}
        self._relative: dict[str, np.ndarray] = {}
        self._signs: dict[str, Tensor] = {}
        self._thresholds: Mapping[str, Thresholds] = {}
        self._epoch, self._factor = 0, 1.0
        self._draws: dict[str, torch.Generator] = {}
        self._errors: Tensor | None = None
        self._in_layer = self._behind_weights = False

    def begin(self, epoch: int) -> None:
        """Take up rates, scores, signs and seeds of an epoch, counted from 0; leaves the network in eval mode."""
        spec, network = self.spec, self.network.eval()
        self._epoch, self._draws = epoch, {}
        self._factor = spec.ramp(epoch)
        again = epoch % spec.guide_epochs == 0 if spec.guide_epochs else epoch == 0
        if self.importance is not None and spec.guide and again:
            self._relative = {name: spec.shares(np.asarray(one)) for name, one in self.importance(network).items()}
        if self.memories is not None and self._directed():
            found = self.memories.signs(network)
            self._signs = {name: torch.from_numpy(signs) for name, signs in found.items()}
        if self.memories is not None and (
            spec.thresholds or not self._layers.keys() >= (self.memories.wrong or {}).keys()
        ):
            self._thresholds = self.memories.thresholds(network)
        for name, layer in self._layers.items():
            self._rates[name] = (self._rate(name, layer, spec.weights.up), self._rate(name, layer, spec.weights.down))

    def _directed(self) -> bool:
        """Whether it matters what the hardware stores: where both directions, or a number's bits, are not alike."""
        fixed = self.memories is not None and self.memories.wrong is not None
        several = any(int(layer.weight_quant.bit_width()) > 1 for layer in self._layers.values())  # type: ignore[union-attr,operator]
        return fixed or not self.spec.weights.symmetric or several

    def state(self) -> dict[str, Any]:
        """What later epochs take over from earlier ones."""
        return {name: torch.from_numpy(shares) for name, shares in self._relative.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self._relative = {name: shares.numpy() for name, shares in state.items()}

    def _rate(self, name: str, layer: nn.Conv2d | nn.Linear, mean: float) -> Tensor:
        rates = np.array(mean * self._factor)
        if name in self._relative:
            rates = self.spec.rates(self._relative[name], mean * self._factor)
            rates = rates.reshape(-1, *(1,) * (layer.weight.dim() - 1))
        return torch.as_tensor(rates, dtype=torch.float32, device=layer.weight.device)

    def _generator(self, place: str, frozen: bool, device: torch.device) -> torch.Generator:
        """Of what is drawn at a place: one an epoch, or the same again each time."""
        if frozen or place not in self._draws:
            words = (self.seed, *place.encode(), 0 if frozen else self._epoch + 1, _DRAW)
            seed = int(np.random.default_rng(words).integers(2**62))
            self._draws[place] = torch.Generator(device=device).manual_seed(seed)
        return self._draws[place]

    def weights(self, name: str, quantized: Any) -> Any:
        """A layer's quantized weights, as Brevitas gives them, with the wrong bits."""
        if not (self._in_layer and (self.network.training or self.always)):
            return quantized
        wrong = (self.memories.wrong or {}) if self.memories is not None else {}
        up, down = self._rates[name]
        signs = self._signs.get(name)

        def read(codes: Tensor, bits: int) -> Tensor:
            if self.memories is not None and self.memories.wrong is not None:
                return _with(codes, bits, wrong[name]) if name in wrong else codes
            if not self.spec.weights:
                return codes
            draws = self._generator(name, self.spec.draw == "frozen", codes.device)
            return _drawn(codes, bits, up, down, draws)

        made = _changed(quantized, read, None if signs is None else signs.to(quantized.value.device))
        if self.memories is not None and name in self.memories.inputs:
            self._errors = (made.value - quantized.value).detach()
        return made

    def activations(self, place: str, values: Tensor) -> Tensor:
        """Signs, +1 and -1, with the wrong bits."""
        if not self._hits():
            return values
        chance = torch.rand(values.shape, generator=self._generator(place, False, values.device), device=values.device)
        with torch.no_grad():
            other = torch.where(chance < self.spec.activations * self._factor, -values, values)
        changed: Tensor = Through.apply(values, other)
        return changed

    def normed(self, place: str, norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
        """What a batch norm gives, moved as wrong thresholds behind it move what they compare with."""
        known = self._thresholds.get(place)
        if known is None or not (self.network.training or self.always):
            return values
        codes = torch.from_numpy(known.held & ((1 << known.bits) - 1)).to(values.device)
        wrong = (self.memories.wrong or {}) if self.memories is not None else {}
        if self.memories is not None and self.memories.wrong is not None:
            found = _with(codes, known.bits, wrong[place]) if place in wrong else codes
        else:
            rate = torch.tensor(self.spec.thresholds * self._factor, device=codes.device)
            draws = self._generator(place, self.spec.draw == "frozen", codes.device)
            found = _drawn(codes, known.bits, rate, rate, draws)
        wrong_ones = found != codes
        if known.signed:
            found = found - ((found >> (known.bits - 1)) << known.bits)
        further = (found - torch.from_numpy(known.values).to(values.device)).float() * wrong_ones
        assert norm.running_var is not None
        moved = torch.from_numpy(known.slopes).to(values.device) * further
        moved = (moved * norm.weight * torch.rsqrt(norm.running_var + norm.eps)).detach()
        return values - moved.reshape(1, -1, *(1,) * (values.dim() - 2)).to(values.dtype)

    def codes(self, place: str, quantized: Any) -> Any:
        """Quantized activations, as Brevitas gives them, with the wrong bits."""
        if not self._hits():
            return quantized
        rate = torch.tensor(self.spec.activations * self._factor, device=quantized.value.device)
        draws = self._generator(place, False, quantized.value.device)
        return _changed(quantized, lambda codes, bits: _drawn(codes, bits, rate, rate, draws))

    def _hits(self) -> bool:
        return self._behind_weights and self.spec.activations > 0 and (self.network.training or self.always)

    def at_input(self, *_: Any) -> None:
        """A forward pass begins."""
        self._behind_weights = False

    def into_weights(self, *_: Any) -> None:
        """The pass has come to a layer with weights: what quantizers give from now on is no input any more."""
        self._in_layer = self._behind_weights = True

    def out_of_weights(self, name: str, layer: nn.Conv2d | nn.Linear, sums: Tensor) -> Tensor:
        """A layer's sums, as wrong weights make them of what the hardware multiplies them by.

        Who else asks its quantizer for anything from now on gets what it is.
        """
        self._in_layer, errors, self._errors = False, self._errors, None
        if errors is None:
            return sums
        assert self.memories is not None
        given = torch.from_numpy(self.memories.inputs[name]).to(errors)
        if isinstance(layer, nn.Linear):
            return sums + functional.linear(given[None], errors).to(sums.dtype)
        convolved = functional.conv2d(given[None], errors, None, layer.stride, 0, layer.dilation, layer.groups)
        return sums + convolved.to(sums.dtype)


def _changed(quantized: Any, read: Callable[[Tensor, int], Tensor], signs: Tensor | None = None) -> Any:
    """A tensor of Brevitas whose stored codes are read differently: of one bit 0 and 1, of more 0 to 2^bits - 1."""
    value: Tensor = quantized.value
    with torch.no_grad():
        bits = int(quantized.bit_width)
        stored = value if signs is None else value * signs
        if bits == 1 and bool(quantized.signed):
            codes = (stored > 0).int()
            other = torch.where(read(codes, 1) != codes, -value, value)
        else:
            if bool(quantized.zero_point.any()):
                raise Problem("bit errors of numbers whose zero is not 0", "bit errors", "use symmetric quantizers")
            codes = torch.round(stored / quantized.scale).int() & ((1 << bits) - 1)
            found = read(codes, bits)
            if bool(quantized.signed):
                found = found - ((found >> (bits - 1)) << bits)
            exact = (found * quantized.scale).to(value.dtype)
            hit = (found - codes) & ((1 << bits) - 1) != 0
            other = torch.where(hit, exact if signs is None else exact * signs, value)
    return quantized.set(value=Through.apply(value, other))


def _drawn(codes: Tensor, bits: int, up: Tensor, down: Tensor, draws: torch.Generator) -> Tensor:
    """Codes whose bits are wrong with the chances `up` (where 0) and `down` (where 1)."""
    same = torch.equal(up, down)
    for bit in range(bits):
        chance = torch.rand(codes.shape, generator=draws, device=codes.device)
        wrong = chance < (up if same else torch.where((codes >> bit) & 1 > 0, down, up))
        codes = codes ^ (wrong.int() << bit)
    return codes


def _with(codes: Tensor, bits: int, wrong: WrongBits) -> Tensor:
    """Codes with the wrong bits of a device."""
    made = codes.flatten()
    where = torch.as_tensor(wrong.index // bits, device=codes.device)
    place = torch.as_tensor(1 << (wrong.index % bits), dtype=made.dtype, device=codes.device)
    effect = torch.as_tensor(wrong.effect, device=codes.device)

    def mask(kind: int) -> Tensor:
        return torch.zeros_like(made).index_add_(0, where[effect == kind], place[effect == kind])

    return ((made & ~mask(CLEAR) | mask(SET)) ^ mask(FLIP)).reshape(codes.shape)


@contextmanager
def injected(
    network: AnyNetwork,
    spec: BitErrors,
    seed: int = 0,
    importance: Importance | None = None,
    memories: Memories | None = None,
) -> Iterator[Injection]:
    """Within, weights and activations of a network in training mode have wrong bits, from `Injection.begin` on.

    Weights are wrong as they leave their quantizer, so that it is stored bits that are wrong, and latent weights get
    their gradients. Errors of weights are the same for all images of a batch, those of activations of each image's own.

    Args:
        network: whose layers and activations are Brevitas'.
        spec: how many.
        seed: of what is drawn, which depends on it, the epoch and the place alone.
        importance: scores of filters, for guided errors.
        memories: of the hardware; for rates that differ between 0 and 1, and for the errors of one device.

    Raises:
        Problem: the spec asks for scores or memories that are not given, or a layer has no quantizer of its own.
    """
    made = Injection(network, spec, seed, importance, memories)
    with ExitStack() as hooks:

        def on(module: nn.Module, hook: Callable[..., Any], before: bool = False) -> None:
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            hooks.callback(register(hook).remove)

        on(network, made.at_input, before=True)
        for name, layer in network.weight_layers():
            quantizer = getattr(layer, "weight_quant", None)
            if quantizer is None:
                raise Problem("a layer without quantized weights has no bits to be wrong", name, "use Brevitas' layers")
            on(quantizer, lambda _m, _in, out, name=name: made.weights(name, out))
            on(layer, made.into_weights, before=True)
            on(layer, lambda module, _in, out, name=name: made.out_of_weights(name, module, out))
        surrogates = [one for one in network.modules() if isinstance(one, SurrogateSign)]
        inner = {id(one.sign) for one in surrogates}
        for place, module in network.named_modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                on(module, lambda norm, _in, out, place=place: made.normed(place, norm, out))
            if isinstance(module, SurrogateSign) or (isinstance(module, BinarySign) and id(module) not in inner):
                on(module, lambda _m, _in, out, place=place: made.activations(place, out))
            elif isinstance(module, QuantNonLinearActLayer) and id(module) not in inner:
                on(module.act_quant, lambda _m, _in, out, place=place: made.codes(place, out))
        yield made
