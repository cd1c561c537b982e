"""What a module of the library is made of: registers and memories exactly, logic in terms that grow with its sizes.

Registers are counted as the modules declare them, less those that are constant; memories follow from `memory`. Logic is
said in terms (bits of adders, of multiplexers, leaves of popcounts, ...) which `table` weighs for each family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2

from ...transforms.memories import FEW_WORDS
from ...transforms.streams import Converter, Stream
from ..rtl.modules import Module
from ..rtl.words import value_bits
from ..synth.families import FAMILIES
from .guarded import guarded
from .memory import address_bits
from .mvau import mvau
from .pieces import RANKED, Pieces
from .thresholds import thresholding
from .unrolled import unrolled


def counted(
    module: Module,
    depths: Sequence[int],
    family: str,
    *,
    contents: bool = True,
    image_bits: int = 0,
    scrub: bool = False,
) -> Pieces:
    """What a unit with its memories and FIFOs is made of.

    Args:
        module: of `module_of`, or a converter.
        depths: words of each FIFO behind it.
        family: name of the FPGA family.
        contents: as of `Pieces`.
        image_bits: of the numbers of images, for memories of several sets.
        scrub: whether memories whose code corrects are walked through.
    """
    made = Pieces(family, module.name, contents=contents)
    made.term(module.name, 1)
    for memory in module.memories.values():
        late = int(module.parameters.get("READ", 1)) - memory.cycles
        if memory.rows is None:
            made.memory(memory, late)
        else:
            guarded(made, memory, late, image_bits, scrub=scrub)
    sizes = {key: int(value) for key, value in module.parameters.items() if not isinstance(value, str)}
    _MODULES[module.name](made, sizes, module, depths)
    if FAMILIES[family].packed:
        # A cell holds a LUT and a register, which not every pair shares.
        made.term("register", made.exact["ff"])
    return made


def converter(part: Converter) -> Module:
    """The module of a converter, but for the depth of its output."""
    narrow, wide = sorted((part.entry.width, part.leave.width))
    sizes = {"WIDTH": narrow * value_bits(part.entry.type), "N": wide // narrow}
    return Module("bnnflow_widen" if part.leave.width > part.entry.width else "bnnflow_narrow", sizes)


def entrance(stream: Stream) -> Module:
    """The FIFO at the input, but for its depth."""
    return Module("bnnflow_fifo", {"WIDTH": stream.width * value_bits(stream.type)})


Sizes = Mapping[str, int]


def _fifo(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    made.fifo(p["WIDTH"], depths[0])


def _window(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    across, down = (p["W"] - p["KW"]) // p["SW"] + 1, (p["H"] - p["KH"]) // p["SH"] + 1
    outer = p["CF"] if p["DEPTHWISE"] else 1
    run = p["KW"] if p["DEPTHWISE"] else p["KW"] * p["CF"]
    bits = address_bits(p["BUFFER"])
    size = 2**bits if 2**bits <= 1024 or 4 * 2**bits <= 5 * p["BUFFER"] else p["BUFFER"]
    for size_of in (run, p["KH"], outer, across, down):
        made.counter(size_of)
        # Whether it is at its end.
        made.ff(size_of > 1)
    made.ff(2 * bits + p["BUFFER"].bit_length() + 1)
    made.term("window fill", p["BUFFER"].bit_length())
    made.term("window address", bits)
    if size != 2**bits:
        made.term("window wrap", bits)
    made.ring(size, p["WIDTH"], str(module.parameters["STYLE"]).strip('"'))
    made.fifo(p["WIDTH"], depths[0], 1)


def _max_pool(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    width, across = p["C"] * p["XBITS"], p["W"] // p["KW"]
    for size in (p["KW"], p["KH"], across):
        made.counter(size)
    if across > 1:
        made.pointed(across, width)
    else:
        made.ff(width)
    # Whether a window begins, and whether in the next words of a row.
    made.ff((p["KH"] * p["KW"] > 1) + (p["KH"] > 1 and across > 1))
    made.term(_maximum(p["XBITS"]), width)
    made.fifo(width, depths[0])


def _pool(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    made.counter(p["AREA"])
    made.ff(p["PE"] * p["OBITS"] + (p["AREA"] > 1))
    if p["TOTAL"]:
        _running(made, p)
    else:
        made.term(_maximum(p["OBITS"]), p["PE"] * p["OBITS"])
    made.fifo(p["PE"] * p["OBITS"], depths[0])


def _sums(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    width = p["PE"] * p["OBITS"]
    made.counter(p["CF"])
    made.counter(p["PIXELS"] + 1)
    if p["CF"] > 1:
        made.pointed(p["CF"], width)
    else:
        made.ff(width)
    _running(made, p)
    made.fifo(width, depths[0])


def _running(made: Pieces, p: Sizes) -> None:
    made.term("running sum", p["PE"] * p["OBITS"])
    made.term("running input", p["PE"] * p["XBITS"])


def _maximum(bits: int) -> str:
    """The term of a maximum: what two bits need is no comparison with a carry chain."""
    return "maximum of bits" if bits == 1 else "small maximum" if bits == 2 else "maximum"


def _add(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    made.adder(p["OBITS"], p["PE"])
    made.fifo(p["PE"] * p["OBITS"], depths[0])


def _fork(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    for depth in depths:
        made.fifo(p["WIDTH"], depth)


def _concat(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    words = _unpacked(module.parameters["WORDS"], p["N"])
    made.ff(address_bits(p["N"]) + (32 if max(words) > 1 else 0))
    made.term("concat counter", 32 if max(words) > 1 else 0)
    made.term("chosen", p["SIMD"] * p["OBITS"] * (p["N"] - 1))
    made.fifo(p["SIMD"] * p["OBITS"], depths[0])


def _unpacked(text: int | str, number: int) -> list[int]:
    value = int(str(text).split("'h")[1], 16)
    return [value >> 32 * place & 0xFFFFFFFF for place in range(number)]


def _padding(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    across, down = (p["LEFT"] + p["W"] + p["RIGHT"]) * p["CF"], p["TOP"] + p["H"] + p["BOTTOM"]
    made.counter(across)
    made.counter(down)
    made.term("border", p["SIMD"] * p["OBITS"])
    # Whether a place is within the map's columns, and its rows.
    turning = (p["LEFT"] + p["RIGHT"] > 0) + (p["TOP"] + p["BOTTOM"] > 0)
    made.ff(turning)
    made.term("turning", turning)
    made.fifo(p["SIMD"] * p["OBITS"], depths[0])


def _channelwise(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    for size in (p["CF"], p.get("W", 1), p.get("H", 1)):
        made.counter(size)
    table = module.tables["VALUES"]
    if table.depth <= FEW_WORDS:
        made.ff(address_bits(table.depth) if table.depth > 1 else 0)
        made.term("few words", table.width)
    else:
        made.table(table)
    made.ff(2)
    if p["ADD"]:
        made.ff(p["PE"] * (p["XBITS"] + p["OBITS"]))
        made.adder(p["OBITS"], p["PE"])
        made.term("place", address_bits(table.depth))
    else:
        made.product(p["PE"], (p["XBITS"], p["FBITS"]), p["OBITS"], p["XBITS"])
    made.fifo(p["PE"] * p["OBITS"], depths[0], 2)


def _label_select(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    words = p["LABELS"] // p["PE"]
    made.counter(words + p["K"] - 1)
    # The best of a single word is none to keep.
    made.ff(p["K"] * (p["XBITS"] + 1 + p["IBITS"]) if words * p["K"] > 1 else 0)
    made.ff(address_bits(p["LABELS"]) if words > 1 else 0)
    made.term("label", address_bits(p["LABELS"]))
    if module.latency:
        # When a step's winner comes, and, of several words, whether it is the last, and whether of the first.
        made.ff(_winner(p["PE"], module.latency, p["XBITS"]) + module.latency)
        made.ff(module.latency + 1 if words > 1 else 0)
    elif p["PE"] * p["K"] > 1:
        # Each score is compared with each rank, one behind the other.
        made.path(RANKED, p["PE"] * p["K"])
    # Scores meet scores, and those of several words the best so far.
    meets = p["PE"] - (words == 1) if p["K"] == 1 else p["PE"] * p["K"]
    if p["K"] == 1:
        made.term("winner", meets * (p["XBITS"] + 1))
        made.term("winner's label", meets * p["IBITS"])
    else:
        made.term("rank", meets * (p["XBITS"] + 1))
        made.term("moved", p["PE"] * (p["K"] - 1) * (p["XBITS"] + 1 + p["IBITS"]))
    made.fifo(p["IBITS"], depths[0], module.latency)


def _winner(scores: int, levels: int, bits: int) -> int:
    """Registers of bnnflow_winner."""
    if levels == 0:
        return 0
    low = (scores + 1) // 2
    behind = _winner(low, levels - 1, bits)
    if scores > 1:
        behind += _winner(scores - low, levels - 1, bits)
    return behind + bits + ceil(log2(scores))


def _widen(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    made.counter(p["N"])
    made.ff((p["N"] - 1) * p["WIDTH"] + 1)
    made.fifo(p["N"] * p["WIDTH"], depths[0])


def _narrow(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    made.counter(p["N"])
    made.ff((p["N"] - 1) * p["WIDTH"] + 1)
    made.term("shifted", (p["N"] - 1) * p["WIDTH"])
    made.fifo(p["WIDTH"], depths[0])


_MODULES: Mapping[str, Callable[[Pieces, Sizes, Module, Sequence[int]], None]] = {
    "bnnflow_fifo": _fifo,
    "bnnflow_mvau": mvau,
    "bnnflow_unrolled": unrolled,
    "bnnflow_thresholding": thresholding,
    "bnnflow_sliding_window": _window,
    "bnnflow_max_pool": _max_pool,
    "bnnflow_pool": _pool,
    "bnnflow_global_acc_pool": _sums,
    "bnnflow_add_streams": _add,
    "bnnflow_duplicate_streams": _fork,
    "bnnflow_concat": _concat,
    "bnnflow_padding": _padding,
    "bnnflow_channelwise": _channelwise,
    "bnnflow_label_select": _label_select,
    "bnnflow_widen": _widen,
    "bnnflow_narrow": _narrow,
}
