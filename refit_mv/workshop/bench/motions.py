"""Which motions a benchmark measures on: never those that anything was learned or tuned on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.files import entries
from refit_mv.motion.motion import Motion
from refit_mv.workshop.builders.prior_builder import HELD_OUT_SUBJECTS, TRAINING_SUBJECTS
from refit_mv.workshop.synthetic.motions import read_motions, sampled_motion

Share = Literal["held-out", "training"]
# Poses drawn from the prior, where no motions are given: enough that none is seen twice in a usual run.
SAMPLED_FRAMES, SAMPLED_FPS = 2000, 5.0


@dataclass(frozen=True, eq=False)
class BenchMotions:
    """The motions and, for the table, a sentence on where they come from."""

    motions: tuple[Motion, ...]
    origin: str


def _subject(path: Path) -> str | None:
    """The subject of a file named as the CMU database names them, ``<subject>_<trial>``."""
    subject, underscore, trial = path.stem.partition("_")
    return subject if underscore and len(subject) == 2 and subject.isdigit() and trial.isdigit() else None


def bench_motions(folder: Path | None, seed: int, share: Share = "held-out") -> BenchMotions:
    """Motions of a folder. A folder of the CMU database is divided by subject: priors, weights and settings have seen
    the training subjects.

    Raises:
        InputError: no usable motion in the folder, or no subject of the asked share.
    """
    if folder is None:
        motion = sampled_motion(load_pose_prior(), seed, SAMPLED_FRAMES, SAMPLED_FPS)
        return BenchMotions((motion,), "poses drawn from the pose prior, no recorded motion (give --motion DIR)")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --motion takes a folder of .bvh or AMASS .npz files")
    subjects = {_subject(path) for path in entries(folder) if path.suffix.lower() in (".bvh", ".npz")}
    if None in subjects or not subjects & {*HELD_OUT_SUBJECTS, *TRAINING_SUBJECTS}:
        motions = read_motions(folder)
        return BenchMotions(tuple(motions), f"all {len(motions)} motions of {folder.name}")
    wanted = HELD_OUT_SUBJECTS if share == "held-out" else TRAINING_SUBJECTS
    found = [subject for subject in wanted if subject in subjects]
    if not found:
        raise InputError(f"{folder}: holds none of the {share} subjects {', '.join(wanted)} of the CMU database")
    motions = read_motions(folder, lambda path: _subject(path) in found)
    return BenchMotions(
        tuple(motions), f"{len(motions)} motions of the CMU database, {share} subjects {', '.join(found)}"
    )
