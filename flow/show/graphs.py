"""What the commands of `cli_graphs` and `flow check` show; it prints, as `screen` does."""

from __future__ import annotations

from rich.table import Table

from ..results.costs import FifoRate, GraphCost, InputHeld, StreamedGraphCost, Unrolled
from ..results.graphs import CheckResult, CompileResult, Operators, Simulation
from ..results.speed import GraphSpeed
from ..results.timing import Cycles
from . import tables as report_tables
from .report import plural
from .terminal import rate_text, terminal


def print_check(checked: CheckResult) -> None:
    """Print what becomes of every operator, what to know, what was not looked at, and whether the whole compiles."""
    table = Table("node", "operator", "becomes", "ends in", title="operators", title_justify="left")
    for row in checked.operators:
        table.add_row(row.node, row.operator, row.becomes or f"refused: {row.problem or ''}", row.ends_in)
    terminal().print(table)
    for note in checked.notes:
        print(f"note: {note}")
    print_input(checked.input)
    for said in checked.left_out:
        print(f"left out: {said}")
    if checked.compiles:
        print("compiles to dataflow units")


def print_input(contract: InputHeld | None) -> None:
    """Print what a graph's input holds, where it is known."""
    if contract is not None:
        shape = "x".join(map(str, contract.shape))
        print(f"input {shape}: {contract.text}")


def print_compiled(found: CompileResult, times: bool) -> None:
    """Print what was compiled, and how long each pass took."""
    table = Table("pass", title="passes", title_justify="left")
    for column in (
        *(["CPU seconds"] if times else []),
        "operations",
        *(["values compared"] if found.checked else []),
    ):
        table.add_column(column, justify="right")
    if times:
        table.add_row("read", f"{found.read_seconds:.3f}", *([""] * (len(table.columns) - 2)))
    for row in found.passes:
        seconds = [f"{row.seconds:.3f}"] if times else []
        compared = [f"{row.compared:,}"] if found.checked else []
        table.add_row(row.name, *seconds, f"{row.before} -> {row.after}", *compared)
    terminal().print(table)
    print_input(found.input)
    for note in found.notes:
        print(f"note: {note}")
    if found.checked:
        print("no pass changed a bit")
    print(f"wrote {', '.join(found.files)} to {found.folder}")


def print_ops(found: Operators) -> None:
    """Print the operators that can be read, and the passes."""
    table = Table("operator", "supported", title="operators of ONNX, QONNX and FINN", title_justify="left")
    for name, text in found.operators.items():
        table.add_row(name, text)
    terminal().print(table)
    table = Table("level", "pass", "does", title="passes", title_justify="left")
    for step in found.passes:
        table.add_row(step.level, step.name, step.does)
    terminal().print(table)


def print_simulation(found: Simulation) -> None:
    """Print what a simulation gave."""
    print(f"{plural(found.images, 'image')} simulated bit by bit")
    if found.accuracy is not None:
        print(f"accuracy {found.accuracy:.2%}")
    if found.confusion and len(found.confusion) <= 20:
        table = Table("true \\ found", title="confusion", title_justify="left")
        for label in range(len(found.confusion)):
            table.add_column(str(label), justify="right")
        for label, row in enumerate(found.confusion):
            table.add_row(str(label), *(str(count) if count else "." for count in row))
        terminal().print(table)
    print_input(found.input)
    if found.output:
        print(f"class scores: {found.output}" + "".join(f", {name}" for name in found.files[1:]))


def print_speed(found: GraphSpeed) -> None:
    """Print images per second."""
    print_input(found.input)
    terminal().print(report_tables.speed_table(found, [("graph", row) for row in found.rows]))


_COLUMNS, _ALSO = {"lut": "LUT", "bram18": "BRAM18"}, {"uram": "UltraRAM", "dsp": "DSP slices"}


def print_estimate(found: GraphCost) -> None:
    """Print the cost of one folded graph."""
    target, counted = found.target, found.counted
    source = "estimated by FINN's formulas" if counted is None else counted.source
    figures = _COLUMNS if counted is None else counted.figures
    table = Table(
        "unit",
        "FINN unit",
        "shape",
        "PE",
        "SIMD",
        "cycles",
        *figures.values(),
        "nJ",
        title=found.name,
        title_justify="left",
    )
    for layer in found.layers:
        cells = (
            str(layer.pe),
            str(layer.simd),
            f"{layer.cycles:,}",
            *(f"{layer.amounts[key]:,}" for key in figures),
            f"{layer.energy_pj / 1000:,.2f}",
        )
        mark = " <- bottleneck" if layer.bottleneck else ""
        table.add_row(layer.name + mark, layer.op, layer.shape, *cells)
    terminal().print(table)
    print_input(found.input)
    amounts, there = found.amounts, target.amounts
    totals = {**figures, **{key: what for key, what in _ALSO.items() if amounts.get(key)}}
    sums = {key: f"{amounts[key]:,} {what}" for key, what in totals.items()}
    if "lut_ram" in sums:
        # Both are LUTs of the part.
        sums["lut"] = f"{amounts['lut'] + amounts['lut_ram']:,} LUT ({sums['lut']}, {sums.pop('lut_ram')})"
    said = ", ".join(text + (f" of {there[key]:,}" if key in there else "") for key, text in sums.items())
    said += f" ({target.part})" if totals.keys() & there.keys() else ""
    print(
        f"{said}, {found.cycles:,} cycles per image: {rate_text(found.fps)} images/s at {target.clock_mhz:g} MHz "
        f"with FIFOs that are deep enough; {source}"
    )
    if isinstance(found, StreamedGraphCost):
        _print_rate(found.fifos)
    if found.clock is not None:
        one = found.clock
        grade = f", speed grade {one.grade}" if one.grade else ""
        path = f"logic of {one.path}" if one.path.startswith("bnnflow_") else one.path
        print(
            f"clock about {one.fmax_mhz:,.0f} MHz ({one.placed_on}{grade}), {one.source}: {one.unit} is the slowest "
            f"({path}); single units are {one.mean_error:.0%} off on average"
        )
    parts = (
        f"operations {found.energy_operations_nj:,.1f}, memory {found.energy_memory_nj:,.1f}, "
        f"streams {found.energy_streams_nj:,.1f}"
    )
    print(f"{found.energy_nj:,.1f} nJ per image ({parts}), {found.energy_source}, not watts of a board")
    if found.unrolled is not None:
        print_unrolled(found.unrolled)
    for note in found.notes:
        print(f"note: {note}")
    if found.files is not None:
        print(f"wrote {', '.join(found.files)}")


