"""The IDX reader of examples/fashion_mnist: whole files come back exactly, anything else is a clear error."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeprune.errors import InputError

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fashion_mnist"


def load_example() -> ModuleType:
    """examples/fashion_mnist/data.py; examples are scripts, no package leads to them."""
    spec = importlib.util.spec_from_file_location("fashion_mnist_data", EXAMPLE / "data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


data = load_example()

# The header of two images of 28 x 28, byte by byte as the MNIST database's page has it.
TWO_IMAGES_HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28])


def idx(array: np.ndarray) -> bytes:
    """An independent writer of the format."""
    shape = b"".join(struct.pack(">I", length) for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def write_gzip(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, compresslevel=1))
    return path


def write_set(folder: Path, train: int = 12, test: int = 6) -> Path:
    """A small Fashion-MNIST: image n is filled with the value n, its label is n modulo 10."""
    for prefix, count in (("train", train), ("t10k", test)):
        labels = np.arange(count, dtype=np.uint8)
        images = np.broadcast_to(labels[:, None, None], (count, 28, 28))
        write_gzip(folder / f"{prefix}-images-idx3-ubyte.gz", idx(images))
        write_gzip(folder / f"{prefix}-labels-idx1-ubyte.gz", idx(labels % 10))
    return folder


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "images.gz", TWO_IMAGES_HEADER + bytes(28 * 28) + bytes([7]) * (28 * 28))
    images = data.read_idx(path, rank=3)
    assert images.shape == (2, 28, 28)
    assert images.dtype == np.uint8
    assert (images[0] == 0).all()
    assert (images[1] == 7).all()


@given(array=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = write_gzip(tmp_path_factory.mktemp("idx") / "file.gz", idx(array))
    np.testing.assert_array_equal(data.read_idx(path, rank=array.ndim), array)


@given(cut=st.integers(min_value=0, max_value=9))
def test_every_cut_of_the_content_is_an_error(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    content = idx(np.array([3, 1], dtype=np.uint8))
    assert len(content) == 10
    path = write_gzip(tmp_path_factory.mktemp("idx") / "labels.gz", content[:cut])
    with pytest.raises(InputError, match=r"labels\.gz .*download it again"):
        data.read_idx(path, rank=1)


def test_every_cut_of_the_gzip_stream_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(idx(np.arange(40, dtype=np.uint8)))
    path = tmp_path / "labels.gz"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="download it again"):
            data.read_idx(path, rank=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes([0, 0, 9, 1]) + struct.pack(">I", 1) + b"x", "starts with 00000901, not with 00000801"),  # signed bytes
        (bytes([0, 0, 8, 2]) + struct.pack(">II", 1, 1) + b"x", "starts with 00000802"),  # another rank
        (bytes([1, 0, 8, 1]) + struct.pack(">I", 1) + b"x", "starts with 01000801"),
        (idx(np.zeros(3, np.uint8)) + b"x", r"shape is \(3,\), 3 bytes, but holds 4"),  # too long
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 2**32 - 1), "4294967295 bytes, but holds 0"),
    ],
)
def test_a_wrong_file_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.read_idx(write_gzip(tmp_path / "labels.gz", content), rank=1)


def test_a_file_that_is_not_gzip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(InputError, match="not a whole gzip file"):
        data.read_idx(path, rank=1)


def test_load_reads_the_folder_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(write_set(tmp_path)))
    (x_train, y_train), (x_val, y_val) = data.load()
    assert x_train.shape == (12, 28, 28, 1)
    assert x_val.shape == (6, 28, 28, 1)
    assert x_train.dtype == np.float32
    np.testing.assert_array_equal(x_train[:, 5, 5, 0], np.arange(12, dtype=np.float32) / 255)
    np.testing.assert_array_equal(y_train, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    np.testing.assert_array_equal(y_val, np.arange(6))


def test_limit_keeps_the_first_images_and_a_sixth_as_many_for_validation(tmp_path: Path) -> None:
    (x_train, y_train), (x_val, y_val) = data.load(write_set(tmp_path), limit=12)
    assert (len(x_train), len(y_train), len(x_val), len(y_val)) == (12, 12, 2, 2)
    np.testing.assert_array_equal(y_val, [0, 1])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte.gz is missing"):
        data.load(tmp_path)


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_gzip(tmp_path / "train-labels-idx1-ubyte.gz", idx(np.zeros(11, np.uint8)))
    with pytest.raises(InputError, match="train has 12 images and 11 labels"):
        data.load(tmp_path)


def test_a_label_out_of_range_is_an_error(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_gzip(tmp_path / "train-labels-idx1-ubyte.gz", idx(np.full(12, 10, np.uint8)))
    with pytest.raises(InputError, match="train has a label 10; allowed: 0 to 9"):
        data.load(tmp_path)


def test_images_of_another_size_are_an_error(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_gzip(tmp_path / "train-images-idx3-ubyte.gz", idx(np.zeros((12, 32, 32), np.uint8)))
    with pytest.raises(InputError, match=r"train images are \(32, 32\), expected \(28, 28\)"):
        data.load(tmp_path)


def test_a_named_folder_without_the_files_is_not_replaced_by_another_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere/train-images-idx3-ubyte.gz is missing"):
        data.load()
