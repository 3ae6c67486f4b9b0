"""Every model of keras.applications: nothing is frozen but outputs, and the oracle and the counts hold.

`make test-zoo` runs it. Models are built one at a time and forgotten afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
from graph_oracle import assert_counts, assert_same, frozen_reasons, masked_outputs, outputs, prune, random_inputs
from graph_oracle import randomize as randomize_weights
from zoo_models import COUNTED_ONLY, build, names

pytestmark = pytest.mark.zoo


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    keras.backend.clear_session()


def test_the_zoo_is_complete() -> None:
    # The families that issue 3 names; each has at least one model.
    families = ("ConvNeXt", "DenseNet", "EfficientNetB", "EfficientNetV2", "InceptionV3", "InceptionResNetV2")
    families += ("MobileNet", "MobileNetV2", "MobileNetV3", "NASNet", "ResNet50", "ResNet50V2", "VGG", "Xception")
    assert [family for family in families if not any(name.startswith(family) for name in names())] == []
    assert set(COUNTED_ONLY) <= set(names())


@pytest.mark.parametrize("name", names())
def test_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = build(name)
    assert frozen_reasons(model) == {}
    randomize_weights(model, seed=3)
    inputs = random_inputs(model, batch=2)
    dense = None if name in COUNTED_ONLY else outputs(model, inputs)[0]
    for ratio in (0.3, 0.6):
        pruned = prune(model, ratio)
        assert_counts(pruned)
        share = pruned.smaller.count_params() / model.count_params()
        # Both sides of a kernel lose channels, so about (1 - ratio)^2 of the weights stay.
        assert (1 - ratio) ** 2 - 0.1 <= share <= (1 - ratio) ** 2 + 0.15
        if dense is not None:
            wanted = masked_outputs(pruned, inputs)
            assert_same(wanted, outputs(pruned.smaller, inputs))
            # The oracle would not see much if removing channels changed little or the input nothing.
            scale = np.abs(dense).max()
            assert np.abs(wanted[0] - dense).max() > 1e-2 * scale
            assert not np.array_equal(dense[0], dense[1])
        with capsys.disabled():
            print(
                f"\n{name}: {len(pruned.groups.names)} groups, {ratio:.0%} removed, {share:.0%} of the weights", end=""
            )
