"""The fitted body drawn over the video it was fitted to, as a video.

Frames stream through in chunks, so the memory used does not depend on the length of the recording.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.report.colours import person_colour
from refit_mv.report.lettering import Badge, Head, paint_badges, paint_caption
from refit_mv.report.painter import Projector, Region, Surface, paint, paint_keypoints, region_of_body
from refit_mv.session.video import FrameSource, write_video
from refit_mv.status import FrameStatus

CHUNK_FRAMES = 32
# Up to this many unwanted pictures are read past; over more it is quicker to seek.
SEEK_DISTANCE = 24
BACKGROUND = (24, 26, 30)
# Statuses whose body is drawn. A failed fit is drawn too: seeing how it failed is what the overlay is for.
DRAWN = frozenset(FrameStatus) - {FrameStatus.ABSENT}
SNAPSHOT_SIDE = 320
# A head's outline is at most this far from its joint, metres.
HEAD_REACH = 0.16


@dataclass(frozen=True, eq=False)
class OverlayBody:
    """One person to draw.

    ``vertices_of(start, stop)`` gives the world vertices (metres) of result frames start ≤ i < stop; ``status`` has one
    word per result frame. ``keypoints`` (pixels) and ``confidence`` are what the detector saw of this person in this
    view, if that is to be drawn. ``label`` stands beside the head, which is at ``head`` (world, metres, NaN: nowhere),
    where there are several people.
    """

    faces: Int[Tensor, "face 3"]
    vertices_of: Callable[[int, int], Float[Tensor, "frame vertex 3"]]
    status: Sequence[str]
    keypoints: Float[np.ndarray, "frame joint 2"] | None = None
    confidence: Float[np.ndarray, "frame joint"] | None = None
    colour: tuple[int, int, int] | None = None
    label: str = ""
    head: Float[np.ndarray, "frame 3"] | None = None


@dataclass(frozen=True)
class BlankSource:
    """Plain dark frames, for sessions that have keypoints but no videos."""

    size: tuple[int, int]
    count: int
    fps: float | None
    path: Path = Path("blank")
    warnings: tuple[str, ...] = ()

    @property
    def frame_numbers(self) -> Int[np.ndarray, " count"]:
        return np.arange(self.count)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for _ in range(start, self.count if stop is None else min(stop, self.count)):
            yield _background(self.size)


def blank_source(size: tuple[int, int], count: int, fps: float | int | None) -> FrameSource:
    """A dark background of ``size`` (width, height) pixels to draw on where there is no video."""
    return BlankSource(size, count, None if fps is None else float(fps))


def render_overlay(
    source: FrameSource,
    camera: Camera,
    bodies: Sequence[OverlayBody],
    out_path: Path,
    *,
    positions: Int[np.ndarray, " frame"] | None = None,
    frame_numbers: Int[np.ndarray, " frame"] | None = None,
    fps: float | int | None = None,
    snapshots: Collection[tuple[int, int]] = (),
) -> dict[tuple[int, int], bytes]:
    """Write the overlay video of one view.

    Result frame i is drawn on the picture at ``positions[i]`` of ``source`` (at i when not given) and captioned
    ``frame_numbers[i]``. Positions that the source does not have get a plain background. The picture's own pixels are
    the calibrated ones, as they are: a video some pixels smaller than the calibration says is not rescaled.

    Returns:
        For each result frame and body (its place among ``bodies``) asked for in ``snapshots``: a JPEG cut-out around
        that body, or around all of them where it is not in the picture.

    Raises:
        InputError: no body, bodies of differing length, or no frame rate in the video nor given.
    """
    rate = fps or source.fps
    if not rate:
        raise InputError(f"view '{camera.name}': the video does not say its frame rate; give it with --fps")
    kept: dict[tuple[int, int], bytes] = {}
    projector = Projector(camera)
    drawn = overlay_frames(source, camera, bodies, positions=positions, frame_numbers=frame_numbers)

    def pictures() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for index, picture, region in drawn:
            for frame, place in snapshots:
                if frame == index:
                    around = body_region(bodies[place], index, projector, source.size)
                    kept[frame, place] = snapshot(picture, around or region)
            yield picture

    write_video(out_path, pictures(), rate)
    return kept


def body_region(body: OverlayBody, index: int, projector: Projector, size: tuple[int, int]) -> Region | None:
    """Where a body is in the picture, if it is drawn there."""
    if body.status[index] not in DRAWN:
        return None
    points = body.vertices_of(index, index + 1)[0]
    return region_of_body(projector(points), size) if torch.isfinite(points).all() else None


def overlay_frames(
    source: FrameSource,
    camera: Camera,
    bodies: Sequence[OverlayBody],
    *,
    positions: Int[np.ndarray, " frame"] | None = None,
    frame_numbers: Int[np.ndarray, " frame"] | None = None,
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"], Region | None]]:
    """Result frame index, finished picture (RGB) and the painted region, one frame after the other. See
    :func:`render_overlay`.
    """
    lengths = {len(body.status) for body in bodies}
    if len(lengths) != 1:
        raise InputError(
            f"view '{camera.name}': overlay needs bodies over the same frames, got lengths {sorted(lengths)}"
        )
    count = lengths.pop()
    projector = Projector(camera)
    colours = [body.colour or person_colour(place) for place, body in enumerate(bodies)]
    badges = [Badge(body.label, colour) for body, colour in zip(bodies, colours, strict=True) if len(bodies) > 1]
    surfaces: dict[int, Surface] = {}
    video = _pictures(source, np.arange(count) if positions is None else positions)
    for start in range(0, count, CHUNK_FRAMES):
        stop = min(start + CHUNK_FRAMES, count)
        chunks = [_chunk(body, start, stop) for body in bodies]
        for place, chunk in enumerate(chunks):
            if chunk is not None and place not in surfaces:
                surfaces[place] = Surface.of(bodies[place].faces.cpu().numpy(), chunk.shape[1])
        for index in range(start, stop):
            frame = next(video)
            picture = _background(source.size) if frame is None else np.array(frame)
            scene = []
            for place, (body, chunk) in enumerate(zip(bodies, chunks, strict=True)):
                if chunk is None or body.status[index] not in DRAWN or not torch.isfinite(chunk[index - start]).all():
                    continue
                scene.append((surfaces[place], projector(chunk[index - start]), colours[place]))
            region = paint(picture, scene)
            for body in bodies:
                if body.keypoints is not None:
                    trust = np.ones(body.keypoints.shape[1]) if body.confidence is None else body.confidence[index]
                    paint_keypoints(picture, body.keypoints[index], trust)
            if badges:
                paint_badges(picture, _heads(bodies, badges, index, projector))
            number = index if frame_numbers is None else int(frame_numbers[index])
            note = "" if frame is not None else "   no picture"
            words = f"{camera.name}   frame {number}{note}"
            paint_caption(picture, words, [body.status[index] for body in bodies], badges)
            yield index, picture, region


def _heads(bodies: Sequence[OverlayBody], badges: Sequence[Badge], index: int, projector: Projector) -> list[Head]:
    """Heads of the bodies that are drawn and before the camera."""
    found = []
    for body, badge in zip(bodies, badges, strict=True):
        if body.head is None or body.status[index] not in DRAWN or not np.isfinite(body.head[index]).all():
            continue
        seen = projector(torch.from_numpy(body.head[index : index + 1]))
        if seen.visible[0]:
            x, y = (float(value) for value in seen.pixels[0])
            found.append(Head(badge, (x, y), projector.focal * HEAD_REACH / float(np.linalg.norm(seen.p_cam[0]))))
    return found


def positions_by_number(
    source: FrameSource, frame_numbers: Int[np.ndarray, " frame"], offset: int = 0
) -> Int[np.ndarray, " frame"]:
    """Where ``source`` holds the pictures numbered ``frame_numbers + offset``; -1 where it does not."""
    place = {int(number): position for position, number in enumerate(source.frame_numbers)}
    return np.array([place.get(int(number) + offset, -1) for number in frame_numbers], dtype=np.int64)


def snapshot(picture: UInt8[np.ndarray, "height width 3"], region: Region | None, side: int = SNAPSHOT_SIDE) -> bytes:
    """A JPEG cut-out around ``region`` (the whole picture without one), its longer side at most ``side`` pixels."""
    height, width = picture.shape[:2]
    if region is not None:
        margin = max(region.right - region.left, region.bottom - region.top) // 6
        top, bottom = max(region.top - margin, 0), min(region.bottom + margin, height)
        left, right = max(region.left - margin, 0), min(region.right + margin, width)
        picture = picture[top:bottom, left:right]
    scale = side / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


def _background(size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    # One colour plane after the other: filling triples is eight times slower.
    picture = np.empty((size[1], size[0], 3), dtype=np.uint8)
    for channel, value in enumerate(BACKGROUND):
        picture[..., channel] = value
    return picture


def _pictures(
    source: FrameSource, positions: Int[np.ndarray, " frame"]
) -> Iterator[UInt8[np.ndarray, "height width 3"] | None]:
    """One picture per position, None where there is none; reads on as long as positions grow in small steps, and seeks
    otherwise.
    """
    stream: Iterator[UInt8[np.ndarray, "height width 3"]] = iter(())
    at, last = -1, None
    for position in (int(value) for value in positions):
        if not 0 <= position < source.count:
            yield None
            continue
        if last is None or not at <= position <= at + SEEK_DISTANCE:
            stream, at, last = source.frames(position), position - 1, None
        while at < position:
            last, at = next(stream, None), at + 1
        yield last


def _chunk(body: OverlayBody, start: int, stop: int) -> Float[Tensor, "frame vertex 3"] | None:
    """Vertices of a chunk of frames; None where nobody is to be drawn in it."""
    if not any(status in DRAWN for status in body.status[start:stop]):
        return None
    return body.vertices_of(start, stop)
