"""Blocks of equal size run the same kernels on the same memory: they are recorded once and then called as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .kernels.native import NativeKernels, Recording
from .packing import roomy
from .plan import Step
from .values import Value


@dataclass(slots=True)
class Replay:
    """The leading steps of a simulation, recorded for one size of block; for one thread.

    Attributes:
        inputs: the memory that the steps read.
        others: the steps behind those that are recorded.
        values: the tensors that the recorded steps make.
        recording: the kernels; None before the first block, and where the steps cannot be recorded.
    """

    kernels: NativeKernels
    inputs: dict[str, Value]
    leading: tuple[Step, ...]
    others: tuple[Step, ...]
    values: dict[str, Value] = field(default_factory=dict)
    recording: Recording | None = None
    tried: bool = False

    @staticmethod
    def of(kernels: NativeKernels, steps: Sequence[Step], values: dict[str, Value]) -> Replay:
        """Get ready for blocks like `values`."""
        count = next((i for i, step in enumerate(steps) if not step.native), len(steps))
        inputs = {}
        for name, value in values.items():
            packed = None if value.packed is None else roomy(value.packed.shape, value.packed.dtype)
            plain = None if value.plain is None else roomy(value.plain.shape, value.plain.dtype)
            inputs[name] = Value(value.kind, packed, None if packed is not None else plain)
        return Replay(kernels, inputs, tuple(steps[:count]), tuple(steps[count:]))

    def fits(self, values: dict[str, Value]) -> bool:
        """True for values of the same shapes and types as those that it was made for."""
        return all(
            mine.shape == others.shape and mine.dtype == others.dtype
            for name, value in values.items()
            for mine, others in [(self.inputs[name].there, value.there)]
        )

    def run(self, values: dict[str, Value]) -> dict[str, Value]:
        """What the recorded steps make of a block, and the block itself."""
        if self.tried and self.recording is None:
            return self._all(values)
        for name, value in values.items():
            np.copyto(self.inputs[name].there, value.there)
        if self.recording is not None:
            self.recording.replay()
        else:
            self.tried = True

            def first() -> None:
                self.values = self._all({n: Value(v.kind, v.packed, v.plain) for n, v in self.inputs.items()})

            self.recording = self.kernels.record(first)
        # Forms that later steps add are of this block alone.
        return {name: Value(value.kind, value.packed, value.plain) for name, value in self.values.items()}

    def _all(self, values: dict[str, Value]) -> dict[str, Value]:
        for step in self.leading:
            values[step.makes] = step.run(*(values[name] for name in step.reads))
        return values
