"""The benchmark of who is who: tracks of made-up scenes of several people, against the truth."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.tracks import Track, follow
from refit_mv.progress import Progress, quiet
from refit_mv.session.observations import Observations
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.columns import Layout, Row
from refit_mv.workshop.bench.crowd_errors import crowd_errors
from refit_mv.workshop.bench.identities import changes_told, detections_on, grouping, identities, persons_of_tracks
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import SCENES, scene_of

Follow = Callable[[Observations, CameraRig], Sequence[Track]]
_MEASURES = (
    "idf1", "mota", "ghost_s", "switches", "transfers", "told", "hard_share", "precision", "recall", "one_view",
    "foreign", "ms_per_frame",
)  # fmt: skip
_JOINTS = ("optimizer", "mpjpe_mm", "known_mm", "pcp", "known_pcp", "found", "overlap_mm")
# A track of a person is asked for in frames in which so many views hold a detection of theirs: of one alone nothing
# tells how far away they are.
FEWEST_VIEWS = 2
# A change within so many seconds of a moment in which it was hard to tell who is who is told by it.
NEAR_HARD = 0.25
# Frames a second, where neither scene nor anybody says.
SCENE_FPS = 30.0
# Somebody whose joints are nearer in the mean, millimetres, was found.
FOUND = 100.0


def _summary(rows: Sequence[Row]) -> list[str]:
    """The seeds together; joint errors by optimizer."""
    scenes = list({row["seed"]: row for row in rows}.values())

    def of(name: str) -> np.ndarray:
        return np.array([row[name] for row in scenes])

    lines = [
        f"IDF1 {of('idf1').mean():.4f} in the mean, {of('idf1').min():.4f} at worst; MOTA {of('mota').mean():.4f},"
        f" {of('mota').min():.4f}; longest ghost {of('ghost_s').max():.2f} s; {of('switches').sum()} switches,"
        f" {of('transfers').sum()} transfers; {np.median(of('ms_per_frame')):.2f} ms per frame in the median",
        f"within frames: precision {of('precision').mean():.4f} in the mean, {of('precision').min():.4f} at worst;"
        f" recall {of('recall').mean():.4f}, {of('recall').min():.4f}; {of('foreign').mean():.2%} of points foreign",
        f"{of('told').sum()} of {of('transfers').sum()} transfers at a moment that is called hard, as are"
        f" {of('hard_share').mean():.1%} of the frames",
    ]
    if any(row["one_view"] is not None for row in scenes):
        found = np.mean([row["one_view"] for row in scenes if row["one_view"] is not None])
        lines.append(f"{found:.1%} of those whom one view alone shows are found")
    for name in dict.fromkeys(row["optimizer"] for row in rows if row["optimizer"] is not None):
        mine = [row for row in rows if row["optimizer"] == name]
        found, known, pcp, known_pcp, share = (
            float(np.nanmean([row[column] for row in mine])) for column in _JOINTS[1:-1]
        )
        deep = [row["overlap_mm"] for row in mine]
        worst = max(row["mpjpe_mm"] / row["known_mm"] - 1 for row in mine)
        lines.append(
            f"{name}: joints {found:.1f} mm off, {known:.1f} mm with known people ({found / known - 1:+.1%}, at worst"
            f" {worst:+.1%}); PCP {pcp:.2%}, {known_pcp:.2%} with known people; {share:.1%} of them within 100 mm;"
            f" bodies up to {np.mean(deep):.0f} mm deep in each other in the mean, {max(deep):.0f} mm at worst"
        )
    return [f"  {line}" for line in lines]


LAYOUT = Layout(
    csv=("scene", "seed", "people", "views", "frames", "tracks", *_MEASURES, *_JOINTS),
    table=("seed", "tracks", *_MEASURES, *_JOINTS),
    block=("scene",),
    title=lambda row: (
        f"{row['scene']}: {row['people']} people, {row['views']} views, {row['frames']} frames (longest ghost in s,"
        " ms per frame, joint errors in mm)"
    ),
    remarks=_summary,
)


@dataclass(frozen=True)
class AssociationBench:
    """Scenes, so many seeds of each; held-out motions of the folder ``motion``, or without one drawn from the pose
    prior. ``frames``, ``fps``, ``keypoints`` and ``cameras`` (how many) None: the scene's own, else 10 s at 30 Hz, and
    Halpe-26.
    ``contact``: whether fitted people give way to one another.

    Raises:
        InputError: an unknown scene, or nothing to measure.
    """

    scenes: tuple[str, ...] = tuple(SCENES)
    seeds: int = 10
    frames: int | None = None
    fps: float | None = None
    noise: str = "standard"
    keypoints: str | None = None
    motion: Path | None = None
    cost: CostOptions = field(default_factory=CostOptions)
    contact: bool = True
    cameras: int | None = None

    layout = LAYOUT

    def __post_init__(self) -> None:
        for scene in self.scenes:
            scene_of(scene)
        if self.seeds < 1 or not self.scenes or (self.frames is not None and self.frames < 1):
            frames = "" if self.frames is None else f" of {self.frames} frames"
            raise InputError(f"nothing to measure: {len(self.scenes)} scenes{frames} with {self.seeds} seeds each")

    def rows(
        self, following: Follow = follow, optimizers: Mapping[str, Optimizer] | None = None, progress: Progress = quiet
    ) -> tuple[Row, ...]:
        """Measure: a row for each scene and seed, of every optimizer if there are any."""
        motions = bench_motions(self.motion, 0).motions if self.motion is not None else ()
        rows: list[Row] = []
        runs = [(scene, seed) for scene in self.scenes for seed in range(self.seeds)]
        for place, (scene, seed) in enumerate(runs):
            progress("measuring", place, len(runs))
            kind = scene_of(scene, views=self.cameras)
            rate = self.fps or kind.fps or SCENE_FPS
            session = made_up_scene(
                kind,
                seconds=None if self.frames is None else self.frames * (kind.apart or 1 / rate),
                fps=rate,
                noise=self.noise,
                keypoints=self.keypoints,
                motions=motions,
                seed=seed,
            )
            found = measured(session, following, optimizers or {}, self.cost, self.contact)
            rows += [{"scene": scene, "seed": seed, **row} for row in found]
        progress("measuring", len(runs), len(runs))
        return tuple(rows)


def measured(
    session: CrowdSession,
    following: Follow,
    optimizers: Mapping[str, Optimizer],
    cost: CostOptions,
    contact: bool = True,
) -> list[Row]:
    """How well a scene's people are followed, and fitted by each optimizer: ``known_mm`` is the joint error with the
    tracks of somebody who knows the truth, ``mpjpe_mm`` with those found, of the same people in the same frames.
    ``overlap_mm`` is how deep two of those found are in each other at most.
    """
    # Once for what is compiled and loaded at the first call.
    following(session.observations.frames(slice(0, 4)), session.rig)
    start = time.perf_counter()
    tracks = following(session.observations, session.rig)
    seconds = time.perf_counter() - start
    there = (session.known >= 0).sum(-1) >= FEWEST_VIEWS
    on = _on(session, tracks)
    whom = persons_of_tracks(on)
    found, within = identities(whom, there, session.fps), grouping(on, session.known, there)
    told = changes_told(whom, _hard(tracks, len(session)), round(NEAR_HARD * session.fps))
    row = {
        "people": len(session.truth),
        "views": len(session.rig),
        "frames": len(session),
        "tracks": len(tracks),
        "idf1": found.idf1,
        "mota": found.mota,
        "ghost_s": found.longest_ghost,
        "switches": found.switches,
        "transfers": found.transfers,
        "told": told.told,
        "hard_share": told.hard,
        "precision": within.precision,
        "recall": within.recall,
        "one_view": _one_view(session, whom),
        "foreign": _foreign(session, tracks, whom),
        "ms_per_frame": 1000 * seconds / len(session),
    }
    if not optimizers:
        return [{**row, **dict.fromkeys(_JOINTS)}]
    rows, right = [], known_tracks(session)
    for name, optimizer in optimizers.items():
        mine, best = (
            crowd_errors(session, each, persons_of_tracks(_on(session, each)), optimizer, cost, open_body(), contact)
            for each in (tracks, right)
        )
        both = there & np.isfinite(mine.joints) & np.isfinite(best.joints)
        pairs = [
            float(each[both].mean()) if both.any() else float("nan")
            for each in (mine.joints, best.joints, mine.parts, best.parts)
        ]
        share = float((mine.joints[there] < FOUND).mean()) if there.any() else float("nan")
        deep = float(mine.overlap.max())
        rows.append({**row, **dict(zip(_JOINTS, (name, *pairs, share, deep), strict=True))})
    return rows


def known_tracks(session: CrowdSession) -> tuple[Track, ...]:
    """The tracks of somebody who knows the truth."""
    return tuple(Track(detection, id=id) for id, detection in enumerate(session.known))


def _on(session: CrowdSession, tracks: Sequence[Track]) -> np.ndarray:
    detection, claimed = _claims(session, tracks)
    return detections_on(detection, claimed, session.joint_owner)


def _claims(session: CrowdSession, tracks: Sequence[Track]) -> tuple[np.ndarray, np.ndarray]:
    """Detections and points of all tracks."""
    shape = session.joint_owner.shape
    everything = np.ones((*shape[:2], shape[3]), dtype=bool)
    claimed = [everything if track.claimed is None else track.claimed for track in tracks]
    detection = np.array([track.detection for track in tracks], dtype=np.int64).reshape(-1, *shape[:2])
    return detection, np.array(claimed, dtype=bool).reshape(-1, *shape[:2], shape[3])


def _hard(tracks: Sequence[Track], frames: int) -> np.ndarray:
    """Of all tracks the frames in which it was hard to tell who they are."""
    hard = np.zeros((len(tracks), frames), dtype=bool)
    for row, track in zip(hard, tracks, strict=True):
        for moment in track.hard:
            row[moment.first : moment.last + 1] = True
    return hard


def _one_view(session: CrowdSession, whom: np.ndarray) -> float | None:
    """Share of the people who have a track, of those in frames in which one view alone holds a detection of them."""
    alone = (session.known >= 0).sum(-1) == 1
    on = (whom[:, None] == np.arange(len(session.known))[:, None]).any(0)
    return float((on & alone).sum() / alone.sum()) if alone.any() else None


def _foreign(session: CrowdSession, tracks: Sequence[Track], whom: np.ndarray) -> float:
    """Share of the points on people that were given to somebody else than those whom they are on."""
    detection, claimed = _claims(session, tracks)
    place = np.maximum(detection, 0)[..., None, None]
    sits_on = np.take_along_axis(session.joint_owner[None], place, axis=3)[..., 0, :]
    given = claimed & (detection >= 0)[..., None] & (sits_on >= 0) & (whom >= 0)[:, :, None, None]
    return float((given & (sits_on != whom[:, :, None, None])).sum() / max(given.sum(), 1))
