"""A whole made-up recording of the open body, for trying things out: any length, any number of cameras."""

from pathlib import Path

from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import read_motion, sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

# A made-up movement wanders off in time; after so many seconds the person starts again in the middle.
LONGEST_WALK = 20.0
# Four hours at 60 frames a second: beyond, memory and patience end.
MOST_FRAMES, FASTEST = 1e6, 1e4


def made_up_recording(
    seconds: float = 10.0,
    fps: float = 60.0,
    views: int = 4,
    noise: str = "standard",
    keypoints: str = "halpe26",
    motion: Path | None = None,
    seed: int = 0,
) -> SyntheticSession:
    """A person before a ring of cameras, detected with noise. ``motion`` is a BVH or AMASS file; without it the
    movement is drawn from the pose prior.

    Raises:
        InputError: an impossible length or rate, an unknown noise or keypoint set, a motion that cannot be read.
    """
    if motion is not None:
        motions = [read_motion(motion)]
    else:
        if not (seconds > 0 and 0 < fps <= FASTEST and 0.5 < seconds * fps <= MOST_FRAMES):
            raise InputError(
                f"cannot make a recording of {seconds:g} s at {fps:g} frames a second: both must be positive, the rate "
                f"at most {FASTEST:g}, and at most {MOST_FRAMES:g} frames"
            )
        left, motions = round(seconds * fps), []
        while left > 0:
            frames = min(left, round(LONGEST_WALK * fps) or 1)
            motions.append(sampled_motion(load_pose_prior(), seed + len(motions), frames, fps))
            left -= frames
    return synthesise(open_body(), keypoints, motions, ring_rig(views), detector_noise(noise), seed)
