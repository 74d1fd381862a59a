"""Whom of a session's people its cameras are asked about."""

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.lost_views import lost_views
from refit_mv.people.tracks import follow
from refit_mv.session.observations import Observations, PersonObservations

# Who was followed is one person where two views and more agree in so many of the frames.
AGREED = 0.5


def main_person(observations: Observations, rig: CameraRig) -> PersonObservations:
    """Whom the views show: whom all that see somebody agree on where they do, else each view's most confident
    detection, for with a wrong calibration nobody can be followed.
    """
    if observations.confidence.shape[2] == 1:
        return observations.person(0)
    track = follow(observations, rig, "main")[0]
    agreed = float((track.agreeing_views >= 2).mean()) >= AGREED and not lost_views(observations, rig, track)
    return track.of(observations) if agreed else observations.person(observations.confidence.sum(-1).argmax(-1))
