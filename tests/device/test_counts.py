"""Reading the plugin's counts: regions, segments, and what a crash cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeprune.device.counts import read_regions, total

pytestmark = pytest.mark.unit

# Two segments, the second begun by the hook at 0x5000; then a second, empty region.
WHOLE = [0, 0, 1, 0x1000, 7, 1, 0x5000, 2, 0x5000, 30, 0x9000, 3, 1, 0, 0]


def counts(tmp_path: Path, numbers: list[int]) -> Path:
    path = tmp_path / "counts"
    np.array(numbers, "<u8").tofile(path)
    return path


def test_regions_and_segments(tmp_path: Path) -> None:
    first, second = read_regions(counts(tmp_path, WHOLE))
    assert [segment.hook for segment in first] == [0, 0x5000]
    assert [segment.total for segment in first] == [7, 33]
    assert (total(first), total(second)) == (40, 0)


@pytest.mark.parametrize(("length", "regions"), [(15, 2), (14, 1), (12, 1), (11, 0), (4, 0), (0, 0)])
def test_what_a_crash_cut_off_is_dropped(tmp_path: Path, length: int, regions: int) -> None:
    assert len(read_regions(counts(tmp_path, WHOLE[:length]))) == regions


def test_no_file_holds_no_regions(tmp_path: Path) -> None:
    assert read_regions(tmp_path / "missing") == []


def test_code_of_python_is_left_out(tmp_path: Path) -> None:
    first, _ = read_regions(counts(tmp_path, WHOLE), [(0x1000, 0x1001), (0x9000, 0xA000)])
    assert [segment.total for segment in first] == [0, 30]
    # The end of a range is not part of it.
    first, _ = read_regions(counts(tmp_path, WHOLE), [(0x0FFF, 0x1000)])
    assert total(first) == 40
