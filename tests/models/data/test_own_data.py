"""CIFAR-10, Speech Commands and users' own images in every form, from small files made here."""

from __future__ import annotations

import io
import os
import pickle
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bnnflow import Problem
from bnnflow.models.data import cifar, speech
from bnnflow.models.data.dataset import Dataset
from bnnflow.models.data.load import load_dataset, survey_data_sets
from bnnflow.models.data.own import from_function
from tests.places import DATA

Golden = Callable[[str, str], None]
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def batch(seed: int, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, 32, 32)).astype(np.uint8), rng.integers(0, 10, count).astype(np.uint8)


def as_binary(folder: Path) -> None:
    for seed, name in enumerate(BATCHES):
        images, labels = batch(seed)
        records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], 1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def as_pickles(folder: Path) -> None:
    for seed, name in enumerate(BATCHES):
        images, labels = batch(seed)
        held = {b"data": images.reshape(len(images), -1), b"labels": labels.tolist(), b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(held, protocol=4))


def as_arrays(folder: Path) -> None:
    train = [batch(seed) for seed in range(5)]
    images, labels = (np.concatenate(part) for part in zip(*train, strict=True))
    np.savez(folder / "cifar10_train.npz", images=images.transpose(0, 2, 3, 1), labels=labels)
    np.savez(folder / "cifar10_test.npz", **dict(zip(("images", "labels"), batch(5), strict=True)))


