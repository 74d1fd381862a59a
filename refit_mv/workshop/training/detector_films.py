"""What a detector reports of rendered films whose truth is known: the evidence of how its errors last."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.detect.detector import Detector
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
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
    stored, cameras = [], []
    for camera, pictures in zip(film.rig, film.pictures, strict=True):
        scale, quality = float(np.exp(rng.uniform(np.log(options.smallest), 0))), int(rng.integers(*options.quality))
        small, factors = zip(*(smaller(picture, scale, quality) for picture in pictures), strict=True)
        stored.append(small)
        cameras.append(replace(camera, size=None, matrix=scaled(camera.matrix, factors[0])))
    rig, frames = CameraRig(tuple(cameras)), len(film.truth)
    pixels, _ = project(rig.stacked(), pose_landmarks(landmark_skin(body, names), film.truth).positions)
    truth = pixels.numpy()
    box = np.ptp(truth, axis=2).max(-1)
    told, found = np.zeros((frames, len(rig), len(keypoints), 3)), np.zeros((frames, len(rig)), dtype=bool)
    for view, pictures in enumerate(stored):
        for frame, people in enumerate(detector.detect(pictures)):
            best = the_person(people, truth[frame, view], on_body, box[frame, view])
            if best is not None:
                told[frame, view], found[frame, view] = best, True

    def every(values: list[np.ndarray]) -> np.ndarray:
        """The cameras' own, in every frame."""
        return np.tile(np.stack(values), (frames, *[1] * values[0].ndim))

    places = [camera.cam_from_world for camera in rig]
    flat = told.reshape(-1, len(keypoints), 3)
    return Sightings(
        keypoints, len(rig), flat[..., :2], flat[..., 2], found.reshape(-1), every([camera.matrix for camera in rig]),
        every([place.rotation.numpy() for place in places]), every([place.translation.numpy() for place in places]),
        box.reshape(-1), film.truth,
    )  # fmt: skip
