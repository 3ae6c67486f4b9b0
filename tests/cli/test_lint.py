"""`edgeprune lint` as a user meets it."""

import json
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeprune.cli.main import main
from tests.tflite.convolution_nets import Net
from tests.tflite.model_files import ModelFile, dense_network
from tests.tflite.sparse_corpus import CASES

pytestmark = pytest.mark.unit


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "model.tflite") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


def failed(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["lint", *arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_a_sparse_model(write, capsys):
    main(["lint", write(CASES["plain"](True)), "--target", "rpi4"])
    captured = capsys.readouterr()
    for word in ("model.tflite on rpi4 (ai-edge-litert 2.3.0)", "sparse kernels will run", "4 of 4 1x1", "90.0% zeros"):
        assert word in captured.out
    assert "mend" not in captured.out
    assert captured.err == ""


def test_a_dense_model_says_where_and_what_to_do(write, capsys):
    main(["lint", write(CASES["stem_same"](True)), "--target", "rpi4"])
    lines = capsys.readouterr().out.splitlines()
    assert "won't run" in lines[1]
    assert "operation 0, CONV_2D" in lines[3]
    assert "ZeroPadding2D(1)" in lines[4]


def test_a_broken_model_exits_with_5(write, capsys):
    code, out, err = failed(capsys, write(CASES["average_pool"](True)), "--target", "rpi4")
    assert code == 5
    assert "break the model" in out
    assert err == "edgeprune: model.tflite should not be used on rpi4: sparse-layouts\n"


def test_the_same_file_passes_where_nothing_runs_sparse(write, capsys):
    main(["lint", write(CASES["average_pool"](True)), "--target", "host"])
    assert "AVX" in capsys.readouterr().out


def test_json(write, capsys):
    code, out, err = failed(capsys, write(CASES["average_pool"](True)), "--target", "rpi4", "--json")
    document = json.loads(out)
    assert (code, document["passed"], document["target"]) == (5, False, "rpi4")
    assert document["runtime"] == "ai-edge-litert 2.3.0"
    inference = document["sparse_inference"]
    assert (inference["verdict"], inference["verified"]) == ("broken", True)
    assert {"rule", "reason", "mend", "op", "name", "tensor"} == set(inference["clusters"][0]["findings"][0])
    assert [trap["name"] for trap in document["traps"]] == ["sparse-layouts"]
    assert err.count("\n") == 1


def test_every_finding_is_in_the_json_only(write, capsys):
    net = Net(size=64)
    x = net.stem()
    for _ in range(10):
        x = net.depthwise(net.conv(x, 16), 7)
    path = write(net.pack(net.head(x)))
    main(["lint", path, "--target", "rpi4"])
    assert "more (--json lists all)" in capsys.readouterr().out
    main(["lint", path, "--target", "rpi4", "--json"])
    findings = json.loads(capsys.readouterr().out)["sparse_inference"]["clusters"][0]["findings"]
    assert sum(finding["rule"] == "depthwise-kernel" for finding in findings) == 10


def test_missing_operations_and_least_runtime(write, capsys, tmp_path):
    file = dense_network(weight="int8", version=12)
    file.note("min_runtime_version", b"2.17.0".ljust(16, b"\0"))
    board = tmp_path / "old.toml"
    text = (Path(__file__).parents[2] / "targets" / "rpi4.toml").read_text(encoding="utf-8")
    old = text.replace('"ai-edge-litert"', '"tflite-runtime"').replace('version = "2.3.0"', 'version = "2.14.0"')
    board.write_text(old, encoding="utf-8")
    code, out, _ = failed(capsys, write(file.pack()), "--target", str(board))
    assert code == 5
    assert "operations that the runtime lacks: FULLY_CONNECTED v12 (TensorFlow 2.17)" in out
    assert "least runtime: TensorFlow 2.17.0" in out


def test_other_graphs_and_unknown_sizes_are_named(write, capsys):
    other = ModelFile()
    other.inputs = other.outputs = [other.tensor((1,))]
    graph = schema.SubGraphT(tensors=other.tensors, inputs=[0], outputs=[0], operators=[], name="branch")
    file = dense_network()
    file.tensors[0].shapeSignature = [-1, 8]
    main(["lint", write(file.pack((graph,))), "--target", "rpi4"])
    out = capsys.readouterr().out
    assert "not in branch" in out
    assert "1 tensors have a size that is known only at run time" in out


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("gone.tflite", None, "does not exist"),
        ("empty.tflite", b"", "empty"),
        ("model.keras", b"PK\x03\x04", "edgeprune build"),
        ("noise.tflite", b"\x10\0\0\0TFL3" + bytes(50), "damaged"),
        ("zip.tflite", b"PK\x03\x04 and so on", "not a TFLite model"),
    ],
)
def test_bad_files_give_one_line(tmp_path, capsys, name, content, word):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, out, err = failed(capsys, str(path), "--target", "rpi4")
    assert (code, out) == (2, "")
    assert word in err
    assert err.count("\n") == 1


def test_an_unknown_board(write, capsys):
    code, _, err = failed(capsys, write(CASES["plain"](True)), "--target", "rpi44")
    assert code == 2
    assert "rpi4" in err
