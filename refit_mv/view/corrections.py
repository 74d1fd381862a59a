"""What somebody points at in the viewer, as corrections for ``edits.yaml``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from refit_mv.body.sides import LIMBS
from refit_mv.edits.kinds import Foot, FrameEdit, HoldFoot, Keypoint, Smooth, SwapSides, Whose, Wrong
from refit_mv.people.edit_values import Frames
from refit_mv.report.scene import Scene, SceneCamera

# A click this near to a keypoint (a share of the picture's longer side) means it.
NEAR_SHARE = 0.02


@dataclass(frozen=True)
class Marked:
    """What a correction is about: a view, a person, a keypoint's name, and frames by the recording's numbers, first and
    last included.
    """

    view: str
    person: int
    name: str
    first: int
    last: int
    several: bool = False

    @property
    def frames(self) -> Frames:
        return Frames(((min(self.first, self.last), max(self.first, self.last)),))

    @property
    def whom(self) -> int | None:
        """The person, where there are several."""
        return self.person if self.several else None

    def wrong(self) -> FrameEdit:
        return Wrong(self.view, self.frames, self.whom)

    def swapped(self, limbs: Sequence[str] = LIMBS) -> FrameEdit:
        return SwapSides(self.view, self.frames, tuple(limbs), self.whom)

    def held(self, foot: Foot) -> FrameEdit:
        return HoldFoot(foot, self.frames, self.whom)

    def smoothed(self) -> FrameEdit:
        return Smooth(self.frames, "strong", self.whom)

    def keypoint(self, frame: int, at: tuple[float, float]) -> FrameEdit:
        return Keypoint(self.view, frame, self.name, rounded(at), self.whom)

    def whose(self, at: tuple[float, float]) -> FrameEdit:
        return Whose(self.person, self.view, self.frames, rounded(at))


@dataclass(frozen=True)
class Pointed:
    """A pixel of a view (its place among the scene's cameras)."""

    view: int
    at: tuple[float, float]


def rounded(at: tuple[float, float]) -> tuple[float, float]:
    """To a tenth of a pixel."""
    return round(at[0], 1), round(at[1], 1)


def pointed_at(
    cameras: Sequence[SceneCamera], origin: Float[np.ndarray, "3"], direction: Float[np.ndarray, "3"]
) -> Pointed | None:
    """The nearest picture that a line of sight meets, and where; None where it meets none."""
    met = {place: camera.pixel(origin, direction) for place, camera in enumerate(cameras)}
    hits = [(hit[2], place, hit) for place, hit in met.items() if hit is not None]
    if not hits:
        return None
    _, place, hit = min(hits)
    return Pointed(place, (hit[0], hit[1]))


def keypoint_at(scene: Scene, row: int, pointed: Pointed) -> tuple[int, str] | None:
    """Whose keypoint (person's id, keypoint's name) is nearest to a pixel, if one is near."""
    best, found = NEAR_SHARE * max(scene.cameras[pointed.view].size), None
    for person in scene.people:
        apart = np.linalg.norm(person.pixels[row, pointed.view] - pointed.at, axis=-1)
        if np.isfinite(apart).any() and np.nanmin(apart) < best:
            best, found = float(np.nanmin(apart)), (person.id, person.landmark_names[int(np.nanargmin(apart))])
    return found
