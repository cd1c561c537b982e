"""Networks in files, with all that is needed to make them again."""

from __future__ import annotations

from pathlib import Path

from bnnflow import Problem

from .. import store
from .pack import unpack_network
from .packed_file import is_packed, read_packed
from .shapes import Trained, network_of


def save_network(network: Trained, path: Path) -> None:
    """Write the network with its shape to one file, atomically."""
    store.save({"spec": network.spec.to_dict(), "network": network.state_dict()}, path)


def load_network(path: Path, folder: str = "") -> Trained:
    """Read what `save_network` or `packed_file.write_packed` wrote, in eval mode.

    Args:
        path: the file.
        folder: where a user's own module is looked for first.

    Raises:
        Problem: the file is absent, damaged, or not a network.
    """
    if not path.is_file():
        raise Problem("there is no such file", where=str(path))
    if is_packed(path):
        return unpack_network(read_packed(path))
    state = store.load_stored(path)
    if state is None or not {"spec", "network"} <= state.keys():
        raise Problem("not a network, or damaged", where=str(path), hint="train it again, or copy the file again")
    network = network_of(state["spec"], folder)
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise Problem(
            "the weights do not fit the network's shape", str(path), "was it written by another version?"
        ) from error
    return network.eval()
