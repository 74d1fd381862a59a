"""Official pickles open, hostile ones do not run."""

import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from refit_mv.body.files import load_body
from refit_mv.body.safe_unpickle import read_model_pickle
from refit_mv.errors import InputError


@pytest.fixture
def chumpy() -> Iterator[types.SimpleNamespace]:
    """Classes that pickle as chumpy's do, under chumpy's names, removed again before anything is read."""
    package, arrays, reordering = (types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering"))

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x

    class Select:
        def __init__(self, a: object, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
            self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape

    Ch.__module__, Select.__module__ = "chumpy.ch", "chumpy.reordering"
    Ch.__qualname__, Select.__qualname__ = "Ch", "Select"
    arrays.Ch, reordering.Select = Ch, Select  # type: ignore[attr-defined]
    modules = {"chumpy": package, "chumpy.ch": arrays, "chumpy.reordering": reordering}
    sys.modules.update(modules)
    yield types.SimpleNamespace(Ch=Ch, Select=Select)
    for name in modules:
        sys.modules.pop(name, None)


def forget_chumpy() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "chumpy"]:
        del sys.modules[name]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_official_layout_without_chumpy(
    tmp_path: Path, smpl_like: dict[str, np.ndarray], chumpy: types.SimpleNamespace, protocol: int
) -> None:
    directions = smpl_like["shapedirs"].astype(np.float64)
    # The free choice of axes order and the selection of the first shapes are as chumpy stores them.
    chosen = np.arange(directions.size).reshape(directions.shape)[..., :4].ravel()
    content = smpl_like | {
        "shapedirs": chumpy.Select(chumpy.Ch(directions), chosen, (*directions.shape[:2], 4)),
        "posedirs": np.zeros_like(smpl_like["posedirs"]),
        "v_template": chumpy.Ch(np.asfortranarray(smpl_like["v_template"].astype(">f8"))),
        "J_regressor": sparse.csc_matrix(smpl_like["J_regressor"].astype(np.float64)),
        "bs_style": "lbs",
        "count": np.float64(3.0),
    }
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    forget_chumpy()
    read = read_model_pickle(path)
    assert "chumpy" not in sys.modules
    assert np.array_equal(read["shapedirs"], directions[..., :4])
    assert np.array_equal(read["v_template"], smpl_like["v_template"].astype(np.float64))
    assert np.allclose(read["J_regressor"], smpl_like["J_regressor"], atol=0)
    assert (read["bs_style"], read["count"]) == ("lbs", 3.0)
    if protocol == 2:
        assert load_body(path).shape_count == 4


def test_python_2_pickle(tmp_path: Path) -> None:
    """Protocol 0 as Python 2 wrote it: byte strings in the array's state, old module names."""
    raw = np.array([1.5, -2.0], dtype="<f8").tobytes()
    text = repr(raw)[1:].encode()
    stream = (
        b"(dS'x'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS" + text + b"\ntbs."
    )
    path = tmp_path / "python2.pkl"
    path.write_bytes(stream)
    assert np.array_equal(read_model_pickle(path)["x"], [1.5, -2.0])


class Runs:
    """What a hostile file holds: a call to be made on loading."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> object:
        return self.call


def test_hostile_pickle_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "it_ran"
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"v_template": Runs(Path.touch, proof)}))
    with pytest.raises(InputError) as caught:
        load_body(path)
    assert not proof.exists()
    assert "\n" not in str(caught.value)
    assert "pathlib" in str(caught.value)
    # The same bytes do harm where they are trusted, or this test would show nothing.
    pickle.loads(path.read_bytes())
    assert proof.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os\nsystem",
        "builtins\neval",
        "posix\nsystem",
        "numpy\nload",
        "numpy.core.multiarray\nfromfile",
        "chumpy.ch\nos",
    ],
)
def test_names_outside_the_list_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"(dS'x'\nc" + name.encode() + b"\n(S'echo'\ntRs.")
    with pytest.raises(InputError, match=name.replace("\n", r"\.")):
        read_model_pickle(path)


def test_dotted_names_do_not_reach_inside_allowed_modules(tmp_path: Path) -> None:
    """Protocol 4 resolves "ndarray.tofile"; the list holds whole pairs only."""
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(InputError, match=r"numpy\.ndarray\.tofile"):
        read_model_pickle(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"x": np.zeros(3)})[:-12],
        b"\x80\x02}U\x01xcnumpy\ndtype\n)Rs.",
    ],
)
def test_damaged_files_give_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_body(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_sparse_matrix_that_lies_about_its_shape(tmp_path: Path) -> None:
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.indices[:] = 7
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"J_regressor": matrix}, protocol=2))
    with pytest.raises(InputError, match="does not fit its shape"):
        read_model_pickle(path)


def test_arrays_of_objects_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"part2num": np.array([{"a": 1}], dtype=object), "x": np.arange(3)}, protocol=2))
    read = read_model_pickle(path)
    assert read["part2num"] is None
    assert np.array_equal(read["x"], [0, 1, 2])
