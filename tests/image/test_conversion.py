"""The released checkpoint: its names and shapes both ways, and what is refused."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from refit_mv.cli import main
from refit_mv.errors import InputError
from refit_mv.image.conversion import convert, read_checkpoint, read_points
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.released import load_released, released_names, to_released
from refit_mv.image.weights import load_image_network

KEYS = Path(__file__).with_name("released_state_dict.txt")


def released_shapes() -> dict[str, tuple[tuple[int, ...], str]]:
    rows = [line.split("\t") for line in KEYS.read_text("utf-8").splitlines() if line]
    return {key: (ast.literal_eval(shape), dtype) for key, shape, dtype in rows}


@pytest.fixture(scope="module")
def network() -> ImageReFit:
    return ImageReFit(ImageNetworkOptions())


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Tensor]:
    """Random tensors of every released name and shape, aliases equal, SMPL's buffers beside them."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        key: torch.randn(shape, generator=generator)
        if dtype == "float32"
        else torch.randint(9, shape, generator=generator)
        for key, (shape, dtype) in released_shapes().items()
    }
    for key in tensors:
        if key.startswith("backbone.downsamples."):
            index, rest = key.removeprefix("backbone.downsamples.").split(".", 1)
            tensors[key] = tensors[f"backbone.downsample_stage_{int(index) + 1}.{rest}"]
    return tensors | {"smpl.shapedirs": torch.zeros(6890, 3, 10), "smpl_male.J_regressor": torch.zeros(24, 6890)}


def test_every_released_name_and_shape_is_ours(network: ImageReFit) -> None:
    ours = {key: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in to_released(network).items()}
    assert len(ours) == 1960
    assert ours == released_shapes()
    names = [name for group in released_names(network).values() for name in group]
    assert len(names) == len(set(names))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(74.9e6, rel=1e-3)
    assert sum(p.numel() for p in network.backbone.parameters()) == pytest.approx(71.1e6, rel=1e-3)


def test_there_and_back(network: ImageReFit, checkpoint: dict[str, Tensor]) -> None:
    load_released(network, checkpoint)
    back = to_released(network)
    assert all(torch.equal(back[key], value) for key, value in checkpoint.items() if not key.startswith("smpl"))
    assert not any(key.startswith("smpl") for key in back)


SPOILERS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda t: t.pop("local_layer.bias"), "misses 'local_layer.bias'"),
    "unexpected": (lambda t: t.update({"attention.weight": torch.zeros(1)}), "has unexpected 'attention.weight'"),
    "many missing": (
        lambda t: [t.pop(key) for key in list(t) if "pose_gru" in key],
        "and 3 more",
    ),
    "misshapen": (lambda t: t.update({"init_cam": torch.zeros(1, 4)}), r"'init_cam' is \(1, 4\), expected \(1, 3\)"),
    "not finite": (lambda t: t.update({"init_cam": torch.full((1, 3), torch.nan)}), "'init_cam' is not finite"),
    "other alias": (
        lambda t: t.update({"backbone.downsamples.0.1.bias": torch.zeros(96)}),
        r"'backbone.downsamples.0.1.bias' differs from 'backbone.downsample_stage_1.1.bias'",
    ),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_what_does_not_fit_is_refused(network: ImageReFit, checkpoint: dict[str, Tensor], name: str) -> None:
    spoil, message = SPOILERS[name]
    spoiled = dict(checkpoint)
    spoil(spoiled)
    before = network.gather.bias.detach().clone()
    with pytest.raises(InputError, match=message):
        load_released(network, spoiled)
    assert torch.equal(network.gather.bias, before)


def test_a_checkpoint_file_becomes_weights(checkpoint: dict[str, Tensor], tmp_path: Path) -> None:
    """In the authors' folders, with the figures and the optimizer's state that their files hold too."""
    file = tmp_path / "pretrain" / "refit_all" / "checkpoint_best.pth.tar"
    points = tmp_path / "smpl" / "smpl_ssm.npy"
    for path in (file, points):
        path.parent.mkdir(parents=True)
    vertices = np.arange(67) * 101
    np.save(points, vertices)
    torch.save(
        {
            "epoch": 7,
            "model": checkpoint,
            "optimizer": {"state": {}},
            "performance": np.float64(52.4),
            "best": np.float32(1),
        },
        file,
    )
    main(["weights", "convert", str(file)], standalone_mode=False)
    network, facts = load_image_network(file.with_name("checkpoint_best.safetensors"))
    assert network.options == ImageNetworkOptions(point_vertices=tuple(vertices.tolist()), mesh_vertices=6890)
    assert facts["origin"] == "checkpoint_best.pth.tar"
    back = to_released(network)
    assert all(torch.equal(back[key], value) for key, value in checkpoint.items() if not key.startswith("smpl"))


class Command:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_that_wants_more_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": {"init_cam": torch.zeros(1, 3)}, "hook": Command(tmp_path / "mark")}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"asks for '.*mkdir'"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "mark").exists()


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match="no PyTorch checkpoint"):
        read_checkpoint(tmp_path / "text.pth")
    with pytest.raises(InputError, match="no checkpoint"):
        read_checkpoint(tmp_path / "nothing.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="tensors under 'model'"):
        read_checkpoint(tmp_path / "list.pth")
    torch.save({"model": {"init_cam": torch.zeros(1, 3)}}, tmp_path / "little.pth")
    with pytest.raises(InputError, match="give it with --points"):
        convert(tmp_path / "little.pth")
    for array, message in ((np.zeros(67), "vertex numbers"), (np.array([1, 7000]), "6890 vertices")):
        np.save(tmp_path / "points.npy", array)
        with pytest.raises(InputError, match=message):
            read_points(tmp_path / "points.npy")
    np.save(tmp_path / "points.npy", np.arange(67))
    with pytest.raises(InputError, match="misses"):
        convert(tmp_path / "little.pth", tmp_path / "points.npy")
    assert not (tmp_path / "little.safetensors").exists()


def test_weights_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refit-mv weights convert"):
        load_image_network(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="cannot read network weights"):
        load_image_network(tmp_path / "text.safetensors")
