"""Networks of the user: any torch module of Brevitas layers, named as `package.module:Class`."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bnnflow import Problem

from ..user_code import import_user_module, is_library, sources

_READ = "inputs_read"  # 1 for each input that a layer reads, 0 for those that it takes for 0
_GONE = "is_left_out"  # of a module whose result is taken for 0
_LEFT = "synapses_left"  # of a layer's weight quantizer: 1 for each weight that is there, 0 for removed synapses


@dataclass(frozen=True, slots=True)
class OwnSpec:
    """Which module, made with which arguments, for which images.

    Args:
        target: "package.module:Class"; the class is a torch module that takes pixels (N, C, H, W), float32, whole
            numbers 0 to 255 or what `steps` make of them, and gives class scores (N, classes).
        args: keyword arguments of the class: numbers, strings, lists.
        input_shape, classes: of the images.
        folder: searched for the module before Python's own path; "" for none.
        steps: what is done to pixels before the module sees them, such as over 255 and normalized: scale, shift and
            divisor of value = pixel * scale / divisor + shift one after the other, each one number or one per channel.
        unread: by layer, ascending inputs (channels of a convolution, features of a dense layer) that it takes for 0:
            what pruning removed of the layers in front, as if the weights of these inputs were 0.
        sparse: layers whose quantizers say of each weight whether it is there; removed ones are 0, whatever their
            latent values are. Which these are is a part of the network's state.
        dropped: residual units that are gone: by the module that ends a unit, whose result is taken for 0, the layer
            with weights that the unit begins with.
    """

    target: str
    args: dict[str, Any]
    input_shape: tuple[int, int, int]
    classes: int
    folder: str = field(default="", compare=False)
    steps: tuple[tuple[tuple[float, ...], ...], ...] = ()
    unread: dict[str, tuple[int, ...]] = field(default_factory=dict)
    sparse: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as numbers, strings and lists, fit for JSON; without the folder, which is this machine's."""
        fields = asdict(self)
        fields.pop("folder")
        for key in ("steps", "unread", "sparse", "dropped"):
            if not fields[key]:
                fields.pop(key)
        lists = {key: list(fields[key]) for key in ("input_shape", "sparse") if key in fields}
        return fields | lists


