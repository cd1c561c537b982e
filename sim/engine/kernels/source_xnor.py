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
