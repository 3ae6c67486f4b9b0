"""What a model computes on a device, for inputs of the caller's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from edgeprune.device.bench import check_is_tflite
from edgeprune.device.devices import open_device
from edgeprune.device.transport import RunRequest


def device_outputs(
    model: Path, inputs: Sequence[np.ndarray], *, device: str = "local", threads: int = 1
) -> tuple[np.ndarray, ...]:
    """Run every sample through the model where `device` says.

    Args:
        model: a .tflite file.
        inputs: one array per input of the model, in its order: (samples, ...) in the input's own dtype.
        device: "local", or an emulated board such as "emulator:rpi4".

    Returns:
        One array per output, (samples, ...) in the output's dtype; quantized values stay as they are.

    Raises:
        InputError: the file is not TFLite, the inputs don't fit it, or the device is unknown.
        DeviceError: the runtime there crashed, hung or refused the model, or the board is not set up.
    """
    check_is_tflite(model)
    with tempfile.TemporaryDirectory(prefix="edgeprune-outputs-") as name, closing(open_device(device)) as transport:
        given, computed = Path(name, "inputs.npz"), Path(name, "outputs.npz")
        arrays = {f"input_{place}": values for place, values in enumerate(inputs)}
        np.savez(given, **arrays)  # type: ignore[arg-type]  # its keywords are arrays but for one flag
        transport.run(RunRequest("outputs", (model,), threads=threads, inputs=given, outputs=computed))
        with np.load(computed, allow_pickle=False) as stored:
            return tuple(stored[f"output_{place}"] for place in range(len(stored.files)))
