"""What a run hands to FINN: one graph in finn-plus' units, its folding file, its estimates and what its input holds."""

from __future__ import annotations

from dataclasses import asdict

from bnnflow import Problem

from ...transforms.passes.compile import stages
from ...transforms.reading.read import read
from ...transforms.writing.write import write
from ..graphs.folding import fold_for
from ..graphs.inputs import input_held
from ..results.stages import HandedOver, NotHandedOver
from ..run.names import QONNX
from ..run.typed_json import to_json
from .build import Build, json_text

FOLDER = "finn"


def hand_over(build: Build, network: str) -> HandedOver | NotHandedOver:
    """Write `finn/` of one network: dataflow.onnx, auto_folding_config.json, input.json and FINN's report files.

    All of them are of one graph, as finn-plus 1.6 compiles it: the image's quantizer stays a unit, and joins are
    elementwise units. It is folded for the recipe's target; its figures are FINN's formulas digit for digit.

    Returns:
        what was written; or why finn-plus' units cannot make this network, or not at the target's rate on its part.
    """
    from ...build.cost import estimate, operations
    from ...build.finn_reports import folding, reports

    target = build.recipe.target
    try:
        # Its units are not all ours: what fits the part and the rate with ours may not with its own.
        made = stages(read(build.file(network, QONNX)), finn_plus=True)
        folded = fold_for(build.recipe, made[-1].graph, finn_plus=True).graph
        content = write(folded, finn_plus=True).SerializeToString()
    except Problem as problem:
        return NotHandedOver(reason=problem.what)
    counts = operations(next(stage.graph for stage in made if stage.level == "xnor"))
    files: dict[str, str | bytes] = {
        "dataflow.onnx": content,
        "dataflow.txt": str(folded),
        "auto_folding_config.json": json_text(folding(folded, finn_plus=True)),
        "input.json": json_text(to_json(input_held(folded))),
        **reports(folded, asdict(counts), target.clock_mhz, finn_plus=True),
    }
    for name, text in files.items():
        build.run.write(f"{network}/{FOLDER}/{name}", text)
    cost = estimate(folded, "finn")
    return HandedOver(
        file=f"{network}/{FOLDER}/dataflow.onnx",
        units=len(cost.units),
        cycles=cost.cycles,
        fps=cost.fps(target.clock_mhz),
        lut=cost.lut,
        bram18=cost.bram18,
    )
