"""FINN's folding files on dataflow graphs: every word of a file is taken, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from bnnflow import Problem

from ..transforms.ir.choices import CHOICES, choices_of
from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import AnyOp, FMPadding, Mvau, Pool, SlidingWindow, Thresholding, Unit
from ..transforms.writing.units import unit_node
from .finn_attributes import FIFO_ATTRIBUTES, Known, Name, inserted_attributes, known_attributes, taken_apart
from .finn_reports import unit_names
from .schedule import divisors, whole

FOLDED = ("PE", "SIMD")
_ALL = "all"
# Units that FINN has in both forms, at one cost.
_EITHER_FORM = {"FMPadding"}


MISFIT = "PE, SIMD"
"""`Problem.key` of a folding whose PE or SIMD does not divide a size of the graph."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A folding file on a graph.

    Attributes:
        graph: folded.
        fifos: what the file says of FIFOs: unit's name to its `inFIFODepths` and `outFIFODepths`, and the numbered
            `StreamingFIFO` entries.
        idle: attributes that the file sets to other values than FINN's defaults, and that change no estimate.
        at_one: what the file leaves out though it states Defaults, empty ones: FINN then takes 1.
    """

    graph: Graph
    fifos: Mapping[str, Any]
    idle: tuple[str, ...]
    at_one: tuple[str, ...] = ()


@dataclass(slots=True)
class _Unit:
    """One unit with what a file says of it."""

    finn: str
    node: Node
    parts: Name
    settings: dict[str, Any] = field(default_factory=dict)
    named: str = ""
    form: str = ""
    fixed: dict[str, Any] | None = None


def apply_folding(graph: Graph, config: Mapping[str, Any], finn_plus: bool = False, rest: Graph | None = None) -> Graph:
    """The dataflow graph folded by a FINN folding file: see `read_folding`."""
    return read_folding(graph, config, finn_plus, rest).graph


def read_folding(
    graph: Graph, config: Mapping[str, Any], finn_plus: bool = False, rest: Graph | None = None
) -> Applied:
    """Fold a dataflow graph by a FINN folding file.

    Args:
        graph: dataflow level.
        config: {"Defaults": {attribute: [value, ["all" or operators], ...]}, unit: {attribute: value}}; units bear
            FINN's positional names: MVAU_hls_0, or MVAU_0, MatrixVectorActivation_0, StreamingFCLayer_Batch_0.
        finn_plus: units bear the names of finn-plus.
        rest: the same graph folded otherwise; what the file leaves out is folded as there. Without it, each PE and SIMD
            must be stated, of the unit or by Defaults; a file whose Defaults are there and empty leaves the rest at
            FINN's own 1.

    Raises:
        Problem: a unit that the graph has not, an attribute that a unit has not, a value that it cannot have, or a PE
            or SIMD left out; it names them all.
    """
    return _Reading(graph if rest is None else rest, config, finn_plus, rest is not None).applied()


class _Reading:
    def __init__(self, graph: Graph, config: Mapping[str, Any], finn_plus: bool, partial: bool) -> None:
        self.graph, self.config, self.partial, self.finn_plus = graph, config, partial, finn_plus
        self.faults: list[str] = []
        self.misfit = False
        self.left_out: list[str] = []
        self.at_one: list[str] = []
        self.idle: dict[str, None] = {}
        self.fifos: dict[str, Any] = {}
        self.units = [
            _Unit(finn, graph.node(ours), taken_apart(finn)) for ours, finn in unit_names(graph, finn_plus).items()
        ]

    def applied(self) -> Applied:
        """The folded graph, or a Problem that lists all that does not fit."""
        stated = {name: value for name, value in self.config.items() if name != "Defaults"}
        for name, value in stated.items():
            if not isinstance(value, Mapping):
                self.faults.append(f"{name!r} is not a mapping of attributes")
        self._name_units({name: value for name, value in stated.items() if isinstance(value, Mapping)})
        self._defaults(self.config.get("Defaults", {}))
        nodes = {node.name: node for node in self.graph.nodes}
        for unit in self.units:
            nodes[unit.node.name] = replace(unit.node, op=self._folded(unit))
        self._pools(nodes)
        self._refuse()
        return Applied(
            self.graph.with_nodes(tuple(nodes[node.name] for node in self.graph.nodes)),
            self.fifos,
            tuple(self.idle),
            tuple(self.at_one),
        )

    # -- whom a name means -------------------------------------------------------------------------

    def _name_units(self, stated: Mapping[str, Mapping[str, Any]]) -> None:
        names = {name: taken_apart(name) for name in stated}
        forms: dict[str, set[str]] = {}
        for parts in names.values():
            forms.setdefault(parts.kind, set()).add(parts.form)
        mixed = {kind for kind, found in forms.items() if len(found - {""}) > 1 and len(self._forms(kind)) == 1}
        for kind in sorted(mixed):
            self.faults.append(
                f"{kind}_hls and {kind}_rtl in one file: FINN numbers each on its own, the graph has {kind} in one form"
            )
        for name, settings in stated.items():
            parts = names[name]
            inserted = inserted_attributes(parts.kind)
            if inserted is not None:
                self._inserted(name, parts, inserted, settings)
            elif parts.kind not in mixed:
                unit = self._meant(name, parts)
                if unit is not None:
                    unit.named, unit.form = name, parts.form
                    unit.settings = dict(settings)

    def _forms(self, kind: str) -> set[str]:
        return {unit.parts.form for unit in self.units if unit.parts.kind == kind}

    def _meant(self, name: str, parts: Name) -> _Unit | None:
        of_kind = [unit for unit in self.units if unit.parts.kind == parts.kind]
        if len(self._forms(parts.kind)) > 1:
            of_kind = [unit for unit in of_kind if unit.parts.form == parts.form]
        if not 0 <= parts.number < len(of_kind):
            close = get_close_matches(name, [unit.finn for unit in self.units], 1)
            near = f" ({close[0]}?)" if close else ""
            if parts.kind == "LabelSelect" and not of_kind:
                near = " (this graph ends in class scores: compile it with --top-k 1)"
            self.faults.append(f"no unit is named {name!r}{near}")
            return None
        unit = of_kind[parts.number]
        if unit.named:
            self.faults.append(f"{unit.named} and {name} are one unit")
            return None
        return unit

    def _inserted(self, name: str, parts: Name, known: Mapping[str, Known], settings: Mapping[str, Any]) -> None:
        """An entry of a node that FINN puts between units after folding."""
        for key, value in settings.items():
            if key not in known:
                self.faults.append(f"{name} has no attribute {key!r}{_near(key, known)}")
            elif not known[key].fits(value):
                self.faults.append(f"{key} {value!r} of {name} must be {known[key].told}")
        if parts.kind == "StreamingFIFO" and "depth" in settings:
            self.fifos[f"StreamingFIFO_{parts.number}"] = {"depth": settings["depth"]}

    # -- defaults ----------------------------------------------------------------------------------

    def _defaults(self, defaults: Any) -> None:
        if not isinstance(defaults, Mapping):
            self.faults.append("Defaults is not a mapping of attributes")
            return
        known = {key for unit in self.units for key in self._attributes(unit)}
        known |= {choice.attribute for choices in CHOICES.values() for choice in choices} | {*FOLDED, "depth"}
        for key, stated in defaults.items():
            if not isinstance(stated, list) or not stated or len(stated) % 2:
                self.faults.append(f"{key!r} of Defaults is not [value, [operators]]")
                continue
            if key not in known and not any(key in (inserted_attributes(kind) or {}) for kind in _INSERTED_KINDS):
                self.faults.append(f"{key!r} of Defaults is an attribute of no unit{_near(key, known)}")
                continue
            for value, operators in zip(stated[::2], stated[1::2], strict=True):
                listed = [operators] if isinstance(operators, str) else operators
                if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                    self.faults.append(f"{key!r} of Defaults is not [value, [operators]]")
                    break
                self._default(key, value, listed)

    def _default(self, key: str, value: Any, operators: list[str]) -> None:
        for operator in operators:
            parts = taken_apart(operator)
            if operator != _ALL and parts.kind not in _KINDS:
                self.faults.append(f"{key!r} of Defaults: there is no operator {operator!r}{_near(operator, _KINDS)}")
        for unit in self.units:
            for operator in operators:
                parts = taken_apart(operator)
                meant = parts.kind == unit.parts.kind and parts.form in ("", unit.form or unit.parts.form)
                # FINN sets a default for "all" only where a unit has the attribute.
                if (operator == _ALL and key in self._attributes(unit)) or meant:
                    unit.settings.setdefault(key, value)
        if operators == [_ALL] and key == "depth":
            self.idle[key] = None

    # -- what a unit takes -------------------------------------------------------------------------

    def _attributes(self, unit: _Unit) -> set[str]:
        op = self._in_form(unit)
        folds = {key for key in FOLDED if hasattr(op, key.lower())}
        chosen = {choice.attribute for choice in choices_of(op)}
        return (
            folds | chosen | set(known_attributes(unit.parts.kind)) | {"preferred_impl_style"} | set(self._fixed(unit))
        )

    def _fixed(self, unit: _Unit) -> dict[str, Any]:
        """What the network fixes of a unit, by FINN's names."""
        if unit.fixed is not None:
            return unit.fixed
        node = unit.node
        assert isinstance(node.op, Unit)
        kinds, made = [self.graph.types[tensor] for tensor in node.inputs], self.graph.types[node.name]
        elementwise = self.finn_plus and not isinstance(node.op, FMPadding)
        fixed = unit_node(node.name, node.op, kinds, made, elementwise, self.graph.uses(node.name)).settings
        free = {*FOLDED, *FIFO_ATTRIBUTES, "preferred_impl_style"}
        free |= {choice.attribute for choice in CHOICES.get(type(node.op), ())}
        unit.fixed = {key: value for key, value in fixed.items() if key not in free and key != "pad_value"}
        return unit.fixed

    def _in_form(self, unit: _Unit) -> AnyOp:
        form = self._form(unit)
        return replace(unit.node.op, form=form) if isinstance(unit.node.op, Thresholding) and form else unit.node.op

    def _form(self, unit: _Unit) -> str:
        wished = unit.settings.get("preferred_impl_style")
        return unit.form or (wished if wished in ("hls", "rtl") else "")

    def _folded(self, unit: _Unit) -> AnyOp:
        """A unit's operation as the file wants it; what does not fit is added to `faults`."""
        where, form = unit.named or unit.finn, self._form(unit)
        self._check_form(unit, where, form)
        op = self._in_form(unit)
        chosen = {choice.attribute: choice for choice in choices_of(op)}
        known, fixed = known_attributes(unit.parts.kind), self._fixed(unit)
        changes: dict[str, Any] = {}
        for key, value in unit.settings.items():
            if key == "preferred_impl_style":
                if value not in ("", "hls", "rtl") or (value and value != (unit.form or value)):
                    self.faults.append(f"{key} {value!r} of {where} must be {unit.form or 'hls or rtl'}")
            elif key in FOLDED and hasattr(op, key.lower()):
                if self._divides(key, value, unit, where):
                    changes[key.lower()] = value
            elif key in chosen:
                now = chosen[key].current(value)
                if chosen[key].allows(now):
                    changes[chosen[key].field] = now
                else:
                    self.faults.append(f"{key} {value!r} of {where} must be {chosen[key].told}")
            elif key in known:
                self._take_known(key, value, known[key], unit, where)
            elif key in fixed:
                if value != fixed[key] or type(value) is not type(fixed[key]):
                    self.faults.append(f"{key} {value!r} of {where} is {fixed[key]!r} in this graph (leave it out)")
            else:
                self._unknown(key, unit, where)
        missing = [key for key in FOLDED if hasattr(op, key.lower()) and key not in unit.settings]
        if missing and not self.partial:
            empty = self.config.get("Defaults") == {} and len(self.config) > 1
            (self.at_one if empty else self.left_out).append(f"{unit.finn} ({', '.join(missing)})")
        return self._whole_pixels(replace(op, **changes) if changes else op, unit, where)

    def _check_form(self, unit: _Unit, where: str, form: str) -> None:
        own = unit.parts.form
        if form in ("", own) or isinstance(unit.node.op, Thresholding) or unit.parts.kind in _EITHER_FORM:
            return
        reason = f"{unit.parts.kind} is estimated in the form {own} only"
        if isinstance(unit.node.op, Mvau) and (unit.node.op.xnor or unit.node.op.has_bounds):
            reason = "layers of bits or with thresholds have no RTL form in FINN"
        self.faults.append(f"{where}: {reason} (name it {unit.finn})")

    def _divides(self, key: str, value: Any, unit: _Unit, where: str) -> bool:
        size = whole(self.graph, unit.node, key)
        if type(value) is int and value >= 1 and size % value == 0:
            return True
        listed = divisors(size)
        shown = ", ".join(map(str, listed)) if len(listed) <= 16 else f"{', '.join(map(str, listed[:14]))}, ..., {size}"
        self.faults.append(f"{key} {value!r} of {where} does not divide {size} ({shown})")
        self.misfit = True
        return False

    def _take_known(self, key: str, value: Any, known: Known, unit: _Unit, where: str) -> None:
        if not known.fits(value):
            self.faults.append(f"{key} {value!r} of {where} must be {known.told}")
        elif key in FIFO_ATTRIBUTES:
            self.fifos.setdefault(unit.finn, {})[key] = value
        elif value != known.usual:
            self.idle[key] = None

    def _unknown(self, key: str, unit: _Unit, where: str) -> None:
        other = next((choice for choice in CHOICES.get(type(unit.node.op), ()) if choice.attribute == key), None)
        if other is not None:
            name = f"{unit.parts.kind}_{other.form}_{unit.parts.number}"
            self.faults.append(f"{where} has no attribute {key}: it is one of the form {other.form} (name it {name})")
        else:
            self.faults.append(f"{where} has no attribute {key!r}{_near(key, self._attributes(unit))}")

    def _whole_pixels(self, op: AnyOp, unit: _Unit, where: str) -> AnyOp:
        if isinstance(op, SlidingWindow) and op.parallel_window and not op.depthwise:
            channels = self.graph.types[unit.node.input].channels
            if op.simd != channels:
                self.faults.append(
                    f"parallel_window of {where} takes whole pixels: SIMD {op.simd} must be {channels}, "
                    "or parallel_window 0"
                )
                return replace(op, parallel_window=0)
        return op

    def _pools(self, nodes: Mapping[str, Node]) -> None:
        """A pool takes the channels in the groups in which its window gives them."""
        finn = {unit.node.name: unit.finn for unit in self.units}
        for node in nodes.values():
            window = nodes.get(node.input)
            if not isinstance(node.op, Pool) or window is None or not isinstance(window.op, SlidingWindow):
                continue
            if window.op.simd != node.op.pe and not self.faults and not self.left_out:
                ours = f"SIMD {window.op.simd} of {finn[window.name]} and PE {node.op.pe} of {finn[node.name]}"
                self.faults.append(f"{ours} must be equal")

    def _refuse(self) -> None:
        faults, names = self.faults, [unit.finn for unit in self.units]
        where = f"folding of {self.graph.name!r}"
        if faults:
            listed = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
            raise Problem(
                f"the folding does not fit this graph: {listed}",
                where,
                f"its units are {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}",
                key=MISFIT if self.misfit else "",
            )
        if self.left_out:
            missing = self.left_out
            listed = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            raise Problem(
                f"the folding file leaves out {listed}",
                where,
                'state them, or for all that is left out "Defaults": {"PE": [1, ["all"]], "SIMD": [1, ["all"]]}, '
                "or give --fps beside --folding to fold them for a rate",
            )


_INSERTED_KINDS = ("StreamingFIFO", "StreamingDataWidthConverter", "IODMA", "TLastMarker")
_KINDS = (
    *("MVAU", "VVAU", "Thresholding", "ConvolutionInputGenerator", "FMPadding", "FMPadding_Pixel", "Pool"),
    *("StreamingMaxPool", "GlobalAccPool", "AddStreams", "ElementwiseAdd", "ElementwiseMul", "ChannelwiseOp"),
    *("DuplicateStreams", "StreamingConcat", "LabelSelect", "Downsampler", "DownSampler", "StreamingEltwise", "Lookup"),
    *("UpsampleNearestNeighbour", "CheckSum", *_INSERTED_KINDS),
)


def _near(key: str, known: Any) -> str:
    close = get_close_matches(key, list(known), 1, 0.6) or [item for item in known if item.lower() == key.lower()]
    return f" ({close[0]}?)" if close else ""
