"""Whatever the bytes are: a model or an InputError, quickly."""

import struct
import time

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import InputError
from edgeprune.tflite.compat import traps
from edgeprune.tflite.flatbuffer import parse_model, read_model
from edgeprune.tflite.inspect import summarize
from edgeprune.tflite.verify import Damaged, verify
from tests.tflite.model_files import ModelFile, dense_network, sparse_encoding

pytestmark = pytest.mark.unit


def rich_file() -> bytes:
    """A file that uses most of what the reader looks at."""
    values = np.arange(1, 9, dtype=np.int8)
    file = dense_network(
        weight="int8", sparsity=sparse_encoding(4, [0, 3]), unpack="DENSIFY", op="CONV_2D", data=values
    )
    file.note("min_runtime_version", b"2.3.0".ljust(16, b"\0"))
    after = file.tensor((1, 4), signature=(-1, 4))
    file.op("RESHAPE", [file.outputs[0]], [after], options=("ReshapeOptions", schema.ReshapeOptionsT(newShape=[1, 4])))
    file.op("CUSTOM", [after], [file.tensor((1, 4))], custom="FlexErf")
    file.signatures.append(
        schema.SignatureDefT(
            inputs=[schema.TensorMapT(name="x", tensorIndex=0)],
            outputs=[schema.TensorMapT(name="y", tensorIndex=after)],
            signatureKey="serving_default",
        )
    )
    return file.pack()


def read_everything(content: bytes) -> bool:
    """Run all readers; True when the bytes were accepted. Anything but an InputError fails the test."""
    try:
        model = parse_model(content, "mutated.tflite")
    except InputError:
        return False
    summarize(model)
    traps(model, "tflite-runtime", "2.14.0", ("neon",))
    return True


def test_a_whole_file_is_read():
    model = parse_model(rich_file(), "m.tflite")
    assert model.op_names == ("DENSIFY", "CONV_2D", "RESHAPE", "FlexErf")
    assert model.stored_weight(int(model.main.operators[1].inputs[1])).name == b"kernel"


def test_thousands_of_flipped_bytes():
    content = rich_file()
    generator = np.random.default_rng(1)
    accepted = 0
    began = time.perf_counter()
    for _ in range(3000):
        mutated = bytearray(content)
        for position in generator.integers(8, len(content), generator.integers(1, 4)):
            mutated[position] = generator.integers(256)
        accepted += read_everything(bytes(mutated))
    # Both outcomes must occur, or the mutations test nothing.
    assert 0 < accepted < 3000
    assert time.perf_counter() - began < 20


def test_every_word_replaced_by_a_huge_or_negative_number():
    content = rich_file()
    outcomes = set()
    for position in range(8, len(content) - 4, 4):
        for value in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, len(content), 0x10000):
            mutated = content[:position] + struct.pack("<I", value) + content[position + 4 :]
            outcomes.add(read_everything(mutated))
    assert outcomes == {True, False}


def test_every_truncation_of_the_front_half_is_refused():
    # The vtable of the model and its vectors lie in front of the data they point to, so any cut loses something.
    content = rich_file()
    for length in range(len(content) // 2):
        assert not read_everything(content[:length])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_behind_the_identifier(tail):
    read_everything(b"\x10\0\0\0TFL3" + tail)


def test_tables_that_share_parts_over_and_over_are_refused_quickly():
    """3000 subgraphs that are one table with 3000 times the same tensor: 9 million tensors in 25 kB."""
    builder = flatbuffers.Builder(1 << 16)
    tensor = schema.TensorT(shape=[1], name="t").Pack(builder)
    schema.SubGraphStartTensorsVector(builder, 3000)
    for _ in range(3000):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 3000)
    for _ in range(3000):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    began = time.perf_counter()
    with pytest.raises(InputError, match="over and over"):
        parse_model(bytes(builder.Output()), "bomb.tflite")
    assert time.perf_counter() - began < 2


def test_names_and_lists_that_many_operations_share_are_refused():
    """2000 operations that share one list of 2000 inputs, or options with one name of 20 kB."""
    for shared in ("inputs", "name"):
        builder = flatbuffers.Builder(1 << 16)
        inputs = builder.CreateNumpyVector(np.zeros(2000, np.int32))
        options = schema.VarHandleOptionsT(sharedName="n" * 20_000).Pack(builder)
        operators = []
        for _ in range(2000):
            schema.OperatorStart(builder)
            if shared == "inputs":
                schema.OperatorAddInputs(builder, inputs)
            else:
                schema.OperatorAddBuiltinOptionsType(builder, schema.BuiltinOptions.VarHandleOptions)
                schema.OperatorAddBuiltinOptions(builder, options)
            operators.append(schema.OperatorEnd(builder))
        schema.SubGraphStartOperatorsVector(builder, len(operators))
        for operator in operators:
            builder.PrependUOffsetTRelative(operator)
        listed = builder.EndVector()
        schema.SubGraphStart(builder)
        schema.SubGraphAddOperators(builder, listed)
        graph = schema.SubGraphEnd(builder)
        schema.ModelStartSubgraphsVector(builder, 1)
        builder.PrependUOffsetTRelative(graph)
        graphs = builder.EndVector()
        schema.ModelStart(builder)
        schema.ModelAddSubgraphs(builder, graphs)
        builder.Finish(schema.ModelEnd(builder), b"TFL3")
        with pytest.raises(Damaged, match="over and over"):
            verify(bytes(builder.Output()))


