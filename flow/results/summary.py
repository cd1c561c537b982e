"""The summary of a run: all that tables, pages and comparisons are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..run.typed_json import OPTIONAL, json_schema
from .comparison import HardwareComparison
from .costs import InputHeld, NetworkCost
from .faults import FaultCampaign
from .hardware import Cosim, NotWritten, Rtl
from .routing import Routing
from .speed import SpeedResult
from .stages import DataResult, Epoch, FoldedBy, HandedOver, NetworkVerified, NotHandedOver, PruningResult
from .synthesis import Synthesis

# Of the keys of summary.json and what they mean; a key that is added keeps it.
VERSION: Literal[1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedData(DataResult):
    """The images of a run.

    Attributes:
        name: of the data set.
    """

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTarget:
    """What a run is folded for.

    Attributes:
        part: its name.
        clock_mhz: in MHz.
        fps: images per second that are asked for.
        lut, bram18: that the part has; block RAMs as the cost model counts them: by our own those of the part's size.
        folded_by: by whose cost hardware was folded and is counted, by network.
    """

    part: str
    clock_mhz: float
    fps: float
    lut: int
    bram18: int
    folded_by: Mapping[str, FoldedBy] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSummary(NetworkCost):
    """The headline figures of a network.

    Attributes:
        accuracy: on the test images as it was trained, 0 to 1.
        accuracy_hw: of the integer network on the test images, simulated bit by bit, 0 to 1.
    """

    accuracy: float
    accuracy_hw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningSummary(PruningResult):
    """The pruning of a run.

    Attributes:
        unpruned: parts of the cost of the unpruned network, by name; None where they are not known.
        unpruned_copy: one sentence where the pruned network has all that the unpruned one has; else empty.
    """

    unpruned: Mapping[str, float] | None
    unpruned_copy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """The training of a run.

    Attributes:
        base: epochs of the unpruned network; empty where it was not trained.
        accuracy_before_reestimation: on the test images, 0 to 1; None where it was not trained.
    """

    base: list[Epoch]
    accuracy_before_reestimation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    """The wall time of a stage.

    Attributes:
        name: its name.
        seconds: of its last run.
        skipped: whether it was up to date.
    """

    name: str
    seconds: float
    skipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a reader of a run wants to know: the content of summary.json.

    Attributes:
        version: of these keys and what they mean.
        name: of the run.
        created: when, in ISO 8601.
        bnnflow: version that wrote it.
        data: its images.
        target: what it is folded for.
        networks: "base" and, where it is pruned, "pruned".
        input: what the input holds; None where it is not known.
        finn: what FINN is handed, by network.
        rtl: the hardware as SystemVerilog, by network; None where the stage was left out.
        cosim: what its simulation found, by network; None where the stage was left out.
        synthesis: what it takes of an FPGA, by network; None where the stage was left out.
        routing: the clock that it runs at on a part, by network; None as above.
        comparison: the pruned network's hardware beside that of the unpruned one; left out where none is pruned.
        verify: comparisons, by network.
        pruning: None where it is not pruned.
        faults: None where there is no campaign.
        speed: None where it was not measured.
        training: of the unpruned network.
        notes: of the compiler, by network.
        stages: of the last build, in order.
        versions: of Python and packages, by name.
        sources: where the figures of a kind come from, by kind.
        folder: where it was read from; not in the file.
    """

    version: Literal[1]
    name: str
    created: str
    bnnflow: str
    data: NamedData
    target: RunTarget
    networks: Mapping[str, NetworkSummary]
    input: InputHeld | None
    finn: Mapping[str, HandedOver | NotHandedOver]
    rtl: Mapping[str, Rtl | NotWritten] | None = field(default=None, metadata=OPTIONAL)
    cosim: Mapping[str, Cosim] | None = field(default=None, metadata=OPTIONAL)
    synthesis: Mapping[str, Synthesis] | None = field(default=None, metadata=OPTIONAL)
    routing: Mapping[str, Routing] | None = field(default=None, metadata=OPTIONAL)
    comparison: HardwareComparison | None = field(default=None, metadata=OPTIONAL)
    verify: Mapping[str, NetworkVerified]
    pruning: PruningSummary | None
    faults: FaultCampaign | None
    speed: SpeedResult | None
    training: TrainingSummary
    notes: Mapping[str, list[str]]
    stages: list[StageSummary]
    versions: Mapping[str, str]
    sources: Mapping[str, str]
    folder: str | None = field(default=None, metadata=OPTIONAL)

    @property
    def base(self) -> NetworkSummary:
        """The unpruned network."""
        return self.networks["base"]

    @property
    def pruned(self) -> NetworkSummary | None:
        """The pruned network, where there is one."""
        return self.networks.get("pruned")


def summary_schema() -> dict[str, Any]:
    """The JSON schema of summary.json."""
    return json_schema(Summary)
