"""The work behind the stage `verify`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ...transforms.passes.compile import LEVEL_NAMES, stages
from ...transforms.reading.read import read
from ..graphs import finn_base
from ..graphs.oracles import onnxruntime_scores, qonnx_scores
from ..recipe.objects import set_threads, step_products
from ..results.stages import NetworkVerified, VerifyResult, VerifyRow
from ..run.names import LEVEL_FILES, QONNX
from .build import Build, Progress

QONNX_IMAGES = 16


def verify_networks(build: Build) -> VerifyResult:
    """Verify every network of a run on the recipe's number of test images.

    Raises:
        Problem: status 1; something differs.
    """
    images = build.dataset.test_images[: build.recipe.verify.images]
    report = build.progress("verify")
    total = len(images) * len(build.networks)
    found = {}
    for index, network in enumerate(build.networks):
        count = partial(_count, report, index * len(images), total)
        found[network] = verify_network(build, network, images, count)
    return VerifyResult(networks=found)


def _count(report: Progress, before: int, total: int, done: int) -> None:
    report(before + done, total, {})


def verify_network(build: Build, network: str, images: np.ndarray, progress: Callable[[int], None]) -> NetworkVerified:
    """Hold all levels of one network, as they lie on disk, against each other and against other programs.

    Raises:
        Problem: status 1; names the level, tensor, image and channel that differ first.
    """
    from ...sim.engine.simulator import Simulator
    from ...sim.inputs import float_inputs, image_inputs
    from ...sim.verify import Level, images_with_float_ties, verify_scores
    from ...sim.verify import verify as compare

    compiled = stages(read(build.file(network, QONNX)))
    stored, images = images, image_inputs(compiled[0].graph, images)
    floats = float_inputs(compiled[0].graph, images)
    levels = [Level(compiled[0].level, compiled[0].graph)]
    for stage in compiled[1:]:
        graph = read(build.file(network, LEVEL_FILES[stage.level]))
        levels.append(Level(stage.level, graph, stage.equivalences, stage.float_ties))
    last = levels[-1].graph
    float_ties = [each for stage in compiled for each in stage.float_ties]
    tied = images_with_float_ties(levels[0].graph, float_ties, images)
    train = build.recipe.train
    set_threads(train.threads, step_products(build.spec, train.batch) if build.trains else None)
    judge = partial(verify_scores, graph=last, images=images, tied=tied)
    results = []
    if build.trains:
        from ...models.training.evaluate import Unsoftened, predict

        with Unsoftened():
            scores = predict(build.load(network), stored)
        results.append(judge("torch (Brevitas)", scores=scores))
    results.append(judge("onnxruntime on QONNX", scores=onnxruntime_scores(build.file(network, QONNX), floats)))
    few = images[:QONNX_IMAGES]
    for level in LEVEL_NAMES[:-1]:
        made = qonnx_scores(build.file(network, LEVEL_FILES[level]), floats[: len(few)] if level == "network" else few)
        judged = tied[: len(few)] if level == "network" else None
        results.append(judge(f"qonnx on {level}", images=few, scores=made, tied=judged))
    if finn_base.version() is not None:
        results += finn_base.judge({level: build.file(network, LEVEL_FILES[level]) for level in finn_base.LEVELS}, few)
    results += compare(levels, images, progress=progress)
    everything = image_inputs(compiled[0].graph, build.dataset.test_images)
    right = Simulator.of(last).classes(everything) == build.dataset.test_labels
    rows = [
        VerifyRow(stage=r.name, images=r.images, values=r.values, differences=r.differences, ties=r.ties)
        for r in results
    ]
    return NetworkVerified(images=len(images), stages=rows, accuracy=float(right.mean()))
