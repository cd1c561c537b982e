"""Google Speech Commands, ten words, as 1x32x32 log-mel features of one byte."""

from __future__ import annotations

import hashlib
import io
import re
import wave
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ..npz import read_npz
from .dataset import Dataset

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
PREPARED = "sc10_logmel32.npz"
OBTAIN = (
    "get speech_commands_v0.02.tar.gz (Warden, arXiv:1804.03209; `flow data get speech-commands` fetches it), unpack "
    "it and name its folder with --data-dir"
)
RATE, FRAME, HOP, FRAMES, BANDS = 16_000, 1024, 480, 32, 32
_LOW_HZ, _HIGH_HZ, _RANGE_DB = 20.0, 7600.0, 70.0
_FOLDERS = ("", "speech_commands", "speech-commands", "speech_commands_v0.02")
_MOST_OF_A_CLASS = 2**27 - 1


def find_words(folders: tuple[Path, ...]) -> Path | None:
    """The prepared features, or the folder with a subfolder of recordings for every word; None for neither."""
    for folder in folders:
        for name in _FOLDERS:
            if (folder / name / PREPARED).is_file():
                return folder / name / PREPARED
            if all((folder / name / word).is_dir() for word in WORDS):
                return folder / name
    return None


def load_speech(folders: tuple[Path, ...]) -> Dataset:
    """Read the ten words; the validation part of the split is left out of both parts.

    Raises:
        Problem: nothing is found, or a recording cannot be read.
    """
    found = find_words(folders)
    if found is None:
        where = ", ".join(map(str, folders)) or "no folder was named"
        raise Problem("speech-commands: no recordings and no prepared features", f"looked in: {where}", OBTAIN)
    if found.is_file():
        return _prepared(found)
    parts: dict[str, tuple[list[np.ndarray], list[int]]] = {"training": ([], []), "testing": ([], [])}
    total = hashlib.sha256()
    for label, word in enumerate(WORDS):
        for path in sorted((found / word).glob("*.wav")):
            part = split_of(path.name)
            if part not in parts:
                continue
            content = path.read_bytes()
            total.update(f"{word}/{path.name}".encode() + hashlib.sha256(content).digest())
            parts[part][0].append(log_mel(samples_of(content, path)))
            parts[part][1].append(label)
    if not all(labels for _, labels in parts.values()):
        raise Problem("speech-commands: there are no recordings in the training or the test part", str(found), OBTAIN)
    arrays = {name: (np.stack(x)[:, None], np.array(y, np.int64)) for name, (x, y) in parts.items()}
    return _dataset(*arrays["training"], *arrays["testing"], str(found), {"recordings": total.hexdigest()})


def _prepared(path: Path) -> Dataset:
    content = path.read_bytes()
    stored = read_npz(content, path, "prepared features", OBTAIN)
    missing = sorted({"x", "y", "split"} - stored.keys())
    if missing:
        raise Problem(f"not prepared features: no array {missing[0]!r}", str(path), OBTAIN)
    x, y, split = stored["x"], stored["y"], stored["split"]
    if x.shape[1:] != (1, BANDS, FRAMES) or x.dtype != np.uint8:
        raise Problem(f"features of {x.shape} {x.dtype}, not (n, 1, 32, 32) uint8", str(path), OBTAIN)
    if not (y.shape == split.shape == (len(x),) and y.dtype.kind in "iu" and np.isin(y, range(len(WORDS))).all()):
        raise Problem(f"labels {y.shape} {y.dtype} and parts {split.shape} for {len(x)} words", str(path), OBTAIN)
    y = y.astype(np.int64)
    train, test = split == 0, split == 2
    if not (train.any() and test.any()):
        raise Problem("no features in the training or the test part", str(path), OBTAIN)
    sums = {path.name: hashlib.sha256(content).hexdigest()}
    return _dataset(x[train], y[train], x[test], y[test], str(path.parent), sums)


def _dataset(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, source: str, files: dict[str, str]
) -> Dataset:
    return Dataset("speech-commands", WORDS, train_x, train_y, test_x, test_y, source, files)


def split_of(name: str) -> str:
    """ "training", "validation" or "testing" of a recording, by the hash of its speaker: 80, 10 and 10 percent.

    Source: the data set's README (which_set), Warden, arXiv:1804.03209.
    """
    speaker = re.sub(r"_nohash_.*$", "", Path(name).name)
    hashed = int(hashlib.sha1(speaker.encode()).hexdigest(), 16)
    percent = hashed % (_MOST_OF_A_CLASS + 1) * (100.0 / _MOST_OF_A_CLASS)
    return "validation" if percent < 10 else "testing" if percent < 20 else "training"


def samples_of(content: bytes, path: Path) -> np.ndarray:
    """The int16 samples of a mono recording of 16,000 samples a second.

    Raises:
        Problem: the file is no such recording.
    """
    hint = "recordings are WAV files of 16 bits, one channel, 16,000 samples a second"
    try:
        with wave.open(io.BytesIO(content)) as file:
            kind = (file.getsampwidth(), file.getnchannels(), file.getframerate())
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:
        raise Problem(f"not a WAV file: {error}", str(path), hint) from error
    if kind != (2, 1, RATE):
        raise Problem(f"{8 * kind[0]} bits, {kind[1]} channels, {kind[2]} samples a second", str(path), hint)
    return np.frombuffer(frames[: len(frames) // 2 * 2], "<i2")


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Features of one recording: (32, 32) uint8, mel bands from low to high by frames in time.

    The first second, zeros behind a shorter one; 32 frames of 1,024 samples, 480 apart, periodic Hann window; power
    spectrum; 32 triangular filters of peak 1 on the HTK mel scale from 20 to 7,600 Hz; decibels; the 70 dB below the
    recording's maximum mapped to 0..255, rounded half up.

    Args:
        samples: int16.
    """
    second = np.zeros(RATE)
    cut = samples[:RATE]
    second[: len(cut)] = cut / 32768.0
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)
    starts = HOP * np.arange(FRAMES)
    frames = np.zeros((FRAMES, FRAME))
    for row, start in enumerate(starts):
        piece = second[start : start + FRAME]
        frames[row, : len(piece)] = piece
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    decibels = 10.0 * np.log10(power @ _filters().T + 1e-10)
    value = (decibels - decibels.max() + _RANGE_DB) / _RANGE_DB
    return np.floor(255.0 * np.clip(value, 0.0, 1.0) + 0.5).astype(np.uint8).T


def _filters() -> np.ndarray:
    """(bands, frequencies): triangles between neighbouring edges that are equally far apart in mel."""
    low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (_LOW_HZ, _HIGH_HZ))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, BANDS + 2) / 2595.0) - 1.0)
    hz = np.arange(FRAME // 2 + 1) * RATE / FRAME
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))
