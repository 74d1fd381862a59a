"""One person's keypoints as evidence on a body: the keypoints that the body has landmarks for, as tensors."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.detector_profile import Habits
from refit_mv.session.observations import CONFIDENT, PersonObservations
from refit_mv.solve.gaps import FEWEST_LANDMARKS
from refit_mv.solve.problem import CostOptions, FitProblem, ShapeMode, build_problem
from refit_mv.solve.swaps import exchange_sides

# Fewer common points than this cannot hold a body of 24 joints.
FEWEST_COMMON = 8


@dataclass(frozen=True, eq=False)
class Evidence:
    """Pixels and confidences of the landmarks that keypoint set and body have in common, float64. ``habits``: of the
    detector at these landmarks, where they are known.
    """

    landmark_names: tuple[str, ...]
    pixels: Float[Tensor, "frame view landmark 2"]
    confidence: Float[Tensor, "frame view landmark"]
    habits: Habits | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    def frames(self, chosen: slice | Tensor) -> "Evidence":
        return replace(self, pixels=self.pixels[chosen], confidence=self.confidence[chosen])

    def views(self, chosen: Int[Tensor, " view"]) -> "Evidence":
        """A selection of views."""
        return replace(self, pixels=self.pixels[:, chosen], confidence=self.confidence[:, chosen])

    def without_view(self, view: int) -> "Evidence":
        """The same evidence as if one view had seen nothing."""
        confidence = self.confidence.clone()
        confidence[:, view] = 0
        return replace(self, confidence=confidence)

    def held_without(self, view: int) -> Bool[Tensor, " frame"]:
        """Frames in which two other views at least hold enough of the person to say where a view will see them. One
        alone leaves the distance to a guess from the person's size.
        """
        holding = (self.confidence > CONFIDENT).sum(-1) >= FEWEST_LANDMARKS
        holding[:, view] = False
        return holding.sum(1) >= 2

    @property
    def can_leave_one_out(self) -> bool:
        """Whether some view shows a point in a frame that the others hold without it."""
        shown = (self.confidence > CONFIDENT).any(-1)
        return any(bool((shown[:, view] & self.held_without(view)).any()) for view in range(shown.shape[1]))

    def with_sides_exchanged(self, swapped: Bool[Tensor, "frame view limb"]) -> "Evidence":
        """The same evidence with the sides of the flagged limbs exchanged."""
        pixels, confidence = exchange_sides(self.landmark_names, self.pixels, self.confidence, swapped)
        return replace(self, pixels=pixels, confidence=confidence)

    def trust(self, options: CostOptions) -> Float[Tensor, "frame view landmark"]:
        """How far each observation is to be trusted (0 to 1): its confidence, or what that means of its detector."""
        return self.confidence if self.habits is None else self.habits.trust(self.confidence, options.noise)

    def problem(
        self,
        body: BodyModel,
        rig: CameraRig,
        options: CostOptions,
        shape_mode: ShapeMode,
        time_step: float | None = None,
        device: torch.device | str = "cpu",
    ) -> FitProblem:
        """The fitting problem of this evidence."""
        pixels, trust = self.pixels.to(device), self.trust(options).to(device)
        problem = build_problem(
            body, rig, self.landmark_names, pixels, trust, options, shape_mode=shape_mode, time_step=time_step
        )
        return problem if self.habits is None else problem.with_usual(self.habits.offset)


def evidence_on(body: BodyModel, observations: PersonObservations) -> Evidence:
    """The evidence that one person's observations hold for a body.

    Raises:
        InputError: body and keypoint set have too few points in common.
    """
    names = observations.keypoints.keypoint_names
    common = [index for index, name in enumerate(names) if name in body.landmark_names]
    if len(common) < FEWEST_COMMON:
        raise InputError(
            f"body '{body.name}' has landmarks for only {len(common)} of the {len(names)} keypoints of "
            f"{observations.keypoints.name};"
            f" at least {FEWEST_COMMON} are needed: choose another --keypoints or --body"
        )
    return Evidence(
        landmark_names=tuple(names[index] for index in common),
        pixels=torch.from_numpy(observations.pixels[:, :, common].astype(np.float64)),
        confidence=torch.from_numpy(observations.confidence[:, :, common].astype(np.float64)),
        habits=None if observations.profile is None else observations.profile.on([names[index] for index in common]),
    )
