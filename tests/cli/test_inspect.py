"""`edgeprune inspect` as a user meets it."""

import json

import numpy as np
import pytest

from edgeprune.cli.main import main
from tests.tflite.model_files import dense_network, sparse_encoding

pytestmark = pytest.mark.unit


@pytest.fixture
def model(tmp_path):
    kernel = np.ones((4, 8), np.float32)
    kernel[:, :6] = 0
    file = dense_network(data=kernel)
    file.tensors[1].name = "[bold]kernel[/bold]"
    path = tmp_path / "model.tflite"
    path.write_bytes(file.pack())
    return path


def test_tables_on_stdout(model, capsys):
    main(["inspect", str(model)])
    captured = capsys.readouterr()
    for word in ("model.tflite", "FULLY_CONNECTED", "x: 1 x 8 float32", "75.0%", "peak arena", "not noted"):
        assert word in captured.out
    # A name from the file is shown as it is, not read as markup.
    assert "[bold]kernel" in captured.out
    assert captured.err == ""


def test_json_holds_the_summary(model, capsys):
    main(["inspect", str(model), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == str(model)
    assert document["size_bytes"] == model.stat().st_size
    assert document["ops"] == [{"name": "FULLY_CONNECTED", "version": 1, "count": 1}]
    assert document["zero_fraction"] == 0.75
    assert document["weights"][0]["encoding"] == "dense"
    (weight,) = document["encodings"]["weights"]
    # 4 x 8 float32, two of eight columns filled: 2:4 in every other group, a bit each and 8 values
    assert (weight["dense"], weight["stored"], weight["bitmask"]) == (128, 128, 4 + 8 * 4)
    assert weight["n_of_m_pattern"] == "2:4"
    assert document["encodings"]["total"]["gzip"] == weight["gzip"]


def test_what_other_encodings_would_save_is_said_in_one_line(model, capsys):
    main(["inspect", str(model)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("0.1 kB of weights as stored; smaller: TFLite's own ")
    assert "a bitmask 0.0 kB (72% less)" in last


def test_sparse_int8_is_said_to_be_no_faster(tmp_path, capsys):
    stored = sparse_encoding(4, [1])
    path = tmp_path / "int8.tflite"
    file = dense_network("int8", "int8", op="FULLY_CONNECTED", sparsity=stored, unpack="DENSIFY", data=np.ones(4, "i1"))
    path.write_bytes(file.pack())
    main(["inspect", str(path)])
    assert "no speed-up from sparsity" in " ".join(capsys.readouterr().out.split())


def test_a_nan_scale_gives_valid_json(tmp_path, capsys):
    file = dense_network("int8", "int8")
    file.tensors[0].quantization.scale = np.array([np.nan], np.float32)
    path = tmp_path / "nan.tflite"
    path.write_bytes(file.pack())
    main(["inspect", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["inputs"][0]["scale"] is None


def test_a_name_too_long_for_the_file_system(capsys):
    with pytest.raises(SystemExit) as end:
        main(["inspect", "a" * 300])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), (b"", "empty"), (b"\x10\0\0\0TFL3", "damaged")]
)
def test_bad_files_exit_with_2_and_one_line(tmp_path, capsys, content, message):
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(path)])
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
