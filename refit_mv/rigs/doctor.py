"""What is wrong with a rig, from the calibration alone or with what a person's keypoints say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from calib import looked_at, remarks
from calib.units import METRES_PER_UNIT
from refit_mv.body.model import BodyModel
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.mismatch import GOOD_ENOUGH
from refit_mv.people.stature import SHORTEST_PERSON, TALLEST_PERSON, USUAL_HEIGHTS, told_height
from refit_mv.rigs.faint import faint_faults
from refit_mv.rigs.hypotheses import FRAMES, explained, unexplained
from refit_mv.rigs.mended_rig import mended_rig
from refit_mv.rigs.mends import MENDS
from refit_mv.rigs.sample import telling_rows
from refit_mv.rigs.sayings import (
    Commands,
    about_duplicates,
    about_faint,
    about_gross,
    about_parallax,
    about_rays,
    about_units,
)

# Fewer frames tell nothing of names and poses, and nothing of lenses and clocks.
FEWEST_FRAMES, FEWEST_OF_SMALL = 4, 20
# Two views show the same when their points lie within so many pixels of each other, in most of the frames.
SAME_PIXELS, SAME_SHARE = 2.0, 0.8
# How near optical axes pass the point that they look at, as a share of its distance: of rigs around somebody, and of
# poses read the wrong way.
CONVERGING, SCATTERED = 0.25, 0.5
# Rays that miss by so much (radians) are no small fault's.
HOPELESS = 0.05
# Rays that miss by so much when all small faults are taken out, too.
STILL_MISSING = 0.01
LEVELS = {"note": "good", "check": "check", "bad": "bad"}
IN_CALIBRATION = frozenset({"focal_length", "lens_k3", "lens_distortion", "lens_model"})
POSES = frozenset({"inverse_extrinsics", "points_behind"})


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """``findings`` in the order in which they should be mended. ``fixed``: the calibration with all that it can mend of
    them, None where it is right or cannot mend anything; ``metres``: how long one unit of the file is.
    """

    findings: tuple[Finding, ...]
    fixed: CameraRig | None
    metres: float = 1.0

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        return any(finding.level != "good" for finding in self.findings)


def examined(
    rig: CameraRig, up: tuple[float, float, float] | None = None, commands: Commands | None = None
) -> Diagnosis:
    """What the calibration alone says of itself (lengths in metres)."""
    commands = commands or Commands()
    scatter = _scatter(rig)
    if len(rig) > 2 and scatter > SCATTERED:
        for mend in MENDS:
            cameras = [mend.camera(camera) for camera in rig] if mend.key in POSES else [None]
            if None in cameras:
                continue
            other = CameraRig(tuple(camera for camera in cameras if camera is not None))
            if _scatter(other) < CONVERGING:
                text = f"All cameras: {mend.what}; otherwise they do not look at a common place."
                finding = Finding(mend.key, "bad", text, f"{commands.fix}.")
                return Diagnosis((finding, *_remarks(other, up)), other)
    return Diagnosis(_remarks(rig, up), None)


def _scatter(rig: CameraRig) -> float:
    """How far optical axes pass by the point that they look at, as a share of its distance, in the median; 1 where
    they look at none.
    """
    centers = np.stack([camera.center.numpy() for camera in rig])
    forward = np.stack([camera.cam_from_world.rotation[2].numpy() for camera in rig])
    focus = looked_at(centers, forward)
    if focus is None:
        return 1.0
    toward = focus - centers
    ahead = (toward * forward).sum(1)
    across = np.linalg.norm(toward - ahead[:, None] * forward, axis=1)
    return float(np.median(np.where(ahead > 0, across / np.maximum(ahead, 1e-9), 1.0)))


def _remarks(rig: CameraRig, up: tuple[float, float, float] | None) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            remark.key,
            LEVELS[remark.level],  # type: ignore[arg-type]
            f"{remark.text[0].upper()}{remark.text[1:]}.",
            views=remark.views,
        )
        for remark in remarks(rig, up)
    )


def diagnose(
    body: BodyModel,
    rig: CameraRig,
    evidence: Evidence,
    frame_numbers: Int[np.ndarray, " frame"],
    fps: float,
    up: tuple[float, float, float] | None = None,
    commands: Commands | None = None,
) -> Diagnosis:
    """What a person's keypoints say of the rig. ``commands`` names the files in what is advised."""
    commands = commands or Commands()
    findings: list[Finding] = []
    copies = _copies(rig, evidence)
    findings += [about_duplicates((rig.names[a], rig.names[b]), share) for a, b, share in copies]
    alone = sorted(set(range(len(rig))) - {second for _, second, _ in copies})
    rows = telling_rows(evidence, FRAMES)
    if len(alone) < 2 or len(rows) < FEWEST_FRAMES:
        if not copies and len(rig) > 1:
            text = (
                f"Two views share a person in {len(rows)} frames only: too few to say whether their cameras are right."
            )
            findings.append(Finding("too_little", "good", text))
        still = examined(rig, up, commands)
        return Diagnosis((*findings, *still.findings), still.fixed)
    whole = rig
    if copies:
        rig, evidence = _less_copied(rig, evidence, rows, copies)
        rows = telling_rows(evidence, FRAMES)
    found = explained(rig, evidence, rows)
    fixed = found is not None and found.in_calibration
    if found is not None:
        findings += about_gross(found, commands)
        rig, evidence = found.rig, found.evidence
    height, scale = told_height(body, evidence.frames(rows), rig), 1.0
    if height is not None and not SHORTEST_PERSON <= height <= TALLEST_PERSON:
        unit, scale = _unit(height)
        findings.append(about_units(height, unit, commands))
        rig, fixed = rig.scaled(scale), fixed or scale != 1.0
    angle, worst = unexplained(rig, evidence, rows)
    many = telling_rows(evidence)
    small = len(many) >= FEWEST_OF_SMALL and not angle > HOPELESS
    solved = faint_faults(rig, evidence, many) if small else None
    if angle > GOOD_ENOUGH and (solved is None or solved.angle > STILL_MISSING):
        findings.append(about_rays(angle, tuple(rig.names[view] for view in worst), commands))
    elif solved is not None:
        small_ones = about_faint(solved, rig, frame_numbers, fps, commands)
        findings += small_ones
        # What is too small for a word is too small to be written.
        mended = mended_rig(solved) if {finding.key for finding in small_ones} & IN_CALIBRATION else None
        rig, fixed = (rig, fixed) if mended is None else (mended, True)
    findings += about_parallax(rig, evidence.frames(rows))
    # Of the rig as it should be: what is wrong was said already.
    findings += _remarks(rig, up)
    return Diagnosis(tuple(_once(findings)), _beside(whole, rig, scale) if fixed else None, scale)


