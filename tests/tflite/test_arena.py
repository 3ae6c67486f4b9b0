"""The planner against plans made by hand, its own guarantees, and the runtime's real placement."""

import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.tflite.activations import peak_arena_bytes
from edgeprune.tflite.arena import plan_arena
from edgeprune.tflite.flatbuffer import parse_model
from tests.tflite.model_files import ModelFile, pool

pytestmark = pytest.mark.unit


def test_chain_reuses_the_memory_of_dead_tensors():
    # 0: 128 B over [0, 1]; 1: 256 B over [1, 2]; 2: 64 B over [2, 3]; 3: 100 B over [3, 4].
    # By size: 1 at 0..256; 0 (with 1) at 256..384; 3 (alone in time with 2 only) at 0..100; 2 lives with 1 and 3:
    # behind 256.
    offsets, peak = plan_arena([128, 256, 64, 100], [0, 1, 2, 3], [1, 2, 3, 4])
    assert offsets.tolist() == [256, 0, 256, 0]
    assert peak == 384


def test_a_gap_left_by_a_dead_tensor_is_filled():
    # 320 at 0, 256 at 320 (dies at 1), 192 at 576, 128 at 768 (dies at 1), all alive together. 100 over [2, 3] meets
    # 320 and 192 and fits between them, where 256 was. 64 over [0, 2] meets all: behind 768 + 128.
    offsets, peak = plan_arena([320, 256, 192, 128, 64, 100], [0, 0, 0, 0, 0, 2], [2, 1, 2, 1, 2, 3])
    assert offsets.tolist() == [0, 320, 576, 768, 896, 320]
    assert peak == 960


def test_best_fit_prefers_the_narrower_of_two_gaps():
    # Placed first (largest): A 512 at 0 [0,9], then B 448 [0,1] at 512, C 384 [0,9] at 960, D 128 [0,1] at 1344,
    # E 120 [0,9] at 1472. F 100 [5,6] sees gaps 512..960 (448) and 1344..1472 (128): takes 1344.
    offsets, _ = plan_arena([512, 448, 384, 128, 120, 100], [1, 0, 1, 0, 1, 5], [9, 1, 9, 1, 9, 6])
    assert offsets[5] == 1344


def test_offsets_are_aligned_but_the_peak_is_not_rounded_up():
    offsets, peak = plan_arena([65, 1], [0, 0], [1, 1])
    assert offsets.tolist() == [0, 128]
    assert peak == 129


def test_tensors_that_live_throughout_come_first_in_order():
    offsets, _ = plan_arena([64, 640, 64], [0, 1, 0], [5, 2, 5])
    assert offsets.tolist() == [0, 128, 64]


def test_empty_tensors_take_no_place():
    offsets, peak = plan_arena([0, 10, 0], [0, 0, 3], [9, 1, 3])
    assert offsets.tolist() == [0, 0, 0]
    assert peak == 10
    assert plan_arena([], [], [])[1] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], [0, 1], [1]), "differ in length"),
        (([-1], [0], [1]), "negative"),
        (([1], [2], [1]), "before"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_arena(*arguments)


lifetimes = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40)


@given(lifetimes)
def test_no_overlap_and_bounds(tensors):
    size = np.array([tensor[0] for tensor in tensors])
    first = np.array([min(tensor[1:]) for tensor in tensors])
    last = np.array([max(tensor[1:]) for tensor in tensors])
    offsets, peak = plan_arena(size, first, last)
    for a in range(len(size)):
        for b in range(a):
            together = first[a] <= last[b] and first[b] <= last[a] and size[a] and size[b]
            apart = offsets[a] + size[a] <= offsets[b] or offsets[b] + size[b] <= offsets[a]
            assert not together or apart
    live = max(int(size[(first <= moment) & (moment <= last)].sum()) for moment in range(31))
    assert live <= peak <= int((-(-size // 64) * 64).sum())
    assert (offsets % 64 == 0).all()


def test_five_hundred_tensors_take_milliseconds():
    generator = np.random.default_rng(0)
    first = np.arange(500)
    arguments = generator.integers(1, 1_000_000, 500), first, first + generator.integers(1, 12, 500)
    plan_arena(*arguments)
    durations = []
    for _ in range(5):
        began = time.perf_counter()
        plan_arena(*arguments)
        durations.append(time.perf_counter() - began)
    assert min(durations) < 0.02


def random_graph(seed: int) -> ModelFile:
    """Pools and concatenations in random order: operations that need no scratch memory and share no buffers."""
    generator = np.random.default_rng(seed)
    file = ModelFile()
    depth = {file.tensor((1, 4, 4, 24), name="x"): 24}
    file.inputs = [0]
    for _ in range(14):
        chosen = generator.choice(list(depth), size=2)
        if generator.random() < 0.6:
            made = file.tensor((1, 4, 4, depth[chosen[0]]))
            depth[made] = depth[chosen[0]]
            pool(file, int(chosen[0]), made)
        else:
            total = depth[chosen[0]] + depth[chosen[1]]
            made = file.tensor((1, 4, 4, total))
            depth[made] = total
            options = ("ConcatenationOptions", schema.ConcatenationOptionsT(axis=3))
            file.op("CONCATENATION", [int(chosen[0]), int(chosen[1])], [made], options=options)
    file.outputs = [made]
    return file


@pytest.mark.parametrize("seed", range(12))
def test_peak_is_what_the_runtime_takes(seed):
    """Oracle: without delegates, tensors lie in the runtime's arena at the addresses its planner chose."""
    file = random_graph(seed)
    content = file.pack()
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    spans = []
    for index in range(len(file.tensors)):
        array = interpreter.tensor(index)()
        spans.append((array.__array_interface__["data"][0], array.nbytes))
    used = max(address + size for address, size in spans) - min(address for address, _ in spans)
    assert peak_arena_bytes(parse_model(content, "random.tflite")) == used
