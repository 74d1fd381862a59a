"""Cameras that stand elsewhere than the calibration says: whether mending them by the people would help."""

from collections.abc import Sequence

from refit_mv.errors import InputError
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.person import Person
from refit_mv.rigs.witnesses import spoken
from refit_mv.rigs.worth import worth_mending

# As many frames of so many people tell.
MOST_FRAMES, MOST_PEOPLE = 120, 3
# Said of views whose keypoints would then be off by at most this share of what they are, and by so much less (radians:
# 2 px at a focal length of 1300). Before right calibrations the share was 0.8 or more, or all of it smaller.
BETTER, LEAST_GAIN = 0.7, 0.0015


def misplaced_cameras(rig: CameraRig, people: Sequence[Person]) -> list[Finding]:
    """What mending would gain, in pixels and by frames that it did not see; nothing where that is little."""
    if len(rig) < 2:
        return []
    try:
        said = spoken(people[:MOST_PEOPLE], MOST_FRAMES)
    except InputError:
        return []  # nobody is seen by two views for long enough
    worth = worth_mending(rig, [each.evidence for each in said])
    gain = (worth.before_px - worth.after_px) / rig.stacked().focal
    off = [
        view
        for view in range(len(rig))
        if float(gain[view]) > LEAST_GAIN and float(worth.after_px[view]) < BETTER * float(worth.before_px[view])
    ]
    if not off:
        return []
    listed = "; ".join(
        f"{rig.names[view]}'s keypoints would be {float(worth.after_px[view]):.1f} px off instead of "
        f"{float(worth.before_px[view]):.1f}, turned by {float(worth.turned[view].rad2deg()):.1f}° and moved by "
        f"{1000 * float(worth.moved[view]):.0f} mm"
        for view in off
    )
    return [
        Finding(
            "cameras_misplaced",
            "check",
            f"Cameras stand elsewhere than the calibration says: {listed}.",
            "Fit again with --refine-rig, or write a mended calibration with refit-mv calib refine.",
            tuple(rig.names[view] for view in off),
        )
    ]
