"""The text of the layers on bits: exclusive or, population count and add; and of the loop that measures their limit."""

from __future__ import annotations

from .assembly import Function
from .machine import WIDE, Machine


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
                        f.store(f"i{tile}", joined_lanes(f, masks, lanes), f.at(f"i{tile}", word, str(part)))
    return f


def xnor_bits_tables(name: str, pixels: int) -> Function:
    """Binary layer with thresholds, as `xnor_bits`, by looking up what four bits of a window add to 32 channels.

    A byte of the window chooses two tables of 16 bytes, one for each half: how many of its four bits are unequal to
    those of a number from 0 to 15. Such numbers are the weights, four taps of a channel a byte, so that one shuffle
    counts 128 products; exclusive or and a count of 256 take eight instructions, this four. Sums are bytes for three
    words, then 16 bits, those of even and of odd channels apart. Parameters: as `xnor_bits`, but for weights u8
    [block][tap word][half of a byte, 16][64] and limits i16 [class][block][32 channels][even, then odd].

    Source: tables of activations that weights index are those of Wei et al., T-MAC (arXiv:2407.00088), here of one bit.
    """
    f = Function(name)
    parts, word_bytes = WIDE // LOOKED_UP, str(16 * WIDE)
    x, weights, bounds, out, images, rows, columns, xi, xr, xc, taps, offsets, blocks, stride, classes = f.arguments(
        "ptr", "ptr", "ptr", "ptr", *["i64"] * 7, "ptr", "i64", "i64", "ptr"
    )
    area, turns = f.mul(rows, columns), f.value(f"udiv i64 {taps}, {_TABLE_TAPS}")
    counted = f.mul(turns, str(_TABLE_TAPS))
    left = f.value(f"sub i64 {taps}, {counted}")
    with f.loop(blocks) as block:
        weight = f.at("i8", weights, f.mul(block.index, f.mul(taps, word_bytes)))
        bound = f.at("i16", bounds, f.mul(block.index, str(WIDE)))
        with f.loop(images) as image, f.loop(rows) as row:
            line = f.at("i64", x, f.add(f.mul(image.index, xi), f.mul(row.index, xr)))
            first, first_out = f.mul(row.index, columns), f.mul(image.index, area)
            with f.loop(_tiles(f, columns, pixels)) as column:
                places = _places(f, column.index, columns, pixels)
                windows = [f.at("i64", line, f.mul(place, xc)) for place in places]
                pixel = [f.add(first, place) for place in places]
                limits = [f.at("i16", bound, f.load("i64", f.at("i64", classes, p), 8)) for p in pixel]
                starts = [(_MEDIUM, "zeroinitializer")] * (2 * parts * pixels)
                with f.loop(turns, *starts, may_skip=True) as turn:
                    words = [f.add(f.mul(turn.index, str(_TABLE_TAPS)), str(i)) for i in range(_TABLE_TAPS)]
                    turn.following = _widened(f, turn.values, _looked_up(f, windows, weight, words, offsets))
                with f.loop(left, *((_MEDIUM, total) for total in turn.results), may_skip=True) as rest:
                    words = [f.add(counted, rest.index)]
                    rest.following = _widened(f, rest.values, _looked_up(f, windows, weight, words, offsets))
                for i in range(pixels):
                    word = f.at("i64", out, f.add(f.mul(f.add(first_out, pixel[i]), stride), block.index))
                    for part in range(parts):
                        totals = rest.results[2 * (i * parts + part) :][:2]
                        made = _below(f, totals, limits[i], part * LOOKED_UP)
                        f.store(f"i{LOOKED_UP}", made, f.at(f"i{LOOKED_UP}", word, str(part)))
    return f


LOOKED_UP = 32
"""Channels that one shuffle looks up."""
TABLES = "tables"
# Words whose counts, at most 4 for each of 16 halves of bytes, fit into a byte.
_TABLE_TAPS = 3
_SMALL, _MEDIUM = f"<{LOOKED_UP} x i8>", f"<{LOOKED_UP // 2} x i16>"


def tables() -> str:
    """For each byte, 16 numbers of unequal bits of its lower half and 16 of its upper half."""
    rows = [((byte >> shift & 15) ^ i).bit_count() for byte in range(256) for shift in (0, 4) for i in range(16)]
    held = ", ".join(f"i8 {count}" for count in rows)
    return f"@{TABLES} = internal constant [{len(rows)} x i8] [{held}], align 64"


def _looked_up(f: Function, windows: list[str], weight: str, words: list[str], offsets: str) -> list[str]:
    """Unequal bits in some tap words as sums of bytes, 32 channels each: those of the first window come first."""
    parts = WIDE // LOOKED_UP
    sums = [""] * (parts * len(windows))
    for at in words:
        offset = f.load("i64", f.at("i64", offsets, at), 8)
        bits = [f.at("i64", window, offset) for window in windows]
        held = f.at("i8", weight, f.mul(at, str(16 * WIDE)))
        for byte in range(8):
            index = [f.value(f"zext i8 {f.load('i8', f.at('i8', each, str(byte)))} to i64") for each in bits]
            for half in range(2):
                places = (f.add(f.mul(i, "32"), str(16 * half)) for i in index)
                chosen = [_table(f, f.at("i8", f"@{TABLES}", place)) for place in places]
                for part in range(parts):
                    place = str((2 * byte + half) * WIDE + part * LOOKED_UP)
                    four = f.load(_SMALL, f.at("i8", held, place), LOOKED_UP)
                    for i, table in enumerate(chosen):
                        count = f.value(f"call {_SMALL} @{LOOK_UP}({_SMALL} {table}, {_SMALL} {four})")
                        sum_ = sums[i * parts + part]
                        sums[i * parts + part] = f.value(f"add {_SMALL} {sum_}, {count}") if sum_ else count
    return sums


