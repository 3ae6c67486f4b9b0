"""Parts of boards: whole or not at all, mended without the network, made once by two processes at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprune.boards.cache import Recipe, boards_folder, disk_bytes, has_part, is_intact, make_part
from edgeprune.errors import DeviceError, InputError

pytestmark = pytest.mark.unit


class Counted:
    """A recipe that counts what is done: one archive, unpacked to one file and one link."""

    def __init__(self, version: str = "1") -> None:
        self.downloads = self.builds = 0
        self.fail = False
        self.recipe = Recipe({"version": version}, self.download, self.build)

    def download(self, archives: Path) -> None:
        self.downloads += 1
        (archives / "a.deb").write_bytes(b"content")

    def build(self, archives: Path, tree: Path) -> None:
        self.builds += 1
        (tree / "bin").mkdir()
        (tree / "bin/python").write_bytes((archives / "a.deb").read_bytes())
        (tree / "link").symlink_to("bin")
        if self.fail:
            raise DeviceError("no")


def test_a_part_is_made_once_with_checksums(tmp_path: Path) -> None:
    counted = Counted()
    for _ in range(2):
        assert make_part(tmp_path / "part", counted.recipe) == tmp_path / "part/tree"
    assert (counted.downloads, counted.builds) == (1, 1)
    manifest = json.loads((tmp_path / "part/manifest.json").read_text())
    # sha256 of b"content"
    assert manifest["archives"] == {"a.deb": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}
    assert manifest["tree"]["files"] == 2
    assert has_part(tmp_path / "part", {"version": "1"})
    assert not has_part(tmp_path / "part", {"version": "2"})


def test_what_python_compiles_later_is_no_damage(tmp_path: Path) -> None:
    make_part(tmp_path / "part", Counted().recipe)
    (tmp_path / "part/tree/__pycache__").mkdir()
    (tmp_path / "part/tree/__pycache__/x.pyc").write_bytes(b"1234")
    assert is_intact(tmp_path / "part", {"version": "1"})


def test_a_damaged_tree_is_built_again_from_its_archives(tmp_path: Path) -> None:
    make_part(tmp_path / "part", Counted().recipe)
    (tmp_path / "part/tree/bin/python").unlink()
    counted = Counted()
    make_part(tmp_path / "part", counted.recipe)
    assert (counted.downloads, counted.builds) == (0, 1)
    assert (tmp_path / "part/tree/bin/python").read_bytes() == b"content"


@pytest.mark.parametrize("damage", ["archive", "manifest", "version", "fresh"])
def test_what_downloads_again(tmp_path: Path, damage: str) -> None:
    make_part(tmp_path / "part", Counted().recipe)
    if damage == "archive":
        (tmp_path / "part/archives/a.deb").write_bytes(b"c0ntent")
    if damage == "manifest":
        (tmp_path / "part/manifest.json").write_text("{")
    counted = Counted("2" if damage == "version" else "1")
    make_part(tmp_path / "part", counted.recipe, fresh=damage == "fresh")
    assert (counted.downloads, counted.builds) == (1, 1)
    assert is_intact(tmp_path / "part", counted.recipe.identity)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part"]


def test_a_failed_build_leaves_the_earlier_part(tmp_path: Path) -> None:
    make_part(tmp_path / "part", Counted("1").recipe)
    counted = Counted("2")
    counted.fail = True
    with pytest.raises(DeviceError):
        make_part(tmp_path / "part", counted.recipe)
    assert is_intact(tmp_path / "part", {"version": "1"})
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from edgeprune.boards.cache import Recipe, make_part, only_one_setup

def download(archives):
    Path(sys.argv[1], "downloads").open("a").write("x")
    time.sleep(0.5)

with only_one_setup(Path(sys.argv[1])):
    make_part(Path(sys.argv[1], "part"), Recipe({"version": "1"}, download, lambda archives, tree: None))
"""


def test_two_setups_at_once_make_a_part_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=30)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (tmp_path / "downloads").read_text() == "x"
    assert "another edgeprune is setting up a board; waiting for it\n" in said


def test_the_folder_follows_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert boards_folder() == tmp_path / "edgeprune/boards"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert boards_folder() == Path.home() / ".cache/edgeprune/boards"


@pytest.mark.parametrize("name", ["a,b", "a:b", 'a"b'])
def test_a_folder_that_qemu_would_split_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    with pytest.raises(InputError, match="set XDG_CACHE_HOME to another folder"):
        boards_folder()


def test_links_are_not_followed_when_bytes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big/file").write_bytes(b"x" * 1_000_000)
    (tmp_path / "part").mkdir()
    (tmp_path / "part/link").symlink_to(tmp_path / "big")
    assert disk_bytes(tmp_path / "big") >= 1_000_000
    assert disk_bytes(tmp_path / "part") < 10_000
    assert disk_bytes(tmp_path / "missing") == 0
