"""Left and right exchanged in all views: a body with the sides as they are named is compared with one whose sides are
exchanged. Knees and elbows bend one way only, faces and feet point forward.
"""

from dataclasses import replace

from refit_mv.body.model import BodyModel
from refit_mv.body.sides import mirrored_order
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.sample import telling_rows
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions

FRAMES = 16
FEWEST_FRAMES = 4
# Exchanging what is right makes poses cost two to five times as much, exchanging what is wrong as much less.
CLEARLY_LESS, MOST_FRAMES = 0.75, 0.8


def with_other_sides(evidence: Evidence) -> Evidence:
    """The same evidence with every left point called right."""
    order = list(mirrored_order(evidence.landmark_names))
    return replace(evidence, pixels=evidence.pixels[:, :, order], confidence=evidence.confidence[:, :, order])


def exchanged_sides(body: BodyModel, rig: CameraRig, evidence: Evidence) -> list[Finding]:
    """Whether left and right are exchanged throughout."""
    rows = telling_rows(evidence, FRAMES)
    if len(rows) < FEWEST_FRAMES:
        return []
    costs = []
    for each in (evidence, with_other_sides(evidence)):
        problem = each.frames(rows).problem(body, rig, CostOptions(), "free")
        costs.append(GaussNewton().solve(problem, initialise(problem)).cost)
    ratio = costs[1] / costs[0].clamp_min(1e-9)
    if float((ratio < 1).double().mean()) < MOST_FRAMES or float(ratio.median()) > CLEARLY_LESS:
        return []
    return [
        Finding(
            "sides_exchanged",
            "bad",
            f"Left and right are exchanged: with the sides the other way round, poses are more likely in "
            f"{int((ratio < 1).sum())} of {len(rows)} frames looked at.",
            "Check the order of the keypoints (--keypoints), and whether the detector ran on mirrored pictures.",
        )
    ]
