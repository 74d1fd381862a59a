"""A peer from outside: smplfitter (István Sárándi, MIT) on robustly triangulated points.

It fits bodies of the SMPL family to dense 3D points by alternating closed-form rotations and linear shape. Sparse
keypoints do not determine that for every body part, so here the points that nobody saw, the joints that no keypoint
marks, and three points rigidly about every joint come from the start, with little weight, and in further rounds from
the last fit.
"""

import pickle
import tempfile
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints, rest_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.triangulation import triangulate
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, explained_share, judge
from refit_mv.solve.uncertainty import joint_covariance

PACKAGE = "smplfitter"
# How much a filled-in point counts against a triangulated one.
FILLER_WEIGHT = 0.02
# The points about every joint lie this far from it, metres.
LEVER = 0.05
# Rays that cross at less than this sine (6 degrees) give no point.
ENOUGH_PARALLAX = 0.1


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
        cost = problem.cost(problem.look(params))
        covariance, explained = joint_covariance(problem, params), explained_share(problem, params)
        return FitResult(
            params=params,
            landmark_offset=skin.offset,
            status=judge(problem, params, covariance, explained),
            cost=cost,
            trace=cost[:, None],
            joint_covariance=covariance,
            explained=explained,
            seconds=0.0,
        )


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
