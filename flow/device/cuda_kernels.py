"""The packed simulator's kernels in CUDA: parameters as `cuda_source` wants them, and one launch an operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...sim.engine.kernels import Run
from ...sim.engine.packing import WORD, Window, pack_bits
from ...transforms.ir.tensor import Array
from .cuda_driver import Launcher
from .cuda_source import GROUP, THREADS, LayerArguments
from .torch_kernels import TorchKernels

_INT32 = np.iinfo(np.int32)
_PART = 16  # bytes that a lane reads at once


@dataclass(frozen=True, slots=True)
class CudaKernels(TorchKernels):
    """`TorchKernels` whose layers and pools are kernels of `cuda_source`.

    Attributes:
        launcher: what starts them.
        tensor_cores: layers of bits run on tensor cores, where the GPU has those for bits; else by population counts.
        places, tiles: the tile sizes PLACES and TILES that the kernels were compiled with.
    """

    launcher: Launcher
    tensor_cores: bool
    places: int = 16
    tiles: int = 2

    @staticmethod
    def of(device: torch.device, round: int, launcher: Launcher) -> CudaKernels:
        """The kernels that are fastest on the launcher's GPU."""
        return CudaKernels(device, round, launcher, (8, 0) <= launcher.capability < (10, 0))

    def xnor_bits(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """See `Kernels`."""
        return self._binary(window, weight, np.clip(window.fan_in - bounds, -1, window.fan_in), classes, 1, True)

    def xnor_sums(self, window: Window, weight: Array, factor: int, shift: Array) -> Run:
        """See `Kernels`."""
        start = np.asarray(shift + factor * window.fan_in)[None]
        return self._binary(window, weight, start, np.zeros((1, 1), np.int64), factor, False)

    def dot_bits(self, window: Window, weight: Array, low: int, bounds: Array) -> Run:
        """See `Kernels`."""
        # Sums lie within 2^30: bounds beyond int32 are never or always reached.
        limits = np.asarray(bounds, np.int64) - _below(weight, low)
        return self._dot(window, weight, low, np.clip(limits, _INT32.min, _INT32.max), True)

    def dot_sums(self, window: Window, weight: Array, low: int) -> Run:
        """See `Kernels`."""
        return self._dot(window, weight, low, _below(weight, low), False)

    def pool(self, window: Window) -> Run:
        """See `Kernels`."""
        offsets = self.tensor(window.offsets(window.words)[:: window.words].astype(np.int32))

        def run(bits: Any) -> Any:
            x = self.tensor(bits).contiguous()
            made = torch.empty((len(x), window.rows, window.columns, window.words), dtype=torch.int64, device=x.device)
            layer = _layer(window, window.words, x, made, offsets, filters=window.words)
            self._start("pool_bits", (-(-made.numel() // THREADS), 1), layer)
            return made

        return run

    def _binary(self, window: Window, weight: Array, limits: Array, classes: Array, factor: int, bits: bool) -> Run:
        """A layer of bits; see `cuda_source` for what `limits` are compared with or start from."""
        rows = pack_bits(weight > 0).reshape(len(weight), -1)
        if self.tensor_cores:
            # Counts come without the ones of the weights.
            limits = limits - factor * np.bitwise_count(rows).sum(axis=1, dtype=np.int64)
            made, kernel, step = _fragments(rows), "tensor", 16 * self.tiles * (THREADS // 32)
        else:
            made, kernel, step = _parts(rows.view(np.uint8)), "popc", 2 * self.places
        return self._runner(kernel, window, window.words, made, limits, classes, len(weight), factor, bits, step)

    def _dot(self, window: Window, weight: Array, low: int, limits: Array, bits: bool) -> Run:
        made = _parts(np.ascontiguousarray(weight.reshape(len(weight), -1)).view(np.uint8))
        one = np.zeros((1, 1), np.int64)
        size, step = window.channels, 2 * self.places
        run = self._runner("dot", window, size, made, limits[None], one, len(weight), -1, bits, step)

        def bytes_first(ints: Any) -> Any:
            x = self.tensor(ints)
            return run(x if x.dtype == torch.uint8 and not low else (x.to(torch.int64) - low).to(torch.uint8))

        return bytes_first

    def _runner(
        self,
        kernel: str,
        window: Window,
        size: int,
        weights: Array,
        limits: Array,
        classes: Array,
        filters: int,
        factor: int,
        bits: bool,
        step: int,
    ) -> Callable[[Any], Any]:
        """Args: `size`, values of a pixel; `step`, places of a block of threads."""
        groups = -(-filters // GROUP)
        # Filters that fill a group never reach their bound.
        never = _INT32.max if kernel == "dot" else -1
        table = np.full((len(limits), GROUP * groups), never if bits else 0, np.int32)
        table[:, :filters] = limits
        name = f"{kernel}_{'bits' if bits else 'sums'}"
        held = [self.tensor(x) for x in (weights, window.offsets(size).astype(np.int32), table)]
        of_place = self.tensor(classes.astype(np.int32)) if len(limits) > 1 else None

        def run(values: Any) -> Any:
            x, kind = self.tensor(values).contiguous(), torch.int64 if bits else torch.int32
            last = groups * GROUP // WORD if bits else filters
            made = torch.empty((len(x), window.rows, window.columns, last), dtype=kind, device=x.device)
            layer = _layer(window, size, x, made, held[1], filters=filters)
            layer.weights, layer.limits, layer.padded = held[0].data_ptr(), held[2].data_ptr(), groups * GROUP
            layer.classes, layer.factor = None if of_place is None else of_place.data_ptr(), factor
            self._start(name, (-(-layer.places // step), groups), layer)
            return made

        return run

    def _start(self, kernel: str, grid: tuple[int, int], layer: LayerArguments) -> None:
        if layer.places:
            self.launcher.launch(kernel, grid, layer)


def _layer(window: Window, size: int, x: Tensor, made: Tensor, offsets: Tensor, filters: int) -> LayerArguments:
    (down, right), line = window.stride, window.width * size
    area = window.rows * window.columns
    return LayerArguments(
        x=x.data_ptr(),
        made=made.data_ptr(),
        offsets=offsets.data_ptr(),
        image=window.height * line,
        row=down * line,
        column=right * size,
        places=len(x) * area,
        area=area,
        columns=window.columns,
        taps=offsets.numel(),
        filters=filters,
    )


def _below(weight: Array, low: int) -> Array:
    """What sums of weight * (x - low - 128) lack of sums of weight * x, (filters,) int64."""
    total: Array = (low + 128) * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
    return total


def _grouped(rows: Array, multiple: int) -> Array:
    """(filters, values) filled up with zeros to whole groups of filters, and a multiple of values."""
    filters, values = rows.shape
    made = np.zeros((-(-filters // GROUP) * GROUP, -(-values // multiple) * multiple), rows.dtype)
    made[:filters, :values] = rows
    return made


def _parts(rows: Array) -> Array:
    """Bytes of filters' weights, (filters, bytes), to (parts of 16 bytes, filters filled up, 16)."""
    made = _grouped(rows, _PART)
    return np.ascontiguousarray(made.reshape(len(made), -1, _PART).swapaxes(0, 1))


def _fragments(rows: Array) -> Array:
    """Words of filters' weights, (filters, words), as the lanes of a warp read them for tensor cores.

    Lane 4 * h + l has, of the filters h and 8 + h of each 16, word l of each step of four.
    """
    made = _grouped(rows, 4)
    split = made.reshape(-1, GROUP // 16, 2, 8, made.shape[1] // 4, 4)  # group, pair, which, h, step, l
    return np.ascontiguousarray(split.transpose(0, 4, 1, 3, 5, 2))
