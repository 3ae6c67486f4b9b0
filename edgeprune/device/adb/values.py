"""What a model computes on a phone: inputs go there as raw bytes, outputs come back as raw bytes."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.atomic import replacing
from edgeprune.device.adb.client import DeviceLost
from edgeprune.device.adb.faults import no_number
from edgeprune.device.adb.measure import find_tool, model_file, run_checked
from edgeprune.device.adb.session import Session
from edgeprune.device.adb.spec import AdbSpec
from edgeprune.device.adb.tool import Tool, output_flags
from edgeprune.device.transport import OnProgress, RunRequest
from edgeprune.errors import DeviceError, InputError
from edgeprune.tflite.flatbuffer import read_model
from edgeprune.tflite.model import dtype_name, text

# what numpy holds as the runtime does, byte for byte
_DTYPES = frozenset(
    ("float16", "float32", "float64", "complex64", "complex128", "bool")
    + ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
)
# np.load on a damaged .npz
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output as the file declares it. shape: per invoke; unknown sizes count as 1."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes per invoke."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def tensor_specs(path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """(inputs, outputs) of a model, in its order.

    Raises:
        InputError: the file can't be read, or has values that a file of raw bytes can't hold.
    """
    model = read_model(path)

    def specs(indices: Any) -> list[TensorSpec]:
        return [_spec(model.main.tensors[index], text(path.name)) for index in indices]

    return specs(model.main.inputs), specs(model.main.outputs)


def _spec(tensor: Any, model: str) -> TensorSpec:
    dtype = dtype_name(tensor)
    if dtype not in _DTYPES:
        raise InputError(
            f"{model} has {dtype} values, which can't be exchanged with a phone; compare it on another device"
        )
    shape = () if tensor.shape is None else tuple(max(int(size), 1) for size in tensor.shape)
    # TFLite's bytes are little-endian everywhere.
    return TensorSpec(text(tensor.name), shape, np.dtype(dtype).newbyteorder("<"))


def read_inputs(path: Path, specs: list[TensorSpec], model: str) -> list[np.ndarray]:
    """input_0, input_1, ... of an .npz, each (samples * batch, ...), checked against the model.

    Raises:
        InputError: the file is damaged, or they don't fit.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = [stored[f"input_{place}"] for place in range(len(specs))]
    except _DAMAGED as error:
        raise InputError(f"the inputs don't fit {model}: {path.name} can't be used ({error})") from error
    batch = _batch(specs)
    for place, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
        fits = array.dtype == spec.dtype and array.ndim == max(len(spec.shape), 1) and array.shape[1:] == spec.shape[1:]
        if not fits or not len(array) or len(array) % batch or len(array) != len(arrays[0]):
            raise InputError(
                f"the inputs don't fit {model}: input_{place} is {array.dtype} {array.shape}; the model takes "
                f"{spec.dtype} {spec.shape} per invoke, one or more of them, as many as of input_0"
            )
    return arrays


class Values:
    """The work of one request. It remembers which samples are done, so that it goes on after the phone was lost."""

    def __init__(self, session: Session, spec: AdbSpec, request: RunRequest, on_progress: OnProgress | None) -> None:
        if request.inputs is None or request.outputs is None:
            raise InputError('mode "outputs" needs inputs and outputs')
        self.session = session
        self.spec = spec
        self.request = request
        self.outputs_path = request.outputs
        self.on_progress = on_progress
        self.model = text(request.models[0].name)
        self.inputs, self.outputs = tensor_specs(request.models[0])
        if not self.inputs:
            raise InputError(f"{self.model} takes no inputs, so there is nothing to compare")
        self.arrays = read_inputs(request.inputs, self.inputs, self.model)
        self._tool: Tool | None = None
        self._done: list[list[np.ndarray]] = []

    def compute(self) -> Tool:
        """Run all samples and write the outputs, output_0, output_1, ...: (samples * batch, ...).

        Raises:
            DeviceError: the phone or the program failed, or that program can't be given inputs.
            InputError: the outputs can't be written.
        """
        tool = self.session.keep_on(self._work)
        joined = {
            f"output_{place}": np.concatenate([sample[place] for sample in self._done])
            for place in range(len(self.outputs))
        }
        with replacing(self.outputs_path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, **joined)  # type: ignore[arg-type]  # its keywords are arrays but for one flag
        return tool

    def _work(self) -> Tool:
        if self._tool is None:
            self._tool = find_tool(self.session)
        if not self._tool.takes_inputs:
            raise DeviceError(
                f"{self._tool.name} on {self.session.adb.name} can't be given inputs: its --help lists no "
                "--input_layer_value_files with --output_filepath; use the classic TFLite tool to compare outputs"
            )
        batch = _batch(self.inputs)
        total = len(self.arrays[0]) // batch
        with tempfile.TemporaryDirectory(prefix="edgeprune-adb-") as folder:
            for sample in range(len(self._done), total):
                if self.on_progress is not None:
                    self.on_progress(f"samples {sample} {total}")
                rows = slice(sample * batch, (sample + 1) * batch)
                self._done.append(self._sample(self._tool, [array[rows] for array in self.arrays], Path(folder)))
        return self._tool

    def _sample(self, tool: Tool, arrays: list[np.ndarray], folder: Path) -> list[np.ndarray]:
        """The outputs of one invoke."""
        session = self.session
        given = []
        for place, (spec, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            local = folder / f"input_{place}.bin"
            local.write_bytes(np.ascontiguousarray(array, spec.dtype).tobytes())
            session.adb.push(local, session.file(local.name))
            given.append((spec.name, spec.shape, session.file(local.name)))
        remote = session.file("outputs.bin")
        flags = output_flags(
            tool,
            session.file(model_file(0)),
            given,
            remote,
            threads=self.request.threads,
            gpu=self.spec.gpu,
            xnnpack=self.spec.xnnpack,
        )
        # A file of the sample before must never be taken for this one's.
        session.adb.ask(f"rm -f {remote}", "preparing a sample")
        run_checked(session, flags, None, self.model, session.patience.stall_secs)
        return self._fetch(remote, folder / "outputs.bin")

    def _fetch(self, remote: str, local: Path) -> list[np.ndarray]:
        """The outputs that the program wrote, one after the other in one file, cut into (batch, ...) arrays."""
        session, expected = self.session, sum(spec.size for spec in self.outputs)
        there = session.adb.probe(f"wc -c <{remote}", "looking for outputs").stdout.strip()
        if there != str(expected):
            found = f"{there} bytes" if there.isdigit() else "no file"
            raise no_number(
                self.model, session.adb.name, f"its outputs have {expected} bytes, the program wrote {found}"
            )
        local.unlink(missing_ok=True)
        session.adb.pull(remote, local, expected)
        content = local.read_bytes() if local.is_file() else b""
        if len(content) != expected:
            raise DeviceLost(f"{len(content)} of {expected} bytes of outputs arrived")
        arrays, place = [], 0
        for spec in self.outputs:
            values = np.frombuffer(content, spec.dtype, count=spec.size // spec.dtype.itemsize, offset=place)
            arrays.append(np.atleast_1d(values.reshape(spec.shape)).astype(spec.dtype.newbyteorder("=")))
            place += spec.size
        return arrays


def _batch(specs: list[TensorSpec]) -> int:
    """Samples per invoke."""
    return specs[0].shape[0] if specs[0].shape else 1
