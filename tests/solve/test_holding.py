"""Legs that are held where their feet stand: less slide, less error, less below the floor, and all else untouched."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import sole_skin
from refit_mv.geometry.rotations import exp
from refit_mv.solve import holding
from refit_mv.solve.floor import find_terrain
from refit_mv.solve.holding import Holding, Mover, contacts_of
from refit_mv.solve.stance import LEG, leg_parts
from refit_mv.solve.terms.motion import MotionOptions
from tests.stepping import stepping

FPS = 60.0
UP = (0.0, 1.0, 0.0)
# How far joints of the legs are off, radians.
OFF = 0.01


@pytest.fixture(scope="module")
def truth(body: BodyModel) -> tuple[BodyParams, np.ndarray]:
    return stepping(body, 1.6, FPS)


@pytest.fixture(scope="module")
def mover(body: BodyModel, truth: tuple[BodyParams, np.ndarray]) -> Mover:
    """The motion with legs that tremble."""
    params, frames = truth[0], len(truth[0])
    rng = np.random.default_rng(1)
    kernel = np.exp(-0.5 * (np.arange(-12, 13) / 4) ** 2)
    rotations = params.rotations.clone()
    for side in ("left", "right"):
        for name in LEG:
            noise = np.stack([np.convolve(rng.normal(size=frames), kernel, "same") for _ in range(3)], -1)
            joint = body.joint_names.index(f"{side}_{name}")
            rotations[:, joint] = rotations[:, joint] @ exp(torch.from_numpy(OFF * noise / np.sqrt((kernel**2).sum())))
    shape = frames, body.joint_count
    every = np.ones(frames, dtype=bool)
    return Mover(body, replace(params, rotations=rotations), np.full(shape, 0.01), np.ones(shape, bool), every, 1 / FPS)


def firm(rows: torch.Tensor) -> torch.Tensor:
    return torch.eye(12, dtype=torch.float64).expand(len(rows), 2, -1, -1) / OFF**2


def found(mover: Mover) -> tuple[Holding, BodyParams]:
    feet = mover.feet()
    terrain = find_terrain([feet], UP)
    held = Holding(mover, contacts_of(feet, terrain), terrain.floor, firm, MotionOptions())
    rows, params = held.held()
    return held, mover.params.put(rows, params)


def test_feet_stand_and_all_else_stays_bit_for_bit(body: BodyModel, truth, mover: Mover) -> None:
    held, after = found(mover)
    stands = truth[1]
    agreed = 2 * (held.contacts.held & stands).sum() / (held.contacts.held.sum() + stands.sum())
    assert agreed > 0.93
    assert held.floor is not None and abs(held.floor.point[1]) < 0.01

    soles = [pose_landmarks(sole_skin(body), each).positions.numpy() for each in (mover.params, after)]
    both = stands[1:] & stands[:-1]
    slide = [float(np.median(np.linalg.norm(np.diff(each[:, :4], axis=0), axis=-1)[both])) for each in soles]
    assert slide[1] < 0.3 * slide[0]
    depth = [float(-held.floor.height(each).min()) for each in soles]
    assert depth[1] < 0.005 < depth[0]
    true = posed_joints(body, truth[0]).positions
    error = [float((posed_joints(body, each).positions - true).norm(dim=-1).mean()) for each in (mover.params, after)]
    assert error[1] < error[0]

    assert torch.equal(after.pelvis, mover.params.pelvis)
    legs = [[part - 1 for part in leg_parts(body.joint_names, side)] for side in ("left", "right")]
    others = [joint for joint in range(body.joint_count) if joint not in legs[0] + legs[1]]
    assert torch.equal(after.rotations[:, others], mover.params.rotations[:, others])
    grounded = held.grounded()
    for side, leg in enumerate(legs):
        air = ~grounded[:, side]
        assert air.any()
        assert torch.equal(after.rotations[air][:, leg], mover.params.rotations[air][:, leg])


def test_windows_hardly_change_the_answer(monkeypatch: pytest.MonkeyPatch, mover: Mover) -> None:
    _, whole = found(mover)
    monkeypatch.setattr(holding, "CORE", 32)
    monkeypatch.setattr(holding, "HALO", 24)
    _, cut = found(mover)
    assert float((cut.rotations - whole.rotations).abs().max()) < 5e-3


def test_nobody_is_held_whose_feet_are_not_seen(body: BodyModel, mover: Mover) -> None:
    seen = mover.joint_seen.copy()
    seen[:, [body.joint_names.index(f"left_{name}") for name in ("ankle", "foot")]] = False
    held, after = found(replace(mover, joint_seen=seen))
    assert not held.contacts.held[:, :2].any() and not held.contacts.probability[:, :2].any()
    assert held.contacts.held[:, 2:].any()
    blind, after = found(replace(mover, joint_seen=np.zeros_like(seen)))
    assert blind.floor is None and not blind.contacts.probability.any()
    assert torch.equal(after.rotations, mover.params.rotations)


def test_frames_without_anybody_part_the_motion(mover: Mover) -> None:
    there = mover.there.copy()
    there[20:30] = False
    gone = mover.params.map(
        lambda values: torch.where(torch.from_numpy(there).view(-1, *[1] * (values.ndim - 1)), values, torch.nan)
    )
    held, after = found(replace(mover, there=there, params=gone))
    assert not held.contacts.held[20:30].any() and not held.contacts.probability[20:30].any()
    assert after.finite[torch.from_numpy(there)].all() and not after.finite[20:30].any()
