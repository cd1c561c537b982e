"""The kernel that moves words through a pipeline, cycle by cycle, as LLVM text: see `sim/pipeline/line.py`."""

from __future__ import annotations

from .assembly import Function

FIFO = ("writes", "written", "reads", "taken", "later", "places")
"""Parameters of a FIFO: cycles of writing, how many; cycles of reading, how many; latency + 1; places, 0: unbounded."""

PROCESS = (
    *("kinds", "codes", "size", "count", "inputs", "entries", "outputs", "exits"),
    *("after", "watched", "moved", "each", "behind", "starves"),
    *("index", "done", "time", "busy", "starved", "blocked"),
)
"""Parameters of a process: kinds of steps [kind][gap, mask of inputs, whether it writes], the kind of each step (u8),
how many steps and repetitions; pointers to FIFOs that are read and written, how many; words after which each step is
(null: none), in which cycles, how many are known, words of a repetition, cycles between, whether waiting is for a word
(else for a place); and its state."""

_PLACE = {name: index for index, name in enumerate(PROCESS)}


def move_words(name: str) -> Function:
    """Make all steps of all processes whose cycle is known, until nothing moves.

    Parameters: processes [process][`PROCESS`], how many. State, and cycles of FIFOs, are changed in place.
    """
    f = Function(name)
    processes, count = f.arguments("ptr", "i64")
    any_moved, place, port, ready, free, own = (f.value("alloca i64") for _ in range(6))
    held: dict[str, str] = {}

    def label(block: str) -> None:
        f.lines.append(f"{block}:")

    def go(block: str) -> None:
        f.emit(f"br label %{block}")

    def choose(test: str, yes: str, no: str) -> None:
        f.emit(f"br i1 {f.value(f'icmp {test}')}, label %{yes}, label %{no}")

    def of(field: str) -> str:
        """What a field of the process holds now."""
        return f.load("ptr" if field in ("moved", "watched", "after") else "i64", held[field], 8)

    def later(variable: str, moment: str) -> None:
        """A step is not before a moment."""
        f.store("i64", f.value(f"call i64 @llvm.smax.i64(i64 {f.load('i64', variable, 8)}, i64 {moment})"), variable, 8)

    def fifo(ports: str, number: str) -> dict[str, str]:
        """The parameters of a FIFO, and the addresses of its two counts."""
        base = f.load("ptr", f.at("ptr", ports, number), 8)
        at = {field: f.at("i64", base, str(index)) for index, field in enumerate(FIFO)}
        values = {
            field: f.load("ptr" if field in ("writes", "reads") else "i64", address, 8) for field, address in at.items()
        }
        return values | {f"@{field}": at[field] for field in ("written", "taken")}

    def ports(block: str, number: str, behind: str) -> str:
        """Begin a loop over ports; its body ends by going to `BLOCK.next`."""
        f.store("i64", "0", port, 8)
        go(f"{block}.test")
        label(f"{block}.next")
        f.store("i64", f.add(f.load("i64", port, 8), "1"), port, 8)
        go(f"{block}.test")
        label(f"{block}.test")
        now = f.load("i64", port, 8)
        choose(f"slt i64 {now}, {number}", f"{block}.body", behind)
        label(f"{block}.body")
        return now

    def if_read(mask: str, now: str, block: str) -> None:
        """Go on with a port that the step reads, else to the next one."""
        bit = f.value(f"and i64 {f.value(f'lshr i64 {mask}, {now}')}, 1")
        choose(f"ne i64 {bit}, 0", f"{block}.one", f"{block}.next")
        label(f"{block}.one")

    go("round")
    label("round")
    f.store("i64", "0", any_moved, 8)
    f.store("i64", "0", place, 8)
    go("process.test")
    label("process.next")
    f.store("i64", f.add(f.load("i64", place, 8), "1"), place, 8)
    go("process.test")
    label("process.test")
    current = f.load("i64", place, 8)
    choose(f"slt i64 {current}, {count}", "process", "round.end")
    label("round.end")
    choose(f"ne i64 {f.load('i64', any_moved, 8)}, 0", "round", "end")

    label("process")
    base = f.at("i64", processes, f.mul(current, str(len(PROCESS))))
    held |= {field: f.at("i64", base, str(index)) for field, index in _PLACE.items()}
    kinds, codes, inputs, outputs, after, watched, moved = (
        f.load("ptr", held[field], 8) for field in ("kinds", "codes", "inputs", "outputs", "after", "watched", "moved")
    )
    size, times, entries, exits, each, behind, starves = (
        f.load("i64", held[field], 8) for field in ("size", "count", "entries", "exits", "each", "behind", "starves")
    )
    go("step")

    label("step")
    done, index = of("done"), of("index")
    choose(f"slt i64 {done}, {times}", "step.try", "process.next")
    label("step.try")
    code = f.value(f"zext i8 {f.load('i8', f.at('i8', codes, index))} to i64")
    kind = f.at("i64", kinds, f.mul(code, "3"))
    gap, mask, writes = (f.load("i64", f.at("i64", kind, str(field)), 8) for field in range(3))
    start = f.add(of("time"), gap)
    f.store("i64", start, own, 8)
    f.store("i64", start, ready, 8)

    # Every word that it reads is there.
    now = ports("read", entries, "read.end")
    if_read(mask, now, "read")
    one = fifo(inputs, now)
    choose(f"slt i64 {one['taken']}, {one['written']}", "read.there", "process.next")
    label("read.there")
    later(ready, f.add(f.load("i64", f.at("i64", one["writes"], one["taken"]), 8), one["later"]))
    go("read.next")
    label("read.end")

    # What the other half of a window did before it.
    f.store("i64", f.load("i64", ready, 8), free, 8)
    choose(f"ne ptr {after}, null", "watch", "write")
    label("watch")
    words = f.add(f.mul(done, each), f.load("i64", f.at("i64", after, index), 8))
    choose(f"sgt i64 {words}, {f.load('i64', moved, 8)}", "process.next", "watch.known")
    label("watch.known")
    choose(f"sgt i64 {words}, 0", "watch.one", "write")
    label("watch.one")
    last = f.value(f"sub i64 {words}, 1")
    later(free, f.add(f.load("i64", f.at("i64", watched, last), 8), behind))
    before, behind_it = f.load("i64", ready, 8), f.load("i64", free, 8)
    needs = f.value(f"icmp ne i64 {starves}, 0")
    f.store("i64", f.value(f"select i1 {needs}, i64 {behind_it}, i64 {before}"), ready, 8)
    go("write")

    # Every FIFO that it writes has a place.
    label("write")
    written = f.mul(writes, exits)
    now = ports("place", written, "commit")
    one = fifo(outputs, now)
    choose(f"ne i64 {one['places']}, 0", "place.bounded", "place.next")
    label("place.bounded")
    older = f.value(f"sub i64 {one['written']}, {one['places']}")
    choose(f"sge i64 {older}, 0", "place.full", "place.next")
    label("place.full")
    choose(f"slt i64 {older}, {one['taken']}", "place.free", "process.next")
    label("place.free")
    later(free, f.add(f.load("i64", f.at("i64", one["reads"], older), 8), "1"))
    go("place.next")

    # It is made.
    label("commit")
    moment, due = f.load("i64", free, 8), f.load("i64", ready, 8)
    now = ports("take", entries, "take.end")
    if_read(mask, now, "take")
    one = fifo(inputs, now)
    f.store("i64", moment, f.at("i64", one["reads"], one["taken"]), 8)
    f.store("i64", f.add(one["taken"], "1"), one["@taken"], 8)
    go("take.next")
    label("take.end")
    now = ports("give", written, "count")
    one = fifo(outputs, now)
    f.store("i64", moment, f.at("i64", one["writes"], one["written"]), 8)
    f.store("i64", f.add(one["written"], "1"), one["@written"], 8)
    go("give.next")
    label("count")
    first = f.load("i64", own, 8)
    f.store("i64", f.add(of("busy"), gap), held["busy"], 8)
    f.store("i64", f.add(of("starved"), f.value(f"sub i64 {due}, {first}")), held["starved"], 8)
    f.store("i64", f.add(of("blocked"), f.value(f"sub i64 {moment}, {due}")), held["blocked"], 8)
    f.store("i64", moment, held["time"], 8)
    f.store("i64", "1", any_moved, 8)
    following = f.add(index, "1")
    whole = f.value(f"icmp eq i64 {following}, {size}")
    f.store("i64", f.value(f"select i1 {whole}, i64 0, i64 {following}"), held["index"], 8)
    f.store("i64", f.add(done, f.value(f"zext i1 {whole} to i64")), held["done"], 8)
    go("step")
    label("end")
    return f
