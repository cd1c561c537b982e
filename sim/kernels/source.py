"""The kernels in LLVM's text form, for any width of vectors.

Every kernel is `void name(ptr args)`; args points to int64 parameters, named in order in its docstring.
Loops run over output blocks, images, rows and columns; sizes are parameters, so one text serves every
layer. Maps are channels last. Binary maps hold 64 channels in a 64-bit word, bit c % 64 of word c / 64;
bits beyond the last channel are 0. 64 output channels lie in vector lanes: an activation word is broadcast
against 64 weight words, sums stay in registers, and the masks of the closing comparison are the output word.
"""

from __future__ import annotations

from dataclasses import dataclass

from .assembly import Function

WIDE, NARROW = 64, 16
"""Output channels in a block of weights; NARROW for layers of at most 16, whose sums leave the unit."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the text depends on.

    Attributes:
        lanes: 64-bit lanes of a vector: 8, 4 or 2.
        dot: multiply-add of small integers: "vpdpbusd" (four bytes), "pmaddwd" (two 16-bit numbers) or "mul".
    """

    lanes: int
    dot: str

    @property
    def taps(self) -> int:
        """Products in one lane of a multiply-add; a group of taps fills 4 bytes."""
        return 4 if self.dot == "vpdpbusd" else 2


NAMES = (
    "xnor_bits",
    "xnor_bits_pairs",
    "xnor_sums",
    "xnor_sums_narrow",
    "xnor_sums_narrow_fours",
    "dot_bits",
    "dot_sums",
    "pool",
    "channels_last",
    "three_channels_last",
    "copy_rows",
    "replay",
    "compare_bytes",
    "compare_sums",
    "count_levels",
    "peak",
)


def text(machine: Machine) -> str:
    """The whole module: one function for each of `NAMES`."""
    functions = [
        xnor_bits("xnor_bits", machine, 1),
        xnor_bits("xnor_bits_pairs", machine, 2),
        xnor_sums("xnor_sums", machine, WIDE, 1),
        xnor_sums("xnor_sums_narrow", machine, NARROW, 1),
        xnor_sums("xnor_sums_narrow_fours", machine, NARROW, 4),
        dot("dot_bits", machine, True),
        dot("dot_sums", machine, False),
        pool("pool"),
        channels_last("channels_last"),
        three_channels_last("three_channels_last"),
        copy_rows("copy_rows"),
        replay("replay"),
        compare_bytes("compare_bytes"),
        compare_sums("compare_sums"),
        count_levels("count_levels"),
        peak("peak", machine),
    ]
    lanes = machine.lanes
    declarations = [
        "declare i64 @llvm.smin.i64(i64, i64)",
        *(f"declare {v} @{_population_count(v)}({v})" for v in (f"<{lanes} x i64>", f"<{8 * lanes} x i8>")),
        _dot_declaration(machine),
    ]
    if lanes in _BYTE_SUMS and machine.dot == "pmaddwd":
        small = f"<{8 * lanes} x i8>"
        declarations.append(f"declare <{lanes} x i64> @{_BYTE_SUMS[lanes]}({small}, {small})")
    width = 64 * lanes
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    return "\n".join([*map(str, functions), *declarations, attributes, ""])


