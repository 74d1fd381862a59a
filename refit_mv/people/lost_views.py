"""Views that see somebody where the person must be, and never the person whom the others agree on."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import in_pictures
from refit_mv.geometry.triangulation import triangulate_pixels
from refit_mv.people.sightings import FEWEST_KEYPOINTS
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations, spread_rows

# A view that misses the person in more than this share of the frames in which it should see them is lost.
MOSTLY = 0.5
SAMPLE_FRAMES = 200


def lost_views(observations: Observations, rig: CameraRig, track: Track) -> dict[str, float]:
    """Views that are lost for a person, with the share of their frames: those in which the person stands inside the
    view's picture as the other views have it, the view sees somebody, and it is somebody else.
    """
    if len(rig) < 3:
        return {}
    rows = spread_rows(len(observations), SAMPLE_FRAMES)
    observations, detection = observations.frames(rows), track.detection[rows]
    seen = observations.person(detection)
    pixels, confidence = (torch.from_numpy(each.astype(np.float64)) for each in (seen.pixels, seen.confidence))
    found = triangulate_pixels(rig, pixels, confidence)
    known = (found.support >= 2) & torch.isfinite(found.points).all(-1)
    inside = _inside(rig, found.points.nan_to_num(), known)
    somebody = ((observations.confidence > 0).sum(-1) >= FEWEST_KEYPOINTS).any(-1)
    expected = somebody & inside
    missed = (expected & (detection < 0)).sum(0)
    share = missed / np.maximum(expected.sum(0), 1)
    return {name: float(share[view]) for view, name in enumerate(rig.names) if share[view] > MOSTLY}


def _inside(rig: CameraRig, points: Tensor, known: Tensor) -> Bool[np.ndarray, "frame view"]:
    """Whether enough of the known points lie inside each view's picture."""
    _, _, inside = in_pictures(rig, points)
    return ((inside & known[:, None]).sum(-1) >= FEWEST_KEYPOINTS).numpy()
