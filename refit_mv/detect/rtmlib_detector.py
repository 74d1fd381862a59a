"""RTMPose through rtmlib (Jiang et al., 2023): YOLOX finds people, RTMPose their 26 Halpe points."""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set
from refit_mv.detect.crop import Crop
from refit_mv.errors import InputError
from refit_mv.files import LARGEST_ARCHIVE, regular_file

INSTALL = "pip install rtmlib onnxruntime"
MODE = "balanced"
# How the official files are called, and the picture sizes (width, height) of rtmlib's own table, by words in those
# names.
FINDER_PATTERNS = ("*yolox*.onnx", "*det*.onnx")
POSE_PATTERNS = ("*rtmpose*halpe26*.onnx", "*halpe26*.onnx", "*pose*.onnx")

# RTMPose's own margin around a person's box, and the mean confidence below which rtmlib's examples draw nothing.
BOX_PADDING, LEAST_SCORE = 1.25, 0.3


class RtmlibDetector:
    """Everyone in every picture, frame by frame.

    Without ``weights`` rtmlib downloads its networks once (about 110 MB); ``weights`` is a folder with one YOLOX and
    one RTMPose Halpe-26 ``.onnx`` file, for machines without a network. Input sizes are read from the files.
    """

    def __init__(self, weights: Path | None = None) -> None:
        try:
            solution = import_module("rtmlib").BodyWithFeet
            runtime = import_module("onnxruntime")
        except ImportError as error:
            raise InputError(f"detector rtmlib is not installed ({error}); run: {INSTALL}") from None
        device = "cuda" if "CUDAExecutionProvider" in runtime.get_available_providers() else "cpu"
        settings: dict[str, object] = {"mode": MODE}
        if weights is not None:
            finder, pose = _one_file(weights, FINDER_PATTERNS, "YOLOX person detector"), None
            pose = _one_file(weights, POSE_PATTERNS, "RTMPose Halpe-26")
            settings = {
                "det": str(finder),
                "det_input_size": _input_size(runtime, finder),
                "pose": str(pose),
                "pose_input_size": _input_size(runtime, pose),
            }
        try:
            self._network = solution(backend="onnxruntime", device=device, to_openpose=False, **settings)
        except Exception as error:  # rtmlib raises whatever its downloader or onnxruntime raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            advice = (
                "check the files in the weights folder"
                if weights
                else "connect once to let it download, or give detector_weights"
            )
            raise InputError(f"detector rtmlib cannot load its networks ({reason}); {advice}") from None
        self._model = MODE if weights is None else Path(str(settings["pose"])).stem

    @property
    def name(self) -> str:
        return f"rtmlib {metadata.version('rtmlib')} BodyWithFeet {self._model}"

    @property
    def keypoints(self) -> KeypointSet:
        return keypoint_set("halpe26")

    def detect(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float[np.ndarray, "person joint 3"]]:
        for frame in frames:
            # rtmlib expects OpenCV's channel order. Where it finds nobody it poses the whole picture, so that case is
            # caught before.
            image = np.ascontiguousarray(frame[..., ::-1])
            boxes = self._network.det_model(image)
            if len(boxes) == 0:
                yield np.zeros((0, 26, 3))
                continue
            yield self._posed(image, boxes)

    def detect_crops(
        self, frame: UInt8[np.ndarray, "height width 3"], crops: Sequence[Crop]
    ) -> tuple[Float[np.ndarray, "crop joint 3"], Float[np.ndarray, " crop"]]:
        """RTMPose takes upright boxes only: the crops' rotations are left aside. The score is the mean confidence."""
        if not crops:
            return np.zeros((0, 26, 3)), np.zeros(0)
        # The network's own crop is that much larger than the box around a person that it is given.
        half = np.array([[crop.size / BOX_PADDING / 2] for crop in crops])
        centers = np.array([[crop.x, crop.y] for crop in crops])
        image = np.ascontiguousarray(frame[..., ::-1])
        points = self._posed(image, np.concatenate([centers - half, centers + half], axis=1))
        scores = points[..., 2].mean(axis=1)
        nobody = scores < LEAST_SCORE
        points[nobody, :, 2], scores[nobody] = 0, 0
        return points, scores

    def _posed(self, image: UInt8[np.ndarray, "height width 3"], boxes: np.ndarray) -> np.ndarray:
        pixels, scores = self._network.pose_model(image, bboxes=boxes)
        # Scores are heights of a response, a little below 0 or above 1 at the extremes.
        return np.concatenate([pixels, np.clip(scores, 0, 1)[..., None]], axis=-1).astype(np.float64)


def _one_file(folder: Path, patterns: tuple[str, ...], what: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"no folder of detector weights {folder}")
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return regular_file(found[0], "detector network", LARGEST_ARCHIVE)
        if len(found) > 1:
            raise InputError(f"{folder} has several {what} files: {', '.join(path.name for path in found)}; keep one")
    raise InputError(f"{folder} has no {what} file ({patterns[0]}); put the .onnx file of rtmlib's model zoo there")


def _input_size(runtime: object, path: Path) -> tuple[int, int]:
    """(width, height) of a network's input picture, (batch, channel, height, width) in ONNX."""
    try:
        shape = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].shape  # type: ignore[attr-defined]
        return int(shape[3]), int(shape[2])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise InputError(f"{path} is no usable ONNX network ({str(error).splitlines()[0][:100]})") from None
