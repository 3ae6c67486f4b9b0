"""Oracle: keras.utils.image_dataset_from_directory reads the same pixels and labels."""

import keras
import numpy as np
import pytest
from PIL import Image

from edgeprune.data.folder import read_folder
from tests.data.signatures import classifier

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (20, 13)])
@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_same_pixels_and_labels(tmp_path, size, suffix):
    generator = np.random.default_rng(0)
    for name in ("b", "a", "c"):
        (tmp_path / name / "deeper").mkdir(parents=True)
        for place in ("2", "10", "deeper/1"):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{place}.{suffix}")
    split, _ = read_folder(tmp_path, classifier((*size, 3)))
    ours_x, ours_y = next(split.batches(99))
    dataset = keras.utils.image_dataset_from_directory(
        str(tmp_path), image_size=size, shuffle=False, batch_size=99, verbose=False
    )
    theirs_x, theirs_y = next(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(ours_y, theirs_y)
    order = np.lexsort(ours_x.reshape(9, -1).T), np.lexsort(theirs_x.reshape(9, -1).T)
    np.testing.assert_allclose(ours_x[order[0]], theirs_x[order[1]], atol=1e-3)
