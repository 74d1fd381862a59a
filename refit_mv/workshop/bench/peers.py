"""What others do. With time: fit every frame alone, then filter the result. And a peer from outside: smplfitter (István
Sárándi, MIT) on robustly triangulated points.

smplfitter fits bodies of the SMPL family to dense 3D points by alternating closed-form rotations and linear shape.
Sparse keypoints do not determine that for every body part, so here the points that nobody saw, the joints that no
keypoint marks, and three points rigidly about every joint come from the start, with little weight, and in further
rounds from the last fit.
"""

import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints, rest_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import nearest_rotation
from refit_mv.geometry.triangulation import triangulate
from refit_mv.solve.gaps import interpolated, seen_frames
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.solve.uncertainty import joint_covariance
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.run import Contender

PACKAGE = "smplfitter"
# How much a filled-in point counts against a triangulated one.
FILLER_WEIGHT = 0.02
# The points about every joint lie this far from it, metres.
LEVER = 0.05
# Rays that cross at less than this sine (6 degrees) give no point.
ENOUGH_PARALLAX = 0.1
# Winter, "Biomechanics and Motor Control of Human Movement": a Butterworth filter forwards and backwards at 6 Hz;
# Pose2Sim's default too.
CUTOFF_HZ = 6.0
# Optimizers that take a tenth of a second a frame are not asked the same questions three times over.
UNREPEATED = ("scipy",)


@dataclass(frozen=True)
class PerFrame:
    """An optimizer that is not told that frames are neighbours in time."""

    optimizer: Optimizer

    @property
    def name(self) -> str:
        return f"{self.optimizer.name} per frame"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """The optimizer's answer to the same frames as if they had nothing to do with one another."""
        return self.optimizer.solve(replace(problem, time_step=None), initial)


@dataclass(frozen=True)
class Filtered:
    """Frames fitted alone, then filtered: a fourth-order Butterworth low-pass without phase shift on the pelvis and on
    the rotations' matrices, which are made rotations again.
    """

    optimizer: Optimizer
    cutoff: float = CUTOFF_HZ

    @property
    def name(self) -> str:
        return f"{self.optimizer.name} filtered"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Frames without evidence or without a fit are interpolated first, as filters need a value everywhere."""
        result = PerFrame(self.optimizer).solve(problem, initial)
        step = problem.time_step
        if step is None or self.cutoff * 2 * step >= 1:
            return result
        good = torch.tensor([status is not FrameStatus.FAILED for status in result.status])
        params = interpolated(result.params, seen_frames(problem.confidence) & good)

        def low_passed(values: Float[Tensor, "frame *axes"]) -> Float[Tensor, "frame *axes"]:
            # Order 2, run twice, is order 4 with half the power at a cutoff that moves by this factor (Winter).
            sections = butter(2, self.cutoff / 0.802, fs=1 / step, output="sos")
            padding = min(3 * int(1 / (self.cutoff * step)), len(values) - 1)
            smooth = sosfiltfilt(sections, values.detach().cpu().numpy(), axis=0, padlen=padding)
            return torch.from_numpy(smooth.copy()).to(values)

        smooth = replace(
            params,
            pelvis=low_passed(params.pelvis),
            rotations=nearest_rotation(low_passed(params.rotations)),
        )
        return replace(result, params=smooth)


def with_and_without_time(optimizers: Mapping[str, Optimizer]) -> list[Contender]:
    """Each optimizer with its time terms, per frame and filtered."""
    found = []
    for name, optimizer in optimizers.items():
        found.append(Contender(name, optimizer))
        if name not in UNREPEATED:
            found.append(Contender(f"{name} per frame", PerFrame(optimizer)))
            found.append(Contender(f"{name} filtered", Filtered(optimizer)))
    return found


@dataclass(frozen=True)
class SmplFitter:
    """``iterations`` inside a fit (its authors recommend 1 to 4); ``rounds`` of fitting and filling in from the fit
    what nobody saw.
    """

    iterations: int = 1
    rounds: int = 4
    name: str = PACKAGE

    def __post_init__(self) -> None:
        if find_spec(PACKAGE) is None:
            raise InputError(f"the peer {PACKAGE} is not installed: pip install {PACKAGE}")

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Triangulate, fit, and judge as the other optimizers' results are judged."""
        skin, body = problem.skin, problem.body
        found = triangulate(problem.rig.center, problem.bearing, problem.confidence)
        solid = (found.support >= 2) & (found.parallax > ENOUGH_PARALLAX)
        weight = torch.where(
            solid, found.support.to(found.points.dtype), torch.full_like(found.points[..., 0], FILLER_WEIGHT)
        )
        marked = [
            (skin.landmark_names.index(name), joint)
            for joint, name in enumerate(body.joint_names)
            if name in skin.landmark_names
        ]
        fitter = _fitter(body, skin)
        params = initial
        for _ in range(self.rounds):
            points = torch.where(solid[..., None], found.points, pose_landmarks(skin, params).positions)
            skeleton = posed_joints(body, params)
            joints = skeleton.positions.clone()
            joint_weight = torch.full_like(joints[..., 0], FILLER_WEIGHT)
            for landmark, joint in marked:
                joints[:, joint] = points[:, landmark]
                joint_weight[:, joint] = weight[:, landmark]
            levers = (skeleton.positions[:, :, None] + LEVER * skeleton.rotations.transpose(-1, -2)).flatten(1, 2)
            levers_weight = torch.full_like(levers[..., 0], FILLER_WEIGHT)
            fitted = fitter.fit(
                torch.cat([points, levers], 1).float(),
                joints.float(),
                # In units of the cost: precisions, so that the shape's prior of 1 is a standard deviation of 1.
                (torch.cat([weight, levers_weight], 1) / problem.options.noise**2).float(),
                (joint_weight / problem.options.noise**2).float(),
                num_iter=self.iterations,
                beta_regularizer=problem.options.shape_prior,
                requested_keys=["relative_orientations", "shape_betas", "trans"],
            )
            shape = fitted["shape_betas"].to(points.dtype)
            pelvis = fitted["trans"].to(points.dtype) + rest_joints(body, shape)[:, 0]
            params = BodyParams(pelvis, fitted["relative_orientations"].to(points.dtype), shape)
        return FitResult.of(problem, params, joint_covariance(problem, params))


