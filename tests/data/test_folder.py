"""Folders of images: which files, which labels, which pixels, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from edgeprune.data.folder import read_folder
from edgeprune.data.image import read_image, resize_bilinear
from edgeprune.errors import InputError
from tests.data.signatures import classifier, regressor, two_by_two

pytestmark = pytest.mark.unit


def _write(path, color, mode="RGB", size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


@pytest.fixture
def animals(tmp_path):
    for number, name in enumerate(["cat", "bee", "dog"]):
        for index in range(4):
            _write(tmp_path / name / f"{index}.png", (number * 10, index, 200))
    (tmp_path / "bee" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_classes_are_numbered_in_alphabetical_order(animals):
    split, validation = read_folder(animals, classifier((4, 4, 3)))
    assert validation is None
    assert split.size == 12
    x, y = next(split.batches(12))
    assert (x.shape, x.dtype, y.dtype) == ((12, 4, 4, 3), np.float32, np.int32)
    np.testing.assert_array_equal(y, [0] * 4 + [1] * 4 + [2] * 4)
    # bee was written with red 10, cat with 0, dog with 20; the files in name order with green 0..3
    np.testing.assert_array_equal(x[:, 0, 0, 0], [10] * 4 + [0] * 4 + [20] * 4)
    np.testing.assert_array_equal(x[:, 0, 0, 1], [0, 1, 2, 3] * 3)


def test_grey_models_get_one_channel_and_their_size(animals):
    split, _ = read_folder(animals, classifier((2, 6, 1)))
    assert split.inputs(3)[0].shape == (3, 2, 6, 1)


def test_one_hot_where_the_loss_wants_it(animals):
    split, _ = read_folder(animals, classifier((4, 4, 3), one_hot=True))
    np.testing.assert_array_equal(split.label_sample(12, 0), np.repeat(np.eye(3, dtype=np.float32), 4, axis=0))


def test_two_classes_for_one_unit(tmp_path):
    for name in ("no", "yes"):
        _write(tmp_path / name / "a.png", (1, 2, 3))
    split, _ = read_folder(tmp_path, regressor((4, 4, 3), "sigmoid"))
    np.testing.assert_array_equal(next(split.batches(2))[1], [[0.0], [1.0]])


def test_train_and_validation_folders_share_the_numbering(tmp_path):
    for name in ("a", "b", "c"):
        _write(tmp_path / "train" / name / "1.png", (0, 0, 0))
    _write(tmp_path / "validation" / "c" / "1.png", (0, 0, 0))
    train, validation = read_folder(tmp_path, classifier((4, 4, 3)))
    assert train.size == 3
    np.testing.assert_array_equal(next(validation.batches(5))[1], [2])
    _write(tmp_path / "validation" / "z" / "1.png", (0, 0, 0))
    with pytest.raises(InputError, match='has the class "z"'):
        read_folder(tmp_path, classifier((4, 4, 3)))


def test_a_damaged_image_is_named_before_training(animals):
    victim = animals / "dog" / "2.png"
    content = victim.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not an image"):
        victim.write_bytes(damaged)
        with pytest.raises(InputError, match=r"2\.png can't be read as an image"):
            read_folder(animals, classifier((4, 4, 3)))


def test_every_truncation_of_a_jpeg_is_an_input_error_or_an_image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    refused = 0
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        try:
            assert read_image(path, 4, 4, 3).shape == (4, 4, 3)
        except InputError:
            refused += 1
    assert refused > 0.9 * len(content) / 7


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (classifier((4, 4, 3), classes=5), "has 3 class subfolders, the model's output tells 5 classes apart"),
        (classifier((None, None, 3)), "--input-shape"),
        (classifier((4, 4, 2)), "1, 3 or 4 channels"),
        (classifier((16,)), "(height, width, channels)"),
        (two_by_two(), "one input and one output"),
    ],
)
def test_models_a_folder_can_not_serve(animals, signature, expected):
    with pytest.raises(InputError) as caught:
        read_folder(animals, signature)
    assert expected in str(caught.value)


def test_no_subfolders_and_no_images(tmp_path):
    with pytest.raises(InputError, match="no subfolders"):
        read_folder(tmp_path, classifier((4, 4, 3)))
    for name in "abc":
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no images"):
        read_folder(tmp_path, classifier((4, 4, 3)))


def test_the_fingerprint_sees_names_and_changes(animals):
    def fingerprint():
        return read_folder(animals, classifier((4, 4, 3)))[0].fingerprint()

    before = fingerprint()
    assert before == fingerprint()
    _write(animals / "cat" / "1.png", (9, 9, 9), size=(40, 40))
    changed = fingerprint()
    assert changed != before
    (animals / "cat" / "1.png").rename(animals / "cat" / "11.png")
    assert fingerprint() != changed


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 256], [32768, 65535]], dtype=np.uint16)).save(path)
    np.testing.assert_array_equal(read_image(path, 2, 2, 1)[..., 0], [[0, 1], [128, 255]])


def test_bilinear_by_hand():
    pixels = np.array([[[0], [100]]], dtype=np.uint8)
    # Output centres 0.5, 1.5, 2.5, 3.5 lie at -0.25, 0.25, 0.75, 1.25 of the input.
    np.testing.assert_allclose(resize_bilinear(pixels, 1, 4)[0, :, 0], [0, 25, 75, 100])
