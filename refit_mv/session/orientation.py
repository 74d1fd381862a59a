"""Pictures that ask to be shown turned, where tools differ: some turn them before they calibrate and detect (players,
OpenCV today), some take them as they are stored (PyAV, Caliscope, OpenCV before 4.5). What the camera was calibrated
for decides."""

from dataclasses import dataclass, field

from refit_mv.geometry.camera import Camera
from refit_mv.session.images import ImageFolder
from refit_mv.session.video import VideoFile

# A principal point may be off the centre by this share before it says nothing about the picture's shape.
CENTRED = 0.1


@dataclass
class Orientations:
    """What was decided for the views of a session, to be told in one line for each kind."""

    stored: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def upright(self, camera: Camera, pictures: VideoFile | ImageFolder) -> bool:
        """Whether to turn a camera's pictures as they ask, which the given ones are."""
        if not pictures.quarter_turns:
            return True
        wide, calibrated = _wide(pictures.size), _wide_camera(camera)
        if pictures.quarter_turns % 2 == 0 or wide is None or calibrated is None:
            self.assumed.append(f"{camera.name} by {90 * pictures.quarter_turns}°")
            return True
        if wide != calibrated:
            self.stored.append(camera.name)
        return wide == calibrated

    @property
    def warnings(self) -> list[str]:
        found = []
        if self.stored:
            found.append(
                f"pictures of {', '.join(self.stored)} ask to be shown turned by a quarter, but their cameras are "
                "calibrated for them as they are stored: they are not turned"
            )
        if self.assumed:
            found.append(
                f"pictures ask to be shown turned counter-clockwise ({', '.join(self.assumed)}), and their size does "
                "not tell whether calibration and keypoints are of turned ones: turned is assumed. If bodies stand on "
                "their heads in the overlay, remove the rotation from the videos (ffmpeg -display_rotation 0)"
            )
        return found


def _wide(size: tuple[int, int]) -> bool | None:
    return None if size[0] == size[1] else size[0] > size[1]


def _wide_camera(camera: Camera) -> bool | None:
    """The shape of the picture that the camera was calibrated for, by its centre where no size is told."""
    if camera.size is not None:
        return _wide(camera.size)
    across, down = float(camera.matrix[0, 2]), float(camera.matrix[1, 2])
    return None if abs(across - down) <= CENTRED * (across + down) else across > down
