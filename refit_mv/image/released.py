"""The released checkpoint's names, one to one with ours.

Nothing else in the package knows them. Every tensor of the released network has exactly one place here and the other
way round, except that its HRNet lists the three downward convolutions twice.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from refit_mv.errors import InputError
from refit_mv.image.hrnet import BOTTLENECKS, BRANCH_BLOCKS, STAGE_MODULES, WIDTHS
from refit_mv.image.network import ImageReFit

# The body model's own buffers, which belong to SMPL and are left behind.
BODY_PREFIXES = ("smpl.", "smpl_male.", "smpl_female.")
BUFFERS = {"mean_pose": "init_pose", "mean_shape": "init_shape", "mean_camera": "init_cam"}
# How many offenders an error names.
NAMED = 3


def _conv_norm(ours: str, conv: str, norm: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.conv", conv
    yield f"{ours}.norm", norm


def _in_sequence(ours: str, released: str, first: int = 0) -> Iterator[tuple[str, str]]:
    """Convolution and normalisation that are neighbours in a numbered sequence."""
    yield from _conv_norm(ours, f"{released}.{first}", f"{released}.{first + 1}")


def _numbered(ours: str, released: str, number: int) -> Iterator[tuple[str, str]]:
    """Convolution and normalisation called conv1 and bn1."""
    yield from _conv_norm(ours, f"{released}conv{number}", f"{released}bn{number}")


def _exchange(ours: str, released: str, branches: int) -> Iterator[tuple[str, str]]:
    for branch in range(branches):
        for block in range(BRANCH_BLOCKS):
            for number, part in enumerate(("first", "second"), 1):
                place = f"branches.{branch}.{block}"
                yield from _numbered(f"{ours}.{place}.{part}", f"{released}.{place}.", number)
    for target in range(branches):
        for source in range(branches):
            mine, theirs = f"{ours}.exchange.{target}.{source}", f"{released}.fuse_layers.{target}.{source}"
            if source > target:
                yield from _in_sequence(f"{mine}.0", theirs)
            for step in range(target - source):
                yield from _in_sequence(f"{mine}.{step}", f"{theirs}.{step}")


def _backbone() -> Iterator[tuple[str, str]]:
    for index in range(2):
        yield from _numbered(f"stem.{index}", "", index + 1)
    for index in range(BOTTLENECKS):
        for number, part in enumerate(("first", "second", "third"), 1):
            yield from _numbered(f"bottlenecks.{index}.{part}", f"layer1.{index}.", number)
    yield from _in_sequence("bottlenecks.0.around", "layer1.0.downsample")
    yield from _in_sequence("entry", "transition1.0")
    for index, modules in enumerate(STAGE_MODULES):
        yield from _in_sequence(f"coarser.{index}", f"transition{index + 1}.{index + 1}.0")
        for module in range(modules):
            yield from _exchange(f"stages.{index}.{module}", f"stage{index + 2}.{module}", index + 2)
    for index in range(len(WIDTHS) - 1):
        for step in range(index + 1):
            # Their sequences also count the interpolation before and the rectifier behind.
            yield from _in_sequence(f"upward.{index}.{step}", f"upsample_stage_{index + 2}", 4 * step + 1)
        yield from _in_sequence(f"downward.{index}", f"downsample_stage_{index + 1}")
    yield from _in_sequence("last", "final_layer")


def _modules() -> Iterator[tuple[str, str]]:
    """Names of modules that hold tensors, ours and theirs."""
    for ours, released in _backbone():
        yield f"backbone.{ours}", f"backbone.{released}"
    yield from _in_sequence("maps.0", "corr_layer", 0)
    yield from _in_sequence("maps.1", "corr_layer", 3)
    yield "maps.2", "corr_layer.6"
    yield "window", "flow_layer"
    yield "gather", "local_layer"
    yield "start", "init_layer"
    for ours, released in (("rotations", "pose_gru"), ("shape", "shape_gru"), ("camera", "cam_gru")):
        for gate, letter in (("update", "z"), ("reset", "r"), ("candidate", "q")):
            yield f"streams.{ours}.{gate}", f"update_block.{released}.l{letter}"
    for ours, letter, released in (("rotation", "p", "pose"), ("shape", "s", "shape"), ("camera", "c", "cam")):
        yield f"decoder.{ours}_hidden", f"regressor.{letter}.0"
        yield f"decoder.{ours}_change", f"regressor.dec{released}"


def _aliases(released: str) -> tuple[str, ...]:
    """Further names under which the released network lists the same tensor."""
    for index in range(len(WIDTHS) - 1):
        prefix = f"backbone.downsample_stage_{index + 1}."
        if released.startswith(prefix):
            return (f"backbone.downsamples.{index}.{released.removeprefix(prefix)}",)
    return ()


def released_names(network: ImageReFit) -> dict[str, tuple[str, ...]]:
    """For every tensor of a network its released name, and the aliases after it.

    Raises:
        InputError: the network has parts that the released one has not.
    """
    module_names, names = dict(_modules()), {}
    for key in network.state_dict():
        module, _, leaf = key.rpartition(".")
        if key in BUFFERS:
            released = BUFFERS[key]
        elif module in module_names:
            released = f"{module_names[module]}.{leaf}"
        else:
            raise InputError(f"the released network has no '{key}': options must be the released ones")
        names[key] = (released, *_aliases(released))
    return names


def to_released(network: ImageReFit) -> dict[str, Tensor]:
    """A network's tensors under the released names."""
    state = network.state_dict()
    return {name: state[key] for key, names in released_names(network).items() for name in names}


def load_released(network: ImageReFit, tensors: Mapping[str, Tensor], origin: str = "checkpoint") -> None:
    """Fill a network from tensors under the released names; the body model's buffers are passed over.

    Raises:
        InputError: anything missing, unexpected, misshapen, not finite, or an alias that differs from its original.
    """
    given = {key: tensor for key, tensor in tensors.items() if not key.startswith(BODY_PREFIXES)}
    names, expected = released_names(network), network.state_dict()
    wanted = {name for group in names.values() for name in group}
    for what, keys in (("misses", wanted - set(given)), ("has unexpected", set(given) - wanted)):
        if keys:
            raise InputError(f"{origin} {what} {_listed(keys)}: it is not the released ReFit with HRNet-W48")
    state = {}
    for key, (name, *aliases) in names.items():
        tensor, shape = given[name], tuple(expected[key].shape)
        if tuple(tensor.shape) != shape:
            raise InputError(f"{origin}: '{name}' is {tuple(tensor.shape)}, expected {shape}")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{origin}: '{name}' is not finite; the file is damaged, fetch it again")
        for alias in aliases:
            if not torch.equal(given[alias], tensor):
                raise InputError(f"{origin}: '{alias}' differs from '{name}', of which it is the second name")
        state[key] = tensor
    network.load_state_dict(state, strict=True)


def _listed(keys: set[str]) -> str:
    shown = ", ".join(f"'{key}'" for key in sorted(keys)[:NAMED])
    return shown if len(keys) <= NAMED else f"{shown} and {len(keys) - NAMED} more"
