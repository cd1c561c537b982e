"""Others' accelerators beside ours, as texts: for the page in docs/ and for a run's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...build.rivals import DESIGNS, LEVELS, READ, Design, of_data
from ..results.summary import NetworkSummary, Summary

COLUMNS = (
    *("design", "part", "level", "accuracy, %", "LUT", "FF", "BRAM36", "MHz", "cycles", "images/s", "latency, ns"),
    *("energy, µJ", "what is counted", "source"),
)
# Figure, its name, and whether more is better.
_FIGURES: tuple[tuple[str, Callable[[Design], float | None], bool], ...] = (
    ("accuracy", lambda one: one.accuracy, True),
    ("LUT", lambda one: one.lut, False),
    ("FF", lambda one: one.ff, False),
    ("BRAM", lambda one: one.bram36, False),
    ("images/s", lambda one: one.fps, True),
    ("latency", lambda one: one.latency_ns, False),
    ("energy", lambda one: one.energy_uj, False),
)
_WINS = {
    "accuracy": "most accurate",
    "LUT": "fewest LUT",
    "FF": "fewest FF",
    "BRAM": "fewest block RAMs",
    "images/s": "most images/s",
    "latency": "first image soonest",
    "energy": "least energy an image",
}


def cells(one: Design) -> list[str]:
    """A design in columns of `COLUMNS`."""
    whole = (one.lut, one.ff)
    rest = (one.bram36, one.mhz, one.cycles, one.fps, one.latency_ns, one.energy_uj)
    read = f" ({READ[one.read]})" if one.read else ""
    figures = [_text(one.accuracy), *map(_text, whole), *map(_text, rest)]
    return [one.name, one.part, one.level, *figures, one.counts, one.source + read]


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.10g}"


def page() -> str:
    """The tables of docs/rivals.md: others and ours by data set, and who wins where."""
    parts = []
    for data in dict.fromkeys(one.data for one in DESIGNS):
        designs = [one for one in DESIGNS if one.data == data]
        head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
        rows = "".join(f"| {' | '.join(cells(one))} |\n" for one in sorted(designs, key=lambda one: one.ours))
        said = "".join(f"* {line}\n" for line in standings(designs))
        parts.append(f"### {data}\n\n{head}{rows}\n{said}")
    return "\n".join(parts)


def standings(designs: Sequence[Design]) -> list[str]:
    """Who is ahead in each figure, among designs that have it, and how each of ours stands in accuracy and LUT."""
    lines = []
    for name, figure, more in _FIGURES:
        known = [(value, one) for one in designs if (value := figure(one)) is not None]
        if len(known) > 1:
            best = (max if more else min)(value for value, _ in known)
            winners = ", ".join(one.name for value, one in known if value == best)
            lines.append(f"{_WINS[name]}: {winners} ({_text(best)}; of {len(known)})")
    return lines + [_own(one, designs) for one in designs if one.ours]


def _own(mine: Design, designs: Sequence[Design]) -> str:
    """By which designs of others one of ours is beaten in accuracy and LUT at once, and which it beats."""
    pairs = [one for one in designs if not one.ours and one.lut is not None and one.accuracy is not None]
    if not pairs or mine.lut is None or mine.accuracy is None:
        return f"{mine.name}: no other design with accuracy and LUT is known"
    above = [one.name for one in pairs if one.accuracy >= mine.accuracy and one.lut <= mine.lut]  # type: ignore[operator]
    below = [one.name for one in pairs if one.accuracy <= mine.accuracy and one.lut >= mine.lut]  # type: ignore[operator]
    said = f"beaten in accuracy and LUT by {', '.join(above)}" if above else "beaten in accuracy and LUT by none"
    more = f"beats {', '.join(below)} in both" if below else "beats none in both"
    return f"{mine.name}: {said}; {more}: whatever each counts, and at whatever rate"


def of_run(summary: Summary) -> list[Design]:
    """A run's networks, each at each level that is known, and others' designs for its data set; none without these."""
    others = of_data(summary.data.name)
    return [*_networks(summary), *others] if others else []


def _networks(summary: Summary) -> list[Design]:
    made = []
    titles = {"base": "unpruned", "pruned": "pruned"}
    for name, network in summary.networks.items():
        made.append(
            _ours(
                summary,
                network,
                f"{summary.name}, {titles.get(name, name)}",
                "estimated",
                summary.sources.get("cost", ""),
                network.lut,
                None,
                network.bram18,
            )
        )
        cells_of = (summary.synthesis or {}).get(name)
        # Blocks of other sizes than 18 kbit cannot be put beside others' block RAMs.
        if cells_of is not None and "18 kbit" in cells_of.block:
            total = cells_of.total
            lut = total.lut + total.lut_ram
            made.append(
                _ours(summary, network, made[-1].name, "synthesized", cells_of.tool, lut, total.ff, total.block_ram)
            )
    return made


def _ours(
    summary: Summary,
    network: NetworkSummary,
    name: str,
    level: str,
    source: str,
    lut: int,
    ff: int | None,
    blocks: int,
) -> Design:
    return Design(
        name=name,
        data=summary.data.name,
        part=summary.target.part,
        level=level,
        counts="whole network with FIFOs and converters; no shell, no DMA; the clock is the target's, not measured",
        source=source,
        ours=True,
        accuracy=round(100 * network.accuracy_hw, 2),
        lut=lut,
        ff=ff,
        bram36=blocks / 2,
        mhz=summary.target.clock_mhz,
        cycles=network.cycles,
        fps=round(network.fps),
        latency_ns=round(1000 * network.latency_us),
    )


def of_run_said(designs: Sequence[Design]) -> str:
    """What a run's table of rivals holds, and what must not be read into it."""
    levels = "; ".join(f"{name}: {LEVELS[name]}" for name in dict.fromkeys(one.level for one in designs))
    return (
        f"{levels}. Figures of different levels, parts and accounting are no like for like: see what is counted. LUT "
        "have the inputs of each part's, 6 on AMD's; latency of ours is the longest that it can be. Our energy is "
        "relative and is not put beside a board's"
    )
