"""Recordings made on the spot: calibration, keypoint files and videos whose contents are known."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

BITS = 8
BLOCK = 16


def rig_text(names: Sequence[str], size: tuple[int, int] | None = (640, 480)) -> str:
    """Anipose-family TOML of cameras in a row, half a metre apart."""
    lines = []
    for index, name in enumerate(names):
        lines += [f"[cam_{index}]", f'name = "{name}"']
        if size is not None:
            lines += [f"size = [{size[0]}, {size[1]}]"]
        lines += [
            "matrix = [[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]",
            "distortions = [0.0, 0.0, 0.0, 0.0, 0.0]",
            f"rotation = [0.0, {0.3 * index}, 0.0]",
            f"translation = [{0.5 * index}, 0.0, 3.0]",
            "",
        ]
    return "\n".join(lines)


def points(seed: int, count: int = 17, confidence: float = 0.9) -> list[float]:
    """One person's x, y, confidence, inside 640×480, written as a detector would (three decimals)."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform((60, 60), (580, 420), size=(count, 2)).round(3)
    return np.concatenate([xy, np.full((count, 1), confidence)], axis=1).reshape(-1).tolist()


def openpose(people: Sequence[Sequence[float]]) -> str:
    rows = [{"person_id": [-1], "pose_keypoints_2d": list(person), "hand_left_keypoints_2d": []} for person in people]
    return json.dumps({"version": 1.3, "people": rows})


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """Builds a Pose2Sim-like folder of two views with ``frames`` OpenPose files of one person each; person (view,
    frame) has seed 1000·view + frame."""

    def build(
        frames: int = 5,
        views: Sequence[str] = ("cam01", "cam02"),
        cameras: Sequence[str] = ("cam_01", "cam_02"),
        count: int = 17,
        size: tuple[int, int] | None = (640, 480),
    ) -> Path:
        folder = tmp_path / "session"
        (folder / "calibration").mkdir(parents=True)
        (folder / "calibration" / "Calib.toml").write_text(rig_text(cameras, size))
        for view_index, view in enumerate(views):
            place = folder / "pose" / f"{view}_json"
            place.mkdir(parents=True)
            for frame in range(frames):
                person = points(1000 * view_index + frame, count)
                (place / f"{view}.{frame:04d}.json").write_text(openpose([person]))
        return folder

    return build


def numbered_picture(number: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """An RGB picture that shows its number as eight black or white blocks, large enough to survive compression, on a
    gradient that moves."""
    width, height = size
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([(across + 3 * number) % 256, (down + 5 * number) % 256, np.full_like(across, 90)], axis=-1)
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * ((number >> bit) & 1)
    return picture.astype(np.uint8)


def shown_number(picture: np.ndarray) -> int:
    blocks = [picture[4 : BLOCK - 4, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4].mean() > 127 for bit in range(BITS)]
    return sum(int(white) << bit for bit, white in enumerate(blocks))


def encode(
    path: Path, count: int, codec: str = "libx264", options: dict[str, str] | None = None, fps: int = 30
) -> None:
    """A video of numbered pictures, with the encoder options that make it hard to read."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(number), format="rgb24")))
        container.mux(stream.encode())


def with_matrix(data: bytes, matrix: tuple[float, ...]) -> bytes:
    """The MP4 with another display matrix in its track header (ISO 14496-12, 8.3.2: version 0, matrix at byte 48 of the
    box)."""
    start = data.index(b"tkhd") - 4
    assert data[start + 8] == 0
    a, b, c, d = (int(value * 65536) for value in matrix)
    packed = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return data[: start + 48] + packed + data[start + 84 :]


class Pictures:
    """The functions above, for tests (a conftest is no module to import from)."""

    numbered = staticmethod(numbered_picture)
    number = staticmethod(shown_number)
    encode = staticmethod(encode)
    with_matrix = staticmethod(with_matrix)


class Files:
    rig_text = staticmethod(rig_text)
    points = staticmethod(points)
    openpose = staticmethod(openpose)


@pytest.fixture
def pictures() -> type[Pictures]:
    return Pictures


@pytest.fixture
def files() -> type[Files]:
    return Files
