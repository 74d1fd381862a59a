"""The overlay against OpenCV's own projection, in a picture where the lens bends things by dozens of pixels."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from refit_mv.body.model import vertices
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.report.overlay import (
    BACKGROUND,
    CHUNK_FRAMES,
    OverlayBody,
    blank_source,
    overlay_frames,
    positions_by_number,
    render_overlay,
    snapshot,
)
from refit_mv.report.painter import Projector, widest_angle
from refit_mv.session.video import open_video

torch.set_num_threads(1)
SIZE = (640, 480)
MATRIX = np.array([[400.0, 0, 320], [0, 400, 240], [0, 0, 1]])
BARREL = np.array([-0.28, 0.07, 0.003, -0.002, -0.005])


def camera(distortion: np.ndarray = BARREL, lens: str = "brown_conrady", name: str = "side") -> Camera:
    cam_from_world = RigidTransform(
        exp(torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64)), torch.tensor([0.1, 0.2, 3.0]).double()
    )
    return Camera(name, SIZE, MATRIX, distortion, cam_from_world, lens)  # pyright: ignore[reportArgumentType]


def ball(
    center_cam: tuple[float, float, float], radius: float, view: Camera, rows: int = 24
) -> tuple[torch.Tensor, torch.Tensor]:
    """World vertices and outward faces of a sphere placed in the camera's frame."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi, rows), np.arange(2 * rows) * np.pi / rows, indexing="ij")
    points = radius * np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1)
    index = np.arange(points.shape[0] * points.shape[1]).reshape(points.shape[:2])
    right = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1].ravel(), index[1:].ravel(), right[1:].ravel(), right[:-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    p_cam = torch.from_numpy(points.reshape(-1, 3)) + torch.tensor(center_cam).double()
    return view.cam_from_world.inverse().apply(p_cam), torch.from_numpy(faces)


def body_of(p_world: torch.Tensor, faces: torch.Tensor, status: str = "fitted", count: int = 1) -> OverlayBody:
    return OverlayBody(faces, lambda start, stop: p_world.expand(stop - start, -1, -1), (status,) * count)


def painted(view: Camera, *bodies: OverlayBody) -> np.ndarray:
    """The first picture of the overlay on a blank ground."""
    return next(iter(overlay_frames(blank_source(SIZE, 1, 30.0), view, bodies)))[1]


def mask_of(picture: np.ndarray) -> np.ndarray:
    """Pixels that differ from the ground, without the caption's strip."""
    mask = (np.abs(picture.astype(int) - np.array(BACKGROUND)).max(-1) > 8).astype(np.uint8)
    mask[:40] = 0
    return mask


def expected_mask(
    p_world: torch.Tensor, faces: torch.Tensor, view: Camera, distortion: np.ndarray | None = None
) -> np.ndarray:
    """The union of all faces through cv2's projection."""
    turned, _ = cv2.Rodrigues(view.cam_from_world.rotation.numpy())
    shift = view.cam_from_world.translation.numpy()
    used = view.distortion if distortion is None else distortion
    if view.lens == "fisheye":
        pixels, _ = cv2.fisheye.projectPoints(p_world.numpy()[:, None], turned, shift, view.matrix, used)
    else:
        pixels, _ = cv2.projectPoints(p_world.numpy(), turned, shift, view.matrix, used)
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    for triangle in np.rint(pixels.reshape(-1, 2)[faces.numpy()]).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1)
    mask[:40] = 0
    return mask


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union."""
    return float((first & second).sum() / max((first | second).sum(), 1))


def centroid(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0)[::-1]


# The outline is drawn two pixels wide around the body: on shapes of some 100 px across that alone costs 3 to 4 % of the
# overlap (measured: 0.966 to 0.971), while a missing lens leaves 0.55 and a shift by 20 px leaves 0.66.
SAME_SHAPE = 0.93


@pytest.mark.parametrize(
    ("distortion", "lens"),
    [(BARREL, "brown_conrady"), (np.zeros(0), "brown_conrady"), (np.array([0.08, -0.02, 0.01, -0.003]), "fisheye")],
)
def test_silhouette_is_where_opencv_projects_the_body(distortion: np.ndarray, lens: str) -> None:
    view = camera(distortion, lens)
    p_world, faces = ball((1.3, 0.8, 2.6), 0.35, view)
    found, wanted = mask_of(painted(view, body_of(p_world, faces))), expected_mask(p_world, faces, view, distortion)
    assert overlap(found, wanted) > SAME_SHAPE
    # The outline is symmetric; measured: 0.10 to 0.14 px.
    assert np.linalg.norm(centroid(found) - centroid(wanted)) < 0.5


def test_silhouette_check_notices_a_missing_lens_and_a_shift_of_20_px() -> None:
    view = camera()
    p_world, faces = ball((1.3, 0.8, 2.6), 0.35, view)
    wanted = expected_mask(p_world, faces, view)
    assert overlap(expected_mask(p_world, faces, view, np.zeros(5)), wanted) < SAME_SHAPE
    moved = p_world + view.cam_from_world.rotation.T @ torch.tensor([20 * 2.6 / 400, 0.0, 0.0]).double()
    found = mask_of(painted(view, body_of(moved, faces)))
    assert overlap(found, wanted) < SAME_SHAPE
    assert np.linalg.norm(centroid(found) - centroid(wanted)) > 10


def test_the_open_body_is_drawn_in_place() -> None:
    body, view = open_body(), camera()
    params = body.rest(1)
    # Upside down in camera axes: y points down there. 3.4 m away, feet near the lower edge where the lens bends.
    turned = params.rotations.clone()
    turned[:, 0] = view.cam_from_world.rotation.T @ torch.diag(torch.tensor([1.0, -1.0, -1.0]).double())
    at = view.cam_from_world.inverse().apply(torch.tensor([[-0.4, 0.3, 3.4]]).double())
    p_world = vertices(body, BodyParams(at, turned, params.shape))
    found = mask_of(painted(view, body_of(p_world[0], body.faces)))
    wanted = expected_mask(p_world[0], body.faces, view)
    # Thin arms are mostly outline: 0.85 for the two pixels around limbs some 15 px wide.
    assert overlap(found, wanted) > 0.85
    assert np.linalg.norm(centroid(found) - centroid(wanted)) < 1


def test_nearer_bodies_cover_those_behind_whatever_their_order() -> None:
    view = camera()
    near, far = ball((0.0, 0.1, 2.0), 0.2, view), ball((0.0, 0.1, 3.0), 0.5, view)
    red, blue = (255, 0, 0), (0, 0, 255)
    for order in ((0, 1), (1, 0)):
        bodies = [
            OverlayBody(faces, lambda a, b, p=points: p.expand(b - a, -1, -1), ("fitted",), colour=colour)
            for (points, faces), colour in ((near, red), (far, blue))
        ]
        picture = painted(view, *(bodies[index] for index in order)).astype(int)
        x, y = (round(float(value)) for value in Projector(view)(near[0]).pixels.mean(0))
        assert picture[y, x, 0] > picture[y, x, 2] + 30
        # Beside the small ball, on the large one.
        assert picture[y, x + 60, 2] > picture[y, x + 60, 0] + 30


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    view = camera()
    assert not mask_of(painted(view, body_of(*ball((0.1, 0.1, -2.0), 0.3, view)))).any()


def test_a_strong_lens_does_not_fold_far_things_into_the_picture() -> None:
    """Beyond its widest angle the barrel polynomial turns back: this ball's pixels would land inside the picture."""
    bent = np.array([-0.4, 0.0, 0.0, 0.0])
    view = camera(bent)
    # Radial growth ends where 1 - 3·0.4·r² = 0, at r = 0.91, 42.4 degrees.
    assert abs(np.degrees(widest_angle(view)) - 42.4) < 0.1
    p_world, faces = ball((2.9, 0.0, 2.0), 0.1, view)
    pixels = Projector(view)(p_world).pixels
    assert ((pixels > 0) & (pixels < SIZE)).all(), "the case must be one where folding would show"
    assert not mask_of(painted(view, body_of(p_world, faces))).any()


