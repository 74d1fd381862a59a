"""A made-up fit for reports: numbers known by construction."""

from dataclasses import replace

import numpy as np
import torch

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.report.quality import QualityReport

FRAMES, LANDMARKS, JOINTS = 120, ("nose", "left_knee", "right_knee"), ("pelvis", "left_hip", "head")


def rig(names: tuple[str, ...]) -> CameraRig:
    """Cameras on a ring of 4 m around the vertical z axis, 1 m up, looking at the axis; 1000 px focal length."""
    cameras = []
    for index, name in enumerate(names):
        angle = 2 * np.pi * index / len(names)
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        rotation = torch.from_numpy(np.stack([np.cross(-out, [0, 0, 1.0]), [0, 0, -1.0], -out]))
        center = torch.from_numpy(4 * out + [0, 0, 1.0])
        matrix = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
        cameras.append(Camera(name, (1920, 1080), matrix, np.zeros(5), RigidTransform(rotation, -rotation @ center)))
    return CameraRig(tuple(cameras))


def report_of(
    names: tuple[str, ...] = ("left", "middle", "right"), frames: int = FRAMES, **changes: object
) -> QualityReport:
    """A good fit: 2 to 6 px everywhere, a person standing almost still in the middle."""
    draw = np.random.default_rng(5)
    error = draw.uniform(2, 6, size=(frames, len(names), len(LANDMARKS)))
    joints = np.array([[0, 0, 1.0], [0.1, 0, 0.9], [0, 0, 1.7]]) + 0.01 * np.sin(np.arange(frames) / 30)[:, None, None]
    report = QualityReport(
        title="take 7",
        frame_numbers=np.arange(frames) + 1000,
        fps=60.0,
        view_names=names,
        status=("fitted",) * frames,
        landmark_names=LANDMARKS,
        pixel_error=error,
        confidence=np.full_like(error, 0.9),
        rig=rig(names),
        optimizer="learned",
        body="open",
        versions={"refit-mv": "0.1.0"},
        seconds=3.0,
        joint_names=JOINTS,
        joints_m=joints,
        joint_sigma_m=np.full((frames, len(JOINTS)), 0.008),
        left_out_px=dict.fromkeys(names, 7.0),
        person_height_m=1.75,
        up=(0.0, 0.0, 1.0),
    )
    return replace(report, **changes)  # pyright: ignore[reportArgumentType]
