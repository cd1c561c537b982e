"""A few lines of help to write functions in LLVM's text form: fresh names, loads and counted loops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Loop:
    """A counted loop that is being written.

    Attributes:
        index: i64, 0 up to count - 1.
        values: carried values as the body sees them.
        following: what the body hands on to its next round.
        results: the carried values behind the loop.
    """

    index: str
    values: tuple[str, ...]
    following: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(slots=True)
class Function:
    """The text of one function `void name(ptr args)`; args points to an array of i64."""

    name: str
    lines: list[str] = field(default_factory=list)
    block: str = "entry"
    count: int = 0

    def fresh(self, prefix: str) -> str:
        """A name that was not used before."""
        self.count += 1
        return f"{prefix}{self.count}"

    def emit(self, text: str) -> None:
        """Append one instruction that makes no value."""
        self.lines.append(f"  {text}")

    def value(self, text: str) -> str:
        """Append one instruction and name its value."""
        name = f"%{self.fresh('v')}"
        self.lines.append(f"  {name} = {text}")
        return name

    def arguments(self, *kinds: str) -> list[str]:
        """Load the first arguments, in order, each as `i64` or `ptr`."""
        found = []
        for index, kind in enumerate(kinds):
            found.append(self.load(kind, self.at("i64", "%args", str(index)), 8))
        return found

    def at(self, kind: str, pointer: str, index: str) -> str:
        """Address of element `index` of an array of `kind`."""
        return self.value(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def load(self, kind: str, pointer: str, align: int = 1) -> str:
        """The value of type `kind` at an address."""
        return self.value(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: str, pointer: str, align: int = 1) -> None:
        """Write a value of type `kind` to an address."""
        self.emit(f"store {kind} {value}, ptr {pointer}, align {align}")

    def add(self, one: str, other: str) -> str:
        """Sum of two i64."""
        return self.value(f"add i64 {one}, {other}")

    def mul(self, one: str, other: str) -> str:
        """Product of two i64."""
        return self.value(f"mul i64 {one}, {other}")

    def splat(self, kind: str, lanes: int, value: str) -> str:
        """A vector with `value` in every lane."""
        vector = f"<{lanes} x {kind}>"
        first = self.value(f"insertelement {vector} poison, {kind} {value}, i64 0")
        return self.value(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer")

    @contextmanager
    def loop(self, count: str, *carried: tuple[str, str], may_skip: bool = False) -> Iterator[Loop]:
        """Repeat the body `count` times; `carried` are types and first values of what goes round.

        The count is at least 1, or at least 0 where the loop `may_skip`.
        """
        head, after, before = self.fresh("loop"), self.fresh("after"), self.block
        if may_skip:
            some = self.value(f"icmp sgt i64 {count}, 0")
            self.emit(f"br i1 {some}, label %{head}, label %{after}")
        else:
            self.emit(f"br label %{head}")
        self.lines.append(f"{head}:")
        self.block, place = head, len(self.lines)
        self.lines += [""] * (1 + len(carried))
        loop = Loop(f"%{self.fresh('i')}", tuple(f"%{self.fresh('c')}" for _ in carried))
        yield loop
        step = self.add(loop.index, "1")
        done = self.value(f"icmp eq i64 {step}, {count}")
        last = self.block
        self.emit(f"br i1 {done}, label %{after}, label %{head}")
        self.lines[place] = f"  {loop.index} = phi i64 [ 0, %{before} ], [ {step}, %{last} ]"
        for index, (kind, start) in enumerate(carried):
            name, following = loop.values[index], loop.following[index]
            self.lines[place + 1 + index] = f"  {name} = phi {kind} [ {start}, %{before} ], [ {following}, %{last} ]"
        self.lines.append(f"{after}:")
        self.block, loop.results = after, loop.following
        if may_skip:
            loop.results = tuple(
                self.value(f"phi {kind} [ {start}, %{before} ], [ {following}, %{last} ]")
                for (kind, start), following in zip(carried, loop.following, strict=True)
            )

    def __str__(self) -> str:
        return "\n".join([f"define void @{self.name}(ptr %args) #0 {{", "entry:", *self.lines, "  ret void", "}"])
