"""The .npz reader agrees with numpy and survives any bytes."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeprune.data.npz import read_npz
from edgeprune.errors import InputError

pytestmark = pytest.mark.unit

ARRAYS = hnp.arrays(
    st.sampled_from(["uint8", "<i8", ">f4", "float16", "bool"]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
)


def _bytes(compressed=False, **arrays) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


@given(ARRAYS, st.booleans(), st.booleans())
def test_reads_what_numpy_wrote(tmp_path_factory, array, fortran, compressed):
    array = np.asfortranarray(array) if fortran else array
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    path.write_bytes(_bytes(compressed, x=array, y=np.arange(3)))
    read = read_npz(path)
    assert set(read) == {"x", "y"}
    assert read["x"].dtype == array.dtype
    np.testing.assert_array_equal(read["x"], array)


SOUND = _bytes(x=np.arange(24, dtype=np.float32).reshape(4, 6), y=np.arange(4))
PACKED = _bytes(True, x=np.arange(24, dtype=np.float32).reshape(4, 6), y=np.arange(4))


@settings(max_examples=400)
@given(
    st.sampled_from([SOUND, PACKED]),
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.none() | st.integers(0, len(SOUND)),
)
def test_damaged_bytes_raise_only_input_error(tmp_path_factory, sound, edits, cut):
    damaged = bytearray(sound)
    for position, value in edits:
        damaged[position % len(damaged)] = value
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    path.write_bytes(damaged[:cut])
    try:
        read = read_npz(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 (a damaged name or unused byte may still read)
    else:
        assert all(isinstance(array, np.ndarray) for array in read.values())


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path):
    member = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(member, header)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member.getvalue() + bytes(64))
    with pytest.raises(InputError, match="does not match the stored size"):
        read_npz(path)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([[1], [1, 2]], dtype=object), y=np.arange(2))
    with pytest.raises(InputError, match="Python objects"):
        read_npz(path)


def test_missing(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_npz(tmp_path / "no.npz")
