"""How well views are predicted that a fit has not seen, and how steady bones are: what can be said of a recording
without truth that keypoints do not say themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyModel, rest_joints
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.people.evidence import Evidence
from refit_mv.people.reprojection import predicted_view
from refit_mv.people.subject import meet, spread_frames
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer

# So many frames of a person, spread over the recording, are fitted without each view.
FRAMES = 48
SUBJECT_FRAMES = 64
# SMPL's joints at the ends of the bones that are measured: thighs, shins, upper arms, forearms.
BONES = ((1, 4), (2, 5), (4, 7), (5, 8), (16, 18), (17, 19), (18, 20), (19, 21))
# A point is near that misses by less than this share of the torso's diameter, from the left shoulder to the right hip,
# as it is seen (PDJ: Sapp & Taskar, "MODEC", CVPR 2013).
NEAR = 0.1
TORSO = ("left_shoulder", "right_hip")


@dataclass(frozen=True, eq=False)
class LeftOut:
    """``pixels``: how far every confident point of a view lies from where the others predict it, two of which hold the
    person at least; ``near``: whether that is within a tenth of the torso; ``bones``: how much each bone changes from
    frame to frame when every frame has a shape of its own, standard deviation over length.
    """

    pixels: Float[Tensor, " point"]
    near: Bool[Tensor, " point"]
    bones: Float[Tensor, " bone"]

    @staticmethod
    def concatenate(parts: "list[LeftOut]") -> "LeftOut":
        """Of several people; their bones side by side."""
        return LeftOut(
            torch.cat([part.pixels for part in parts]),
            torch.cat([part.near for part in parts]),
            torch.cat([part.bones for part in parts]),
        )


def leave_views_out(
    body: BodyModel,
    rig: CameraRig,
    evidence: Evidence,
    optimizer: Optimizer,
    options: CostOptions,
    target: Evidence | None = None,
    blind: Sequence[Evidence] = (),
) -> LeftOut:
    """A person before a rig without each of its views in turn. The person (shape and offsets) is met with all views, by
    the same optimizer. ``target``: what is predicted, if not the evidence itself. ``blind``: for each view the evidence
    as it is without that view, where views have told each other where to look; the person is then met with that.
    """
    target = evidence if target is None else target
    rows = spread_frames(target, FRAMES)
    some, wanted = evidence.frames(rows), target.frames(rows)
    seen = [each.frames(rows) for each in blind] or [some.without_view(view) for view in range(len(rig))]
    subject = meet(body, rig, evidence, optimizer, options, SUBJECT_FRAMES, "cpu")
    pixels, near = [], []
    trunk = landmark_skin(body, TORSO)
    for view in range(len(rig)):
        met = meet(body, rig, blind[view], optimizer, options, SUBJECT_FRAMES, "cpu") if blind else subject
        problem = met.lock(seen[view].problem(body, rig, options, "locked"))
        fitted, error = predicted_view(rig, problem, met.dress(initialise(problem)), optimizer, wanted, view)
        ends, _ = project(rig.stacked(), pose_landmarks(trunk, fitted).positions)
        torso = (ends[:, view, 0] - ends[:, view, 1]).norm(dim=-1, keepdim=True).expand_as(error)
        known = error.isfinite()
        pixels.append(error[known])
        near.append(error[known] < NEAR * torso[known])
    free = some.problem(body, rig, options, "free")
    free = replace(free, skin=subject.lock(free).skin)
    rest = rest_joints(body, optimizer.solve(free, initialise(free)).params.shape.to(torch.float64))
    ends = torch.tensor(BONES)
    long = (rest[:, ends[:, 0]] - rest[:, ends[:, 1]]).norm(dim=-1)
    return LeftOut(torch.cat(pixels), torch.cat(near), long.std(0) / long.mean(0))
