"""The calibration that rays ask for: focal lengths and lens coefficients as they were found."""

from dataclasses import replace

import numpy as np

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.rigs.bundle import FOCAL, RADIAL
from refit_mv.rigs.faint import EVERYBODY, Solved
from refit_mv.rigs.mends import ASKED

# Where a lens is sampled: slopes from the optical axis, up to those seen.
SAMPLES, NARROWEST = 400, 0.3


def mended_rig(solved: Solved) -> CameraRig | None:
    """The rig with focal lengths and lenses as found; None where they are as given. Clocks and poses are not a
    calibration file's to mend.
    """
    changed = any(fault.mend != ASKED for fault in solved.state.faults)
    cameras = list(solved.state.rig.cameras)
    for view, camera in enumerate(cameras):
        own = {
            unknown for fault in solved.state.faults if fault.view in {view, EVERYBODY} for unknown in fault.unknowns
        }
        unknowns = solved.bundle.unknowns[view].numpy()
        if FOCAL in own:
            factor = float(np.exp(unknowns[FOCAL]))
            camera = replace(camera, matrix=camera.matrix * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]]))
        if own & set(range(RADIAL.start, RADIAL.stop)):
            camera = _with_lens(camera, unknowns[RADIAL], _widest(solved, view))
        changed = changed or camera is not cameras[view]
        cameras[view] = camera
    return CameraRig(tuple(cameras)) if changed else None


def _widest(solved: Solved, view: int) -> float:
    """The largest slope at which the view saw the person."""
    direction = solved.sample.direction[:, view][solved.sample.weight[:, view] > 0]
    slope = (direction[:, :2].norm(dim=-1) / direction[:, 2].clamp_min(0.1)).clamp_max(2.0)
    return max(float(slope.quantile(0.995)) if len(slope) else 0.0, NARROWEST)


def _with_lens(camera: Camera, radial: np.ndarray, widest: float) -> Camera:
    """The camera with coefficients that do what its own and the correction do one after the other: its k1, k2, k3 by
    least squares, up to the ``widest`` slope. Fisheyes and rational lenses stay.
    """
    if camera.lens != "brown_conrady" or camera.distortion[5:].any():
        return camera
    own = np.zeros(5)
    own[: min(camera.distortion.size, 5)] = camera.distortion[:5]
    slope = np.linspace(0, widest, SAMPLES)[1:]
    seen = slope * (1 + radial @ np.stack([slope**2, slope**4, slope**6]))
    there = seen * (1 + own[[0, 1, 4]] @ np.stack([seen**2, seen**4, seen**6]))
    powers = np.stack([slope**3, slope**5, slope**7], 1)
    k1, k2, k3 = np.linalg.lstsq(powers, there - slope, rcond=None)[0]
    return replace(camera, distortion=np.array([k1, k2, own[2], own[3], k3]))
