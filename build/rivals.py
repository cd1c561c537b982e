"""Published figures of other FPGA accelerators, and ours beside them: a row a design, each with source and accounting.

Only what was read, in the source itself or in a table of others that was read, stands here; what a source does not say
is None. Nothing is converted between clocks, parts or levels of truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# How a figure was found. Figures of different levels are no like for like: placing adds and removes cells.
LEVELS = {
    "board": "measured on a board",
    "routed": "after placing and routing, by the source",
    "published": "published; the source read does not say at which level",
    "synthesized": "cells of open synthesis, before placing",
    "estimated": "by a cost model",
}
READ = {
    "": "read in the source",
    "secondary": "stated by another source, which was read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """An accelerator and what is known of it; what is not known is None.

    Attributes:
        name: of the design.
        data: data set, by its name in recipes where bnnflow reads it.
        part: FPGA or board; "" where the source read does not say.
        level: of LUT, FF and block RAM, or of the rate where there are none; of `LEVELS`.
        counts: what is counted, and what is not.
        source: where the figures are from.
        read: of `READ`.
        ours: whether bnnflow makes it.
        accuracy: on the test set unless `counts` says otherwise, percent.
        lut: look-up tables, of ours those that are memories among them.
        ff: flip-flops.
        bram36: block RAMs of 36 kbit.
        mhz: clock.
        cycles: initiation interval.
        fps: images per second.
        latency_ns: of one image.
        energy_uj: of one image, in µJ.
    """

    name: str
    data: str
    part: str
    level: str
    counts: str
    source: str
    read: str = ""
    ours: bool = False
    accuracy: float | None = None
    lut: int | None = None
    ff: int | None = None
    bram36: float | None = None
    mhz: float | None = None
    cycles: int | None = None
    fps: float | None = None
    latency_ns: float | None = None
    energy_uj: float | None = None


# name, accuracy, LUT, FF, MHz, ns
_DWN_STUDY = "DWN FPGA study, mnist_literature.json, from the papers' tables"


def _table(
    name: str,
    accuracy: float,
    lut: int,
    ff: int | None,
    mhz: float | None,
    latency_ns: float | None,
    counts: str = "core logic; whether input and output registers count is not said",
    bram36: float = 0,
) -> Design:
    """A row of the table of MNIST literature of the DWN FPGA study."""
    return Design(
        name=name,
        data="mnist",
        part="",
        level="published",
        counts=counts,
        source=_DWN_STUDY,
        read="secondary",
        accuracy=accuracy,
        lut=lut,
        ff=ff,
        bram36=bram36,
        mhz=mhz,
        latency_ns=latency_ns,
    )


_NO_ENCODER = "without the encoder of the input"
_TINY = "MLPerf Tiny v0.7 results"
_BOARD = "whole board while it runs, host and memory included; accuracy on 200 images"
_OVERLAY = "whole overlay: DMA and AXI shell included"
_LUTNET = "LUTNet's README"

DESIGNS: tuple[Design, ...] = (
    _table("DWN sm", 97.1, 692, 422, 827, 2.4, _NO_ENCODER),
    _table("DWN md", 97.9, 1_413, 1_143, 827, 3.6, _NO_ENCODER),
    _table("DWN lg", 98.3, 4_082, 3_385, 827, 6.0, _NO_ENCODER),
    _table("TreeLUT II", 96, 3_499, 759, 874, 2.3),
    _table("TreeLUT I", 97, 4_478, 597, 791, 2.5),
    _table("AmigoLUT-NeuraLUT", 95.5, 16_081, 13_292, 925, 7.6),
    _table("PolyLUT-Add", 96, 14_810, 2_609, 625, 10),
    _table("NeuraLUT HDR-5L", 96, 54_798, 3_757, 431, 12, "core logic; accuracy as published, 95.2 when run again"),
    _table("ReducedLUT", 95.7, 47_484, None, 295, 17),
    _table("PolyLUT HDR", 96, 70_673, 4_681, 378, 16, "core logic; accuracy as published, 95.4 when run again"),
    _table("hls4ml ternary", 95, 260_092, 165_513, 200, 190),
    _table("FINN SFC-max", 96, 91_131, None, 200, 310, "on a ZC706; whether the shell counts is not said", 5),
    Design(
        name="FINN SFC-max, by ULEEN",
        data="mnist",
        part="Z-7045",
        level="published",
        counts="rate, latency and 1.69 M images a joule as ULEEN compares with them; resources not given",
        source="ULEEN, abstract, arXiv 2304.10618",
        read="secondary",
        accuracy=95.83,
        fps=12.3e6,
        latency_ns=310,
        energy_uj=round(1 / 1.69, 4),
    ),
    *(
        Design(
            name=f"BTHOWeN {size}",
            data="mnist",
            part="xc7z020",
            level="published",
            counts="latency is given in cycles, a clock is not",
            source=_DWN_STUDY,
            read="secondary",
            accuracy=accuracy,
            lut=lut,
            bram36=0,
        )
        for size, accuracy, lut in (("S", 93.4, 15_756), ("M", 94.3, 38_912), ("L", 95.2, 151_704))
    ),
    *(
        Design(
            name=f"DWN study {shape}",
            data="mnist",
            part="xc7a35t-1",
            level="routed",
            counts=f"with the encoder of the input; {core:,} of the LUT without it; latency {cycles} cycles",
            source="DWN FPGA study",
            read="secondary",
            accuracy=accuracy,
            lut=lut,
            bram36=0,
            mhz=mhz,
        )
        for shape, accuracy, lut, core, mhz, cycles in (
            ("1x300", 96.77, 1_597, 630, 107.5, 4),
            ("2x[1000,500]", 97.76, 3_464, 2_168, 103.8, 5),
        )
    ),
    Design(
        name="LUTNet, unrolled",
        data="mnist",
        part="",
        level="published",
        counts="what else is counted is not said",
        source=_LUTNET,
        accuracy=98.01,
        lut=58_192,
        fps=200e6,
    ),
    Design(
        name="ULEEN ULN-S",
        data="mnist",
        part="Z-7045",
        level="published",
        counts="13 M images a joule; resources are not in what was read",
        source="ULEEN, abstract, arXiv 2304.10618",
        accuracy=96.2,
        fps=14.3e6,
        latency_ns=210,
        energy_uj=round(1 / 13, 4),
    ),
    Design(
        name="ULEEN ULN-L",
        data="mnist",
        part="45 nm ASIC, no FPGA",
        level="published",
        counts="an ASIC: 5.1 M images a joule; has no LUT",
        source="ULEEN, abstract, arXiv 2304.10618",
        accuracy=98.46,
        fps=38.5e6,
        energy_uj=round(1 / 5.1, 4),
    ),
    Design(
        name="BNN-PYNQ lfcW1A1",
        data="mnist",
        part="xc7z020",
        level="published",
        counts=f"{_OVERLAY}; interval 512 cycles by its folding; accuracy is not in what was read",
        source="BNN-PYNQ repository, network README and config.h",
        lut=28_360,
        ff=33_470,
        bram36=110,
        cycles=512,
    ),
    Design(
        name="FINN CNV-max",
        data="cifar10",
        part="ZC706",
        level="published",
        counts="rate and latency; resources are not in what was read",
        source="arXiv 1612.07119",
        accuracy=80.1,
        fps=21_906,
        latency_ns=283_000,
    ),
    Design(
        name="BNN-PYNQ cnvW1A1",
        data="cifar10",
        part="xc7z020",
        level="published",
        counts=_OVERLAY,
        source="BNN-PYNQ repository, network README and config.h",
        accuracy=79.2,
        lut=26_072,
        ff=41_312,
        bram36=124,
        mhz=100,
        cycles=32_768,
    ),
    *(
        Design(
            name=f"{name} on {board}",
            data=data,
            part=board,
            level="board",
            counts=counts,
            source=f"{_TINY}, {source}",
            accuracy=accuracy,
            fps=fps,
            energy_uj=energy,
        )
        for name, board, data, accuracy, fps, energy, counts, source in (
            ("FINN CNV-W1A1", "Pynq-Z2", "cifar10", 84.5, 661, 2_530, _BOARD, "pynq-z2/ic/CNV-W1A1"),
            (
                "FINN CNV-W1A1",
                "Arty A7-100T",
                "cifar10",
                84.5,
                659,
                3_419,
                _BOARD,
                "Arty A7-100T, image classification",
            ),
            (
                *("FINN KWS-W3A3", "Pynq-Z2", "speech-commands", 82.5, 57_268, 30.7),
                *("whole board; MLPerf Tiny's 12 classes; weights of 3 bits", "Pynq-Z2, keyword spotting"),
            ),
            (
                *("FINN KWS-W3A3", "Arty A7-100T", "speech-commands", 82.5, 30_152, 53.7),
                "whole board; MLPerf Tiny's 12 classes; weights of 3 bits; 42,194 images/s in the run of the energy",
                "Arty A7-100T, keyword spotting",
            ),
            ("hls4ml RN07", "Pynq-Z2", "cifar10", 83.5, 36.6, None, "rate alone", "Pynq-Z2, image classification"),
            (
                "hls4ml RN07",
                "Arty A7-100T",
                "cifar10",
                83.5,
                30.1,
                None,
                "rate alone",
                "Arty A7-100T, image classification",
            ),
        )
    ),
    Design(
        name="LUTNet, tiled",
        data="cifar10",
        part="",
        level="published",
        counts="what else is counted is not said",
        source=_LUTNET,
        accuracy=84.80,
        lut=106_776,
        fps=10_200,
    ),
    Design(
        name="LUTNet, largest layer unrolled",
        data="cifar10",
        part="",
        level="published",
        counts="what else is counted is not said",
        source=_LUTNET,
        accuracy=84.21,
        lut=246_044,
    ),
    Design(
        name="LUTNet, tiled, SVHN",
        data="svhn",
        part="",
        level="published",
        counts="what else is counted is not said",
        source=_LUTNET,
        accuracy=96.42,
        lut=361_528,
        fps=10_200,
    ),
    Design(
        name="FracBNN",
        data="cifar10",
        part="Ultra96v2",
        level="published",
        counts="accuracy alone; its part has 70,560 LUT, what the design takes is not in what was read",
        source="FracBNN's README",
        accuracy=89.1,
    ),
    Design(
        name="SpQuant-SNN",
        data="event cameras",
        part="",
        level="published",
        counts="an algorithm for spiking networks; no FPGA figures in what was read (the beginning of the abstract)",
        source="Frontiers in Neuroscience 18, 2024, 1440000, abstract",
    ),
    *(
        Design(
            name=f"bnnflow {network}",
            data=data,
            part="xc7",
            level="synthesized",
            counts="whole network with FIFOs, converters and first quantizer; no shell, no DMA; rate in cycles alone, "
            "for no clock was measured",
            source=source,
            ours=True,
            accuracy=accuracy,
            lut=logic + memories,
            ff=ff,
            bram36=blocks / 2,
            cycles=cycles,
        )
        for network, data, accuracy, cycles, logic, memories, ff, blocks, source in (
            ("tfc-mnist", "mnist", 94.51, 64, 2_867, 284, 2_732, 0, "docs/explore.md"),
            ("sfc-mnist", "mnist", 97.61, 256, 2_452, 1_016, 7_097, 38, "docs/results/estimates.md"),
            ("lfc-mnist", "mnist", 98.59, 512, 8_809, 2_084, 20_644, 162, "docs/results/estimates.md"),
            ("cnv-cifar10-gpu", "cifar10", 83.96, 32_768, 7_875, 1_896, 8_478, 103, "docs/results/estimates.md"),
            (
                *("kws-cnn-speech-commands", "speech-commands", 82.08, 24_576, 5_308, 1_636, 4_579, 29),
                "docs/results/estimates.md",
            ),
        )
    ),
)


def of_data(data: str) -> Sequence[Design]:
    """Others' designs for a data set, as they stand in the file; none where nothing is known."""
    return [one for one in DESIGNS if one.data == data and not one.ours]