def xnor_bits(name: str, machine: Machine, pixels: int) -> Function:
    """Binary layer with thresholds: a bit is 1 where the number of unequal bits is below the limit.

    A tile is `pixels` neighbouring columns (at most the row's) by as many channels as eight vectors hold;
    two columns where a block's weights do not fit into the first cache. Parameters: x, weights
    [block][tap word][64], limits i64 [class][block][64], out [image][row][column][block], images, rows,
    columns, words from image to image, row to row, column to column of x, tap words, their offsets in x,
    blocks, words from pixel to pixel of out, first limit of each pixel's class.
    """
    f, lanes = Function(name), machine.lanes
    accumulators = 8 if pixels == 1 or lanes == 8 else 4
    vector, tile = f"<{lanes} x i64>", accumulators * lanes
    x, weights, bounds, out, images, rows, columns, xi, xr, xc, taps, offsets, blocks, stride, classes = f.arguments(
        "ptr", "ptr", "ptr", "ptr", *["i64"] * 7, "ptr", "i64", "i64", "ptr"
    )
    area, block_words = f.mul(rows, columns), f.mul(taps, str(WIDE))
    with f.loop(blocks) as block:
        weight = f.at("i64", weights, f.mul(block.index, block_words))
        bound = f.at("i64", bounds, f.mul(block.index, str(WIDE)))
        with f.loop(images) as image, f.loop(rows) as row:
            line = f.at("i64", x, f.add(f.mul(image.index, xi), f.mul(row.index, xr)))
            first, first_out = f.mul(row.index, columns), f.mul(image.index, area)
            with f.loop(_tiles(f, columns, pixels)) as column:
                places = _places(f, column.index, columns, pixels)
                windows = [f.at("i64", line, f.mul(place, xc)) for place in places]
                pixel = [f.add(first, place) for place in places]
                limits = [f.at("i64", bound, f.load("i64", f.at("i64", classes, p), 8)) for p in pixel]
                for part in range(WIDE // tile):
                    base = f.at("i64", weight, str(part * tile))
                    totals = _counted(f, machine, windows, base, taps, offsets, WIDE, accumulators)
                    for i in range(pixels):
                        sums = totals[i * accumulators : (i + 1) * accumulators]
                        masks = []
                        for a, total in enumerate(sums):
                            limit = f.load(vector, f.at("i64", limits[i], str(part * tile + a * lanes)), 8)
                            masks.append(f.value(f"icmp slt {vector} {total}, {limit}"))
                        word = f.at("i64", out, f.add(f.mul(f.add(first_out, pixel[i]), stride), block.index))
                        f.store(f"i{tile}", _joined(f, masks, lanes), f.at(f"i{tile}", word, str(part)))
    return f


def xnor_sums(name: str, machine: Machine, width: int, pixels: int) -> Function:
    """Binary layer without thresholds: start - factor * (number of unequal bits), i32.

    A tile is `pixels` neighbouring columns, at most the row's. Parameters: x, weights
    [block][tap word][width], starts i32 [block][width], out i32 [image][row][column][block][width],
    images, rows, columns, three strides of x, tap words, their offsets in x, blocks, numbers from pixel to
    pixel of out, factor.
    """
    f, lanes = Function(name), machine.lanes
    accumulators = min(8 // pixels, width // lanes)
    vector, tile = f"<{lanes} x i64>", accumulators * lanes
    small = f"<{lanes} x i32>"
    x, weights, starts, out, images, rows, columns, xi, xr, xc, taps, offsets, blocks, stride, factor = f.arguments(
        "ptr", "ptr", "ptr", "ptr", *["i64"] * 7, "ptr", "i64", "i64", "i64"
    )
    factors = f.splat("i32", lanes, f.value(f"trunc i64 {factor} to i32"))
    area, block_words = f.mul(rows, columns), f.mul(taps, str(width))
    with f.loop(blocks) as block:
        weight = f.at("i64", weights, f.mul(block.index, block_words))
        begin = f.mul(block.index, str(width))
        with f.loop(images) as image, f.loop(rows) as row:
            line = f.at("i64", x, f.add(f.mul(image.index, xi), f.mul(row.index, xr)))
            first = f.add(f.mul(image.index, area), f.mul(row.index, columns))
            with f.loop(_tiles(f, columns, pixels)) as column:
                places = _places(f, column.index, columns, pixels)
                windows = [f.at("i64", line, f.mul(place, xc)) for place in places]
                targets = [f.at("i32", out, f.add(f.mul(f.add(first, place), stride), begin)) for place in places]
                for part in range(width // tile):
                    base = f.at("i64", weight, str(part * tile))
                    totals = _counted(f, machine, windows, base, taps, offsets, width, accumulators)
                    for i, total in enumerate(totals):
                        place = str(part * tile + i % accumulators * lanes)
                        count = f.value(f"trunc {vector} {total} to {small}")
                        scaled = f.value(f"mul {small} {count}, {factors}")
                        begins = f.load(small, f.at("i32", f.at("i32", starts, begin), place), 4)
                        target = f.at("i32", targets[i // accumulators], place)
                        f.store(small, f.value(f"sub {small} {begins}, {scaled}"), target, 4)
    return f


def _tiles(f: Function, columns: str, pixels: int) -> str:
    """Tiles of `pixels` columns in a row."""
    return columns if pixels == 1 else f.value(f"udiv i64 {f.add(columns, str(pixels - 1))}, {pixels}")


def _places(f: Function, tile: str, columns: str, pixels: int) -> list[str]:
    """The columns of a tile; the last tile of a row may overlap the one before."""
    if pixels == 1:
        return [tile]
    most = f.value(f"sub i64 {columns}, {pixels}")
    start = f.value(f"call i64 @llvm.smin.i64(i64 {f.mul(tile, str(pixels))}, i64 {most})")
    return [f.add(start, str(i)) for i in range(pixels)]


# Taps whose counts of at most 8 bits a byte fit into the bytes of a sum.
_BYTE_TAPS = 31


def _counted(
    f: Function, machine: Machine, windows: list[str], base: str, taps: str, offsets: str, width: int, count: int
) -> list[str]:
    """Numbers of unequal bits in all tap words: `count` vectors of channels for each window.

    Where the processor counts the bits of bytes only, sums are held in bytes for up to 31 words.
    """
    lanes, vector = machine.lanes, f"<{machine.lanes} x i64>"
    if machine.lanes not in _BYTE_SUMS or machine.dot != "pmaddwd":
        starts = _unequal(f, machine, windows, base, "0", offsets, width, count, vector)
        with f.loop(f.add(taps, "-1"), *((vector, v) for v in starts), may_skip=True) as tap:
            more = _unequal(f, machine, windows, base, f.add(tap.index, "1"), offsets, width, count, vector)
            tap.following = tuple(f.value(f"add {vector} {a}, {b}") for a, b in zip(tap.values, more, strict=True))
        return list(tap.results)
    small = f"<{8 * lanes} x i8>"
    rounds = f.value(f"udiv i64 {f.add(taps, str(_BYTE_TAPS - 1))}, {_BYTE_TAPS}")
    with f.loop(rounds, *[(vector, "zeroinitializer")] * (count * len(windows))) as turn:
        first = f.mul(turn.index, str(_BYTE_TAPS))
        left = f.value(f"sub i64 {taps}, {first}")
        some = f.value(f"call i64 @llvm.smin.i64(i64 {left}, i64 {_BYTE_TAPS})")
        with f.loop(some, *[(small, "zeroinitializer")] * (count * len(windows))) as tap:
            more = _unequal(f, machine, windows, base, f.add(first, tap.index), offsets, width, count, small)
            tap.following = tuple(f.value(f"add {small} {a}, {b}") for a, b in zip(tap.values, more, strict=True))
        following = []
        for total, held in zip(turn.values, tap.results, strict=True):
            wide = f.value(f"call {vector} @{_BYTE_SUMS[lanes]}({small} {held}, {small} zeroinitializer)")
            following.append(f.value(f"add {vector} {total}, {wide}"))
        turn.following = tuple(following)
    return list(turn.results)


_BYTE_SUMS = {2: "llvm.x86.sse2.psad.bw", 4: "llvm.x86.avx2.psad.bw"}


def _unequal(
    f: Function,
    machine: Machine,
    windows: list[str],
    base: str,
    tap: str,
    offsets: str,
    width: int,
    count: int,
    counted: str,
) -> list[str]:
    """Numbers of unequal bits of one tap word, in the elements of the type `counted`."""
    lanes, vector = machine.lanes, f"<{machine.lanes} x i64>"
    offset = f.load("i64", f.at("i64", offsets, tap), 8)
    words = [f.splat("i64", lanes, f.load("i64", f.at("i64", window, offset), 8)) for window in windows]
    start = f.at("i64", base, f.mul(tap, str(width)))
    made: list[list[str]] = [[] for _ in windows]
    for a in range(count):
        weight = f.load(vector, f.at("i64", start, str(a * lanes)), 8)
        for i, word in enumerate(words):
            unequal = f.value(f"xor {vector} {weight}, {word}")
            if counted != vector:
                unequal = f.value(f"bitcast {vector} {unequal} to {counted}")
            made[i].append(f.value(f"call {counted} @{_population_count(counted)}({counted} {unequal})"))
    return [value for group in made for value in group]


def _population_count(vector: str) -> str:
    lanes, kind = vector.strip("<>").split(" x ")
    return f"llvm.ctpop.v{lanes}{kind}"


def _joined(f: Function, masks: list[str], lanes: int) -> str:
    """One integer whose bits are the lanes of boolean vectors, the first vector's first lane lowest."""
    if lanes < 8:  # the signs of such vectors go to a general register best
        total = "0"
        for i, mask in enumerate(masks):
            bits = f.value(f"zext i{lanes} {f.value(f'bitcast <{lanes} x i1> {mask} to i{lanes}')} to i64")
            total = f.value(f"or i64 {total}, {f.value(f'shl i64 {bits}, {i * lanes}')}")
        return f.value(f"trunc i64 {total} to i{lanes * len(masks)}") if lanes * len(masks) < 64 else total
    while len(masks) > 1:
        order = ", ".join(f"i32 {i}" for i in range(2 * lanes))
        pair = f"<{lanes} x i1>"
        masks = [
            f.value(f"shufflevector {pair} {one}, {pair} {other}, <{2 * lanes} x i32> <{order}>")
            for one, other in zip(masks[::2], masks[1::2], strict=True)
        ]
        lanes *= 2
    return f.value(f"bitcast <{lanes} x i1> {masks[0]} to i{lanes}")


def dot(name: str, machine: Machine, bits: bool) -> Function:
    """Layer of bytes: sums of products of uint8 activations with small signed weights, i32.

    Each row of windows is laid out in `scratch` first, so that all taps of a window are contiguous. Kernel
    rows are copied 16 bytes at a time, each over the surplus of the one before; up to 15 bytes behind x are read.
    Two columns are done at a time; one pixel behind out may be written. Parameters: x u8,
    weights [block][group][64][taps of a group], bounds or starts i32 [block][64], out
    ([image][row][column][block] words, or i32 [...][block][64]), images, rows, columns, bytes from image to
    image, row to row, column to column of x, kernel rows, bytes of a kernel row, bytes from line to line of
    x, groups of taps, blocks, words or numbers from pixel to pixel of out, scratch,
    bytes from window to window there.
    """
    f, lanes, size = Function(name), 2 * machine.lanes, 4 // machine.taps
    accumulators, pixels = 4, 2
    tile, vector = accumulators * lanes, f"<{lanes} x i32>"
    x, weights, limits, out, images, rows, columns, xi, xr, xc, *others = f.arguments(
        *["ptr"] * 4, *["i64"] * 12, "ptr", "i64"
    )
    height, row_bytes, line, groups, blocks, stride, scratch, patch = others
    chunks = f.value(f"lshr i64 {f.add(row_bytes, '15')}, 4")
    tiles = f.value(f"lshr i64 {f.add(columns, '1')}, 1")
    with f.loop(images) as image, f.loop(rows) as row:
        lines = f.at("i8", x, f.add(f.mul(image.index, xi), f.mul(row.index, xr)))
        with f.loop(height) as tap_row, f.loop(chunks) as chunk:
            place = f.mul(chunk.index, "16")
            source = f.at("i8", f.at("i8", lines, f.mul(tap_row.index, line)), place)
            start = f.mul(f.add(f.mul(tap_row.index, row_bytes), place), str(size))
            target = f.at("i8", scratch, start)
            with f.loop(columns) as column:
                part = f.load("<16 x i8>", f.at("i8", source, f.mul(column.index, xc)))
                to = f.at("i8", target, f.mul(column.index, patch))
                if size == 1:
                    f.store("<16 x i8>", part, to)
                else:
                    f.store("<16 x i16>", f.value(f"zext <16 x i8> {part} to <16 x i16>"), to)
        first = f.mul(f.add(f.mul(image.index, rows), row.index), columns)
        with f.loop(blocks) as block:
            weight = f.at("i32", weights, f.mul(f.mul(block.index, groups), str(WIDE)))
            limit = f.at("i32", limits, f.mul(block.index, str(WIDE)))
            with f.loop(tiles) as pair:
                places = [f.add(f.mul(pair.index, "2"), str(i)) for i in range(pixels)]
                windows = [f.at("i8", scratch, f.mul(place, patch)) for place in places]
                for part_index in range(WIDE // tile):
                    offsets = [str(part_index * tile + a * lanes) for a in range(accumulators)]
                    begins = ["zeroinitializer"] * accumulators
                    if not bits:
                        begins = [f.load(vector, f.at("i32", limit, offset), 4) for offset in offsets]
                    with f.loop(groups, *((vector, v) for v in begins * pixels)) as group:
                        words = [
                            f.splat("i32", lanes, f.load("i32", f.at("i32", window, group.index), 4))
                            for window in windows
                        ]
                        taps = f.at("i32", weight, f.mul(group.index, str(WIDE)))
                        following = []
                        loaded = [f.load(vector, f.at("i32", taps, offset), 4) for offset in offsets]
                        for i, word in enumerate(words):
                            for a, factor in enumerate(loaded):
                                total = group.values[i * accumulators + a]
                                following.append(_multiply_add(f, machine, total, word, factor))
                        group.following = tuple(following)
                    for i in range(pixels):
                        sums = group.results[i * accumulators : (i + 1) * accumulators]
                        target = f.mul(f.add(first, places[i]), stride)
                        if bits:
                            masks = []
                            for offset, total in zip(offsets, sums, strict=True):
                                bound = f.load(vector, f.at("i32", limit, offset), 4)
                                masks.append(f.value(f"icmp sge {vector} {total}, {bound}"))
                            word = f.at("i64", out, f.add(target, block.index))
                            f.store(f"i{tile}", _joined(f, masks, lanes), f.at(f"i{tile}", word, str(part_index)))
                        else:
                            numbers = f.at("i32", out, f.add(target, f.mul(block.index, str(WIDE))))
                            for offset, total in zip(offsets, sums, strict=True):
                                f.store(vector, total, f.at("i32", numbers, offset), 4)
    return f


def _dot_declaration(machine: Machine) -> str:
    if machine.dot == "vpdpbusd":
        return "declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, <16 x i32>, <16 x i32>)"
    if machine.dot == "pmaddwd":
        name, lanes = _PMADDWD[machine.lanes], 2 * machine.lanes
        return f"declare <{lanes} x i32> @{name}(<{2 * lanes} x i16>, <{2 * lanes} x i16>)"
    return ""


_PMADDWD = {2: "llvm.x86.sse2.pmadd.wd", 4: "llvm.x86.avx2.pmadd.wd", 8: "llvm.x86.avx512.pmaddw.d.512"}


def _multiply_add(f: Function, machine: Machine, total: str, word: str, factor: str) -> str:
    """total + products of a group of taps, a lane; word and factor are vectors of 4-byte groups."""
    lanes = 2 * machine.lanes
    vector = f"<{lanes} x i32>"
    if machine.dot == "vpdpbusd":
        # The form of the operands before LLVM 22, which later ones still read.
        arguments = f"{vector} {total}, {vector} {word}, {vector} {factor}"
        return f.value(f"call {vector} @llvm.x86.avx512.vpdpbusd.512({arguments})")
    if machine.dot == "pmaddwd":
        small = f"<{2 * lanes} x i16>"
        values = [f.value(f"bitcast {vector} {v} to {small}") for v in (word, factor)]
        products = f.value(f"call {vector} @{_PMADDWD[machine.lanes]}({small} {values[0]}, {small} {values[1]})")
        return f.value(f"add {vector} {total}, {products}")
    for shift in (True, False):  # the low half, moved up and back for its sign, then the high half
        halves = []
        for v in (word, factor):
            moved = f.value(f"shl {vector} {v}, {_same(16, lanes)}") if shift else v
            halves.append(f.value(f"ashr {vector} {moved}, {_same(16, lanes)}"))
        total = f.value(f"add {vector} {total}, {f.value(f'mul {vector} {halves[0]}, {halves[1]}')}")
    return total


def _same(value: int, lanes: int) -> str:
    return "<" + ", ".join([f"i32 {value}"] * lanes) + ">"


def pool(name: str) -> Function:
    """Maximum of bits over windows: the words' union, four taps at a time.

    Parameters: x, out [image][row][column][word], images, rows, columns, words from image to image, row to
    row, column to column of x, groups of four taps, their offsets in x (the last repeated), words.
    """
    f = Function(name)
    x, out, images, rows, columns, xi, xr, xc, groups, offsets, words = f.arguments(
        "ptr", "ptr", *["i64"] * 7, "ptr", "i64"
    )
    with f.loop(images) as image, f.loop(rows) as row:
        line = f.at("i64", x, f.add(f.mul(image.index, xi), f.mul(row.index, xr)))
        first = f.mul(f.add(f.mul(image.index, rows), row.index), columns)
        with f.loop(columns) as column:
            window = f.at("i64", line, f.mul(column.index, xc))
            target = f.at("i64", out, f.mul(f.add(first, column.index), words))
            with f.loop(words) as word:
                start = f.at("i64", window, word.index)
                with f.loop(groups, ("i64", "0")) as group:
                    four = f.at("i64", offsets, f.mul(group.index, "4"))
                    total = group.values[0]
                    for i in range(4):
                        offset = f.load("i64", f.at("i64", four, str(i)), 8)
                        total = f.value(f"or i64 {total}, {f.load('i64', f.at('i64', start, offset), 8)}")
                    group.following = (total,)
                f.store("i64", group.results[0], f.at("i64", target, word.index), 8)
    return f


def channels_last(name: str) -> Function:
    """Bytes of [image][channel][place] in the order [image][place][channel].

    Parameters: x, out, images, channels, places.
    """
    f = Function(name)
    x, out, images, channels, places = f.arguments("ptr", "ptr", "i64", "i64", "i64")
    size = f.mul(channels, places)
    with f.loop(images) as image:
        start = f.mul(image.index, size)
        source, target = f.at("i8", x, start), f.at("i8", out, start)
        with f.loop(channels) as channel:
            plane = f.at("i8", source, f.mul(channel.index, places))
            column = f.at("i8", target, channel.index)
            with f.loop(places) as place:
                value = f.load("i8", f.at("i8", plane, place.index))
                f.store("i8", value, f.at("i8", column, f.mul(place.index, channels)))
    return f


def three_channels_last(name: str) -> Function:
    """`channels_last` for three channels and a number of places that 16 divides, 16 places at a time.

    Parameters: x, out, images, groups of 16 places.
    """
    f = Function(name)
    x, out, images, groups = f.arguments("ptr", "ptr", "i64", "i64")
    places = f.mul(groups, "16")
    size = f.mul(places, "3")
    two = ", ".join(f"i32 {i}" for i in range(32))
    first = ", ".join(f"i32 {i}" if i < 16 else "i32 poison" for i in range(32))
    # Of 64 bytes the first 48 count: LLVM 20 cannot shuffle 48.
    mixed = ", ".join(f"i32 {16 * (i % 3) + i // 3}" if i < 48 else "i32 poison" for i in range(64))
    with f.loop(images) as image:
        start = f.mul(image.index, size)
        source, target = f.at("i8", x, start), f.at("i8", out, start)
        with f.loop(groups) as group:
            place = f.mul(group.index, "16")
            planes = [
                f.load("<16 x i8>", f.at("i8", source, place if i == 0 else f.add(place, f.mul(places, str(i)))))
                for i in range(3)
            ]
            pair = f.value(f"shufflevector <16 x i8> {planes[0]}, <16 x i8> {planes[1]}, <32 x i32> <{two}>")
            last = f.value(f"shufflevector <16 x i8> {planes[2]}, <16 x i8> poison, <32 x i32> <{first}>")
            made = f.value(f"shufflevector <32 x i8> {pair}, <32 x i8> {last}, <64 x i32> <{mixed}>")
            for part in range(3):
                order = ", ".join(f"i32 {i}" for i in range(16 * part, 16 * part + 16))
                piece = f.value(f"shufflevector <64 x i8> {made}, <64 x i8> poison, <16 x i32> <{order}>")
                f.store("<16 x i8>", piece, f.at("i8", target, f.add(f.mul(place, "3"), str(16 * part))))
    return f


def copy_rows(name: str) -> Function:
    """Rows of maps into the inside of larger maps, 16 bytes at a time and then the rest.

    Parameters: x, out (the first inner byte), images, rows, bytes from image to image and row to row of x,
    the same of out, groups of 16 bytes in a row, bytes behind them.
    """
    f = Function(name)
    x, out, images, rows, xi, xr, oi, or_, groups, rest = f.arguments("ptr", "ptr", *["i64"] * 8)
    with f.loop(images) as image, f.loop(rows) as row:
        source = f.at("i8", x, f.add(f.mul(image.index, xi), f.mul(row.index, xr)))
        target = f.at("i8", out, f.add(f.mul(image.index, oi), f.mul(row.index, or_)))
        with f.loop(groups, may_skip=True) as group:
            place = f.mul(group.index, "16")
            f.store("<16 x i8>", f.load("<16 x i8>", f.at("i8", source, place)), f.at("i8", target, place))
        done = f.mul(groups, "16")
        with f.loop(rest, may_skip=True) as byte:
            place = f.add(done, byte.index)
            f.store("i8", f.load("i8", f.at("i8", source, place)), f.at("i8", target, place))
    return f


def replay(name: str) -> Function:
    """Call kernels one behind the other.

    Parameters: pairs of a kernel and its parameters, how many.
    """
    f = Function(name)
    pairs, count = f.arguments("ptr", "i64")
    with f.loop(count) as pair:
        place = f.mul(pair.index, "2")
        kernel = f.load("ptr", f.at("i64", pairs, place), 8)
        parameters = f.load("ptr", f.at("i64", pairs, f.add(place, "1")), 8)
        f.emit(f"call void {kernel}(ptr {parameters})")
    return f


def compare_bytes(name: str) -> Function:
    """Bits of bytes: 1 where a byte reaches its channel's bound and the mask holds the channel.

    Up to 63 bytes behind x are read. Parameters: x u8 [pixel][channel], bounds u8 [word][64], masks i64
    [word], out [pixel][word], pixels, channels, words.
    """
    f = Function(name)
    x, bounds, masks, out, pixels, channels, words = f.arguments("ptr", "ptr", "ptr", "ptr", "i64", "i64", "i64")
    with f.loop(pixels) as pixel:
        source = f.at("i8", x, f.mul(pixel.index, channels))
        target = f.at("i64", out, f.mul(pixel.index, words))
        with f.loop(words) as word:
            start = f.mul(word.index, "64")
            values = f.load("<64 x i8>", f.at("i8", source, start))
            bound = f.load("<64 x i8>", f.at("i8", bounds, start))
            reached = f.value(f"icmp uge <64 x i8> {values}, {bound}")
            bits = f.value(f"bitcast <64 x i1> {reached} to i64")
            held = f.value(f"and i64 {bits}, {f.load('i64', f.at('i64', masks, word.index), 8)}")
            f.store("i64", held, f.at("i64", target, word.index), 8)
    return f


def compare_sums(name: str) -> Function:
    """Bits of 32-bit numbers: 1 where a number exceeds its channel's limit.

    Up to 63 numbers behind x are read. Parameters: x i32 [pixel], numbers from pixel to pixel, limits i32
    [word][64] (the greatest i32 behind the last channel), out [pixel][word], pixels, words.
    """
    f = Function(name)
    x, stride, bounds, out, pixels, words = f.arguments("ptr", "i64", "ptr", "ptr", "i64", "i64")
    with f.loop(pixels) as pixel:
        source = f.at("i32", x, f.mul(pixel.index, stride))
        target = f.at("i64", out, f.mul(pixel.index, words))
        with f.loop(words) as word:
            start = f.mul(word.index, "64")
            values = f.load("<64 x i32>", f.at("i32", source, start), 4)
            bound = f.load("<64 x i32>", f.at("i32", bounds, start), 4)
            reached = f.value(f"icmp sgt <64 x i32> {values}, {bound}")
            bits = f.value(f"bitcast <64 x i1> {reached} to i64")
            f.store("i64", bits, f.at("i64", target, word.index), 8)
    return f


def count_levels(name: str) -> Function:
    """Number of limits that each 32-bit number exceeds, a byte; at most 255 levels.

    Up to 63 numbers behind x are read and 63 bytes behind out written. Parameters: x i32 [pixel], numbers
    from pixel to pixel, limits i32 [level][word][64], levels, out u8 [pixel][channel], channels, pixels, words.
    """
    f = Function(name)
    x, stride, bounds, levels, out, channels, pixels, words = f.arguments(
        "ptr", "i64", "ptr", "i64", "ptr", "i64", "i64", "i64"
    )
    step = f.mul(words, "64")
    with f.loop(pixels) as pixel:
        source = f.at("i32", x, f.mul(pixel.index, stride))
        target = f.at("i8", out, f.mul(pixel.index, channels))
        with f.loop(words) as word:
            for part in range(0, 64, 16):
                start = f.add(f.mul(word.index, "64"), str(part))
                values = f.load("<16 x i32>", f.at("i32", source, start), 4)
                with f.loop(levels, ("<16 x i32>", "zeroinitializer")) as level:
                    place = f.add(f.mul(level.index, step), start)
                    bound = f.load("<16 x i32>", f.at("i32", bounds, place), 4)
                    reached = f.value(f"icmp sgt <16 x i32> {values}, {bound}")
                    one = f.value(f"zext <16 x i1> {reached} to <16 x i32>")
                    level.following = (f.value(f"add <16 x i32> {level.values[0]}, {one}"),)
                small = f.value(f"trunc <16 x i32> {level.results[0]} to <16 x i8>")
                f.store("<16 x i8>", small, f.at("i8", target, start))
    return f


def peak(name: str, machine: Machine) -> Function:
    """Xor, population count and add in registers alone: what no binary layer can exceed.

    Parameters: rounds (512 * lanes bits each), 64 words to read, 64 words that are written.
    """
    f, lanes = Function(name), machine.lanes
    vector = f"<{lanes} x i64>"
    rounds, source, out = f.arguments("i64", "ptr", "ptr")
    weights = [f.load(vector, f.at("i64", source, str(i * lanes)), 8) for i in range(8)]
    with f.loop(rounds, *[(vector, "zeroinitializer")] * 8) as turn:
        index = f.value(f"and i64 {turn.index}, 7")
        word = f.splat("i64", lanes, f.load("i64", f.at("i64", source, index), 8))
        following = []
        for weight, total in zip(weights, turn.values, strict=True):
            unequal = f.value(f"xor {vector} {weight}, {word}")
            count = f.value(f"call {vector} @llvm.ctpop.v{lanes}i64({vector} {unequal})")
            following.append(f.value(f"add {vector} {total}, {count}"))
        turn.following = tuple(following)
    for i, total in enumerate(turn.results):
        f.store(vector, total, f.at("i64", out, str(i * lanes)), 8)
    return f
