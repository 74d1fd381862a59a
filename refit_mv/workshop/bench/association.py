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
from refit_mv.workshop.bench.identities import identities, persons_of_tracks
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import SCENES, scene_of

Follow = Callable[[Observations, CameraRig], Sequence[Track]]
_MEASURES = ("idf1", "mota", "ghost_s", "switches", "transfers", "ms_per_frame")
_JOINTS = ("optimizer", "mpjpe_mm", "known_mm")
# A track of a person is asked for in frames in which so many views hold a detection of theirs: of one alone nothing
# tells how far away they are.
FEWEST_VIEWS = 2


def _summary(rows: Sequence[Row]) -> list[str]:
    """The seeds together; joint errors by optimizer."""
    scenes = list({row["seed"]: row for row in rows}.values())
    idf1, mota, cost = (np.array([row[name] for row in scenes]) for name in ("idf1", "mota", "ms_per_frame"))
    switches, transfers = (sum(row[name] for row in scenes) for name in ("switches", "transfers"))
    lines = [
        f"IDF1 {idf1.mean():.4f} in the mean, {idf1.min():.4f} at worst; MOTA {mota.mean():.4f}, {mota.min():.4f};"
        f" longest ghost {max(row['ghost_s'] for row in scenes):.2f} s; {switches} switches, {transfers} transfers;"
        f" {np.median(cost):.2f} ms per frame in the median"
    ]
    for name in dict.fromkeys(row["optimizer"] for row in rows if row["optimizer"] is not None):
        found, known = (
            float(np.nanmean([row[column] for row in rows if row["optimizer"] == name])) for column in _JOINTS[1:]
        )
        lines.append(f"{name}: joints {found:.1f} mm off, {known:.1f} mm with known people ({found / known - 1:+.1%})")
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
    """Scenes, so many seeds of each, so many seconds; held-out motions of the folder ``motion``, or without one drawn
    from the pose prior.

    Raises:
        InputError: an unknown scene, or nothing to measure.
    """

    scenes: tuple[str, ...] = tuple(SCENES)
    seeds: int = 10
    seconds: float = 10.0
    fps: float = 30.0
    noise: str = "standard"
    keypoints: str = "halpe26"
    motion: Path | None = None
    cost: CostOptions = field(default_factory=CostOptions)

    layout = LAYOUT

    def __post_init__(self) -> None:
        for scene in self.scenes:
            scene_of(scene)
        if self.seeds < 1 or not self.scenes:
            raise InputError(f"nothing to measure: {len(self.scenes)} scenes with {self.seeds} seeds each")

    def rows(
        self, following: Follow = follow, optimizers: Mapping[str, Optimizer] | None = None, progress: Progress = quiet
    ) -> tuple[Row, ...]:
        """Measure: a row for each scene and seed, of every optimizer if there are any."""
        motions = bench_motions(self.motion, 0).motions if self.motion is not None else ()
        rows: list[Row] = []
        runs = [(scene, seed) for scene in self.scenes for seed in range(self.seeds)]
        for place, (scene, seed) in enumerate(runs):
            progress("measuring", place, len(runs))
            session = made_up_scene(
                scene_of(scene),
                seconds=self.seconds,
                fps=self.fps,
                noise=self.noise,
                keypoints=self.keypoints,
                motions=motions,
                seed=seed,
            )
            found = measured(session, following, optimizers or {}, self.cost)
            rows += [{"scene": scene, "seed": seed, **row} for row in found]
        progress("measuring", len(runs), len(runs))
        return tuple(rows)


def measured(
    session: CrowdSession, following: Follow, optimizers: Mapping[str, Optimizer], cost: CostOptions
) -> list[Row]:
    """How well a scene's people are followed, and fitted by each optimizer: ``known_mm`` is the joint error with the
    tracks of somebody who knows the truth, ``mpjpe_mm`` with those found, of the same people in the same frames.
    """
    # Once for what is compiled and loaded at the first call.
    following(session.observations.frames(slice(0, 4)), session.rig)
    start = time.perf_counter()
    tracks = following(session.observations, session.rig)
    seconds = time.perf_counter() - start
    there = (session.known >= 0).sum(-1) >= FEWEST_VIEWS
    whom = _whom(session, tracks)
    found = identities(whom, there, session.fps)
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
        "ms_per_frame": 1000 * seconds / len(session),
    }
    if not optimizers:
        return [{**row, **dict.fromkeys(_JOINTS)}]
    rows, right = [], known_tracks(session)
    for name, optimizer in optimizers.items():
        mine, best = (
            crowd_errors(session, each, _whom(session, each), optimizer, cost, open_body()) for each in (tracks, right)
        )
        both = there & np.isfinite(mine) & np.isfinite(best)
        means = [float(error[both].mean()) if both.any() else float("nan") for error in (mine, best)]
        rows.append({**row, **dict(zip(_JOINTS, (name, *means), strict=True))})
    return rows


def known_tracks(session: CrowdSession) -> tuple[Track, ...]:
    """The tracks of somebody who knows the truth."""
    return tuple(Track(detection) for detection in session.known)


def _whom(session: CrowdSession, tracks: Sequence[Track]) -> np.ndarray:
    detection = np.array([track.detection for track in tracks], dtype=np.int64)
    return persons_of_tracks(detection.reshape(-1, *session.known.shape[1:]), session.owner)
