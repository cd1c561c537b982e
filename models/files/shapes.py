"""Untrained networks of a shape, or of a shape's fields as files hold them."""

from __future__ import annotations

from typing import Any

from ..networks.network import Network, NetworkSpec
from ..networks.own import OwnNetwork, OwnSpec
from ..training.ensemble import JOINED, EnsembleNetwork, ensemble_of

Trained = Network | OwnNetwork | EnsembleNetwork


def network_of(spec: dict[str, Any] | NetworkSpec | OwnSpec, folder: str = "", seed: int = 0) -> Trained:
    """An untrained network of a shape, or of a shape's fields."""
    if isinstance(spec, dict):
        if "votes" in spec:
            return ensemble_of(spec)
        if "target" in spec:
            steps = tuple(tuple(tuple(part) for part in step) for step in spec.get("steps", ()))
            unread = {name: tuple(inputs) for name, inputs in spec.get("unread", {}).items()}
            fields = {**spec, "input_shape": tuple(spec["input_shape"]), "steps": steps, "unread": unread}
            fields["sparse"] = tuple(spec.get("sparse", ()))
            # A folder of the user's has no say in a class of ours.
            spec = OwnSpec(**fields, folder="" if spec["target"] == JOINED else folder)
        else:
            spec = NetworkSpec.from_dict(spec)
    return Network(spec, seed) if isinstance(spec, NetworkSpec) else OwnNetwork(spec, seed)