class OwnNetwork(nn.Module):
    """A user's module with what training and export need to know of it.

    Args:
        spec: what to make.
        seed: of torch while the module is made, so that its first weights are the same every time.

    Raises:
        Problem: the module cannot be imported or made, or does not give class scores.
    """

    def __init__(self, spec: OwnSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        made = own_class(spec.target, spec.folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self.body = made(**spec.args)
            except Exception as error:
                hint = f"its arguments are {inspect.signature(made)}"
                raise Problem(f"{spec.target} cannot be made: {error}", key="model.args", hint=hint) from error
        self._leave_unread(spec.unread)
        self._count_synapses(spec.sparse)
        self._leave_out(spec.dropped)
        self.steps = [[torch.tensor(part).view(-1, 1, 1) for part in step] for step in spec.steps]
        self._try()

    def _try(self) -> None:
        training = self.training
        self.eval()
        ran: list[nn.Module] = []
        hooks = [m.register_forward_pre_hook(lambda m, _: ran.append(m)) for _, m in self._by_name()]
        try:
            with torch.no_grad():
                scores = self(torch.zeros(1, *self.spec.input_shape))
        except Problem:
            raise
        except Exception as error:
            what = f"{self.spec.target} does not take images of {list(self.spec.input_shape)}: {error}"
            given = "what model.input makes of pixels" if self.spec.steps else "float pixels 0 to 255"
            raise Problem(what, key="model.arch", hint=f"it is given {given}, batch first") from error
        for hook in hooks:
            hook.remove()
        self._order = {name: ran.index(module) for name, module in self._by_name() if module in ran}
        self._runs = {name: ran.count(module) for name, module in self._by_name()}
        self.train(training)
        if tuple(scores.shape) != (1, self.spec.classes):
            what = f"{self.spec.target} gives {list(scores.shape[1:])} for an image, not {self.spec.classes} scores"
            raise Problem(what, key="model.arch", hint="let its last layer give one score a class")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32 pixels, whole numbers 0 to 255, to (N, classes) scores.

        Raises:
            Problem: the module gives something else than one tensor.
        """
        for scale, shift, divisor in self.steps:
            x = x * scale.to(x) if bool((scale != 1).any()) else x
            x = x / divisor.to(x) if bool((divisor != 1).any()) else x
            x = x + shift.to(x) if bool((shift != 0).any()) else x
        scores = self.body(x)
        value = getattr(scores, "value", scores)
        if not isinstance(value, torch.Tensor):
            when = "in training" if self.training else "in eval mode"
            what = f"{self.spec.target} gives a {type(value).__name__} {when}, not a tensor of scores"
            raise Problem(what, key="model.arch", hint="let forward give one score a class, and nothing else")
        return value

    def runs(self, layer: str) -> int:
        """How often a convolution or dense layer runs for one batch."""
        return self._runs[layer]

    def without(self, unread: Mapping[str, tuple[int, ...]]) -> OwnNetwork:
        """A copy of the network whose layers take these inputs for 0, and no others; see `OwnSpec.unread`."""
        made = copy.deepcopy(self)
        made.spec = replace(self.spec, unread={name: inputs for name, inputs in unread.items() if inputs})
        made._leave_unread(made.spec.unread)
        return made

    def with_synapses(self, left: Mapping[str, torch.Tensor]) -> OwnNetwork:
        """A copy of the network with only some of its synapses; see `OwnSpec.sparse`.

        Args:
            left: bool in the shape of the weights, by the name of a layer with a weight quantizer; what is gone already
                stays gone.
        """
        made = copy.deepcopy(self)
        made.spec = replace(self.spec, sparse=tuple(sorted({*self.spec.sparse, *left})))
        made._count_synapses(made.spec.sparse)
        with torch.no_grad():
            for name, there in made.synapses_left().items():
                if name in left:
                    there.mul_(left[name].to(there))
        return made

    def synapses_left(self) -> dict[str, torch.Tensor]:
        """For each layer of `OwnSpec.sparse` 1 for every weight that is there and 0 for others, in their shape."""
        return {name: getattr(layer.weight_quant, _LEFT) for name, layer in self._by_name() if name in self.spec.sparse}

    def without_units(self, dropped: Mapping[str, str]) -> OwnNetwork:
        """A copy of the network without some residual units, and those that are gone already; `OwnSpec.dropped`."""
        made = copy.deepcopy(self)
        made.spec = replace(self.spec, dropped={**self.spec.dropped, **dropped})
        made._leave_out(made.spec.dropped)
        return made

    def _leave_out(self, modules: Collection[str]) -> None:
        for name, module in self.body.named_modules():
            if name in modules and not hasattr(module, _GONE):
                module.register_forward_hook(_as_zero)
            if hasattr(module, _GONE) or name in modules:
                setattr(module, _GONE, name in modules)

    def whole(self) -> OwnNetwork:
        """A copy of the network whose layers read all and have all of their synapses, with all of its units."""
        made = self.without({})
        made.spec = replace(made.spec, sparse=(), dropped={})
        made._leave_out(())
        for _, layer in made._by_name():
            if hasattr(getattr(layer, "weight_quant", None), _LEFT):
                setattr(layer.weight_quant, _LEFT, None)
        return made

    def _count_synapses(self, sparse: Sequence[str]) -> None:
        for name, layer in self._by_name():
            if name in sparse and getattr(layer.weight_quant, _LEFT, None) is None:
                quantizer = layer.weight_quant
                assert isinstance(quantizer, nn.Module)
                if not hasattr(quantizer, _LEFT):
                    quantizer.register_buffer(_LEFT, None)
                    quantizer.register_forward_hook(_without_removed)
                setattr(quantizer, _LEFT, torch.ones_like(layer.weight.detach()))

    def _leave_unread(self, unread: Mapping[str, tuple[int, ...]]) -> None:
        for name, layer in self._by_name():
            if name not in unread and not hasattr(layer, _READ):
                continue
            if not hasattr(layer, _READ):
                layer.register_buffer(_READ, None, persistent=False)
                layer.register_forward_pre_hook(_read_some)
            size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
            mask = None
            if name in unread:
                mask = torch.ones(size, device=layer.weight.device)
                mask[list(unread[name])] = 0.0
            setattr(layer, _READ, mask)

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module of every convolution and dense layer, in the order in which they first run.

        Those that never run come first, so that the last one gives the scores.
        """
        return sorted(self._by_name(), key=lambda found: self._order.get(found[0], -1))

    def _by_name(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        return [(name, m) for name, m in self.body.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def _read_some(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A hook in front of a layer: inputs that are left unread become 0."""
    mask = getattr(layer, _READ)
    return None if mask is None else with_inputs_scaled(layer, inputs, mask)


def _without_removed(quantizer: nn.Module, _inputs: tuple[Any, ...], made: Any) -> Any:
    """A hook behind a weight quantizer: removed synapses are 0, and have no gradient."""
    left = getattr(quantizer, _LEFT)
    if left is None:
        return made
    value = getattr(made, "value", made)
    kept = value * left.to(value.dtype)
    return made.set(value=kept) if hasattr(made, "set") and hasattr(made, "scale") else kept


def _as_zero(module: nn.Module, _inputs: tuple[Any, ...], made: Any) -> Any:
    """A hook behind the last module of a residual unit: what is dropped adds 0."""
    if not getattr(module, _GONE):
        return made
    zeros = torch.zeros_like(getattr(made, "value", made))
    return made.set(value=zeros) if hasattr(made, "set") and hasattr(made, "scale") else zeros


def with_inputs_scaled(layer: nn.Module, inputs: tuple[Any, ...], factors: torch.Tensor) -> tuple[Any, ...]:
    """What a layer is called with, its maps or features times a factor each.

    Args:
        layer: a convolution or dense layer.
        inputs: of a forward pre-hook: the layer's input, a tensor or Brevitas' QuantTensor, and what else it is given.
        factors: (channels,) of a convolution, (features,) of a dense layer.
    """
    x, *others = inputs
    value = getattr(x, "value", x)
    read = value * (factors if isinstance(layer, nn.Linear) else factors.view(-1, 1, 1)).to(value.dtype)
    # A QuantTensor stays one, for layers whose bias is quantized by its scale.
    return (x.set(value=read) if hasattr(x, "set") and hasattr(x, "scale") else read, *others)


def own_class(target: str, folder: str = "") -> type[nn.Module]:
    """The torch module class that `target` names.

    Raises:
        Problem: there is no such module or class, or it is no torch module.
    """
    module_name, _, class_name = target.partition(":")
    module = import_user_module(module_name, folder, "model.arch")
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        classes = [n for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, nn.Module)]
        hint = f"its torch modules: {', '.join(classes)}" if classes else "name a subclass of torch.nn.Module"
        raise Problem(f"{class_name!r} in {module_name} is no torch module", key="model.arch", hint=hint)
    return found


def code_digest(spec: OwnSpec) -> str:
    """sha256 (hexadecimal) of the files that define a class, those that it inherits from, and what these import.

    Libraries are left out. The same weights are another network where the code around them changed.

    Raises:
        Problem: as `own_class`.
    """
    total = hashlib.sha256()
    kinds = [kind for kind in own_class(spec.target, spec.folder).__mro__ if not is_library(kind.__module__)]
    files = {kind.__module__: Path(path) for kind in kinds if (path := inspect.getsourcefile(kind))}
    files |= sources(files)
    # By names and contents: the same code in another folder is the same network.
    for name, file in sorted(files.items()):
        total.update(name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
