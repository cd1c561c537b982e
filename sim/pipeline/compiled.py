"""Processes moved by a kernel of the engine: the same steps in the same cycles as `Process.run`, in compiled code."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from ...transforms.ir.tensor import Array
from ..engine.kernels.llvm import native
from ..engine.kernels.source_steps import FIFO, PROCESS
from ..engine.packing import address
from .line import Fifo, Process, Step

_WORD = 8
_STATE = ("index", "done", "time", "busy", "starved", "blocked")


def move(processes: Sequence[Process], fifos: Sequence[Fifo], images: int) -> None:
    """Make all steps whose cycle is known, until all are done or nothing moves.

    Args:
        processes: none of which has moved.
        fifos: all that they read and write.
        images: that each FIFO's words are sent for.
    """
    # What tables point to must live as long as they do.
    kept: list[object] = []

    def pointer(values: Array) -> int:
        kept.append(values)
        return address(values)

    cycles = {id(fifo): np.zeros((2, images * fifo.words), np.int64) for fifo in fifos}
    fifo_table = np.zeros((len(fifos), len(FIFO)), np.int64)
    records = {}
    for row, fifo in zip(fifo_table, fifos, strict=True):
        writes, reads = cycles[id(fifo)]
        _fill(row, FIFO, writes=address(writes), reads=address(reads), later=fifo.latency + 1, places=fifo.places)
        records[id(fifo)] = address(row)
    table = np.zeros((len(processes), len(PROCESS)), np.int64)
    for row, process in zip(table, processes, strict=True):
        kinds: dict[Step, int] = {step: code for code, step in enumerate(dict.fromkeys(process.steps))}
        coded = [(gap, sum(1 << port for port in reads), int(bool(writes))) for gap, reads, writes in kinds]
        _fill(
            row,
            PROCESS,
            kinds=pointer(np.array(coded, np.int64)),
            codes=pointer(np.array([kinds[step] for step in process.steps], np.uint8)),
            size=len(process.steps),
            count=process.count,
            inputs=pointer(np.array([records[id(fifo)] for fifo in process.inputs], np.int64)),
            entries=len(process.inputs),
            outputs=pointer(np.array([records[id(fifo)] for fifo in process.outputs], np.int64)),
            exits=len(process.outputs),
            time=process.time,
        )
        watch = process.watched
        if watch is not None:
            of, counted = cycles[id(watch.fifo)][0 if watch.written else 1], "written" if watch.written else "taken"
            _fill(
                row,
                PROCESS,
                after=pointer(np.array(process.after, np.int64)),
                watched=address(of),
                moved=records[id(watch.fifo)] + _WORD * FIFO.index(counted),
                each=watch.words,
                behind=watch.behind,
                starves=int(process.need == "starved"),
            )
    native().call("move_words", table, len(processes))
    for row, process in zip(table, processes, strict=True):
        for name in _STATE:
            setattr(process, name, int(row[PROCESS.index(name)]))
    for row, fifo in zip(fifo_table, fifos, strict=True):
        writes, reads = cycles[id(fifo)]
        fifo.writes = array("q", writes[: row[FIFO.index("written")]].tobytes())
        fifo.reads = array("q", reads[: row[FIFO.index("taken")]].tobytes())


def _fill(row: Array, names: Sequence[str], **values: int) -> None:
    for name, value in values.items():
        row[names.index(name)] = value
