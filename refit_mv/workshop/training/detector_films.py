"""What a detector reports of rendered films whose truth is known: the evidence of how its errors last."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.detect.detector import Detector
from refit_mv.geometry.camera import CameraRig
from refit_mv.motion.motion import Motion
from refit_mv.progress import Progress, quiet
from refit_mv.ranges import require_positive
from refit_mv.session.detector_profile import DetectorProfile
from refit_mv.session.observations import PersonObservations
from refit_mv.workshop.pictures.film import Film, FilmOptions, render_film
from refit_mv.workshop.training.detector_pictures import Sightings, scaled, smaller, the_person
from refit_mv.workshop.training.sequence_samples import Takes


@dataclass(frozen=True)
class FilmingOptions:
    """``films`` of so many ``frames``, every other one at half the motions' rate; each camera stores its own smaller
    (down to the factor ``smallest``) and compressed (JPEG, ``quality`` from and to).
    """

    films: int = 20
    frames: int = 48
    smallest: float = 0.45
    quality: tuple[int, int] = (50, 95)
    film: FilmOptions = field(default_factory=lambda: FilmOptions(views=2))

    def __post_init__(self) -> None:
        require_positive(self, "frames", "smallest", "quality")


@dataclass(frozen=True, eq=False)
class Filmed:
    """One film: every person of ``seen`` is a frame of it, before the same cameras."""

    fps: float
    seen: Sightings

    @property
    def rig(self) -> CameraRig:
        return self.seen.rig(0)

    def told(self, profile: DetectorProfile | None) -> PersonObservations:
        """What was reported of the person, over time."""
        seen, frames = self.seen, len(self.seen.truth)
        return PersonObservations(
            seen.pixels.reshape(frames, seen.views, -1, 2),
            seen.confidence.reshape(frames, seen.views, -1),
            seen.keypoints,
            self.rig.names,
            self.fps,
            np.arange(frames),
            profile,
        )


def draw_filmed(
    detector: Detector,
    body: BodyModel,
    motions: Sequence[Motion],
    options: FilmingOptions,
    seed: int,
    progress: Progress = quiet,
) -> list[Filmed]:
    """Render films of people who move as in the ``motions``, and let the detector look at each whole.

    Raises:
        InputError: no motion is long enough.
    """
    if not options.films:
        return []
    takes, found = Takes.of(motions, options.frames), []
    for number in range(options.films):
        progress("rendered films", number, options.films)
        rng = np.random.default_rng([seed, number, 5])
        stride = 2 - number % 2
        motion = takes.draw(options.frames, stride, rng)
        motion = Motion(motion.name, motion.fps / stride, motion.pelvis, motion.rotations)
        film = render_film(body, motion, options.film, [seed, number])
        found.append(Filmed(film.fps, _seen(detector, body, film, options, rng)))
    progress("rendered films", options.films, options.films)
    return found


def _seen(
    detector: Detector, body: BodyModel, film: Film, options: FilmingOptions, rng: np.random.Generator
) -> Sightings:
    keypoints = detector.keypoints
    on_body = [place for place, name in enumerate(keypoints.keypoint_names) if name in body.landmark_names]
    names = tuple(keypoints.keypoint_names[place] for place in on_body)
    points = pose_landmarks(landmark_skin(body, names), film.truth).positions.numpy()
    views = []
    for camera, pictures in zip(film.rig, film.pictures, strict=True):
        scale, quality = float(np.exp(rng.uniform(np.log(options.smallest), 0))), int(rng.integers(*options.quality))
        stored, factors = zip(*(smaller(picture, scale, quality) for picture in pictures), strict=True)
        matrix, place = scaled(camera.matrix, factors[0]), camera.cam_from_world
        rotation, translation = place.rotation.numpy(), place.translation.numpy()
        seen = (points @ rotation.T + translation) @ matrix.T
        truth = seen[..., :2] / seen[..., 2:]
        box = (truth.max(1) - truth.min(1)).max(1)
        nobody = np.zeros((len(keypoints), 3))
        best = [
            the_person(people, own, on_body, side)
            for people, own, side in zip(detector.detect(stored), truth, box, strict=True)
        ]
        points_seen = np.stack([nobody if each is None else each for each in best])
        views.append(
            (
                points_seen[..., :2],
                points_seen[..., 2],
                np.array([each is not None for each in best]),
                *(np.repeat(each[None], len(best), 0) for each in (matrix, rotation, translation)),
                box,
            )
        )
    # Frame by frame, and in each the views.
    joined = [np.stack(parts, 1) for parts in zip(*views, strict=True)]
    pixels, confidence, found, matrix, rotation, translation, box = (
        each.reshape(-1, *each.shape[2:]) for each in joined
    )
    return Sightings(
        keypoints, len(views), pixels, confidence, found, matrix, rotation, translation, box, film.truth
    )  # fmt: skip