def as_mosaics(folder: Path) -> None:
    for name, seeds in (("cifar10_train_1", range(5)), ("cifar10_test", [5])):
        parts = [batch(seed) for seed in seeds]
        labels = np.concatenate([labels for _, labels in parts])
        mosaics = {}
        for index, (images, _) in enumerate(parts):
            mosaic = images.reshape(2, 2, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(64, 64, 3)
            content = io.BytesIO()
            Image.fromarray(mosaic).save(content, "PNG")
            mosaics[f"mosaic_{index:02d}"] = np.frombuffer(content.getvalue(), np.uint8)
        np.savez(folder / f"{name}.npz", labels=labels, **mosaics)


@pytest.mark.parametrize("write", [as_binary, as_pickles, as_arrays, as_mosaics])
def test_cifar10_is_the_same_in_every_form(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    found = load_dataset("cifar10", tmp_path, cache=tmp_path / "cache")
    wanted = [batch(seed) for seed in range(6)]
    np.testing.assert_array_equal(found.train_images, np.concatenate([images for images, _ in wanted[:5]]))
    np.testing.assert_array_equal(found.train_labels, np.concatenate([labels for _, labels in wanted[:5]]))
    np.testing.assert_array_equal(found.test_images, wanted[5][0])
    np.testing.assert_array_equal(found.test_labels, wanted[5][1])
    assert found.classes == cifar.CLASSES and found.test_labels.dtype == np.int64
    assert isinstance(found.train_images, np.memmap) and not found.train_images.flags.writeable


def test_decoded_images_are_read_from_the_cache_until_a_file_changes(tmp_path: Path) -> None:
    as_binary(tmp_path)
    cache = tmp_path / "cache"
    first = load_dataset("cifar10", tmp_path, cache=cache)
    wanted = np.array(first.train_images)  # a copy: the mapped file is damaged below
    entry = next(cache.iterdir())
    stamp = (entry / "facts.json").stat().st_mtime_ns
    again = load_dataset("cifar10", tmp_path, cache=cache)
    np.testing.assert_array_equal(again.train_images, wanted)
    assert again.files == first.files
    assert (entry / "facts.json").stat().st_mtime_ns == stamp
    (entry / "train_images.npy").write_bytes(b"damaged")
    np.testing.assert_array_equal(load_dataset("cifar10", tmp_path, cache=cache).train_images, wanted)
    path = tmp_path / "test_batch.bin"
    path.write_bytes(path.read_bytes()[: 2 * 3073])
    assert len(load_dataset("cifar10", tmp_path, cache=cache).test_images) == 2


class Malice:
    """Pickles that would run something."""

    def __reduce__(self) -> Any:
        return os.system, ("touch HACKED",)


def test_a_pickle_that_runs_something_is_refused(
    tmp_path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_pickles(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": Malice()}))
    with pytest.raises(Problem) as caught:
        load_dataset("cifar10", tmp_path)
    golden("problems/data_bad_pickle", str(caught.value))
    assert not (tmp_path / "HACKED").exists()
    for content in (b"", b"\x80\x04garbage", pickle.dumps([1]), pickle.dumps({"data": np.array([Malice], object)})):
        (tmp_path / "data_batch_1").write_bytes(content)
        with pytest.raises(Problem):
            load_dataset("cifar10", tmp_path)


def test_damaged_cifar10_is_refused(tmp_path: Path, golden: Golden) -> None:
    with pytest.raises(Problem) as caught:
        load_dataset("cifar10", tmp_path)
    golden("problems/data_no_cifar10", str(caught.value))
    as_binary(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Problem) as caught:
        load_dataset("cifar10", tmp_path)
    golden("problems/data_short_cifar10", str(caught.value))
    path.write_bytes(b"\x0b" + b"\0" * 3072)
    with pytest.raises(Problem, match="outside 0 to 9"):
        load_dataset("cifar10", tmp_path)


def recording(samples: np.ndarray, rate: int = 16_000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def test_recordings_become_features_by_the_split_of_their_speakers(tmp_path: Path, golden: Golden) -> None:
    rng = np.random.default_rng(0)
    count = dict.fromkeys(("training", "validation", "testing"), 0)
    for word in speech.WORDS:
        (tmp_path / word).mkdir()
        for speaker in range(6):
            name = f"{speaker:08x}_nohash_0.wav"
            count[speech.split_of(name)] += 1
            (tmp_path / word / name).write_bytes(recording(rng.integers(-9000, 9000, 12_000)))
    assert min(count.values()) > 0
    found = load_dataset("speech-commands", tmp_path)
    assert found.train_images.shape == (count["training"], 1, 32, 32)
    assert found.test_images.shape == (count["testing"], 1, 32, 32)
    (tmp_path / "up" / "00000000_nohash_0.wav").write_bytes(recording(np.zeros(100), 8000))
    for name in ("00000000", "00000001", "00000002"):
        (tmp_path / "up" / f"{name}_nohash_1.wav").write_bytes(b"RIFFxxxx")
    with pytest.raises(Problem) as caught:
        load_dataset("speech-commands", tmp_path)
    golden("problems/data_bad_recording", str(caught.value))
    with pytest.raises(Problem) as caught:
        load_dataset("speech-commands", tmp_path / "up")
    golden("problems/data_no_speech", str(caught.value))


def test_a_tone_lights_its_band_and_speakers_stay_on_one_side() -> None:
    tone = np.round(20_000 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000))
    features = speech.log_mel(tone)
    assert features.shape == (32, 32) and features.dtype == np.uint8
    edges = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 34) / 2595) - 1)
    wanted = int(np.abs(edges[1:-1] - 1000).argmin())
    assert (features[:, 3:29].argmax(0) == wanted).all()
    assert (speech.log_mel(np.zeros(50)) == 255).all()
    assert speech.split_of("022cd682_nohash_0.wav") == speech.split_of("022cd682_nohash_7.wav") == "testing"


def test_real_recordings_give_the_prepared_features() -> None:
    import zipfile

    path = DATA / "speech_commands" / "sc10_sample_wavs.zip"
    if not path.is_file():
        pytest.skip("the sample recordings are not here (BNNFLOW_DATA)")
    with np.load(path.with_name("sc10_logmel32.npz")) as stored:
        index = {name.decode(): row for row, name in enumerate(stored["name"])}
        features, official = stored["x"], stored["official_split"]
    parts = ("training", "validation", "testing")
    assert all(speech.split_of(name) == parts[official[row]] for name, row in index.items())
    with zipfile.ZipFile(path) as archive:
        for name in [name for name in archive.namelist() if name.endswith(".wav")][::10]:
            made = speech.log_mel(speech.samples_of(archive.read(name), Path(name)))
            np.testing.assert_array_equal(made, features[index[name]][0])


def test_a_folder_of_images(tmp_path: Path, golden: Golden) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for index in range(10):
            pixels = np.full((6, 8, 3), 20 * index + (name == "dogs"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    found = load_dataset("folder", tmp_path)
    assert found.classes == ("cats", "dogs")
    assert found.train_images.shape == (16, 3, 6, 8) and found.test_images.shape == (4, 3, 6, 8)
    assert all((found.train_images[:, 0, 0, 0] % 20 == found.train_labels).tolist())
    (tmp_path / "dogs" / "11.png").write_bytes(b"no image")
    with pytest.raises(Problem) as caught:
        load_dataset("folder", tmp_path)
    golden("problems/data_no_image", str(caught.value))
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(tmp_path / "dogs" / "11.png")
    with pytest.raises(Problem) as caught:
        load_dataset("folder", tmp_path)
    golden("problems/data_image_sizes", str(caught.value))
    with pytest.raises(Problem) as caught:
        load_dataset("folder", tmp_path / "cats")
    golden("problems/data_no_classes", str(caught.value))


def test_a_divided_folder(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / part / name / f"{index}.png")
    found = load_dataset("folder", tmp_path)
    assert found.train_images.shape == (6, 1, 4, 4) and sorted(found.test_labels) == [0, 0, 1, 1]
    (tmp_path / "test" / "b").rename(tmp_path / "test" / "c")
    with pytest.raises(Problem, match="test has a, c"):
        load_dataset("folder", tmp_path)


def test_an_npz_file(tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "mine.npz"
    x, y = np.zeros((4, 5, 5), np.uint8), np.array([0, 1, 2, 1])
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    found = load_dataset("npz", path)
    assert found.train_images.shape == (4, 1, 5, 5) and found.classes == ("0", "1", "2")
    np.savez(path, train_images=np.zeros((4, 5, 6, 3), np.uint8), train_labels=y, x_test=x[:2])
    with pytest.raises(Problem) as caught:
        load_dataset("npz", path)
    golden("problems/data_npz_missing", str(caught.value))
    np.savez(path, x_train=x / 255, y_train=y, x_test=x, y_test=y)
    with pytest.raises(Problem) as caught:
        load_dataset("npz", path)
    golden("problems/data_npz_floats", str(caught.value))
    for labels, said in ((y - 1, "there is the label -1"), (0 * y, "all images are of class 0")):
        np.savez(path, x_train=x, y_train=labels, x_test=x, y_test=labels)
        with pytest.raises(Problem, match=said):
            load_dataset("npz", path)
    np.savez(path, x_train=np.array([{}]), y_train=y, x_test=x, y_test=y)
    with pytest.raises(Problem, match="not an npz file of numbers"):
        load_dataset("npz", path)


def test_images_of_16_bits_are_refused_and_not_cut_off(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / name / "0.png")
    with pytest.raises(Problem, match="more than 8 bits"):
        load_dataset("folder", tmp_path)


def as_images(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        for index, suffix in enumerate(("png", "jpg", "bmp", "gif", "ppm", "webp")):
            pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.{suffix}")


def as_recordings(folder: Path) -> None:
    for word in speech.WORDS:
        (folder / word).mkdir()
        for speaker in range(6):
            samples = np.random.default_rng(speaker).integers(-9000, 9000, 1000)
            (folder / word / f"{speaker:08x}_nohash_0.wav").write_bytes(recording(samples))


def as_features(folder: Path) -> None:
    x = np.zeros((6, 1, 32, 32), np.uint8)
    np.savez_compressed(folder / speech.PREPARED, x=x, y=np.arange(6), split=np.arange(6) % 3)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        *(("cifar10", write) for write in (as_binary, as_pickles, as_arrays, as_mosaics)),
        ("folder", as_images),
        *(("speech-commands", write) for write in (as_recordings, as_features)),
    ],
)
def test_damage_gives_a_problem_and_nothing_else(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    """Files cut off, with changed bytes, or of random bytes; what can still be read may be read."""
    write(tmp_path)
    load_dataset(name, tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(45):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        content = bytearray(whole)
        for _ in range(rng.integers(1, 8)):
            content[rng.integers(min(len(content), 300) if trial % 2 else len(content))] = rng.integers(256)
        cut, noise = content[: rng.integers(len(content))], rng.bytes(int(rng.integers(200)))
        path.write_bytes((content, cut, noise)[trial % 3])
        try:
            load_dataset(name, tmp_path)
        except Problem:
            refused += 1
        path.write_bytes(whole)
    assert refused >= 15


def test_a_function(tmp_path: Path, golden: Golden) -> None:
    (tmp_path / "my_test_images.py").write_text(
        "import numpy as np\n"
        "def four():\n    return np.zeros((4, 2, 2), 'uint8'), [0, 1, 0, 1], np.zeros((2, 2, 2), 'uint8'), [0, 1]\n"
        "def three():\n    return 1, 2, 3\n"
        "def fails():\n    raise ValueError('no disk')\n"
    )
    assert load_dataset("my_test_images:four", tmp_path).train_images.shape == (4, 1, 2, 2)
    for name in ("three", "fails", "missing"):
        with pytest.raises(Problem) as caught:
            load_dataset(f"my_test_images:{name}", tmp_path)
        golden(f"problems/data_function_{name}", str(caught.value))
    with pytest.raises(Problem) as caught:
        load_dataset("my_absent_module:f", tmp_path)
    golden("problems/data_no_module", str(caught.value))


@pytest.mark.parametrize("said", [{}, {"a.png": "0"}], ids=["nothing", "a_file"])
def test_a_data_set_that_a_function_gives_is_known_by_its_arrays(said: dict[str, str]) -> None:
    """What it says of its files stays; other labels are another data set."""
    images, files = np.zeros((4, 1, 2, 2), np.uint8), []
    for labels in ([0, 1, 0, 1], [1, 0, 1, 0]):
        given = Dataset("own", ("a", "b"), images, np.array(labels), images, np.array(labels), "own", said)
        files.append(from_function("m:f", lambda given=given: given).files)
    assert files[0] != files[1] and all(said.items() <= one.items() for one in files)


def test_the_survey_reads_nothing_and_finds_all(tmp_path: Path) -> None:
    as_binary(tmp_path)
    rows = {row.name: row for row in survey_data_sets(tmp_path)}
    assert rows["digits"].where == "bnnflow" and rows["cifar10"].where == str(tmp_path)
    assert not rows["mnist"].where and "IDX" in rows["mnist"].how
    assert not rows["speech-commands"].where


@pytest.mark.parametrize("sizes", [(40, 40, 40), (100, 10, 10), (3, 3)])
@pytest.mark.parametrize("as_stored", ["sorted", "halves", "mixed"])
def test_first_images_are_of_all_classes(tmp_path: Path, sizes: tuple[int, ...], as_stored: str) -> None:
    """Whatever order the file has; labels go with their images."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(1)
    if as_stored == "halves":
        labels = np.concatenate([rng.permutation(labels[labels < 2]), labels[labels >= 2]])
    elif as_stored == "mixed":
        labels = rng.permutation(labels)
    images = (labels[:, None, None] * 50 + np.arange(4).reshape(2, 2)).astype(np.uint8)
    parts = {"images": images, "labels": labels}
    path = tmp_path / "own.npz"
    np.savez(path, **{f"{part}_{key}": value for part in ("train", "test") for key, value in parts.items()})
    data = load_dataset("npz", path)
    for x, y in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert np.array_equal(x[:, 0, 0, 0], y * 50)
        assert np.array_equal(np.sort(y), np.sort(labels))
        half = np.bincount(y[: len(y) // 2], minlength=len(sizes)) / np.array(sizes)
        assert np.all(half[np.array(sizes) >= 10] > 0.1), half
    assert np.array_equal(load_dataset("npz", path).train_labels, data.train_labels)
