"""Where motions come from: files of any known kind, whole folders, or the pose prior when no file is at hand."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import BODY_JOINT_NAMES, SMPL
from refit_mv.body.priors import PosePrior, rotations_from_tangent
from refit_mv.errors import InputError
from refit_mv.files import entries
from refit_mv.geometry.rotations import exp
from refit_mv.motion import formats
from refit_mv.motion.motion import Z_UP, Motion, upright
from refit_mv.motion.standard_skeleton import ANKLE_HEIGHT, pose_standard_skeleton

# Time scales of the procedural motion, seconds. At 0.35 s its joints accelerate about as those of a brisk exercise do.
POSE_SECONDS = 0.35
ROOT_SECONDS = 1.2
# Standard deviations of the root: walking speed (m/s), turning speed (rad/s), lean (rad).
WALKING_SPEED = 0.5
TURNING_SPEED = 0.6
LEAN = 0.1


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key in which take_2 comes before take_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", path.name)]


def read_motion(path: str | Path) -> Motion:
    """One motion file of a known format over SMPL's joints, y up, fingers dropped and hands at rest. A file that does
    not say which way is up is z up, as AMASS's are.

    Raises:
        InputError: an unknown suffix, or whatever is wrong with the file.
    """
    motion = upright(formats.read_motion(path).on(SMPL), assumed=Z_UP)
    motion.rotations[:, len(BODY_JOINT_NAMES) :] = torch.eye(3, dtype=torch.float64)
    return motion


def read_motions(folder: str | Path, wanted: Callable[[Path], bool] = lambda path: True) -> list[Motion]:
    """All motion files of a folder in natural order (take_2 before take_10), other files ignored; ``wanted`` narrows
    the choice.

    Raises:
        InputError: no such folder, no motion file in it, or one that cannot be used.
    """
    folder, suffixes = Path(folder), formats.readable_suffixes()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with {' or '.join(suffixes)} motion files")
    paths = sorted((path for path in entries(folder) if path.suffix.lower() in suffixes), key=_natural)
    chosen = [path for path in paths if wanted(path)]
    if not chosen:
        raise InputError(f"{folder}: {len(paths)} motion files ({', '.join(suffixes)}) in it, none of them wanted here")
    return [read_motion(path) for path in chosen]


def smooth_noise(
    frames: int, channels: int, seconds: float, fps: float, generator: torch.Generator
) -> Float[Tensor, "frame channel"]:
    """Stationary Gaussian process of unit variance: white noise convolved with a Gaussian whose result has length scale
    ``seconds``.
    """
    # A kernel of width s gives the squared-exponential covariance of length scale sqrt(2) s.
    width = max(seconds * fps / 2**0.5, 1e-3)
    reach = int(4 * width) + 1
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (place / width) ** 2)
    kernel = kernel / kernel.square().sum().sqrt()
    white = torch.randn(channels, 1, frames + 2 * reach, generator=generator, dtype=torch.float64)
    return torch.nn.functional.conv1d(white, kernel[None, None])[:, 0].T


def sampled_motion(prior: PosePrior, seed: int, frames: int, fps: float) -> Motion:
    """A made-up but smooth movement: a Gaussian process through the pose prior over a wandering root, feet never below
    the floor.

    ``prior`` is the one over SMPL's 23 joints (``load_pose_prior()``). The same seed gives the same motion.
    """
    generator = torch.Generator().manual_seed(seed)
    factor = torch.linalg.cholesky(prior.covariance)
    coordinates = smooth_noise(frames, len(factor), POSE_SECONDS, fps, generator) @ factor.T
    joints = rotations_from_tangent(prior, coordinates.clamp(prior.lower, prior.upper))

    drift = smooth_noise(frames, 5, ROOT_SECONDS, fps, generator)
    start = 2 * torch.pi * torch.rand(1, generator=generator, dtype=torch.float64)
    heading = start + torch.cumsum(drift[:, 0] * TURNING_SPEED / fps, dim=0)
    zero = torch.zeros_like(heading)
    lean = torch.stack([drift[:, 1] * LEAN, zero, drift[:, 2] * LEAN], dim=-1)
    root = exp(torch.stack([zero, heading, zero], dim=-1)) @ exp(lean)
    speed = torch.stack([drift[:, 3] * WALKING_SPEED, zero, drift[:, 4] * WALKING_SPEED], dim=-1)
    pelvis = torch.cumsum(speed / fps, dim=0)
    pelvis = pelvis - pelvis.mean(0)

    rotations = torch.cat([root[:, None], joints], dim=1)
    ankles = [joint for joint, name in enumerate(("pelvis", *prior.joint_names)) if name.endswith("_ankle")]
    lowest = pose_standard_skeleton(pelvis, rotations).positions[:, ankles, 1].amin(1)
    lift = torch.stack([zero, ANKLE_HEIGHT - lowest, zero], dim=-1)
    return Motion(f"sampled {seed}", fps, pelvis + lift, rotations)
