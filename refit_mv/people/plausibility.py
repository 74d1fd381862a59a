"""What speaks against a session as a whole: exchanged views, pictures of another size, points in another order."""

from collections.abc import Sequence

from refit_mv.body.model import BodyModel
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.lost_views import lost_views
from refit_mv.people.mismatch import exchange_told, exchanged_cameras, in_upper_left, off_center, scale_told
from refit_mv.people.stature import better_order
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations

# From this share of lost views on, among those that see somebody, it is open which of them are right.
HALF = 0.5


def session_findings(
    body: BodyModel, observations: Observations, rig: CameraRig, tracks: Sequence[Track]
) -> tuple[Finding, ...]:
    """All of them, nothing where all is well."""
    pictures = _pictures(observations, rig)
    # Pictures of another size make views lose people, too.
    explained = any(finding.level == "bad" for finding in pictures)
    pairing = [] if explained else _pairing(observations, rig, tracks)
    return (*pictures, *pairing, *_order(body, observations, rig, tracks))


def _pairing(observations: Observations, rig: CameraRig, tracks: Sequence[Track]) -> list[Finding]:
    # Of the best supported: others may be in few views, and views that were exchanged agree on somebody of their own.
    lost = lost_views(observations, rig, tracks[0])
    seeing = [name for view, name in enumerate(rig.names) if bool((observations.confidence[:, view] > 0).any())]
    agreeing = (tracks[0].agreeing_views >= 2).mean() if len(rig) > 1 else 1.0
    if not lost and agreeing >= HALF:
        return []
    exchanged = exchanged_cameras(observations, rig)
    if not lost and not exchanged:
        return []
    views = tuple(name for name in rig.names if name in lost or name in exchanged)
    others = [name for name in seeing if name not in views]
    text = f"{_listed(views)} {'see' if len(views) > 1 else 'sees'} somebody, but "
    text += f"hardly ever the person that {_listed(others)} agree on" if len(others) > 1 else "never the same person"
    advice = (
        f"Names are exchanged: {exchange_told(exchanged)}. Say so with --map, or rename the files."
        if exchanged
        else "Exchanged names, another recording's files, or a camera that has moved?"
    )
    level = "bad" if exchanged or len(views) >= HALF * len(seeing) else "check"
    return [Finding("lost_views", level, f"{text}.", advice, views)]


def _pictures(observations: Observations, rig: CameraRig) -> list[Finding]:
    place, told = off_center(rig), scale_told(observations, rig)
    advice = (
        "Were videos made smaller? Scale the calibration to them: refit-mv calib scale CALIB --size WxH -o OUT.toml."
    )
    if told is not None:
        return [Finding("picture_size", "bad", f"{told[0].upper()}{told[1:]}.", advice)]
    if place is not None:
        text = f"The principal points lie at {place:.2f} of the pictures' width and height, where the middle is usual."
        return [Finding("picture_size", "bad", text, advice)]
    if in_upper_left(observations, rig):
        text = "All keypoints of all views lie in the upper left of their pictures."
        return [Finding("picture_size", "check", text, advice)]
    return []


def _order(body: BodyModel, observations: Observations, rig: CameraRig, tracks: Sequence[Track]) -> list[Finding]:
    others = (better_order(body, track.of(observations), rig) for track in tracks)
    name = next((other.name for other in others if other is not None), None)
    if name is None:
        return []
    text = (
        f"The person has a body's proportions if points are in the order of {name}, not {observations.keypoints.name}."
    )
    return [Finding("keypoint_order", "bad", text, f"Fit with --keypoints {name}.")]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "the others"
