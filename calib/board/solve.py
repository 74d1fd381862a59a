"""From what the pictures show of a board to lenses and poses: read aloud, this is the whole calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float

from calib.board.bundle import CAMERA, Freedom, clustering, counted, covariance, residuals
from calib.board.choice import spread_frames
from calib.board.gauge import CameraCovariance, camera_covariance
from calib.board.intrinsics import SolvedLens, Wanted, solve_lens
from calib.board.lens import NUMBERS, Lens
from calib.board.linking import Linked, Placed, link
from calib.board.placing import Placings, tilt_bins
from calib.board.recording import BoardRecording, check_layout, of_cameras, place_all, reordered
from calib.board.refinement import Clocks, Held, Refined, good_corners, good_views, refine
from calib.board.scene import Poses, Scene, Sightings
from refit_mv.errors import InputError
from refit_mv.progress import Progress, quiet

# Frames in the final adjustment: more change nothing that is measured in tenths of a millimetre.
MOST_FRAMES = 300
# Pixels: a pose that misses a view by more is as bad as any other.
_MISS = 50.0


@dataclass(frozen=True, eq=False)
class Request:
    """What to solve. ``lenses`` are known ones by camera name: they are kept as they are. ``wanted`` is the lens model
    by camera name, others are told by their views. ``origin`` is the frame (its number in the recording) whose board
    becomes the world; ``extrinsics`` False solves lenses alone. ``own_clocks`` solves for each camera's time as well.
    """

    lenses: Mapping[str, Lens] = field(default_factory=dict)
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    origin: int | None = None
    extrinsics: bool = True
    own_clocks: bool = False


@dataclass(frozen=True, eq=False)
class Solved:
    """The answer. ``cameras`` are numbers of the recording's cameras in the order of ``scene``; ``seen`` what was used,
    its cameras and frames numbered as in ``scene``; ``frames`` the recording's number of each of the scene's frames;
    ``lens_sigma`` one standard deviation of each lens's numbers (zeros where it was given), ``known`` how well the
    cameras' places are known (None for lenses alone). ``dropped`` counts each camera's views that contradict all
    others, ``linked`` is how the cameras hang together, ``clocks`` how far they are out of step where that shows.
    """

    recording: BoardRecording
    cameras: tuple[int, ...]
    scene: Scene
    seen: Sightings
    frames: tuple[int, ...]
    residuals: Float[np.ndarray, "view point 2"]
    sigma: float
    lens_sigma: Float[np.ndarray, "camera 9"]
    known: CameraCovariance | None
    dropped: tuple[int, ...]
    linked: Linked | None
    clocks: Clocks | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.recording.names[camera] for camera in self.cameras)

    def lens(self, camera: int) -> Lens:
        """The lens of a camera of the scene."""
        return self.scene.lens(camera, self.recording.sizes[self.cameras[camera]])


def solve(recording: BoardRecording, request: Request, progress: Progress = quiet) -> Solved:
    """Lenses, and poses of all cameras that hang together.

    Raises:
        InputError: no camera sees the board, no two see it together, or it is another board.
    """
    if not recording.views:
        raise InputError(f"no camera sees the {recording.board.described()}")
    check_layout(recording)
    seen = recording.sightings()
    lenses, solved_lenses = _lenses(recording, request, seen, progress)
    if not request.extrinsics:
        return _lenses_alone(recording, lenses, solved_lenses, seen)
    placings = place_all(seen, lenses, recording.board)
    linked = _linked(recording, placings, request)
    chosen = seen.of(_chosen(recording, seen, placings, linked, request))
    start, seen, cameras, frames = _start(recording, chosen, placings, lenses, linked)
    given = np.array([recording.names[camera] in request.lenses for camera in cameras])
    held = Held(tuple(recording.sizes[camera] for camera in cameras), given, recording.times[list(frames)])
    refined = refine(start, seen, held, request.own_clocks, progress)
    solved = _in_world(recording, request, refined, cameras, frames, linked)
    # Lenses that were held are known as well as their own views tell.
    own = np.array([solved_lenses[each].sigma if each in solved_lenses else np.zeros(NUMBERS) for each in cameras])
    held_lens = (solved.lens_sigma == 0).all(1, keepdims=True)
    return replace(solved, lens_sigma=np.where(held_lens, own, solved.lens_sigma))


def _lenses(
    recording: BoardRecording, request: Request, seen: Sightings, progress: Progress
) -> tuple[dict[int, Lens], dict[int, SolvedLens]]:
    lenses: dict[int, Lens] = {}
    solved: dict[int, SolvedLens] = {}
    for camera, name in enumerate(recording.names):
        progress("lenses", camera, len(recording.names))
        own = seen.of(seen.camera == camera)
        if name in request.lenses:
            lenses[camera] = request.lenses[name]
        elif len(own):
            found = solve_lens(own, recording.sizes[camera], request.wanted.get(name, "auto"))
            if found is not None:
                lenses[camera], solved[camera] = found.lens, found
    progress("lenses", len(recording.names), len(recording.names))
    return lenses, solved


def _lenses_alone(
    recording: BoardRecording, lenses: dict[int, Lens], solved: dict[int, SolvedLens], seen: Sightings
) -> Solved:
    cameras = tuple(sorted(lenses))
    count = len(cameras)
    placings = place_all(seen, lenses, recording.board)
    rows = [row for row in range(len(seen)) if (int(seen.camera[row]), int(seen.frame[row])) in placings]
    own = seen.of(np.array(rows, dtype=np.int64))
    poses = [placings[int(c), int(f)].poses[:1] for c, f in zip(own.camera, own.frame, strict=True)]
    numbered = replace(own, camera=np.searchsorted(cameras, own.camera), frame=np.arange(len(own)))
    orders = np.array([placings[int(c), int(f)].order[0] for c, f in zip(own.camera, own.frame, strict=True)])
    numbered = reordered(numbered, orders, recording.board)
    scene = Scene(
        tuple(lenses[camera].model for camera in cameras),
        np.array([lenses[camera].numbers for camera in cameras]),
        Poses(np.repeat(np.eye(3)[None], count, 0), np.zeros((count, 3))),
        Poses(np.concatenate([p.rotation for p in poses]), np.concatenate([p.translation for p in poses])),
    )
    left = residuals(scene, numbered)
    sigma = np.array([solved[camera].sigma if camera in solved else np.zeros(NUMBERS) for camera in cameras])
    noise = float(np.sqrt(np.nanmedian((left**2).sum(-1)) / (2 * np.log(2))))
    good = good_views(left)
    dropped = tuple(int((~good & (numbered.camera == camera)).sum()) for camera in range(count))
    numbered, left, own = numbered.of(good), left[good], own.of(good)
    scene = replace(scene, boards=scene.boards[good])
    there = numbered.seen & good_corners(left)
    left = np.where(there[..., None], left, np.nan)
    numbered = replace(numbered, frame=np.arange(len(own)), seen=there)
    frames = tuple(int(frame) for frame in own.frame)
    return Solved(recording, cameras, scene, numbered, frames, left, noise, sigma, None, dropped, None)


def _linked(recording: BoardRecording, placings: Placed, request: Request) -> Linked:
    with_lens = sorted({camera for camera, _ in placings})
    linked = link(placings, len(recording.names))
    if len(linked.cameras) < 2 and len(recording.names) > 1:
        counts = ", ".join(f"{name} {recording.count(camera)}" for camera, name in enumerate(recording.names))
        raise InputError(
            f"no two cameras see the board in the same frame (views: {counts}): are the recordings synchronized, and "
            "numbered alike? Show the board to two cameras at once, or solve lenses alone with --intrinsics-only and "
            "places with --scene"
        )
    if not with_lens:
        raise InputError("no camera has a lens that explains its views; check the board's description")
    del request
    return linked


def _chosen(
    recording: BoardRecording, seen: Sightings, placings: Placed, linked: Linked, request: Request
) -> Bool[np.ndarray, " view"]:
    """Views for the adjustment: of cameras that hang together, in frames that are spread."""
    usable = of_cameras(seen, linked.cameras)
    usable &= np.array([(int(c), int(f)) in placings for c, f in zip(seen.camera, seen.frame, strict=True)])
    own = seen.of(usable)
    tilts = np.array(
        [tilt_bins(placings[int(c), int(f)].poses[:1])[0] for c, f in zip(own.camera, own.frame, strict=True)]
    )
    frames = spread_frames(own, recording.sizes, tilts, MOST_FRAMES)
    if request.origin is not None:
        frames = np.union1d(frames, [request.origin])
    return usable & np.isin(seen.frame, frames)


def _start(
    recording: BoardRecording, chosen: Sightings, placings: Placed, lenses: dict[int, Lens], linked: Linked
) -> tuple[Scene, Sightings, tuple[int, ...], tuple[int, ...]]:
    """The scene to start from, and what was seen numbered as it is there."""
    cameras = linked.cameras
    frames = tuple(int(frame) for frame in np.unique(chosen.frame))
    camera = np.searchsorted(cameras, chosen.camera)
    frame = np.searchsorted(frames, chosen.frame)
    seen = replace(chosen, camera=camera, frame=frame)
    rotations, translations, order = [], [], np.zeros(len(seen), np.int64)
    for number, label in enumerate(frames):
        rows = np.flatnonzero(frame == number)
        views = [placings[cameras[camera[row]], label] for row in rows]
        best, picked = _board(views, linked.poses[camera[rows]])
        rotations.append(best.rotation[0])
        translations.append(best.translation[0])
        order[rows] = picked
    scene = Scene(
        tuple(lenses[each].model for each in cameras),
        np.array([lenses[each].numbers for each in cameras]),
        linked.poses,
        Poses(np.array(rotations), np.array(translations)),
    )
    return scene, reordered(seen, order, recording.board), cameras, frames


def _board(views: list[Placings], cameras: Poses, known: Poses | None = None) -> tuple[Poses, list[int]]:
    """The board's pose in one frame that all its views explain best, and each view's order of its points: the poses of
    each view are tried on all, and a pose that is known already.
    """
    tried = [cameras[np.full(len(view.error), own)].inverse() @ view.poses for own, view in enumerate(views)]
    tried += [] if known is None else [known]
    poses = Poses(np.concatenate([p.rotation for p in tried]), np.concatenate([p.translation for p in tried]))
    same = np.zeros(len(poses.rotation), int)
    misses = [view.misses(cameras[same + own] @ poses, _MISS) for own, view in enumerate(views)]
    best = int(np.sum([miss.min(-1) for miss in misses], 0).argmin())
    return poses[best : best + 1], [int(miss[best].argmin()) for miss in misses]


def _in_world(
    recording: BoardRecording,
    request: Request,
    refined: Refined,
    cameras: tuple[int, ...],
    frames: tuple[int, ...],
    linked: Linked,
) -> Solved:
    """The optimum in the world that was asked for, with the covariances that belong to it."""
    problem, scene = refined.problem, refined.adjusted.scene
    free = problem.free
    count = len(scene.models)
    relative_to = "rig"
    if request.origin is not None:
        if request.origin not in frames or not (problem.seen.frame == frames.index(request.origin)).any():
            raise InputError(
                "no camera that hangs together with the others sees the board in frame "
                f"{recording.frames[request.origin]}"
            )
        relative_to = "board"
        place = frames.index(request.origin)
        scene = _with_board_as_world(scene, place)
        held = free.boards.copy()
        held[place] = False
        all_free = free.cameras.copy()
        all_free[:, NUMBERS:] = True
        free = Freedom(all_free, held)
    whole = np.zeros((count * CAMERA, count * CAMERA))
    chosen = np.flatnonzero(free.cameras.ravel())
    # Never less than independent noise would have it: with few frames the measure itself is uncertain.
    together = max(clustering(scene, problem), 1.0)
    whole[np.ix_(chosen, chosen)] = together * covariance(scene, replace(problem, free=free))
    blocks = whole.reshape(count, CAMERA, count, CAMERA)
    steps = blocks[:, NUMBERS:, :, NUMBERS:].reshape(6 * count, 6 * count)
    lens_sigma = np.sqrt(np.stack([np.diag(blocks[c, :NUMBERS, c, :NUMBERS]) for c in range(count)]).clip(0))
    known = camera_covariance(scene.cameras, steps, relative_to)
    return Solved(
        recording,
        cameras,
        scene,
        problem.seen,
        frames,
        counted(replace(problem, scale=None), residuals(scene, problem.seen)),
        refined.adjusted.sigma,
        lens_sigma,
        known,
        refined.dropped,
        linked,
        refined.clocks,
    )


# The board's z points away from whoever looks at its print; the world's points out of it, so that a board on the floor
# has z up. x stays, y turns with z.
_OUT_OF_PRINT = np.diag([1.0, -1.0, -1.0])


def _with_board_as_world(scene: Scene, place: int) -> Scene:
    """The scene in the axes of one frame's board: origin at its own, x along its rows, z out of its printed side."""
    world_from_board = scene.boards[np.array([place])]
    old_from_new = Poses(world_from_board.rotation @ _OUT_OF_PRINT, world_from_board.translation)
    return Scene(
        scene.models,
        scene.lenses,
        scene.cameras @ old_from_new[np.zeros(len(scene.models), int)],
        old_from_new.inverse()[np.zeros(len(scene.boards.rotation), int)] @ scene.boards,
    )