def test_data_that_many_tensors_share_is_refused():
    file = dense_network(data=np.ones((4, 8), np.float32))
    for _ in range(60):
        file.tensors[file.tensor((256, 256))].buffer = len(file.buffers)
    file.buffers.append(schema.BufferT(data=np.zeros(256 * 256 * 4, np.uint8)))
    content = file.pack()
    parse_model(content, "m.tflite")
    for _ in range(20):
        file.tensors[file.tensor((256, 256))].buffer = len(file.buffers) - 1
    with pytest.raises(InputError, match="share the same data"):
        parse_model(file.pack(), "m.tflite")


def test_verify_accepts_a_shared_empty_buffer():
    """TensorFlow's converter lets all tensors without data share one buffer table."""
    builder = flatbuffers.Builder(1024)
    buffer = schema.BufferT().Pack(builder)
    schema.ModelStartBuffersVector(builder, 200)
    for _ in range(200):
        builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    verify(bytes(builder.Output()))


def test_verify_names_the_list_that_is_too_long():
    content = bytearray(dense_network().pack())
    walk_start = struct.unpack_from("<I", content, 0)[0]
    vtable = walk_start - struct.unpack_from("<i", content, walk_start)[0]
    subgraphs = walk_start + struct.unpack_from("<H", content, vtable + 4 + 2 * 2)[0]
    length_at = subgraphs + struct.unpack_from("<I", content, subgraphs)[0]
    struct.pack_into("<I", content, length_at, 1_000_000)
    with pytest.raises(Damaged, match="list of SubGraph in a Model claims 1000000 entries"):
        verify(bytes(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"TFL3", 'without "TFL3" at byte 4'),
        (b"PK\x03\x04 a zip file", "not a TFLite model"),
        (b"\x10\0\0\0TFL3", "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_model(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_model(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="is not a file"):
        read_model(tmp_path)


def broken(change) -> bytes:
    file = dense_network()
    change(file)
    return file.pack()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.operators[0].inputs.__setitem__(0, 99), "refers to 99"),
        (lambda file: file.operators[0].inputs.__setitem__(0, -2), "refers to -2"),
        (lambda file: file.inputs.append(77), "refers to 77"),
        (lambda file: setattr(file.tensors[0], "buffer", 50), "refers to 50"),
        (lambda file: setattr(file.operators[0], "opcodeIndex", 9), "unknown code 9"),
        (lambda file: setattr(file.tensors[1], "shape", np.array([4, 9], np.int32)), "128 bytes of data; .* needs 144"),
        (lambda file: setattr(file.tensors[0], "shape", np.array([2**30, 2**30], np.int32)), "elements"),
        (lambda file: setattr(file.tensors[0], "shape", np.full(99, 2, np.int32)), "99 dimensions"),
        (lambda file: setattr(file.tensors[0], "shape", np.array([-5], np.int32)), r"shape \(-5,\)"),
        (
            lambda file: (
                file.buffers.append(schema.BufferT(offset=10**9, size=8))
                or setattr(file.tensors[0], "buffer", len(file.buffers) - 1)
            ),
            "outside the file",
        ),
    ],
)
def test_wrong_references_are_named(change, message):
    with pytest.raises(InputError, match=message):
        parse_model(broken(change), "m.tflite")


def test_a_file_without_graphs_is_refused():
    builder = flatbuffers.Builder(64)
    builder.Finish(schema.ModelT(version=3).Pack(builder), b"TFL3")
    with pytest.raises(InputError, match="no graph"):
        parse_model(bytes(builder.Output()), "m.tflite")


def test_a_loop_of_unpacking_operations_ends():
    file = ModelFile()
    a, b = file.tensor((2, 2)), file.tensor((2, 2))
    file.op("DENSIFY", [a], [b])
    file.op("DENSIFY", [b], [a])
    assert parse_model(file.pack(), "m.tflite").stored_weight(a) is None


def test_a_block_on_an_axis_that_does_not_exist_takes_no_memory():
    sparsity = sparse_encoding(4, [1], block=4)
    sparsity.blockMap = np.array([2**31 - 1], np.int32)
    file = dense_network(sparsity=sparsity, unpack="DENSIFY", data=np.ones(16, np.float32))
    (weight,) = summarize(parse_model(file.pack(), "m.tflite")).weights
    assert weight.encoding == "block 1x1"