def _widened(f: Function, totals: tuple[str, ...], sums: list[str]) -> tuple[str, ...]:
    """Totals of 16 bits, of even and of odd channels, with sums of bytes added."""
    made = []
    for sum_, even, odd in zip(sums, totals[::2], totals[1::2], strict=True):
        wide = f.value(f"bitcast {_SMALL} {sum_} to {_MEDIUM}")
        lower = f.value(f"and {_MEDIUM} {wide}, {f.splat('i16', LOOKED_UP // 2, '255')}")
        upper = f.value(f"lshr {_MEDIUM} {wide}, {f.splat('i16', LOOKED_UP // 2, '8')}")
        made += [f.value(f"add {_MEDIUM} {even}, {lower}"), f.value(f"add {_MEDIUM} {odd}, {upper}")]
    return tuple(made)


def _below(f: Function, totals: tuple[str, ...], limits: str, place: int) -> str:
    """The bits of 32 channels: 1 where a total is below its limit."""
    bytes_ = []
    for odd, total in enumerate(totals):
        most = f.load(_MEDIUM, f.at("i16", limits, str(place + LOOKED_UP // 2 * odd)), 2)
        whole = f.value(f"sext <{LOOKED_UP // 2} x i1> {f.value(f'icmp slt {_MEDIUM} {total}, {most}')} to {_MEDIUM}")
        shift = ("shl", "8") if odd else ("and", "255")
        bytes_.append(f.value(f"{shift[0]} {_MEDIUM} {whole}, {f.splat('i16', LOOKED_UP // 2, shift[1])}"))
    joined = f.value(f"bitcast {_MEDIUM} {f.value(f'or {_MEDIUM} {bytes_[0]}, {bytes_[1]}')} to {_SMALL}")
    mask = f.value(f"icmp slt {_SMALL} {joined}, zeroinitializer")
    return f.value(f"bitcast <{LOOKED_UP} x i1> {mask} to i{LOOKED_UP}")


def _table(f: Function, pointer: str) -> str:
    """The 16 bytes of a table in both halves of a vector."""
    order = ", ".join(f"i32 {i % 16}" for i in range(LOOKED_UP))
    held = f.load("<16 x i8>", pointer, 16)
    return f.value(f"shufflevector <16 x i8> {held}, <16 x i8> poison, <{LOOKED_UP} x i32> <{order}>")


LOOK_UP = "llvm.x86.avx2.pshuf.b"


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
    if machine.lanes not in BYTE_SUMS or machine.dot != "pmaddwd":
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
            wide = f.value(f"call {vector} @{BYTE_SUMS[lanes]}({small} {held}, {small} zeroinitializer)")
            following.append(f.value(f"add {vector} {total}, {wide}"))
        turn.following = tuple(following)
    return list(turn.results)


BYTE_SUMS = {2: "llvm.x86.sse2.psad.bw", 4: "llvm.x86.avx2.psad.bw"}


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
            made[i].append(f.value(f"call {counted} @{population_count(counted)}({counted} {unequal})"))
    return [value for group in made for value in group]


def population_count(vector: str) -> str:
    """Name of the function that counts the ones in every lane of a vector type such as "<8 x i64>"."""
    lanes, kind = vector.strip("<>").split(" x ")
    return f"llvm.ctpop.v{lanes}{kind}"


def joined_lanes(f: Function, masks: list[str], lanes: int) -> str:
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


def peak_of_tables(name: str) -> Function:
    """Look-ups and additions of bytes in registers alone; parameters as `peak`, for vectors of four lanes."""
    f = Function(name)
    small = f"<{LOOKED_UP} x i8>"
    rounds, source, out = f.arguments("i64", "ptr", "ptr")
    weights = [f.load(small, f.at("i8", source, str(i * LOOKED_UP))) for i in range(4)]
    with f.loop(rounds, *[(small, "zeroinitializer")] * 8) as turn:
        index = f.value(f"and i64 {turn.index}, 7")
        sums = list(turn.values)
        for half in range(2):
            table = _table(f, f.at("i8", f"@{TABLES}", f.add(f.mul(index, "32"), str(16 * half))))
            for i, total in enumerate(sums):
                count = f.value(f"call {small} @{LOOK_UP}({small} {table}, {small} {weights[i % 4]})")
                sums[i] = f.value(f"add {small} {total}, {count}")
        turn.following = tuple(sums)
    for i, total in enumerate(turn.results):
        f.store(small, total, f.at("i8", out, str(i * LOOKED_UP)))
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