def test_a_pinhole_and_the_usual_lenses_see_their_whole_picture() -> None:
    assert np.degrees(widest_angle(camera(np.zeros(0)))) > 87
    corner = np.degrees(np.arctan(np.hypot(320, 240) / 400))
    assert np.degrees(widest_angle(camera())) > corner


def test_absent_frames_and_frames_without_numbers_have_no_body() -> None:
    view = camera()
    p_world, faces = ball((0.0, 0.1, 2.5), 0.3, view)
    assert not mask_of(painted(view, body_of(p_world, faces, status="absent"))).any()
    assert not mask_of(painted(view, body_of(torch.full_like(p_world, torch.nan), faces))).any()
    assert mask_of(painted(view, body_of(p_world, faces, status="failed"))).any()


def test_shading_has_form_and_video_shows_through() -> None:
    view = camera()
    picture = painted(view, body_of(*ball((0.0, 0.1, 2.5), 0.4, view)))
    inside = cv2.erode(mask_of(picture), np.ones((9, 9), np.uint8)) > 0
    brightness = picture[inside].astype(float).mean(-1)
    assert np.percentile(brightness, 95) > 1.5 * np.percentile(brightness, 5)

    class White:
        size, count, fps, path, warnings, frame_numbers = SIZE, 1, 30.0, Path("white"), (), np.arange(1)

        def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
            yield np.full((SIZE[1], SIZE[0], 3), 255, dtype=np.uint8)

    body = body_of(*ball((0.0, 0.1, 2.5), 0.4, view))
    over_white = next(iter(overlay_frames(White(), view, [body])))[1]
    difference = over_white[inside].astype(int) - picture[inside]
    # Opacity 0.62 leaves 38 % of the difference between white and the dark ground, about 87 levels.
    assert np.allclose(difference.mean(), 0.38 * (255 - np.mean(BACKGROUND)), atol=6)


