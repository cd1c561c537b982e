"""The text of what is done with maps and sums: pools, layouts, copies and comparisons."""

from __future__ import annotations

from .assembly import Function


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


def replay_kernels(name: str) -> Function:
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
