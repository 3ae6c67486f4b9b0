"""load_data for every form without TensorFlow: files, functions, objects, and what is wrong with them."""

import textwrap

import numpy as np
import pytest

from edgeprune.data.load import load_data
from edgeprune.errors import InputError
from tests.data.signatures import classifier, regressor, two_by_two

pytestmark = pytest.mark.unit

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3


@pytest.fixture
def module(tmp_path):
    """Writes a module of a fresh name into tmp_path and gives its name."""
    made = []

    def write(source: str) -> str:
        made.append(f"user_data_{tmp_path.name}_{len(made)}".replace("-", "_"))
        (tmp_path / f"{made[-1]}.py").write_text("import numpy as np\n" + textwrap.dedent(source))
        return made[-1]

    return write


def _saved(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return str(path)


def _refusal(spec, signature=None, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_data(spec, signature or classifier(), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_x_and_y_are_split_by_class(tmp_path):
    loaded = load_data(_saved(tmp_path, x=X, y=Y), classifier(), validation_fraction=0.3, seed=4)
    assert (loaded.train.size, loaded.validation.size) == (21, 9)
    assert np.bincount(next(loaded.validation.batches(99))[1]).tolist() == [3, 3, 3]
    assert "21 training and 9 validation samples" in loaded.description
    assert "data.npz" in loaded.description
    again = load_data((X, Y), classifier(), validation_fraction=0.3, seed=4)
    assert again.validation.fingerprint() == loaded.validation.fingerprint()
    assert load_data((X, Y), classifier(), seed=5).train.fingerprint() != loaded.train.fingerprint()


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_named_parts(tmp_path, name):
    arrays = {"x_train": X, "y_train": Y, f"x_{name}": X[:5], f"y_{name}": Y[:5]}
    loaded = load_data(_saved(tmp_path, **arrays), classifier())
    assert (loaded.train.size, loaded.validation.size) == (30, 5)


def test_named_inputs_and_outputs(tmp_path):
    arrays = {"x_left": X[:, :2], "x_right": X[:, :3], "y_kind": Y, "y_age": X[:, 0]}
    loaded = load_data(_saved(tmp_path, **arrays), two_by_two())
    x, y = next(loaded.train.batches(8))
    assert [part.shape for part in x] == [(8, 2), (8, 3)]
    assert [part.shape for part in y] == [(8,), (8, 1)]
    assert "x_left, x_right and y_kind, y_age" in _refusal(_saved(tmp_path, x=X, y=Y), two_by_two())


def test_npz_keys_that_lack_something(tmp_path):
    assert "has the arrays images; expected x and y" in _refusal(_saved(tmp_path, images=X))
    assert "has x but lacks y" in _refusal(_saved(tmp_path, x=X))
    assert "has y_val but lacks x_val" in _refusal(_saved(tmp_path, x_train=X, y_train=Y, y_val=Y))


def test_regression_is_split_without_classes():
    loaded = load_data((X, X[:, 0]), regressor())
    assert (loaded.train.size, loaded.validation.size) == (24, 6)


def test_validation_given_apart_wins(tmp_path):
    both = ((X, Y), (X[:7], Y[:7]))
    assert load_data(both, classifier()).validation.size == 7
    assert load_data(both, classifier(), validation=(X[:4], Y[:4])).validation.size == 4
    loaded = load_data((X, Y), classifier(), validation=_saved(tmp_path, x=X[:3], y=Y[:3]))
    assert (loaded.train.size, loaded.validation.size) == (30, 3)


def test_functions(tmp_path, module):
    name = module(
        """
        def pair():
            return np.ones((9, 4)), [0, 1, 2] * 3

        def parts():
            return pair(), (np.ones((3, 4)), np.arange(3))

        def nothing_held_out():
            return pair(), None

        def named():
            n = 12
            return {"right": np.ones((n, 3)), "left": np.ones((n, 2))}, {"age": np.ones(n), "kind": np.zeros(n, int)}
        """
    )
    assert load_data(f"{name}:parts", classifier(), search_path=tmp_path).validation.size == 3
    for function in ("pair", "nothing_held_out"):
        loaded = load_data(f"{name}:{function}", classifier(), search_path=tmp_path, validation_fraction=1 / 3)
        assert (loaded.train.size, loaded.validation.size) == (6, 3)
    x, _ = next(load_data(f"{name}:named", two_by_two(), search_path=tmp_path).train.batches(2))
    assert [part.shape for part in x] == [(2, 2), (2, 3)]


def test_errors_in_the_users_function_name_the_line(tmp_path, module):
    name = module(
        """
        def load():
            return compute()

        def compute():
            return np.load("nowhere.npy")

        def leave():
            raise SystemExit(3)
        """
    )
    message = _refusal(f"{name}:load", search_path=tmp_path)
    assert "FileNotFoundError" in message
    assert "nowhere.npy" in message
    assert f"{name}.py:7" in message
    assert "SystemExit: 3" in _refusal(f"{name}:leave", search_path=tmp_path)
    broken = module("def load(:\n    pass")
    assert f"{broken}.py:2" in _refusal(f"{broken}:load", search_path=tmp_path)
    lacking = module("import no_such_package_at_all")
    message = _refusal(f"{lacking}:load", search_path=tmp_path)
    assert "No module named 'no_such_package_at_all'" in message
    assert f"{lacking}.py:2" in message


def test_what_is_not_there(tmp_path, module):
    name = module("def load():\n    return 3")
    assert 'did you mean "load"?' in _refusal(f"{name}:laod", search_path=tmp_path)
    assert 'no module "absent_module"' in _refusal("absent_module:load", search_path=tmp_path)
    assert f'write "{name}:load"' in _refusal(f"{name}.py:load", search_path=tmp_path)
    assert "received int" in _refusal(f"{name}:load", search_path=tmp_path)
    assert "nowhere does not exist" in _refusal("nowhere")
    (tmp_path / "a.csv").write_text("1,2")
    assert "file.npz" in _refusal(tmp_path / "a.csv")


def test_sys_path_is_left_alone(tmp_path, module):
    import sys

    before = list(sys.path)
    load_data(
        f"{module('def load(): return np.ones((9, 4)), np.arange(9) % 3')}:load", classifier(), search_path=tmp_path
    )
    assert sys.path == before


def test_paths_are_also_found_beside_the_project(tmp_path, monkeypatch):
    _saved(tmp_path, x=X, y=Y)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_data("data.npz", classifier(), search_path=tmp_path).train.size == 24


def test_objects_of_the_wrong_form():
    assert "received a tuple of 3" in _refusal((X, Y, Y))
    assert "received list" in _refusal([X, Y])
    assert "can't be made an array" in _refusal(([[1, 2], [1]], [0, 1]))
    assert 'x names "rigth"' in _refusal(({"left": X, "rigth": X}, Y), two_by_two())
    assert 'did you mean "right"' in _refusal(({"left": X, "rigth": X}, Y), two_by_two())
    assert 'lacks the model\'s input "right"' in _refusal(({"left": X}, Y), two_by_two())
    assert "y is ndarray" in _refusal(({"left": X, "right": X}, Y), two_by_two())
    assert "too few" in _refusal((X[:3], Y[:3]))
