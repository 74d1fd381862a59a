"""Detection fills a folder that a session reads back, can be stopped anywhere, and never mixes two detectors."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set
from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropDetector, Detector, detector
from refit_mv.detect.litert import Network
from refit_mv.detect.run_detection import run_detection
from refit_mv.errors import InputError
from refit_mv.session.recording import read_recording
from refit_mv.session.session import Session, open_session, with_keypoints
from refit_mv.session.video import open_video, write_video

FRAMES = 12
WIDTH, HEIGHT = 160, 96


def spot(view: int, frame: int) -> tuple[int, int]:
    return 20 + 8 * frame, 30 + 40 * view


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Two videos in which a white square moves along a known path."""
    folder = tmp_path / "session"
    (folder / "videos").mkdir(parents=True)
    text = ""
    for view in range(2):
        text += (
            f'[cam_{view}]\nname = "cam_{view}"\nsize = [{WIDTH}, {HEIGHT}]\nmatrix = [[150.0, 0.0, 80.0], [0.0, '
            "150.0, 48.0], [0.0, 0.0, 1.0]]\n"
            f"distortions = [0.0, 0.0, 0.0, 0.0, 0.0]\nrotation = [0.0, {0.4 * view}, 0.0]\ntranslation = "
            f"[{0.5 * view}, 0.0, 3.0]\n"
        )
        with av.open(str(folder / "videos" / f"cam{view}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=50, options={"crf": "12"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame in range(FRAMES):
                picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
                x, y = spot(view, frame)
                picture[y - 5 : y + 6, x - 5 : x + 6] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    (folder / "Calib.toml").write_text(text)
    return open_session(folder, units="m")


class SquareFinder:
    """Reports the white square's centre as all seventeen points of one person; nobody where ``blind`` says so."""

    def __init__(
        self, name: str = "square finder 1", blind: int = -1, fail_after: int | None = None, extra: bool = False
    ) -> None:
        self.name, self.blind, self.fail_after, self.extra = name, blind, fail_after, extra
        self.seen = 0

    @property
    def keypoints(self) -> KeypointSet:
        return keypoint_set("coco17")

    def detect(self, frames):
        for index, frame in enumerate(frames):
            if self.fail_after is not None and self.seen >= self.fail_after:
                raise KeyboardInterrupt
            self.seen += 1
            down, across = np.nonzero(frame[..., 0] > 127)
            person = np.tile([across.mean(), down.mean(), 0.8], (1, 17, 1))
            yield np.zeros((0, 17, 3)) if index == self.blind else person
        if self.extra:
            yield np.zeros((0, 17, 3))


def test_the_stub_is_a_detector():
    assert isinstance(SquareFinder(), Detector)


def test_what_is_detected_is_read_back(session, tmp_path):
    steps = []
    run_detection(session, SquareFinder(blind=4), tmp_path / "out", lambda *step: steps.append(step))
    assert sorted(path.name for path in (tmp_path / "out" / "pose").iterdir()) == [
        "cam_0_json",
        "cam_1_json",
        "detection.json",
    ]
    loaded = read_recording(with_keypoints(session, tmp_path / "out"))
    seen = loaded.observations
    assert (seen.keypoints.name, seen.fps, seen.pixels.shape) == ("coco17", 50.0, (FRAMES, 2, 1, 17, 2))
    (note,) = loaded.warnings
    assert "cam0 = cam_0, cam1 = cam_1" in note
    assert seen.confidence[4].max() == 0
    for view in range(2):
        for frame in set(range(FRAMES)) - {4}:
            # The square's edge moves by less than half a pixel in compression; a frame off by one is eight pixels off.
            assert seen.pixels[frame, view, 0, 0] == pytest.approx(spot(view, frame), abs=0.5)
    assert steps[0] == ("cam_0", 0, FRAMES)
    assert steps[-1] == ("cam_1", FRAMES, FRAMES)


def test_an_interrupted_run_goes_on_where_it_stopped(session, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_detection(session, SquareFinder(), whole)
    for after in (5, 4, 6):
        with pytest.raises(KeyboardInterrupt):
            run_detection(session, SquareFinder(fail_after=after), parts)
    last = SquareFinder()
    run_detection(session, last, parts)
    assert last.seen == 2 * FRAMES - 5 - 4 - 6
    again = SquareFinder()
    run_detection(session, again, parts)
    assert again.seen == 0
    for path in sorted(whole.rglob("*.json")):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert not list(parts.rglob(".*"))


def test_folders_of_others_are_refused(session, tmp_path):
    run_detection(session, SquareFinder(), tmp_path / "out")
    with pytest.raises(InputError, match=r"filled by another detector.*square finder 1.*square finder 2"):
        run_detection(session, SquareFinder(name="square finder 2"), tmp_path / "out")
    (tmp_path / "theirs" / "pose" / "cam_0_json").mkdir(parents=True)
    with pytest.raises(InputError, match="not detected here"):
        run_detection(session, SquareFinder(), tmp_path / "theirs")
    other = session.path / "videos" / "cam1.mp4"
    other.write_bytes((session.path / "videos" / "cam0.mp4").read_bytes())
    other.rename(other.with_name("cam_1.mp4"))
    with pytest.raises(InputError, match="other videos"):
        run_detection(open_session(session.path, units="m"), SquareFinder(), tmp_path / "out")


def test_pictures_that_were_exported_again_are_others(session, tmp_path):
    folder = session.path / "videos"
    run_detection(session, SquareFinder(), tmp_path / "out")
    # A copy is the same recording, whenever it was made.
    copied = folder / "cam0.mp4"
    os.utime(copied, (1, 1))
    run_detection(open_session(session.path, units="m"), SquareFinder(fail_after=0), tmp_path / "out")
    shifted = list(open_video(copied).frames())
    write_video(copied, [*shifted[1:], shifted[0]], fps=50.0)
    with pytest.raises(InputError, match=r"other videos or images.* bytes"):
        run_detection(open_session(session.path, units="m"), SquareFinder(), tmp_path / "out")


def test_a_detector_that_miscounts_is_caught(session, tmp_path):
    with pytest.raises(InputError, match="more or fewer frames"):
        run_detection(session, SquareFinder(extra=True), tmp_path / "out")


def test_a_session_without_pictures_cannot_be_detected(session, tmp_path):
    run_detection(session, SquareFinder(), session.path)
    for path in (session.path / "videos").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no video and no images"):
        run_detection(open_session(session.path, units="m"), SquareFinder(), tmp_path / "out")


def test_unknown_names_and_missing_packages_say_what_to_do(monkeypatch, tmp_path):
    for wrong in ("mediapipe", "mediapip", "blazpose", "BlazePose"):
        with pytest.raises(InputError, match=rf"no detector '{wrong}', did you mean blazepose; there are:.*rtmlib"):
            detector(wrong)
    with pytest.raises(InputError, match=r"no detector 'x'; there are: blazepose, blazepose-heavy, rtmlib"):
        detector("x")
    monkeypatch.setitem(__import__("sys").modules, "rtmlib", None)
    with pytest.raises(InputError, match=r"rtmlib is not installed.*pip install rtmlib"):
        detector("rtmlib")
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(InputError, match=r"ai-edge-litert cannot be loaded.*pip install ai-edge-litert"):
        Network(b"")


class _Runtime:
    """What the adapter uses of onnxruntime: which devices there are, and a network's input shape."""

    @staticmethod
    def get_available_providers():
        return ["CPUExecutionProvider"]

    class InferenceSession:
        def __init__(self, path, providers):
            if "broken" in Path(path).read_text():
                raise RuntimeError("Load model failed: Protobuf parsing failed.")
            self.shape = [1, 3, 384, 288] if "pose" in path else [1, 3, 416, 416]

        def get_inputs(self):
            return [type("Input", (), {"shape": self.shape})]


class _Rtmlib:
    """rtmlib 0.0.16's ``BodyWithFeet`` as its source has it: boxes first, then poses, on pictures in OpenCV's channel
    order."""

    class BodyWithFeet:
        def __init__(self, **settings):
            self.settings = settings
            if "det" not in settings:
                raise OSError("<urlopen error [Errno -3] Temporary failure in name resolution>\nmore")

        def det_model(self, image):
            assert image[0, 0].tolist() == [3, 2, 1], "channels must be blue, green, red"
            return np.zeros((0, 4)) if image[1, 0, 0] else np.array([[0, 0, 10, 10], [5, 5, 20, 20]])

        def pose_model(self, image, bboxes):
            return np.full((len(bboxes), 26, 2), 7.0), np.full((len(bboxes), 26), 1.2)


@pytest.fixture
def rtmlib(monkeypatch):
    import sys

    from refit_mv.detect import rtmlib_detector

    monkeypatch.setitem(sys.modules, "rtmlib", _Rtmlib)
    monkeypatch.setitem(sys.modules, "onnxruntime", _Runtime)
    monkeypatch.setattr(rtmlib_detector.metadata, "version", lambda name: "0.0.16")


def test_rtmlib_adapter_turns_channels_and_scores(rtmlib, tmp_path):
    (tmp_path / "yolox_m_humanart.onnx").write_text("x")
    (tmp_path / "rtmpose-m_halpe26-384x288.onnx").write_text("x")
    adapter = detector("rtmlib", tmp_path)
    assert isinstance(adapter, Detector)
    assert adapter.keypoints.name == "halpe26"
    assert adapter._network.settings["pose_input_size"] == (288, 384)
    empty, full = np.tile(np.array([1, 2, 3], dtype=np.uint8), (2, 20, 20, 1))
    full[1, 0] = 0
    nobody, two = adapter.detect([empty, full])
    assert nobody.shape == (0, 26, 3)
    assert two.shape == (2, 26, 3)
    assert two[1, 3].tolist() == [7, 7, 1]


def test_rtmlib_looks_into_crops(rtmlib, tmp_path, monkeypatch):
    (tmp_path / "yolox_m_humanart.onnx").write_text("x")
    (tmp_path / "rtmpose-m_halpe26-384x288.onnx").write_text("x")
    adapter = detector("rtmlib", tmp_path)
    assert isinstance(adapter, CropDetector)
    asked = []

    def pose(self, image, bboxes):
        asked.extend(bboxes.tolist())
        return np.full((len(bboxes), 26, 2), 7.0), np.array([[0.8] * 26, [0.2] * 26])

    monkeypatch.setattr(_Rtmlib.BodyWithFeet, "pose_model", pose)
    frame = np.tile(np.array([1, 2, 3], dtype=np.uint8), (20, 20, 1))
    points, scores = adapter.detect_crops(frame, [Crop(50.0, 40.0, 25.0, 0.3), Crop(10.0, 10.0, 5.0)])
    # RTMPose widens the box by a quarter, to the crop.
    assert asked[0] == [40, 30, 60, 50]
    assert scores.tolist() == pytest.approx([0.8, 0])
    assert points[0, 0].tolist() == [7, 7, 0.8] and points[1, 0].tolist() == [7, 7, 0]
    points, scores = adapter.detect_crops(frame, [])
    assert points.shape == (0, 26, 3) and scores.shape == (0,)


def test_rtmlib_without_network_or_with_bad_weights_says_so(rtmlib, tmp_path):
    with pytest.raises(InputError, match=r"name resolution.*connect once.*detector_weights") as caught:
        detector("rtmlib")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no folder"):
        detector("rtmlib", tmp_path / "none")
    with pytest.raises(InputError, match="no YOLOX"):
        detector("rtmlib", tmp_path)
    for name in ("yolox_s.onnx", "yolox_m.onnx"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match="several YOLOX"):
        detector("rtmlib", tmp_path)
    (tmp_path / "yolox_s.onnx").unlink()
    (tmp_path / "rtmpose-halpe26.onnx").write_text("broken")
    with pytest.raises(InputError, match="no usable ONNX"):
        detector("rtmlib", tmp_path)
