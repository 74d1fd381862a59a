"""MediaPipe's BlazePose (Bazarevsky et al., 2020): one person per picture, 33 points, weights inside the package."""

from collections.abc import Iterable, Iterator
from importlib import import_module, metadata

import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set
from refit_mv.errors import InputError

INSTALL = "pip install mediapipe==0.10.21"
# The "full" network: the only one of three that lies in the package; the others would be downloaded on first use.
MODEL_COMPLEXITY = 1
# MediaPipe's own default, for finding a person and for not losing one.
PERSON_CONFIDENCE = 0.5


class MediapipeDetector:
    """Tracks the most prominent person through a view's frames. The confidence of a point is MediaPipe's
    ``visibility``."""

    def __init__(self) -> None:
        try:
            self._pose = import_module("mediapipe").solutions.pose
        except ImportError as error:
            raise InputError(f"detector mediapipe is not installed ({error}); run: {INSTALL}") from None
        except AttributeError:
            raise InputError(
                f"mediapipe {metadata.version('mediapipe')} has no built-in pose models (0.10.21 is the last that "
                f"carries them); run: {INSTALL}"
            ) from None

    @property
    def name(self) -> str:
        return f"mediapipe {metadata.version('mediapipe')} pose full"

    @property
    def keypoints(self) -> KeypointSet:
        return keypoint_set("blazepose33")

    def detect(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float[np.ndarray, "person joint 3"]]:
        with self._pose.Pose(
            static_image_mode=False,
            model_complexity=MODEL_COMPLEXITY,
            # Its smoothing shifts points in time; smoothing is the fit's business.
            smooth_landmarks=False,
            min_detection_confidence=PERSON_CONFIDENCE,
            min_tracking_confidence=PERSON_CONFIDENCE,
        ) as network:
            for frame in frames:
                height, width, _ = frame.shape
                found = network.process(frame).pose_landmarks
                if found is None:
                    yield np.zeros((0, 33, 3))
                    continue
                # MediaPipe's shares of the picture count from its outer edge, pixel centres lie half a pixel further
                # in.
                yield np.array(
                    [[[point.x * width - 0.5, point.y * height - 0.5, point.visibility] for point in found.landmark]]
                )
