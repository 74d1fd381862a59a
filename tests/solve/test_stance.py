"""Feet that are held: the banded solve against a dense one, frames in the air, and a slide that is taken out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import sole_skin
from refit_mv.solve.planting import anchors_of
from refit_mv.solve.stance import Stance, _solved, _times, columns_of, hold, leg_parts
from refit_mv.solve.terms.feet import FeetTerm
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.solve.unknowns import Unknowns
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.session import motion_params

FRAMES = 14


@pytest.fixture
def stance(body: BodyModel) -> Stance:
    """A made-up motion, two points of which are said to stand in some of its frames."""
    motion = sampled_motion(load_pose_prior(), seed=5, frames=FRAMES, fps=30.0)
    params = motion_params(body, motion, torch.zeros(FRAMES, body.shape_count, dtype=torch.float64))
    held = np.zeros((FRAMES, 4), dtype=bool)
    held[2:9, 0], held[4:12, 3] = True, True
    times = torch.arange(FRAMES, dtype=torch.float64) / 30
    parts = (0, 1, *leg_parts(body.joint_names, "left"), *leg_parts(body.joint_names, "right"))
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(FRAMES, 3 * len(parts), 40, generator=generator, dtype=torch.float64)
    return Stance(
        skin=sole_skin(body),
        mean=torch.eye(3, dtype=torch.float64).expand(body.joint_count - 1, 3, 3),
        parts=parts,
        params=params,
        firmness=30 * root @ root.mT,
        times=times,
        weights=MotionOptions().weights(times[None], body.joint_count),
        anchors=anchors_of(held, np.ones(held.shape), 1 / 30, stray=0.02),
        free=torch.from_numpy(held.any(-1)),
    )


def test_the_step_is_the_one_of_the_dense_system(stance: Stance) -> None:
    system = stance.tied()
    frames, size = stance.firmness.shape[:2]
    dense = torch.zeros(frames, size, frames, size, dtype=torch.float64)
    for t in range(frames):
        dense[t, :, t] = system.diagonal[0, t]
    for blocks, apart in ((system.beside, 1), (system.beyond, 2)):
        for t in range(frames - apart):
            for part, block in enumerate(blocks[0, t]):
                at = slice(3 * part, 3 * part + 3)
                dense[t, at, t + apart, at] = block
                dense[t + apart, at, t, at] = block.T
    vector = torch.randn(1, frames, size, dtype=torch.float64)
    torch.testing.assert_close(_times(system, vector)[0].flatten(), dense.view(frames * size, -1) @ vector.flatten())

    anchors, mix = stance.anchors, stance.anchors.mixture()
    tangent = Unknowns(stance.skin, stance.mean, False).tangent(stance.params)
    places = torch.randn(anchors.count, 3, dtype=torch.float64)
    target = torch.einsum("fpk,kc->fpc", mix, places)
    rows = FeetTerm(stance.skin, stance.mean, target, anchors.precision).linearised(stance.params, tangent)
    jacobian = rows.jacobian[..., columns_of(stance.parts)] * stance.free[:, None, None]
    whole = replace(
        system,
        diagonal=system.diagonal + jacobian.mT @ jacobian,
        gradient=(jacobian.mT @ rows.residual[..., None])[None, ..., 0],
    )
    white = anchors.precision.sqrt()[..., None] * mix
    step, moved = _solved(whole, jacobian, white, rows.residual, anchors, places)

    # All rows and unknowns in one matrix.
    count = frames * size
    wide = torch.zeros(*rows.residual.shape, count + 3 * anchors.count, dtype=torch.float64)
    for t in range(frames):
        wide[t, :, t * size : (t + 1) * size] = jacobian[t]
    wide[..., count:] = (
        -torch.einsum("fpk,cd->fpckd", white, torch.eye(3, dtype=torch.float64)).flatten(1, 2).flatten(2)
    )
    wide = wide.flatten(0, 1)
    matrix = wide.T @ wide
    matrix[:count, :count] += dense.view(count, count)
    matrix[count:, count:] += torch.kron(anchors.ties(), torch.eye(3, dtype=torch.float64))
    slope = wide.T @ rows.residual.flatten()
    slope[count:] += (anchors.ties() @ (places - places.mean(0))).flatten()
    expected = -torch.linalg.solve(matrix, slope)
    torch.testing.assert_close(step.flatten(), expected[:count], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(moved.flatten(), expected[count:], rtol=1e-6, atol=1e-9)
    assert not step[0, ~stance.free].any()


def test_points_are_held_and_frames_in_the_air_stay_bit_for_bit(stance: Stance) -> None:
    firm = replace(stance, anchors=replace(stance.anchors, precision=stance.anchors.precision * 1e4))
    found = hold(firm)
    air = ~stance.free
    for mine, own in ((found.pelvis, stance.params.pelvis), (found.rotations, stance.params.rotations)):
        assert torch.equal(mine[air], own[air])
    before, after = (pose_landmarks(stance.skin, each).positions for each in (stance.params, found))
    for point, frames in ((0, slice(3, 8)), (3, slice(5, 11))):
        slid = [float(places[frames, point].diff(dim=0).norm(dim=-1).mean()) for places in (before, after)]
        assert slid[0] > 0.005 and slid[1] < 0.1 * slid[0]


def test_who_is_known_better_gives_way_less(stance: Stance) -> None:
    """Nothing is held where the evidence is much firmer than the anchors."""
    moved = [
        float((hold(replace(stance, firmness=factor * stance.firmness)).pelvis - stance.params.pelvis).norm())
        for factor in (1.0, 1e6)
    ]
    assert moved[1] < 1e-3 * moved[0]
