"""What every transport does alike.

A test module derives a class from `TransportContract`, names it Test..., marks it with its tier and overrides the
fixtures `transport` and `remains`; the attributes say what the kind of device can do.

    @pytest.mark.device
    class TestAdb(TransportContract):
        rounds = 5

        @pytest.fixture
        def transport(self, daemon): ...
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeprune.device.transport import RunRequest, Transport
from edgeprune.errors import DeviceError, InputError
from edgeprune.records.instructions import InstructionCounts
from tests.tflite.model_files import ModelFile, dense_network

# Nothing of it may ever be read by a shell.
HOSTILE = "a b'c\"d;touch pwned;$(touch pwned)`touch pwned`\n&|<>*?.tflite"


class TransportContract:
    """rounds: the fewest the device measures. measures, counts: it has times; it counts instructions.

    refusal: a word of the runtime's own message on an operation it does not know.
    """

    rounds = 2
    measures = True
    counts = False
    refusal = "NoSuchThing"

    @pytest.fixture
    def temporary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder that temporary files of this host go to, for devices that are this host."""
        folder = tmp_path / "tmp"
        folder.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        return folder

    @pytest.fixture
    def transport(self) -> Transport:
        """An open transport."""
        raise NotImplementedError

    @pytest.fixture
    def remains(self) -> Callable[[], list[str]]:
        """Lists what of ours is on the device."""
        raise NotImplementedError

    @pytest.fixture
    def models(self, tmp_path: Path) -> tuple[Path, Path]:
        """Two models with the same weights: four times the sum of 8 inputs."""
        paths = tmp_path / "first.tflite", tmp_path / "second.tflite"
        for path in paths:
            path.write_bytes(dense_network().pack())
        return paths

    def request_of(self, *models: Path) -> RunRequest:
        """The shortest request that makes the runtime load the models."""
        if self.measures:
            return RunRequest("bench", models, rounds=self.rounds, round_secs=0.02, warmup_secs=0.01)
        return RunRequest("count", models)

    def outputs_of(self, transport: Transport, model: Path, inputs: np.ndarray, folder: Path) -> np.ndarray:
        """The one output of a model with one input."""
        given, computed = folder / "given.npz", folder / "computed.npz"
        np.savez(given, input_0=inputs)
        transport.run(RunRequest("outputs", (model,), inputs=given, outputs=computed))
        with np.load(computed, allow_pickle=False) as stored:
            assert stored.files == ["output_0"]
            return stored["output_0"]

    def test_its_name_is_one_line_and_stays(self, transport, models):
        before = transport.describe()
        transport.run(self.request_of(models[0]))
        assert transport.describe() == before
        assert before
        assert before.isprintable()

    def test_two_models_are_measured_in_rounds(self, transport, models):
        if not self.measures:
            with pytest.raises(InputError):
                transport.run(RunRequest("bench", models, rounds=self.rounds))
            return
        result = transport.run(self.request_of(*models))
        assert len(result.rounds_ms) == 2
        for rounds in result.rounds_ms:
            assert len(rounds) == self.rounds
            assert all(samples and min(samples) > 0 for samples in rounds)
        assert result.runtime
        assert result.machine

    def test_instructions_are_counted_or_refused(self, transport, models):
        request = RunRequest("count", models)
        if not self.counts:
            with pytest.raises(InputError, match="count"):
                transport.run(request)
            return
        counted = transport.run(request).counts
        assert [type(one) for one in counted] == [InstructionCounts, InstructionCounts]

    def test_outputs_are_those_of_the_interpreter_here(self, transport, models, tmp_path):
        from ai_edge_litert.interpreter import Interpreter

        inputs = np.random.default_rng(3).normal(size=(3, 8)).astype(np.float32)
        found = self.outputs_of(transport, models[0], inputs, tmp_path)
        interpreter = Interpreter(model_path=str(models[0]))
        interpreter.allocate_tensors()
        (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        for sample, output in zip(inputs, found, strict=True):
            interpreter.set_tensor(source["index"], sample[None])
            interpreter.invoke()
            np.testing.assert_allclose(output[None], interpreter.get_tensor(result["index"]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found, np.repeat(inputs.sum(axis=1, keepdims=True), 4, axis=1), rtol=1e-4, atol=1e-5)

    def test_a_model_the_runtime_refuses_is_named_and_its_words_are_quoted(self, transport, remains, tmp_path):
        file = ModelFile()
        x, y = file.tensor((1, 4)), file.tensor((1, 4))
        file.op("CUSTOM", [x], [y], custom="NoSuchThing")
        file.inputs, file.outputs = [x], [y]
        path = tmp_path / "refused.tflite"
        path.write_bytes(file.pack())
        if self.measures:
            with pytest.raises(DeviceError) as caught:
                transport.run(self.request_of(path))
            error = caught.value
        else:
            (error,) = transport.run(self.request_of(path)).counts
            assert isinstance(error, DeviceError)
        assert "refused.tflite" in str(error)
        assert self.refusal in str(error)
        assert "\n" not in str(error)
        assert remains() == []

    def test_inputs_that_do_not_fit_are_the_users_mistake(self, transport, remains, models, tmp_path):
        with pytest.raises(InputError, match="first.tflite"):
            self.outputs_of(transport, models[0], np.ones((2, 7), np.float32), tmp_path)
        assert not (tmp_path / "computed.npz").exists()
        assert remains() == []

    def test_progress_is_told(self, transport, models):
        steps: list[str] = []
        transport.run(self.request_of(models[0]), steps.append)
        assert steps
        assert all(step and "\n" not in step for step in steps)

    def test_an_interruption_leaves_nothing(self, transport, remains, models):
        def interrupt(step: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            transport.run(self.request_of(models[0]), interrupt)
        transport.close()
        assert remains() == []

    def test_nothing_stays_behind_and_closing_twice_is_fine(self, transport, remains, models, tmp_path):
        transport.run(self.request_of(models[0]))
        self.outputs_of(transport, models[0], np.ones((1, 8), np.float32), tmp_path)
        transport.close()
        transport.close()
        assert remains() == []

    def test_no_shell_reads_a_file_name(self, transport, remains, tmp_path, monkeypatch):
        """Folder and file have names that any shell would take for commands."""
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "-rf $(touch pwned);x"
        folder.mkdir()
        path = folder / HOSTILE
        path.write_bytes(dense_network().pack())
        found = self.outputs_of(transport, path, np.ones((1, 8), np.float32), folder)
        np.testing.assert_array_equal(found, np.full((1, 4), 8.0, np.float32))
        if self.measures:
            assert transport.run(self.request_of(path)).rounds_ms
        assert not list(tmp_path.rglob("pwned"))
        assert remains() == []
