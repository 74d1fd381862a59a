"""Films are rendered and looked at as they should be, and how errors last is learned back."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.motion.motion import Motion
from refit_mv.session.detector_profile import DetectorProfile, Habits, ProfileCard, read_profile, write_profile
from refit_mv.workshop.pictures.film import Film, FilmOptions, render_film
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.training.detector_films import Filmed, FilmingOptions, draw_filmed
from refit_mv.workshop.training.detector_habits import misses
from refit_mv.workshop.training.detector_memory import with_memory
from refit_mv.workshop.training.detector_pictures import Sightings, scaled
from refit_mv.workshop.training.sequence_samples import Takes

KEYPOINTS = keypoint_set("coco17")
FILM = FilmOptions(views=2, side=64, occluded=0.5)
FRAMES = 6


def waving() -> Motion:
    """A man who stands, raises an arm and walks a little."""
    rotations = torch.eye(3, dtype=torch.float64).repeat(2 * FRAMES, 24, 1, 1)
    angle = torch.linspace(0, 1, 2 * FRAMES, dtype=torch.float64)
    cosine, sine = angle.cos(), angle.sin()
    rotations[:, 16, 0, 0], rotations[:, 16, 0, 1] = cosine, -sine
    rotations[:, 16, 1, 0], rotations[:, 16, 1, 1] = sine, cosine
    pelvis = torch.tensor([0.0, 0.93, 0.0], dtype=torch.float64).repeat(2 * FRAMES, 1)
    pelvis[:, 2] = 0.02 * torch.arange(2 * FRAMES)
    return Motion("waving", 60.0, pelvis, rotations)


def test_one_seed_makes_one_film(body: BodyModel) -> None:
    film, again = (render_film(body, waving(), FILM, 4) for _ in range(2))
    other = render_film(body, waving(), FILM, 5)
    for own, same, different in zip(film.pictures, again.pictures, other.pictures, strict=True):
        assert np.array_equal(own, same)
        assert not np.array_equal(own, different)


def test_the_person_moves_and_the_room_does_not(body: BodyModel) -> None:
    film = render_film(body, waving(), replace(FILM, occluded=0.0), 4)
    points = pose_landmarks(landmark_skin(body, KEYPOINTS.keypoint_names), film.truth).positions.numpy()
    for camera, pictures in zip(film.rig, film.pictures, strict=True):
        place = camera.cam_from_world
        flat = (points @ place.rotation.numpy().T + place.translation.numpy()) @ camera.matrix.T
        pixels = flat[..., :2] / flat[..., 2:]
        assert pixels.min() > 0
        assert pixels.max() < FILM.side - 1
        changed = (np.ptp(pictures.astype(int), axis=0) > 0).any(-1)
        low, high = pixels.min((0, 1)) - 8, pixels.max((0, 1)) + 8
        rows, columns = np.nonzero(changed)
        assert len(rows) > 20
        assert ((columns > low[0]) & (columns < high[0]) & (rows > low[1]) & (rows < high[1])).all()


class Truthful:
    """Reports of one film's pictures, camera by camera, where the person's points are."""

    name, keypoints = "truthful", KEYPOINTS

    def __init__(self, body: BodyModel, film: Film) -> None:
        points = pose_landmarks(landmark_skin(body, KEYPOINTS.keypoint_names), film.truth).positions.numpy()
        self.film, self.points, self.views = film, points, iter(film.rig)

    def detect(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        camera = next(self.views)
        place = camera.cam_from_world
        for frame, points in zip(frames, self.points, strict=True):
            matrix = scaled(camera.matrix, len(frame) / FILM.side)
            flat = (points @ place.rotation.numpy().T + place.translation.numpy()) @ matrix.T
            seen = np.concatenate([flat[:, :2] / flat[:, 2:], np.ones((len(flat), 1))], 1)
            # Somebody else stands in the corner.
            yield np.stack([np.zeros_like(seen), seen])


def test_every_picture_lies_beside_its_own_truth(body: BodyModel) -> None:
    motions, options = [waving()], FilmingOptions(films=1, frames=FRAMES, film=FILM)
    taken = Takes.of(motions, FRAMES).draw(FRAMES, 2, np.random.default_rng([3, 0, 5]))
    film = render_film(body, replace(taken, fps=30.0), FILM, [3, 0])
    (filmed,) = draw_filmed(Truthful(body, film), body, motions, options, 3)
    assert filmed.fps == 30.0
    assert filmed.seen.found.all()
    assert len(filmed.seen) == 2 * FRAMES
    # A frame that lay beside its neighbour would be off by the centimetres that the person moves.
    assert float(misses(body, filmed.seen).miss.norm(dim=-1).max()) < 1e-9


def remembering(body: BodyModel, fps: float, stays: float, fades: float, seed: int) -> Filmed:
    """A film of somebody who stands still, with errors of 20 mm: a share that stays, a share that fades in 0.2 s."""
    frames, rng = 60, np.random.default_rng(seed)
    shape = torch.zeros(1, body.shape_count, dtype=torch.float64)
    rotations = torch.eye(3, dtype=torch.float64).expand(1, body.joint_count, 3, 3)
    place = torch.tensor([[0.0, 0.95, 0.0]], dtype=torch.float64)
    truth = BodyParams(place, rotations, shape)[torch.zeros(frames, dtype=torch.int64)]
    (camera,) = random_rig([9, seed], 1)
    points = pose_landmarks(landmark_skin(body, KEYPOINTS.keypoint_names), truth).positions.numpy()
    rotation, translation = camera.cam_from_world.rotation.numpy(), camera.cam_from_world.translation.numpy()
    own = rng.normal(size=points.shape)
    memory = np.exp(-1 / (0.2 * fps))
    fading = rng.normal(size=points.shape)
    for frame in range(1, frames):
        fading[frame] = memory * fading[frame - 1] + (1 - memory**2) ** 0.5 * fading[frame]
    error = stays**0.5 * rng.normal(size=points.shape[1:]) + fades**0.5 * fading + (1 - stays - fades) ** 0.5 * own
    flat = (points @ rotation.T + translation + 0.02 * error) @ camera.matrix.T

    def every(value: np.ndarray) -> np.ndarray:
        return np.repeat(value[None], frames, 0)

    return Filmed(
        fps,
        Sightings(
            KEYPOINTS, 1, flat[..., :2] / flat[..., 2:], np.full(points.shape[:2], 0.9), np.ones(frames, dtype=bool),
            every(camera.matrix), every(rotation), every(translation), np.full(frames, 400.0), truth,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("stays", "fades"), [(0.0, 0.0), (0.4, 0.4), (0.0, 0.8)])
def test_how_errors_last_is_learned_back(body: BodyModel, stays: float, fades: float, tmp_path: Path) -> None:
    names = KEYPOINTS.keypoint_names
    habits = Habits(
        torch.zeros(len(names), 3, dtype=torch.float64),
        torch.tensor([0.1, 0.9], dtype=torch.float64),
        torch.full((len(names), 2), 0.02, dtype=torch.float64),
    )
    profile = DetectorProfile(ProfileCard("made up", "coco17", "a test", 1, 1), names, habits)
    films = [remembering(body, fps, stays, fades, seed) for seed, fps in enumerate([30.0, 60.0] * 10)]
    card = with_memory(profile, body, films).card
    found = dict(card.fades)
    # Errors of 340 points that stay for a second: shares of the variance to some hundredths.
    assert card.stays + found.get(1.0, 0.0) == pytest.approx(stays, abs=0.1)
    assert found.get(0.2, 0.0) + found.get(0.05, 0.0) == pytest.approx(fades, abs=0.1)
    assert 1 - card.stays - sum(found.values()) == pytest.approx(1 - stays - fades, abs=0.05)
    write_profile(tmp_path / "profile.safetensors", replace(profile, card=card))
    assert read_profile(tmp_path / "profile.safetensors").card == card