def test_keypoints_are_dots_where_they_were_detected() -> None:
    view = camera()
    p_world, faces = ball((0.0, 0.1, -2.5), 0.3, view)
    keypoints = np.array([[[100.0, 200.0], [300.0, 220.0], [400.0, 300.0], [9e9, 50.0]]])
    confidence = np.array([[0.9, 0.1, 0.0, 0.9]])
    body = OverlayBody(faces, lambda a, b: p_world.expand(b - a, -1, -1), ("fitted",), keypoints, confidence)
    picture = painted(view, body)
    assert picture[200, 100].tolist() == [255, 214, 64]
    assert len(set(picture[220, 300].tolist())) == 1
    assert picture[220, 300, 0] > 100
    assert picture[300, 400].tolist() == list(BACKGROUND)


def test_video_has_every_frame_at_its_own_size(tmp_path: Path) -> None:
    """Eight pixels narrower than the calibration, as real recordings are: drawn without rescaling."""
    view = camera()
    p_world, faces = ball((0.3, 0.1, 2.5), 0.3, view)
    asked: list[tuple[int, int]] = []

    def vertices_of(start: int, stop: int) -> torch.Tensor:
        asked.append((start, stop))
        return p_world.expand(stop - start, -1, -1)

    count = 2 * CHUNK_FRAMES + 3
    body = OverlayBody(faces, vertices_of, ("fitted",) * (count - 5) + ("absent",) * 5)
    narrow = (SIZE[0] - 8, SIZE[1])
    kept = render_overlay(
        blank_source(narrow, count, 29.97), view, [body], tmp_path / "side.mp4", snapshots=[(0, 0), (count - 1, 0)]
    )
    video = open_video(tmp_path / "side.mp4")
    assert video.size == narrow
    assert video.count == count
    assert abs((video.fps or 0) - 29.97) < 0.01
    assert max(stop - start for start, stop in asked) <= CHUNK_FRAMES
    frames = list(video.frames())
    wanted = expected_mask(p_world, faces, view)[:, : narrow[0]]
    # H.264 blurs the edge a little more.
    assert overlap(mask_of(frames[0]), wanted) > SAME_SHAPE - 0.03
    assert mask_of(frames[-1]).sum() < 20
    assert sorted(kept) == [(0, 0), (count - 1, 0)]
    assert all(picture.startswith(b"\xff\xd8\xff") for picture in kept.values())


