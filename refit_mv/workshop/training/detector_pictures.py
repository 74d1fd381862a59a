"""What a detector sees of rendered people, beside where they are: the evidence from which its habits are learned."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.detect.detector import Detector
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.progress import Progress, quiet
from refit_mv.ranges import require_positive
from refit_mv.session.detector_profile import DetectorProfile
from refit_mv.session.observations import PersonObservations
from refit_mv.workshop.pictures.people import PeopleOptions, RenderedPeople, render_people
from refit_mv.workshop.synthetic.pose_bank import PoseBank

# People rendered before the detector looks at them: their pictures are 30 MB.
AT_ONCE = 40
# A sighting is the person's if half of its points lie within this share of the person's box side.
SAME = 0.15
# A person is well found in so many views, or in the only one that there is.
FEWEST_VIEWS = 2


@dataclass(frozen=True)
class PictureOptions:
    """``people`` before ``views`` cameras each, in pictures of ``side`` pixels that show ``margin`` times a person's
    box, then made smaller by a factor down to ``smallest`` and compressed (JPEG, ``quality`` from and to).
    ``kept``: for whoever looks at them again.
    """

    people: int = 1000
    views: int = 1
    side: int = 448
    margin: float = 1.5
    smallest: float = 0.45
    quality: tuple[int, int] = (50, 95)
    distance: tuple[float, float] = (2.0, 7.0)
    occluded: float = 0.15
    kept: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "people", "views", "side", "margin", "smallest", "quality", "distance")


@dataclass(frozen=True, eq=False)
class Sightings:
    """What a detector reported of people whose truth is known. Picture ``i`` shows person ``i // views``; ``matrix``,
    ``rotation`` and ``translation`` are its pinhole camera (pixels of the picture that the detector saw;
    cam_from_world, metres), ``box_px`` the side of the square around the person there. Where the person was not
    ``found``, confidences are 0. ``pictures`` are what the detector saw, where they were kept.
    """

    keypoints: KeypointSet
    views: int
    pixels: Float[np.ndarray, "picture joint 2"]
    confidence: Float[np.ndarray, "picture joint"]
    found: Bool[np.ndarray, " picture"]
    matrix: Float[np.ndarray, "picture 3 3"]
    rotation: Float[np.ndarray, "picture 3 3"]
    translation: Float[np.ndarray, "picture 3"]
    box_px: Float[np.ndarray, " picture"]
    truth: BodyParams
    pictures: tuple[UInt8[np.ndarray, "_rows _columns 3"], ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def rig(self, person: int) -> CameraRig:
        """The cameras before one person."""
        return CameraRig(tuple(self._camera(person * self.views + view, view) for view in range(self.views)))

    def _pictures_of(self, person: int) -> slice:
        return slice(person * self.views, (person + 1) * self.views)

    def _camera(self, picture: int, view: int) -> Camera:
        place = RigidTransform(torch.from_numpy(self.rotation[picture]), torch.from_numpy(self.translation[picture]))
        return Camera(f"view{view + 1}", None, self.matrix[picture], np.zeros(0), place)

    def well_found(self) -> Iterator[tuple[int, slice]]:
        """Everybody whom enough views found, and which pictures show them."""
        for person in range(len(self.truth)):
            views = self._pictures_of(person)
            if int(self.found[views].sum()) >= min(FEWEST_VIEWS, self.views):
                yield person, views

    def told(self, person: int, profile: DetectorProfile | None) -> PersonObservations:
        """What was reported of one person, a moment by itself."""
        views = self._pictures_of(person)
        return PersonObservations(
            self.pixels[views][None],
            self.confidence[views][None],
            self.keypoints,
            self.rig(person).names,
            1.0,
            np.zeros(1, dtype=np.int64),
            profile,
        )

    def shown(self) -> BodyParams:
        """The person of every picture, in the world."""
        return self.truth[torch.arange(len(self)) // self.views]

    @staticmethod
    def concatenate(parts: "list[Sightings]") -> "Sightings":
        """Join along the picture axis."""
        arrays = ("pixels", "confidence", "found", "matrix", "rotation", "translation", "box_px")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        pictures = tuple(picture for part in parts for picture in part.pictures)
        return replace(
            parts[0], **joined, truth=BodyParams.concatenate([part.truth for part in parts]), pictures=pictures
        )


def draw_sightings(
    detector: Detector,
    body: BodyModel,
    bank: PoseBank,
    options: PictureOptions,
    seed: int,
    progress: Progress = quiet,
) -> Sightings:
    """Render people and let the detector look, each picture as a film of its own."""
    parts = []
    for first in range(0, options.people, AT_ONCE):
        progress("rendered people", first, options.people)
        count = min(AT_ONCE, options.people - first)
        wanted = PeopleOptions(count, options.views, options.side, options.margin, options.distance, options.occluded)
        with tempfile.TemporaryDirectory() as folder:
            # Seeds of neighbouring parts must not draw the same people.
            people = render_people(body, bank, wanted, Path(folder) / "people", 1_000_003 * seed + first)
            parts.append(_seen(detector, body, people, options, np.random.default_rng([seed, first, 7])))
    progress("rendered people", options.people, options.people)
    return Sightings.concatenate(parts)


def _seen(
    detector: Detector, body: BodyModel, people: RenderedPeople, options: PictureOptions, rng: np.random.Generator
) -> Sightings:
    keypoints, labels = detector.keypoints, people.labels
    count, joints = len(people), len(keypoints)
    pixels, confidence, found = np.zeros((count, joints, 2)), np.zeros((count, joints)), np.zeros(count, dtype=bool)
    matrix, box = labels.matrix.copy(), labels.box[:, 2].copy()
    owner = torch.arange(count) // people.views
    on_body = [place for place, name in enumerate(keypoints.keypoint_names) if name in body.landmark_names]
    names = tuple(keypoints.keypoint_names[place] for place in on_body)
    points = pose_landmarks(landmark_skin(body, names), people.truth[owner]).positions.numpy()
    kept = []
    for at in range(count):
        scale = float(np.exp(rng.uniform(np.log(options.smallest), 0)))
        picture, scale = smaller(people.picture(at), scale, int(rng.integers(*options.quality)))
        if options.kept:
            kept.append(picture)
        matrix[at], box[at] = scaled(matrix[at], scale), scale * box[at]
        flat = (people.world_rotation[at] @ points[at].T).T + people.world_translation[at]
        seen = flat @ matrix[at].T
        best = the_person(next(iter(detector.detect([picture]))), seen[:, :2] / seen[:, 2:], on_body, box[at])
        if best is not None:
            pixels[at], confidence[at], found[at] = best[:, :2], best[:, 2], True
    return Sightings(
        keypoints, people.views, pixels, confidence, found, matrix,
        people.world_rotation, people.world_translation, box, people.truth, tuple(kept),
    )  # fmt: skip


def scaled(matrix: Float[np.ndarray, "3 3"], scale: float) -> Float[np.ndarray, "3 3"]:
    """The camera of a picture made smaller by a factor: pixel centres are at integers, so the old pixel x lies at
    scale (x + 1/2) − 1/2.
    """
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]]) @ matrix


def smaller(
    picture: UInt8[np.ndarray, "height width 3"], scale: float, quality: int
) -> tuple[UInt8[np.ndarray, "rows columns 3"], float]:
    """The picture as a cheaper camera would have stored it, and the factor that rounding to whole pixels left."""
    side = max(32, round(scale * picture.shape[0]))
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    _, stored = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(stored, cv2.IMREAD_COLOR), side / picture.shape[0]  # type: ignore[return-value]


def the_person(
    people: Float[np.ndarray, "person joint 3"],
    truth: Float[np.ndarray, "landmark 2"],
    on_body: list[int],
    box: float,
) -> Float[np.ndarray, "joint 3"] | None:
    """Of those reported the one who was rendered, None where there is none."""
    off = [float(np.median(np.linalg.norm(person[on_body, :2] - truth, axis=1))) / box for person in people]
    return people[int(np.argmin(off))] if off and min(off) < SAME else None
