"""Streamlining: scales, biases, batch norms and quantizers become integer thresholds, exactly.

Every tensor is followed as `scale * integer + shift` a channel, in rational arithmetic, so that
placing a threshold never rounds. Idea: Umuroglu and Jahre, Streamlined Deployment for Quantized
Neural Networks, arXiv:1709.04060; done here by analysis instead of swaps of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm, prod

import numpy as np

from bnnflow import Problem

from ..ir.contract import choices
from ..ir.graph import Graph, Node
from ..ir.ops import (
    Add,
    AddBorder,
    Affine,
    AnyOp,
    Best,
    Bias,
    ChannelsLast,
    Concat,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Pad,
    PiecewiseLinear,
    Quantize,
    Scale,
    Sign,
    Stairs,
    SumPool,
    Threshold,
)
from ..ir.rows import rows_of
from ..ir.tensor import Array, TensorType, frozen
from .curves import curves_of
from .quantizers import Quantizer, ThresholdBounds, bounds_of, float32_rounds, float_ties_text, trimmed, unchanged
from .rationals import (
    ONE,
    ZERO,
    Numbers,
    collapsed,
    common_step,
    floats,
    fractions,
    is_power_of_two,
    is_short,
    quotients,
    spread,
)
from .rewrite import FloatTies, Rewrite, Rewritten
from .scaled import Scaled
from .unquantized import ActivationLevels

# Files hold integers as float32, which is exact up to here.
GREATEST = 2**24
_WIDEST_WEIGHT = 2**15
_WIDEST_INPUT_BITS = 16
_MOST_PAD_STEPS = 16
_MOST_ACTIVATION_LEVELS = 255
# A product of two float32 numbers is off by half of this, and so may be one of its factors.
_FLOAT32_STEP = Fraction(1, 2**23)
_QUANTIZE_FIRST = "put a quantizer in front (Brevitas QuantIdentity or QuantReLU, or a sign)"


@dataclass(frozen=True, slots=True)
class Streamline:
    """Make a float network an integer one.

    Needs: an integer input and integer weights. Removes: `Quantize`, `Sign`, `PiecewiseLinear` and every
    `Affine` but the last, which gives class scores. Exact: in the network's parameters as stored, with
    gain / sqrt(variance + epsilon) taken in float64; sign(0) = +1. Negative gains move into the weights
    of the layer in front, where nothing else reads it, or behind; gains of 0 make constant channels.
    Joined tensors are brought to their greatest common scale. A quantizer that maps neighbouring integers to
    neighbouring levels, as that of an 8-bit image often does, leaves nothing behind, unless `keep_quantizers`
    asks for thresholds all the same, as FINN has them.
    """

    keep_quantizers: bool = False
    name: str = "streamline"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        if graph.input_type.is_float:
            raise Problem("the range of the input is unknown", f"{graph.input!r}", "the input must be an integer image")
        walk = _Walk(graph, self.keep_quantizers)
        for node in _live(graph):
            try:
                walk.step(node)
            except Problem as problem:
                raise problem.at(problem.where or f"{node.name!r}") from problem
        return walk.done()


def _live(graph: Graph) -> list[Node]:
    """The nodes on which the output depends, in order."""
    wanted = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return [node for node in graph.nodes if node.name in wanted]


@dataclass(slots=True)
class _Walk:
    graph: Graph
    keep_quantizers: bool
    rewrite: Rewrite = field(init=False)
    forms: dict[str, Scaled] = field(init=False)

    def __post_init__(self) -> None:
        self.rewrite = Rewrite(self.graph)
        self.forms = {self.graph.input: Scaled(self.graph.input)}

    def step(self, node: Node) -> None:
        """Give the tensor of one old node its form, and emit what makes it."""
        self.rewrite.of(node)
        inputs = [self._input(name) for name in node.inputs]
        x = inputs[0]
        match node.op:
            case ChannelsLast():
                made = replace(x, tensor=self._emit("channels_last", node.op, x))
            case Flatten():
                places = prod(self._kind(x).shape[:-1])
                made = replace(x.tiled(places), tensor=self._emit("flatten", node.op, x), layer="")
            case Affine(scale, shift, divisor):
                gain, bias = collapsed(quotients(scale, divisor)), fractions(shift)
                # A weight scale stands right behind the sums; float programs multiply it into the weights.
                inexact = x.fresh and not all(map(is_power_of_two, gain))
                blurred = x.blurred or (any(bias) and not x.is_exact)
                made = replace(x.affine(gain, bias), rounded=x.rounded or inexact, fresh=False, blurred=blurred)
            case Bias(integers, scale):
                bias = _biases(x, integers, scale)
                blurred = x.blurred or (any(bias) and not x.is_exact)
                made = replace(x.affine(ONE, bias), fresh=False, blurred=blurred)
            case Scale(factor):
                made = replace(x.affine(fractions(factor), ZERO), fresh=False)
            case PiecewiseLinear():
                made = self._bend(node, node.op, x)
            case Sign() | Quantize() | Stairs() | Threshold():
                made = self._quantize(node, node.op, x)
            case AddBorder():
                made = self._border(node.op, self._plain(x))
            case Conv() | Dense():
                made = self._layer(node.op, self._plain(x))
            case Pad(_, value):
                made = self._pad(node.op, x, Fraction(value))
            case MaxPool():
                x = self._rising(x)
                made = replace(x, tensor=self._emit("pool", node.op, x), layer="")
            case SumPool(kernel, _):
                x = self._plain(x)
                area = kernel[0] * kernel[1]
                terms = x.terms * area if x.terms else area
                shift_ = tuple(value * area for value in x.shift)
                tensor, rounded = self._emit("sum_pool", node.op, x), x.rounded or not x.is_exact
                made = replace(x, tensor=tensor, shift=shift_, layer="", terms=terms, rounded=rounded)
            case Add():
                made = self._add(*map(self._plain, inputs))
            case Concat():
                made = self._concat(list(map(self._plain, inputs)))
            case Best():
                made = Scaled(self._emit("best", node.op, self._comparable(x)))
            case _:
                raise Problem(f"operation {type(node.op).__name__} cannot be streamlined")
        self.forms[node.name] = made
        self._match(node.name, made)

    def done(self) -> Rewritten:
        """The new graph, its scores those of the old one."""
        x = self._ordered(self._plain(self.forms[self.graph.output]))
        if (x.scale, x.shift) != (ONE, ZERO):
            x = replace(x, tensor=self._scores(x))
        return self.rewrite.done(x.tensor)

    # -- helpers -----------------------------------------------------------------------------------

    def _kind(self, x: Scaled) -> TensorType:
        return self.rewrite.types[x.tensor]

    def _input(self, name: str) -> Scaled:
        """The form of an old tensor; its layer stays changeable only for a single reader."""
        x = self.forms[name]
        return x if not x.layer or self.graph.uses(name) == 1 else replace(x, layer="")

    def _emit(self, kind: str, op: AnyOp, *sources: Scaled) -> str:
        name = kind if kind in ("channels_last", "scores") and kind not in self.rewrite.types else None
        return self.rewrite.emit(name or self.rewrite.fresh(kind), op, *(x.tensor for x in sources))

    def _scores(self, x: Scaled) -> str:
        return self._emit("scores", Affine(floats(x.scale), floats(x.shift)), x)

    def _match(self, old: str, x: Scaled) -> None:
        """Record old == scale * new + shift where that holds and floats hold both numbers exactly."""
        if x.curves:
            return
        if all(Fraction(float(value)) == value for value in (*x.scale, *x.shift)):
            if x.tensor in self.rewrite.equivalences and self.graph.types[old].is_float:
                return
            self.rewrite.equate(old, x.tensor, floats(x.scale), floats(x.shift))

    def _scaled(self, x: Scaled, factors: Sequence[int]) -> Scaled:
        """The same tensor from integers that are `factors` times as large."""
        values = collapsed(tuple(map(Fraction, factors)))
        if values == ONE:
            return x
        made = self._emit("scale", Scale(np.array([int(value) for value in values], np.int64)), x)
        self._within_bounds(made)
        size = max(len(values), len(x.scale))
        pairs = zip(spread(x.scale, size), spread(values, size), strict=True)
        return replace(x, tensor=made, scale=collapsed(tuple(s / f if f else s for s, f in pairs)), layer="")

    def _within_bounds(self, tensor: str) -> None:
        low, high = self.rewrite.types[tensor].range
        if max(-low, high) > GREATEST:
            raise Problem(
                f"integers up to {max(-low, high):,} would be needed here, which files hold exactly up to 2^24",
                hint="fewer bits of inputs or weights; where tensors are joined, one shared quantizer scale, or a "
                "power of two between theirs",
            )

    def _rising(self, x: Scaled) -> Scaled:
        """Turn channels with a negative scale around: in the layer that makes them, or behind it."""
        kind = self._kind(x)
        if all(scale >= 0 for scale in x.scale):
            return x
        falls = np.array([scale < 0 for scale in spread(x.scale, kind.channels)])
        if not x.layer:
            return self._scaled(x, [-1 if fall else 1 for fall in falls])
        layer = self.rewrite.nodes[x.layer].op
        assert isinstance(layer, Conv | Dense)
        if (weight := _negated(layer.weight, falls)) is None:
            return self._scaled(x, [-1 if fall else 1 for fall in falls])
        self.rewrite.replace(x.layer, replace(layer, weight=frozen(weight)))
        if x.layer in self.rewrite.equivalences:
            known = self.rewrite.equivalences[x.layer]
            self.rewrite.equivalences[x.layer] = replace(known, factor=known.factor * np.where(falls, -1.0, 1.0))
        return replace(x, scale=collapsed(tuple(abs(scale) for scale in x.scale)))

    def _plain(self, x: Scaled) -> Scaled:
        """The tensor without a pending activation, which becomes thresholds that give whole integers."""
        if not x.curves:
            return x
        x = self._rising(x)
        kind = self._kind(x)
        channels = [ActivationLevels.of(*column, kind) for column in x.columns]
        most = max(channel.count for channel in channels)
        if not most:
            what = "an activation gives one value, whatever comes in, on every channel"
            raise Problem(what, hint=f"its limits, or the input, are meant otherwise: {choices()}")
        if most > _MOST_ACTIVATION_LEVELS:
            raise Problem(f"an activation without a quantizer leaves {most + 1:,} values", hint=_QUANTIZE_FIRST)
        table = np.full((len(channels), most), kind.range[1] + 1, np.int64)
        for row, channel, column in zip(table, channels, x.columns, strict=True):
            row[: channel.count] = channel.bounds(*column, kind)
        made = self._emit("relu", Threshold(table, 0, kind.step), x)
        scale = tuple(channel.unit / kind.step for channel in channels)
        shift = tuple(channel.first for channel in channels)
        return replace(x, tensor=made, scale=collapsed(scale), shift=collapsed(shift), curves=(), layer="", loose=False)

    def _comparable(self, x: Scaled) -> Scaled:
        """The tensor with one positive scale and one shift for all channels, as floats where that needs it."""
        x = self._ordered(self._plain(x))
        if len(x.scale) == 1 and x.scale[0] > 0 and len(x.shift) == 1:
            return x
        return Scaled(self._scores(x))

    def _ordered(self, x: Scaled) -> Scaled:
        """Class scores as integers of one scale and shift, so that equal ones are equal floats; x itself where that
        needs integers above `GREATEST`."""
        if len(x.scale) == 1 and len(x.shift) == 1:
            return x
        size = max(len(x.scale), len(x.shift))
        scales, shifts = spread(x.scale, size), spread(x.shift, size)
        step = common_step((*x.scale, *(shift - shifts[0] for shift in shifts)))
        if not step:
            return x
        base = shifts[0] % step
        factors, offsets = [scale / step for scale in scales], [(shift - base) / step for shift in shifts]
        if max(map(abs, factors)) * max(map(abs, self._kind(x).range)) + max(map(abs, offsets)) > GREATEST:
            return x
        made = self._emit("sums", Affine(floats(collapsed(tuple(factors))), floats(collapsed(tuple(offsets)))), x)
        return Scaled(made, (step,), collapsed((base,)))

    # -- operations --------------------------------------------------------------------------------

    def _bend(self, node: Node, op: PiecewiseLinear, x: Scaled) -> Scaled:
        """An activation goes on with the tensor, until a quantizer behind it takes it up."""
        curves = curves_of(op)
        moves = any(s and v for curve in curves for s, v in zip(curve.slopes, curve.intercepts, strict=True))
        blurred = x.blurred or (moves and not x.is_exact)
        jumps = [index for index in range(len(op.closed)) if any(curve.jumps[index] for curve in curves)]
        if jumps:
            # Where float32 may err in whether a value is beyond a jump is to be seen here alone.
            x = self._rising(x)
            places = tuple(tuple(curve.knots[index] for index in jumps) for curve in curves)
            closed = tuple(op.closed[index] for index in jumps)
            steps = Quantizer((0,) * len(jumps), closed, ONE, 0, 1, places)
            self._note_float_ties(
                node, bounds_of(steps, x, self._kind(x), not all(map(is_power_of_two, filter(None, x.gains))))
            )
        return replace(x.bent(curves, *self._kind(x).range), blurred=blurred)

    def _note_float_ties(self, node: Node, bounds: ThresholdBounds) -> None:
        if bounds.channels:
            count = self.graph.types[node.input].channels
            alike = count > 1 and len(bounds.table) == 1
            ties = FloatTies(node.input, bounds.channels, bounds.edges, bounds.widths, alike)
            self.rewrite.float_ties.append(ties)
            self.rewrite.notes.append(float_ties_text(node.name, tuple(range(count)) if alike else bounds.channels))

    def _quantize(self, node: Node, op: Quantize | Sign | Stairs | Threshold, x: Scaled) -> Scaled:
        quantizer = Quantizer.of(op, *x.ends(*self._kind(x).range))
        # Only a step between -1 and +1 is turned around by a sign of what it makes.
        even = len(quantizer.halves) == 1 and 2 * quantizer.low == -quantizer.step
        if x.layer or not even or not self._only_layers_read(node.name):
            x = self._rising(x)
        kind = self._kind(x)
        bounds = bounds_of(quantizer, x, kind, float32_rounds(op, x))
        self._note_float_ties(node, bounds)
        if (
            not self.keep_quantizers
            and not bounds.flips.any()
            and (same := unchanged(quantizer, bounds.table, kind)) is not None
            # A shift per channel would leave no one integer to pad with.
            and len(collapsed(same[1])) == 1
        ):
            return Scaled(x.tensor, collapsed(same[0]), collapsed(same[1]))
        table, low, step = bounds.table, quantizer.low, quantizer.step
        if (low, step, table.shape[1]) == (-1, 1, 2) and not _between(table, kind):
            # A sign that is never 0.
            table, step = table[:, :1], 2
        elif step == 1:
            table, low = trimmed(table, kind, low)
        made = self._emit("sign" if step == 2 else "quantize", Threshold(table, low, step), x)
        polarity = tuple(Fraction(-1 if flip else 1) for flip in bounds.flips)
        units = max(len(polarity), len(quantizer.unit))
        pairs = zip(
            spread(polarity, units) if len(polarity) > 1 else polarity * units,
            spread(quantizer.unit, units),
            strict=True,
        )
        return Scaled(made, collapsed(tuple(sign * unit for sign, unit in pairs)), (quantizer.base,))

    def _only_layers_read(self, tensor: str) -> bool:
        """Whether every way from an old tensor leads straight into a layer, whose weights can take a sign."""
        readers = self.graph.readers(tensor)

        def leads(node: Node) -> bool:
            if isinstance(node.op, Conv | Dense):
                return True
            # A border of 0 is the same with either sign.
            passes = isinstance(node.op, Flatten | Affine) or (isinstance(node.op, Pad) and node.op.value == 0)
            return passes and self._only_layers_read(node.name)

        return tensor != self.graph.output and all(map(leads, readers))

    def _layer(self, op: Conv | Dense, x: Scaled) -> Scaled:
        kind = self._kind(x)
        if kind.bits > _WIDEST_INPUT_BITS:
            raise Problem(f"a layer reads values of {kind.bits} bits", hint=_QUANTIZE_FIRST)
        columns = op.weight.reshape(-1, op.weight.shape[-1])
        step, factors = self._one_scale(x)
        weight = op.weight
        if any(factor != 1 for factor in factors):
            if max(map(abs, factors)) * int(max(-int(columns.min()), int(columns.max()), 1)) >= _WIDEST_WEIGHT:
                raise Problem(
                    "the inputs of a layer have different scales",
                    hint="use one activation scale a tensor, and no batch norm between a quantizer and the next layer",
                )
            wide = np.int8 if set(factors) <= {-1, 0, 1} and int(columns.min()) > -128 else np.int16
            weight = frozen((weight * np.array(factors, np.int16)).astype(np.result_type(weight.dtype, wide)))
        made = self._emit("conv" if isinstance(op, Conv) else "dense", replace(op, weight=weight), x)
        self._within_bounds(made)
        rounded = not is_power_of_two(step) or not all(map(is_short, x.shift))
        return Scaled(made, (step,), _weighted(op.weight, x.shift), (), made, op.weight[0].size, rounded, True)

    def _one_scale(self, x: Scaled) -> tuple[Fraction, list[int]]:
        """The step of which all scales are multiples, and the multiples; (1, [1]) times a sign is free."""
        if len(x.scale) == 1 and x.scale[0] > 0:
            return x.scale[0], [1]
        step = common_step(x.scale) or Fraction(1)
        return step, [int(scale / step) for scale in x.scale]

    def _pad(self, op: Pad, x: Scaled, value: Fraction) -> Scaled:
        places = {curve: curve.place_of(value) for curve in x.curves}
        if None in places.values():
            # The border is beyond what the activation leaves: it has to be absorbed first.
            x = self._plain(x)
        if value or x.shift != ZERO:
            x = self._rising(x)
        codes: set[Fraction | None] = set()
        for scale, shift, curve in x.columns:
            place = curve.place_of(value)
            at = None if place is None else place - shift
            codes.add(at / scale if at is not None and scale else None if at else Fraction(0))
        finest = lcm(*(code.denominator for code in codes if code is not None))
        if len(codes) > 1 or None in codes or finest > _MOST_PAD_STEPS:
            raise Problem(
                f"a border of {float(value):g} is no integer of this tensor, or not the same on all channels",
                hint="pad behind the quantizer, or with a value that the quantizer can give",
            )
        x = self._scaled(x, [finest])
        code = next(iter(codes))
        assert code is not None
        return replace(x, tensor=self._emit("pad", Pad(op.pads, float(code * finest)), x), layer="")

    def _border(self, op: AddBorder, x: Scaled) -> Scaled:
        """Whole numbers a place, in steps of the integers they are added to."""
        x = self._rising(x)
        scales = spread(x.scale, op.values.shape[2])
        steps = [
            Fraction(int(value)) / scale if scale else Fraction(int(value))
            for row in op.values
            for line in row
            for value, scale in zip(line, scales, strict=True)
        ]
        finest = lcm(*(step.denominator for step in steps))
        if any(scale == 0 for scale in scales) or finest > _MOST_PAD_STEPS:
            raise Problem("what is added near a map's edges is no whole multiple of its scale")
        x = self._scaled(x, [finest])
        values = np.array([int(step * finest) for step in steps], np.int64).reshape(op.values.shape)
        made = self._emit("border", replace(op, values=values, pe=1), x)
        self._within_bounds(made)
        return replace(x, tensor=made, layer="", fresh=False)

    def _add(self, a: Scaled, b: Scaled) -> Scaled:
        channels = self._kind(a).channels
        size = max(len(v) for v in (a.scale, b.scale))
        steps, factors = [], ([], [])  # type: tuple[list[Fraction], tuple[list[int], list[int]]]
        for one, other in zip(spread(a.scale, size), spread(b.scale, size), strict=True):
            step = common_step((one, other)) or Fraction(1)
            steps.append(step)
            factors[0].append(int(one / step))
            factors[1].append(int(other / step))
        for x, items in ((a, factors[0]), (b, factors[1])):
            low, high = self._kind(x).range
            if max(map(abs, items)) * max(-low, high) > GREATEST:
                raise Problem(
                    f"the scales of two joined tensors, such as {float(a.scale[0]):.6g} and {float(b.scale[0]):.6g}, "
                    "have no common step that keeps integers below 2^24",
                    hint="give both the same quantizer (in Brevitas one QuantIdentity applied to both branches)",
                )
        sources = [self._scaled(x, items) for x, items in ((a, factors[0]), (b, factors[1]))]
        made = self._emit("add", Add(), *sources)
        self._within_bounds(made)
        shifts = (
            spread(x.shift, channels) if len(x.shift) > 1 or len(y.shift) > 1 else x.shift for x, y in ((a, b), (b, a))
        )
        shift = tuple(h + g for h, g in zip(*shifts, strict=True))
        rounded = a.rounded or b.rounded or not all(map(is_power_of_two, steps))
        blurred = a.blurred or b.blurred or not all(map(is_short, (*a.shift, *b.shift)))
        terms = a.terms + b.terms + 1
        return Scaled(made, collapsed(tuple(steps)), collapsed(shift), terms=terms, rounded=rounded, blurred=blurred)

    def _concat(self, inputs: Sequence[Scaled]) -> Scaled:
        made = self._emit("concat", Concat(), *inputs)
        scale: Numbers = ()
        shift: Numbers = ()
        for x in inputs:
            channels = self._kind(x).channels
            scale, shift = scale + spread(x.scale, channels), shift + spread(x.shift, channels)
        terms, rounded = max(x.terms for x in inputs), any(x.rounded for x in inputs)
        blurred = any(x.blurred for x in inputs)
        return Scaled(made, collapsed(scale), collapsed(shift), terms=terms, rounded=rounded, blurred=blurred)


def _biases(x: Scaled, integers: Array, scale: Array) -> Numbers:
    """A quantized bias, one per channel: whole steps of the sums where its scale is their step as float32 rounds it.

    The scale of such a bias is that of the inputs times that of the weights, stored as one number.
    """
    size = max(integers.size, scale.size, len(x.scale))
    whole = [int(value) for value in np.broadcast_to(integers, size)]
    made = []
    for count, stored, step in zip(whole, spread(fractions(scale), size), spread(x.scale, size), strict=True):
        same = step and abs(stored - step) <= abs(step) * _FLOAT32_STEP
        made.append(count * (step if same else stored))
    return collapsed(tuple(made))


def _between(table: Array, kind: TensorType) -> bool:
    """Whether an integer of a type reaches the first of two bounds and not the second, on any channel."""
    low, high = kind.range
    first, second = (-((low - np.minimum(column, high + kind.step)) // kind.step) for column in table.T)
    return bool(np.any(first != second))


def _negated(weight: Array, rows: Array) -> Array | None:
    """Weights with some rows negated, in a type that holds them; None where none does."""
    if weight[rows].min() == np.iinfo(weight.dtype).min:
        # There is no +128 in int8.
        if weight.dtype != np.int8:
            return None
        weight = weight.astype(np.int16)
    signs = np.where(rows, -1, 1).astype(weight.dtype).reshape((-1,) + (1,) * (weight.ndim - 1))
    return np.asarray(weight * signs)


def _weighted(weight: Array, shifts: Numbers) -> Numbers:
    """Sum over a row of weight * shift of its channel, exactly; one a row."""
    if not any(shifts):
        return ZERO
    if len(shifts) == 1:
        known = rows_of(weight)
        return collapsed(tuple(int(n) * shifts[0] for n in known.positive + known.negative))
    rows = weight.reshape(len(weight), -1, len(shifts)).sum(axis=1, dtype=np.int64)
    below = lcm(*(shift.denominator for shift in shifts))
    whole = np.array([int(shift * below) for shift in shifts], object)
    return collapsed(tuple(Fraction(int(total), below) for total in rows.astype(object) @ whole))