class Numbered:
    """A source whose pictures carry their position as brightness."""

    size, fps, path, warnings = (64, 48), 30.0, Path("numbered"), ()

    def __init__(self, numbers: list[int]) -> None:
        self.frame_numbers = np.array(numbers)
        self.count = len(numbers)
        self.opened: list[int] = []

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        self.opened.append(start)
        for position in range(start, self.count if stop is None else stop):
            yield np.full((48, 64, 3), 100 + position, dtype=np.uint8)


def test_pictures_are_paired_by_position() -> None:
    view = camera()
    p_world, faces = ball((0.0, 0.1, -2.5), 0.3, view)
    source = Numbered(list(range(100)))
    positions = np.array([5, 6, 6, 9, 90, 2, -1, 300])
    body = body_of(p_world, faces, count=len(positions))
    shown = [int(picture[40, 60, 0]) for _, picture, _ in overlay_frames(source, view, [body], positions=positions)]
    assert shown == [105, 106, 106, 109, 190, 102, BACKGROUND[0], BACKGROUND[0]]
    # Small steps read on, far ones seek.
    assert source.opened == [5, 90, 2]


def test_positions_by_number() -> None:
    source = Numbered([10, 11, 13])
    assert positions_by_number(source, np.array([10, 11, 12, 13])).tolist() == [0, 1, -1, 2]
    assert positions_by_number(source, np.array([0, 3]), offset=10).tolist() == [0, 2]


def test_the_caption_survives_any_name_and_size() -> None:
    for size in ((64, 48), (33, 200)):
        frames = overlay_frames(
            blank_source(size, 1, 30.0), camera(name="カメラ <b>"), [body_of(*ball((0.0, 0.1, 2.5), 0.3, camera()))]
        )
        assert next(iter(frames))[1].shape == (size[1], size[0], 3)


def test_snapshots_are_cut_around_the_body() -> None:
    view = camera()
    _, picture, region = next(
        iter(overlay_frames(blank_source(SIZE, 1, 30.0), view, [body_of(*ball((0.8, 0.1, 2.5), 0.3, view))]))
    )
    assert region is not None
    cut = cv2.imdecode(np.frombuffer(snapshot(picture, region, side=64), np.uint8), cv2.IMREAD_COLOR)
    assert cut is not None
    assert max(cut.shape) == 64
    # The ball fills most of the cut-out.
    assert (cut.max(-1) > 60).mean() > 0.3


def test_of_several_people_a_snapshot_is_cut_around_the_one_it_is_about(tmp_path: Path) -> None:
    view = camera()
    small, large = (body_of(*ball((x, 0.1, 2.5), radius, view)) for x, radius in ((-0.8, 0.1), (0.6, 0.4)))
    kept = render_overlay(
        blank_source(SIZE, 1, 30.0), view, [small, large], tmp_path / "a.mp4", snapshots=[(0, 0), (0, 1)]
    )
    sides = {}
    for (_, place), picture in kept.items():
        cut = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert cut is not None
        sides[place] = max(cut.shape)
    # Balls of 0.1 and 0.4 m at 2.5 m, 400 px of focal length, and a sixth more on either side.
    assert 30 < sides[0] < 90
    assert 130 < sides[1] < 260


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    view = camera()
    shape = ball((0.0, 0.1, 2.5), 0.3, view)
    with pytest.raises(InputError, match="--fps"):
        render_overlay(blank_source(SIZE, 1, None), view, [body_of(*shape)], tmp_path / "a.mp4")
    with pytest.raises(InputError, match="lengths"):
        render_overlay(
            blank_source(SIZE, 1, 30.0), view, [body_of(*shape), body_of(*shape, count=2)], tmp_path / "a.mp4"
        )
    assert not list(tmp_path.iterdir())
