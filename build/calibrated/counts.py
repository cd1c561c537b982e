"""What a module of the library is made of: registers and memories exactly, logic in terms that grow with its sizes.

Registers are counted as the modules declare them, less those that are constant; memories follow from `memory`. Logic is
said in terms (bits of adders, of multiplexers, leaves of popcounts, ...) which `table` weighs for each family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, log2

from ...transforms.memories import FEW_WORDS
from ...transforms.streams import Converter, Stream
from ..rtl.modules import Module
from ..rtl.words import value_bits
from ..synth.families import FAMILIES
from .arithmetic import constant_dot, different, dot, luts, popcount
from .guarded import guarded
from .memory import address_bits
from .pieces import RANKED, TERNARY, Pieces
from .unrolled import unrolled
from .weights import matrix


def counted(
    module: Module,
    depths: Sequence[int],
    family: str,
    *,
    contents: bool = True,
    image_bits: int = 8,
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


def _mvau(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    steps, groups = p["MW"] // p["SIMD"], p["MH"] // p["PE"]
    inputs = p["SIMD"] * p["XBITS"]
    read = p.get("READ", 1)
    made.counter(steps)
    made.counter(groups)
    # Whether a step ends a row, and whether it reads.
    made.ff((steps > 1) + (groups > 1))
    _vector(made, steps, groups, inputs, read, str(module.parameters.get("STYLE", "auto")).strip('"'))
    latency = module.latency
    delay = latency - (2 if p["LEVELS"] > 1 else 0) - 1
    # The first register of a step's flags and that by which a memory of weights hears of it late are one.
    made.ff(3 * delay + 1 - (read - 1 if module.memories["weights"].rows is None else 0))
    if p["LEVELS"] == 1 and groups > 1:
        # That a row begins, two cycles before its bounds are read.
        made.ff((read - 1) * (delay - read))
    words = steps * groups
    # What a host writes is no function of its address.
    constant = module.memories["weights"].rows is None
    few = words <= FEW_WORDS and constant
    once, bound = steps == 1, p["LEVELS"] == 1
    bits = p["XNOR"] or p["TERNARY"]
    total = p["SBITS"] + (1 if bound and p["BSIGNED"] else 0) if p["LEVELS"] or groups > 1 else p["OBITS"]
    lane = Pieces(made.family)
    if not bits and words == 1 and constant:
        constant_dot(made, matrix(made, p, module), p["XBITS"], bool(p["XSIGNED"]), p["WBITS"])
    elif not bits:
        dot(lane, p["SIMD"], p["XBITS"], bool(p["XSIGNED"]), p["WBITS"], few)
    elif words <= FEW_WORDS:
        # Three inputs, and the address of their weights; or, where a host writes these, they themselves: of two bits
        # each, whose functions are made of four LUTs in place of the eight that nine inputs may take.
        inputs = 3 + (ceil(log2(words)) if constant else 3 if p["WBITS"] == 1 else 5)
        _leaves(made, p["PE"], p["SIMD"], inputs, ternary=bool(p["TERNARY"]))
        if p["TERNARY"]:
            made.path(TERNARY, log2(p["SIMD"]))
        for _ in range(2 if p["TERNARY"] else 1):
            popcount(lane, p["SIMD"], p["SBITS"])
    else:
        lane.term("leaf", p["SIMD"] // 3)
        # One synapse is a LUT, two are two.
        lane.term("part of a leaf", p["SIMD"] % 3)
        lane.ff(2 * ceil(p["SIMD"] / 3))
        popcount(lane, p["SIMD"], p["SBITS"])
    # Of a difference of counts that is made at once only the sign is kept.
    lane.ff(1 if bound and once and (bits or (words == 1 and p["WBITS"] > 1)) else total)
    if bits or words > 1:
        lane.term("few sums" if few else "sums", total)
    if bound and not once:
        lane.term("bound", total)
    if p["LEVELS"] > 1:
        _levels(lane, p, module)
    for key, size in lane.paths.items():
        made.path(key, size)
    for key, registers in lane.exact.items():
        made.exact[key] += p["PE"] * registers
    for key, amount in lane.terms.items():
        made.term(key, p["PE"] * amount)
    if p["LEVELS"] > 1:
        made.ff(2)
    _few_bounds(made, module)
    made.fifo(p["PE"] * p["OBITS"], depths[0], latency)


def _vector(made: Pieces, steps: int, groups: int, inputs: int, read: int, style: str) -> None:
    """Inputs of a step `read` cycles later, of a vector that is kept where there are several groups of rows."""
    if groups == 1:
        made.ff(inputs * read)
    elif read == 1:
        made.ff(inputs)
        made.term("kept" if steps > 1 else "kept whole", inputs)
        if steps > 1:
            made.pointed(steps, inputs, style)
        else:
            made.ff(inputs)
    else:
        # Read behind a register of the step's place, from where the step wrote it.
        made.ff(inputs * (read - 2))
        if steps > 1:
            made.ff(address_bits(steps))
            made.ring(steps, inputs, style)
        else:
            made.ff(2 * inputs)


def _few_bounds(made: Pieces, module: Module) -> None:
    """Bounds of few words, which are functions of an address: bits that are equal in all words are one."""
    held = module.memories["bounds"]
    if 1 < held.depth <= FEW_WORDS and held.rows is None:
        # But for constants and bits of the address itself.
        kinds = 2**held.depth - 2 - address_bits(held.depth)
        made.term("few words", different(kinds, made.used(held)))


def _leaves(made: Pieces, pe: int, simd: int, inputs: int, *, ternary: bool) -> None:
    """Leaves of popcounts of weights of few words, each a function of so many bits."""
    leaves = ceil(simd / 3)
    # A leaf of one synapse has no second bit.
    twos = leaves - (simd % 3 == 1)
    number = (leaves + twos) * pe
    if ternary:
        # The weights of -1 are counted, too.
        number *= 2
    made.ff(number)
    made.term("constant leaf", number * luts(made.family, inputs))


def _levels(lane: Pieces, p: Sizes, module: Module) -> None:
    """A lane of bnnflow_levels, whose bounds may be constants."""
    held = module.memories["bounds"]
    constant = held.depth == 1 and held.rows is None
    lane.term("constant threshold" if constant else "threshold", p["LEVELS"] * p["SBITS"])
    lane.ff(p["LEVELS"])
    if p["LEVELS"] > 1:
        lane.ff(p["OBITS"])
        lane.term("counted", p["LEVELS"])


def _thresholding(made: Pieces, p: Sizes, module: Module, depths: Sequence[int]) -> None:
    made.ff(module.latency)
    held = module.memories["bounds"]
    if made.contents and held.depth == 1 and held.rows is None:
        for lane in _looked_at(p, module):
            made.ff(max(lane, default=0) + len(lane))
            # A bound that looks at one bit is that bit.
            made.term("constant threshold", sum(lane) - len(lane))
            if p["LEVELS"] > 1:
                made.ff(min(p["OBITS"], len(lane).bit_length()))
                made.term("counted", len(lane))
    else:
        made.ff(p["PE"] * p["XBITS"] * p.get("READ", 1))
        for _ in range(p["PE"]):
            _levels(made, p, module)
    _few_bounds(made, module)
    made.fifo(p["PE"] * p["OBITS"], depths[0], module.latency)


def _looked_at(p: Sizes, module: Module) -> Iterator[list[int]]:
    """Of each lane, how many bits of a value each of its constant bounds looks at: none below its lowest 1.

    Bounds that every value or none reaches are left out.
    """
    word, bits = int(module.memories["bounds"].words[0], 16), p["BBITS"]
    least = -(2 ** (p["XBITS"] - 1)) if p["XSIGNED"] else 0
    for lane in range(p["PE"]):
        made = []
        for place in range(lane * p["LEVELS"], (lane + 1) * p["LEVELS"]):
            bound = word >> place * bits & 2**bits - 1
            if p["BSIGNED"] and bound >> bits - 1:
                bound -= 2**bits
            if least < bound < least + 2 ** p["XBITS"]:
                # 0 is the sign of a signed value.
                above = bound - least
                made.append(p["XBITS"] - (above & -above).bit_length() + 1)
        yield made


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
    "bnnflow_mvau": _mvau,
    "bnnflow_unrolled": unrolled,
    "bnnflow_thresholding": _thresholding,
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