def _print_rate(found: FifoRate | None) -> None:
    """Print the rate with the FIFOs that were given, and the depths that restore what they cost."""
    if found is None:
        print("too large to simulate its FIFOs beside an estimate; `flow cycles` does")
        return
    given = f"FIFOs of depth {found.depth:,}" if found.depth else "unbounded FIFOs"
    given += " and those of the file" if found.depths else ""
    if found.deadlock or found.fps is None:
        print(f"with {given} it deadlocks; simulated word by word (`flow cycles` says where)")
    else:
        print(
            f"with {given}: {found.interval_cycles:,} cycles per image, {rate_text(found.fps)} images/s; "
            "simulated word by word"
        )
    _print_restoring(found)


def _print_restoring(found: FifoRate | Cycles) -> None:
    if found.restoring_depths:
        print(
            f"FIFO depths that give {found.deep_interval_cycles:,} cycles per image, {rate_text(found.deep_fps)} "
            "images/s, as unbounded ones do:"
        )
        for name, depth in found.restoring_depths.items():
            print(f"  {name}: {depth:,}")


def print_cycles(found: Cycles) -> None:
    """Print where the cycles of a folded graph go."""
    console = terminal()
    table = Table("unit", "kind", title=f"{found.name}: {plural(found.images, 'image')}", title_justify="left")
    for column in ("busy", "starved", "blocked", "estimated"):
        table.add_column(column, justify="right")
    for unit in found.units:
        estimated = "" if unit.estimated_cycles is None else f"{unit.estimated_cycles:,}"
        cells = (f"{cycles:,}" for cycles in (unit.busy, unit.starved, unit.blocked))
        table.add_row(unit.name, unit.kind, *cells, estimated)
    console.print(table)
    table = Table("FIFO")
    for column in ("values per word", "words per image", "depth", "most held"):
        table.add_column(column, justify="right")
    for fifo in found.fifos:
        depth = f"{fifo.depth:,}" if fifo.depth else "unbounded"
        table.add_row(fifo.name, str(fifo.width), f"{fifo.words:,}", depth, f"{fifo.peak:,}")
    console.print(table)
    print_input(found.input)
    stuck = found.deadlock
    if stuck is not None:
        others = " and those of the file" if found.fifo_depths else ""
        print(f"deadlock with FIFOs of depth {found.fifo_depth:,}{others} after cycle {stuck.cycle:,}:")
        for wait in stuck.waits:
            print(f"  {wait}")
        print(f"FIFO {stuck.fifo} is too small; the figures above and below are those with:")
        for name, words in stuck.enough.items():
            print(f"  {name}: depth {words:,}")
    print(
        f"{found.interval_cycles:,} cycles per image ({found.estimated_cycles:,} by FINN's formulas, with FIFOs "
        f"that are deep enough): "
        f"{rate_text(found.fps)} images/s at {found.clock_mhz:g} MHz; first image after "
        f"{found.latency_cycles:,} cycles, {found.latency_us:,.1f} us; simulated word by word"
    )
    _print_restoring(found)
    for note in found.notes:
        print(f"note: {note}")


def print_unrolled(found: Unrolled) -> None:
    """Print what every layer takes with its weights built in."""
    title = "every layer fully unrolled, weights built in: LUT"
    table = Table("layer", "shape", "synapses", "kept ones", "all", title=title, title_justify="left")
    for column in ("FINN's formula", "as folded", "cycles unrolled", "cycles folded"):
        table.add_column(column, justify="right")
    for layer in found.layers:
        share = layer.synapses / (layer.rows * layer.columns)
        shape = f"{layer.rows}x{layer.columns}"
        luts = (layer.lut, layer.dense_lut, layer.finn_lut, layer.folded_lut)
        figures = (f"{figure:,}" for figure in (*luts, layer.vectors, layer.folded_cycles))
        table.add_row(layer.name, shape, f"{layer.synapses:,} ({share:.0%})", *figures)
    terminal().print(table)
    kept, dense = (sum(luts) for luts in zip(*((layer.lut, layer.dense_lut) for layer in found.layers), strict=True))
    print(f"{kept:,} LUT with the synapses that are kept, {dense:,} with all; {found.source}")
