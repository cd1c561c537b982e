"""The attributes of FINN's nodes by name: what a folding file may say of a unit, and what comes of it.

Names and values are those of `get_nodeattr_types` in FINN 0.10, its development branch and finn-plus 1.6, and the
operator names also those of older versions. PE, SIMD and the choices of `transforms/ir/choices.py` change a unit. What
the network fixes (MW, MH, types, ...) must be as the network has it. The rest changes neither results nor estimates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fits = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Known:
    """An attribute that changes no estimate: what its values are, for people, and whether one is of them.

    Attributes:
        told: for people.
        fits: whether a value is one.
        usual: FINN's default; any other value is worth a note.
    """

    told: str
    fits: Fits
    usual: object = None


def _whole(value: Any) -> bool:
    return type(value) is int


def _word(value: Any) -> bool:
    return isinstance(value, str)


def _depths(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int and item >= 0 for item in value)


def _one_of(*values: object) -> Known:
    told = " or ".join("nothing" if value == "" else str(value) for value in values)
    return Known(told, lambda value: type(value) in (int, str) and value in values, values[0])


_NUMBER, _TEXT = Known("a whole number", _whole, 0), Known("a word", _word, "")
DEPTHS = Known("a list of whole numbers, one a stream", _depths)
FIFO_ATTRIBUTES = ("inFIFODepths", "outFIFODepths")

# Of every node (`HWCustomOp`, `HLSBackend`, `RTLBackend`): placement, and what FINN's own steps write down.
_COMMON: dict[str, Known] = {
    "slr": Known("a whole number", _whole, -1),
    "mem_port": _TEXT,
    "partition_id": _NUMBER,
    "device_id": _NUMBER,
    **dict.fromkeys(FIFO_ATTRIBUTES, DEPTHS),
    "backend": _one_of("fpgadataflow"),
    "exec_mode": _one_of("", "rtlsim", "cppsim"),
    "cpp_interface": _one_of("packed", "hls_vector"),
    "hls_style": _one_of("ifm_aware", "freerunning"),
    **dict.fromkeys(("cycles_rtlsim", "cycles_estimate", "io_chrc_period"), _NUMBER),
    **dict.fromkeys(
        (
            "code_gen_dir_ipgen",
            "code_gen_dir_cppsim",
            "executable_path",
            "gen_top_module",
            "ip_path",
            "ip_vlnv",
            "ipgen_path",
            "output_hook",
            "res_estimate",
            "res_hls",
            "res_synth",
            "rtlsim_so",
            "rtlsim_trace",
        ),
        _TEXT,
    ),
}
_FLAG = _one_of(0, 1)
_STYLE = _one_of("auto", "block", "distributed", "ultra")

# By operator without its form. What only one value may have is what our units are.
_OF_UNITS: dict[str, dict[str, Known]] = {
    "MVAU": {"pumpedMemory": _FLAG, "pumpedCompute": _one_of(0), "dynamic_input": _one_of(0)},
    "Thresholding": {"deep_pipeline": _one_of(1, 0)},
    "ConvolutionInputGenerator": {"dynamic_mode": _FLAG, "M": _one_of(1)},
    "FMPadding": {"dynamic_mode": _FLAG, "numInputVectors": _one_of(1)},
    "Pool": {"Size": _NUMBER, "BatchSize": _one_of(1), "AccumBits": _NUMBER},
    "StreamingMaxPool": {"PE": _one_of(1, 0)},
    "ElementwiseAdd": {"ram_style": _STYLE, "mem_mode": _one_of("internal_embedded", "internal_decoupled")},
    "ElementwiseMul": {"ram_style": _STYLE, "mem_mode": _one_of("internal_embedded", "internal_decoupled")},
    "ChannelwiseOp": {"ram_style": _one_of("distributed")},
}

# Nodes that FINN puts between units after folding, with what a file may say of them.
_INSERTED: dict[str, dict[str, Known]] = {
    "StreamingFIFO": {
        "depth": Known("a whole number from 0 on", lambda value: _whole(value) and value >= 0),
        "impl_style": _one_of("rtl", "vivado", "virtual"),
        "ram_style": _STYLE,
        "depth_monitor": _FLAG,
        "fifo_id": _NUMBER,
    },
    "StreamingDataWidthConverter": {"impl_style": _one_of("hls", "rtl", "vivado")},
    "IODMA": {
        "intfWidth": _NUMBER,
        "streamWidth": _NUMBER,
        "burstMode": _one_of("increment", "wrap"),
        "direction": _one_of("in", "out"),
        "intfName": _TEXT,
        "NumChannels": _NUMBER,
    },
    "TLastMarker": {
        "NumIters": _NUMBER,
        "DynIters": _NUMBER,
        "Direction": _one_of("out", "in"),
        "StreamWidth": _NUMBER,
        "ElemWidth": _NUMBER,
        "Protocol": _one_of("external", "internal"),
    },
}

_OLDER = {
    "MatrixVectorActivation": "MVAU",
    "StreamingFCLayer": "MVAU",
    "ConvolutionInputGenerator1D": "ConvolutionInputGenerator",
}


@dataclass(frozen=True, slots=True)
class Name:
    """A positional name taken apart.

    Attributes:
        kind: the operator as FINN calls it today, without its form.
        form: "hls" or "rtl" where the name states it, else empty.
        number: behind the last underscore; -1 where there is none.
    """

    kind: str
    form: str
    number: int


def taken_apart(name: str) -> Name:
    """The parts of a unit's name or operator of any version of FINN.

    `MVAU_hls_0`, `MatrixVectorActivation_0` and `StreamingFCLayer_Batch_0` are one unit; of thresholds, `_Batch` was
    the form hls.
    """
    match = re.fullmatch(r"(.+?)(?:_(hls|rtl|Batch))?(?:_(0|[1-9][0-9]*))?", name)
    if match is None:
        return Name(name, "", -1)
    kind, ending, number = match.groups()
    form = ending if ending in ("hls", "rtl") else "hls" if (kind, ending) == ("Thresholding", "Batch") else ""
    return Name(_OLDER.get(kind, kind), form, -1 if number is None else int(number))


def known_attributes(kind: str) -> Mapping[str, Known]:
    """The attributes of a unit that change no estimate, by name."""
    return _COMMON | _OF_UNITS.get(kind, {})


def inserted_attributes(kind: str) -> Mapping[str, Known] | None:
    """The attributes of a node that FINN inserts after folding, by name; None for other nodes."""
    return _COMMON | _INSERTED[kind] if kind in _INSERTED else None
