"""Training for one undervolted device: FashCNN-S on the memories of KC705-B, and the same network on others.

    PYTHONPATH=benchmarks python benchmarks/device_training.py --work FOLDER [--data FOLDER] [--devices 4]

A device is a draw of which of the board's memories hold which block RAM (`undervolting:0.53`), on a board of as many
memories as the design takes, with as many times the faults as `FACTOR` says: as measured nothing is lost
(docs/results/undervolting.md), so this is a what-if. The network of `robustness.py` (six epochs) is trained for two
epochs more: as it is, with weights wrong anywhere at the mean rate, and with the device's own map. All are judged on
the device that one of them was trained for, and that one on the other devices, too. FOLDER keeps what is trained.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from robustness import FASHCNN_S, NORM_IMAGES, images, interval, studies, trained
from undervolting import full, worse

from bnnflow.build.parts import part
from bnnflow.build.schedule import fold
from bnnflow.flow.graphs.speed import processor
from bnnflow.flow.pruning.memories import hardware_memories
from bnnflow.flow.pruning.structure import graph_of
from bnnflow.models.data.load import Dataset
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import Network
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.bit_errors import BitErrors, ErrorRates
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec
from bnnflow.models.training.update import Extras
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import Chip, FaultModel, Rates, draw_map, in_block_ram, kc705b
from bnnflow.sim.faults.injection.maps import FaultMap
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.passes.compile import stages

FACTOR, VOLTS, EPOCHS, CYCLES = 256, 0.53, 2, 100_000
MODEL = f"undervolting:{VOLTS!r}"


def folded(network: Network) -> Graph:
    """The network's units, folded for a low rate, so that its memories are deep enough for block RAM."""
    made = fold(stages(graph_of(network.eval()))[-1].graph, CYCLES, part("xc7z020"))
    assert made is not None
    return made


def tuned(start: Network, seed: int, errors: BitErrors, extras: Extras, path: Path, data: Dataset) -> Network:
    """Two epochs more; made where the file is not there."""
    if path.exists():
        made = load_network(path)
        assert isinstance(made, Network)
        return made
    network = Network(FASHCNN_S, seed)
    network.load_state_dict(start.state_dict())
    plan = TrainSpec(EPOCHS, 256, 0.001, seed, bit_errors=errors)
    train(network, data.train_images, data.train_labels, plan, path.with_suffix(".ckpt"), extras=extras)
    chosen = np.random.default_rng([seed, 21]).permutation(len(data.train_images))[:NORM_IMAGES]
    reestimate(network, data.train_images[np.sort(chosen)])
    save_network(network, path)
    return network.eval()


def right(network: Network, map_: FaultMap | None, data: Dataset) -> float:
    """Accuracy in points on all test images, with a device's cells."""
    graph = folded(network)
    ops = {} if map_ is None else map_.ops(graph)
    inputs = image_inputs(graph, data.test_images)
    return 100 * float(np.mean(Simulator.of(graph).with_ops(ops).classes(inputs) == data.test_labels))


def main() -> None:
    """Train and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--devices", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began, study = time.process_time(), studies(1)[0]
    data = images(study, asked.data)
    start = load_network(trained(study, study.rows[0], 0, asked.work, data).with_suffix(".pt"))
    assert isinstance(start, Network)
    graph = folded(start)
    held = in_block_ram(graph, ["weights"])
    board = worse(full(kc705b(), sum(memory.block_rams for memory in held)), FACTOR)
    chip = Chip(board)
    mean = board.rate(VOLTS)
    print(
        f"{processor()}, one thread; {board.memories} block RAMs, mean rate {mean:.4f}, {len(data.test_images)} images"
    )
    rates = chip.rates(VOLTS)
    maps = [
        draw_map(graph, held, FaultModel.parse(MODEL), Rates.of(0.0) if rates is None else rates, 0, trial, chip)
        for trial in range(asked.devices)
    ]
    kept = partial(tuned, start, 0, data=data)
    normal = kept(BitErrors(), Extras(), asked.work / "device-normal.pt")
    # Faults read 0 where 1 was written.
    errors = BitErrors(weights=ErrorRates(0.0, mean))
    uniform = kept(errors, Extras(memories=hardware_memories), asked.work / f"device-uniform-{FACTOR}.pt")
    rows: list[list[float]] = []
    own: list[Network] = []
    for number, map_ in enumerate(maps):
        path = asked.work / f"device-{FACTOR}-{number}.npz"
        path.write_bytes(map_.content(".npz", graph))
        memories = partial(hardware_memories, folded=graph, path=path)
        own.append(kept(BitErrors(), Extras(memories=memories), asked.work / f"device-{FACTOR}-{number}.pt"))
        found = [right(network, map_, data) for network in (normal, uniform, own[-1])]
        rows.append(found)
        print(f"device {number}:", ", ".join(f"{one:.2f}" for one in found), flush=True)
    others = [right(own[0], map_, data) for map_ in maps[1:]]
    table = np.array(rows)
    clean = [right(network, None, data) for network in (normal, uniform, own[0])]
    print("| trained with | no faults | on the device | worst device |\n|---|---|---|---|")
    for name, without, column in zip(("no faults", "uniform at the mean rate", "its map"), clean, table.T, strict=True):
        print(f"| {name} | {without:.2f} | {column.mean():.2f} | {column.min():.2f} |")
    print(f"its map less no faults: {interval(table[:, 2] - table[:, 0])}")
    print(f"its map less uniform: {interval(table[:, 2] - table[:, 1])}")
    minutes = (time.process_time() - began) / 60
    print(f"device 0's network on the others: {np.mean(others):.2f}; {minutes:.0f} CPU minutes")


if __name__ == "__main__":
    main()