def _vendor(name: str) -> ModuleType:
    return import_module(f"{PACKAGE}.{name}")


def _fitter(body: BodyModel, skin: LandmarkSkin):
    """The body as smplfitter knows bodies: its vertices are our landmarks and the points about the joints."""
    count = len(body.parents)
    mass = torch.zeros(skin.landmark_count, count, dtype=skin.mass.dtype)
    mass = mass.index_put((skin.pair_landmark, skin.pair_joint), skin.mass, accumulate=True)
    landmarks = torch.zeros(skin.landmark_count, 3, dtype=mass.dtype).index_add(0, skin.pair_landmark, skin.anchor)
    by_shape = torch.zeros(skin.landmark_count, *skin.anchor_directions.shape[1:], dtype=mass.dtype)
    by_shape = by_shape.index_add(0, skin.pair_landmark, skin.anchor_directions)
    levers = (skin.rest_mean[:, None] + LEVER * torch.eye(3, dtype=mass.dtype)).flatten(0, 1)
    template = torch.cat([landmarks, levers])
    data = {
        "v_template": template,
        "shapedirs": torch.cat([by_shape, skin.rest_directions.repeat_interleave(3, 0)]),
        "posedirs": torch.zeros(len(template), 3, 9 * (count - 1)),
        "J_regressor": torch.zeros(count, len(template)),
        "J_template": skin.rest_mean,
        "J_shapedirs": skin.rest_directions,
        "weights": torch.cat([mass, torch.eye(count, dtype=mass.dtype).repeat_interleave(3, 0)]),
        "f": torch.zeros(1, 3, dtype=torch.int64),
        "kintree_table": torch.tensor([body.parents, range(count)]),
    }
    arrays = {key: value.numpy() if isinstance(value, Tensor) else np.asarray(value) for key, value in data.items()}
    with tempfile.TemporaryDirectory() as folder:
        # The only way in is a folder with SMPL's file and a template of children, which may be all zeros.
        with (Path(folder) / "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl").open("wb") as file:
            pickle.dump(arrays, file)
        np.save(Path(folder) / "kid_template.npy", np.zeros((len(template), 3)))
        model = _vendor("pt").BodyModel("smpl", "neutral", model_root=folder)
    return _vendor("pt").BodyFitter(model)