def _beside(given: CameraRig, rig: CameraRig, scale: float) -> CameraRig:
    """The mended rig with the cameras that nothing was said of."""
    left = [camera for camera in given.scaled(scale) if camera.name not in rig.names]
    return CameraRig((*rig.cameras, *left)).subset(given.names)


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """Without what is said of the same views a second time."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    return [
        finding
        for finding in findings
        if (key := (finding.key, finding.views)) not in seen and not seen.add(key)  # type: ignore[func-returns-value]
    ]


def _unit(height: float) -> tuple[str | None, float]:
    """The unit that makes a person of this height, nearest to 1.7 m, and its metres."""
    fitting = {
        name: metres
        for name, metres in METRES_PER_UNIT.items()
        if USUAL_HEIGHTS[0] <= height * metres <= USUAL_HEIGHTS[1]
    }
    if not fitting:
        return None, 1.0
    name = min(fitting, key=lambda name: abs(height * fitting[name] - 1.7))
    return name, fitting[name]


def _copies(rig: CameraRig, evidence: Evidence) -> list[tuple[int, int, float]]:
    """Pairs of views that show the same, and in what share of the frames."""
    found = []
    for a, b in combinations(range(len(rig)), 2):
        both = (evidence.confidence[:, a] > 0) & (evidence.confidence[:, b] > 0)
        apart = (evidence.pixels[:, a] - evidence.pixels[:, b]).norm(dim=-1)
        apart = torch.where(both, apart, torch.full_like(apart, torch.nan)).nanmedian(-1).values
        apart = apart[~apart.isnan()]
        share = float((apart < SAME_PIXELS).double().mean()) if len(apart) >= FEWEST_OF_SMALL else 0.0
        if share > SAME_SHARE:
            found.append((a, b, share))
    return found


def _less_copied(
    rig: CameraRig, evidence: Evidence, rows: Int[Tensor, " frame"], copies: Sequence[tuple[int, int, float]]
) -> tuple[CameraRig, Evidence]:
    """Without the copies: of each pair the one whose rays miss the others further."""
    kept = list(range(len(rig)))
    for pair in copies:
        left = [view for view in pair[:2] if view in kept]
        if len(left) < 2 or len(kept) <= 2:
            continue
        costs = []
        for view in left:
            rest = [other for other in kept if other not in left or other == view]
            costs.append(unexplained(*_views(rig, evidence, rest), rows)[0])
        kept.remove(left[0] if costs[0] > costs[1] else left[1])
    return _views(rig, evidence, kept)


def _views(rig: CameraRig, evidence: Evidence, places: Sequence[int]) -> tuple[CameraRig, Evidence]:
    return rig.subset([rig.names[place] for place in places]), evidence.views(torch.tensor(list(places)))
