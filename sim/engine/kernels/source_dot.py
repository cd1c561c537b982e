"""The text of the layers on small integers: multiply and add."""

from __future__ import annotations

from .assembly import Function
from .machine import WIDE, Machine
from .source_xnor import joined_lanes


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
                            f.store(f"i{tile}", joined_lanes(f, masks, lanes), f.at(f"i{tile}", word, str(part_index)))
                        else:
                            numbers = f.at("i32", out, f.add(target, f.mul(block.index, str(WIDE))))
                            for offset, total in zip(offsets, sums, strict=True):
                                f.store(vector, total, f.at("i32", numbers, offset), 4)
    return f


def dot_declaration(machine: Machine) -> str:
    """The declaration of the instruction that multiplies and adds; empty where there is none."""
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
