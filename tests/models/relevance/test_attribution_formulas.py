"""Attributions of small networks computed from their formulas in numpy, without torch, Captum or our code."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import attributions
from tests.models.conftest import CNN, MLP, lively

STEPS = 20
SPECS = {"mlp": replace(MLP, hidden=(9, 7, 5)), "cnn": replace(CNN, channels=(3, 4), pools=(1, 1), hidden=(5,))}


@dataclass
class Layer:
    """Binary weights, and gain and shift of the norm behind, by filter; norm and sign are left out behind the last."""

    name: str
    weight: np.ndarray
    gain: np.ndarray
    shift: np.ndarray

    def sums(self, x: np.ndarray) -> np.ndarray:
        if self.weight.ndim == 2:
            return x.reshape(len(x), -1) @ self.weight.T
        windows = np.lib.stride_tricks.sliding_window_view(x, self.weight.shape[2:], (2, 3))
        return np.einsum("nchwij,fcij->nfhw", windows, self.weight)

    def normed(self, x: np.ndarray) -> np.ndarray:
        around = (1, -1) + (1,) * (self.weight.ndim - 2)
        made: np.ndarray = self.sums(x) * self.gain.reshape(around) + self.shift.reshape(around)
        return made

    def back(self, gradient: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The gradient of the sums' input x from that of the sums."""
        if self.weight.ndim == 2:
            return (gradient @ self.weight).reshape(x.shape)
        made = np.zeros(x.shape)
        for row, column in np.ndindex(*gradient.shape[2:]):
            part = np.einsum("nf,fcij->ncij", gradient[:, :, row, column], self.weight)
            made[:, :, row : row + part.shape[2], column : column + part.shape[3]] += part
        return made

    def behind_sign(self, gradient: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The gradient of the sums' input x from that of the sign: it passes where |normed| <= 1."""
        passed = gradient * (np.abs(self.normed(x)) <= 1)
        return self.back(passed * self.gain.reshape((1, -1) + (1,) * (self.weight.ndim - 2)), x)


def layers_of(network: Network) -> list[Layer]:
    norms = [module for name, module in network.layers.items() if name.startswith("norm")]
    made = []
    for index, (name, module) in enumerate(network.weight_layers()):
        weight = np.where(module.weight.detach().numpy() >= 0, 1.0, -1.0)
        gain, shift = np.ones(len(weight)), np.zeros(len(weight))
        if index < len(norms):
            state = {key: value.numpy().astype(np.float64) for key, value in norms[index].state_dict().items()}
            gain = state["weight"] / np.sqrt(state["running_var"] + norms[index].eps)
            shift = state["bias"] - gain * state["running_mean"]
        made.append(Layer(name, weight, gain, shift))
    return made


def outputs(layers: list[Layer], pixels: np.ndarray) -> list[np.ndarray]:
    """Signs of every hidden layer."""
    x = np.clip(np.round(pixels - 128.0), -128, 127) / 128.0
    made = []
    for layer in layers[:-1]:
        x = np.where(layer.normed(x) >= 0, 1.0, -1.0)
        made.append(x)
    return made


def gradient(layers: list[Layer], index: int, y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of the label's sum, by the output y of hidden layer `index`; y need not be signs."""
    inputs = [y]
    for layer in layers[index + 1 : -1]:
        inputs.append(np.where(layer.normed(inputs[-1]) >= 0, 1.0, -1.0))
    made = layers[-1].back(np.eye(len(layers[-1].weight))[labels], inputs[-1])
    for layer, x in zip(layers[index + 1 : -1][::-1], inputs[:-1][::-1], strict=True):
        made = layer.behind_sign(made, x)
    return made


def wanted(method: str, layers: list[Layer], index: int, sample: Sample) -> np.ndarray:
    labels, (x, base) = sample.labels, (sample.images.astype(float), sample.baselines.astype(float))
    after, before = outputs(layers, x)[index], outputs(layers, base)[index]
    if method == "gradient-activation":
        return after * gradient(layers, index, after, labels)
    total = np.zeros_like(after)
    for step in range(STEPS):
        if method == "integrated-gradients":
            middle = before + (step + 0.5) / STEPS * (after - before)
            total += (after - before) * gradient(layers, index, middle, labels) / STEPS
        else:
            here, there = (outputs(layers, base + (step + more) / STEPS * (x - base))[index] for more in (0, 1))
            total += (there - here) * gradient(layers, index, here, labels)
    return total


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("method", ["gradient-activation", "integrated-gradients", "conductance"])
def test_attributions_follow_their_formulas(method: str, name: str, digits: Dataset) -> None:
    """Differences of the images are multiples of 20, so that every step of the path is whole pixels."""
    network = lively(SPECS[name], digits.train_images[:200], 2)
    images, others = (one // 20 * 20 for one in (digits.test_images[:9], digits.train_images[:9]))
    sample = Sample(images, digits.test_labels[:9], others)
    found = next(attributions(network, method, sample))[0]
    layers = layers_of(network)
    assert list(found) == [layer.name for layer in layers[:-1]]
    for index, layer in enumerate(layers[:-1]):
        right = wanted(method, layers, index, sample)
        # signs times the last weights are +1, 0 and -1 behind the last sign; in front they are real numbers
        assert len(np.unique(right.round(9))) > (1 if layer is layers[-2] else 6), layer.name
        np.testing.assert_allclose(found[layer.name].numpy(), right, atol=1e-9, err_msg=layer.name)
