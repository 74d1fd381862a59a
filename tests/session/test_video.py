"""Frames come by their exact index, whatever the encoder did; a cut-off file says how far it can be trusted."""

import os
from contextlib import suppress

import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.session.images import open_images
from refit_mv.session.video import open_video, write_video

X264 = {"crf": "20", "preset": "fast"}
ENCODINGS = {
    "B-frames, closed groups": ("a.mp4", "libx264", X264 | {"x264-params": "keyint=12:bframes=3:scenecut=0"}),
    "B-frames, open groups": ("a.mp4", "libx264", X264 | {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}),
    "one key frame": ("a.mp4", "libx264", X264 | {"x264-params": "keyint=250:bframes=3:b-pyramid=normal"}),
    "no B-frames": ("a.mp4", "libx264", X264 | {"x264-params": "keyint=10:bframes=0"}),
    "Matroska": ("a.mkv", "libx264", X264 | {"x264-params": "keyint=12:bframes=3:open-gop=1"}),
    "MPEG-4 in AVI": ("a.avi", "mpeg4", {"g": "12", "q": "3"}),
    "Motion JPEG": ("a.mov", "mjpeg", {"q": "3"}),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_every_frame_is_found_by_its_index_from_anywhere(tmp_path, pictures, kind):
    name, codec, options = ENCODINGS[kind]
    pictures.encode(tmp_path / name, 50, codec, options)
    video = open_video(tmp_path / name)
    assert video.count == 50
    assert video.size == (160, 96)
    assert video.fps == pytest.approx(30)
    assert [pictures.number(frame) for frame in video.frames()] == list(range(50))
    for start in (1, 9, 10, 11, 12, 13, 23, 24, 25, 37, 48, 49):
        assert [pictures.number(frame) for frame in video.frames(start, start + 2)] == list(
            range(start, min(start + 2, 50))
        )
    assert list(video.frames(50)) == []


def test_reading_is_equal_from_the_start_and_from_the_middle(tmp_path, pictures):
    pictures.encode(tmp_path / "a.mp4", 40, "libx264", ENCODINGS["B-frames, open groups"][2])
    video = open_video(tmp_path / "a.mp4")
    whole = list(video.frames())
    for start in range(0, 40, 7):
        assert np.array_equal(whole[start], next(video.frames(start)))


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), 3), ((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2), ((1, 0, 0, 1), 0)]
)
def test_rotation_metadata_turns_the_picture(tmp_path, pictures, matrix, turns):
    # (0, 1, -1, 0) maps x to down and y to left: a phone's upright film, to be shown turned clockwise, three quarters
    # counter-clockwise.
    pictures.encode(tmp_path / "a.mp4", 3, "libx264", X264)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "turned.mp4").write_bytes(pictures.with_matrix(data, matrix))
    plain, turned = open_video(tmp_path / "a.mp4"), open_video(tmp_path / "turned.mp4")
    assert turned.size == ((96, 160) if turns % 2 else (160, 96))
    stored = open_video(tmp_path / "turned.mp4", upright=False)
    assert (turned.quarter_turns, stored.size) == (turns, (160, 96))
    for flat, upright, lying in zip(plain.frames(), turned.frames(), stored.frames(), strict=True):
        assert np.array_equal(np.rot90(flat, turns), upright)
        assert np.array_equal(flat, lying)


def test_cut_off_video_says_how_many_frames_are_left(tmp_path, pictures):
    write_video(tmp_path / "a.mp4", (pictures.numbered(number) for number in range(100)), 30)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * 0.6)])
    video = open_video(tmp_path / "cut.mp4")
    assert 20 < video.count < 100
    assert f"only {video.count} of 100" in video.warnings[0]
    # The planted fault: packets lie in decoding order, so counting those that are left would shift the last frames'
    # indices.
    assert [pictures.number(frame) for frame in video.frames()] == list(range(video.count))


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_any_cut_leaves_frames_or_one_line(tmp_path, pictures, name, share):
    path = tmp_path / name
    pictures.encode(path, 30, "libx264", {"x264-params": "keyint=8"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    shown = []
    with suppress(InputError):
        shown.extend(pictures.number(frame) for frame in open_video(path).frames())
    assert shown == list(range(len(shown)))


def test_damaged_middle_names_the_frame(tmp_path, pictures):
    pictures.encode(tmp_path / "a.avi", 30, "mjpeg", {"q": "3"})
    data = bytearray((tmp_path / "a.avi").read_bytes())
    starts = [
        index
        for index in range(len(data))
        if data[index : index + 4] == b"00dc" and data[index + 8 : index + 10] == b"\xff\xd8"
    ]
    data[starts[20] + 8 : starts[21]] = bytes(starts[21] - starts[20] - 8)
    (tmp_path / "a.avi").write_bytes(data)
    with pytest.raises(InputError, match=r"frame 2[01] of 30 cannot be decoded"):
        list(open_video(tmp_path / "a.avi").frames())


def test_dropped_frames_are_told(tmp_path, pictures):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for time in [0, 1, 2, 3, 7, 8, 9]:
            frame = av.VideoFrame.from_ndarray(pictures.numbered(time), format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert any("not evenly spaced" in warning for warning in open_video(tmp_path / "a.mp4").warnings)


def test_written_video_reads_back(tmp_path, pictures):
    path = tmp_path / "deep" / "out.mp4"
    write_video(path, (pictures.numbered(number)[:95, :159] for number in range(20)), 29.97)
    video = open_video(path)
    assert video.size == (160, 96)  # odd sizes grow to even ones
    assert video.fps == pytest.approx(29.97, abs=1e-3)
    assert video.warnings == ()
    for number, frame in enumerate(video.frames()):
        assert pictures.number(frame) == number
        # H.264 at this quality, with halved colour resolution, stays within a few grey levels on a gradient with jumps.
        assert np.abs(frame[:95, :159].astype(int) - pictures.numbered(number)[:95, :159]).mean() < 12
    assert [entry.name for entry in path.parent.iterdir()] == ["out.mp4"]


def test_a_failing_writer_leaves_nothing(tmp_path, pictures):
    def frames():
        yield pictures.numbered(0)
        raise RuntimeError("renderer died")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "out.mp4", frames(), 30)
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "out.mp4", [], 30)
    with pytest.raises(ValueError, match="in a video of"):
        write_video(tmp_path / "out.mp4", [pictures.numbered(0), pictures.numbered(1)[:50]], 30)
    assert list(tmp_path.iterdir()) == []


def _nothing(path):
    pass


def _text(path):
    path.write_text("not a video")


def _empty(path):
    path.write_bytes(b"")


def _folder(path):
    path.mkdir()


def _pipe(path):
    os.mkfifo(path)


def _device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_nothing, _text, _empty, _folder, _pipe, _device])
def test_what_is_no_video_is_refused_in_one_line(tmp_path, make):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(InputError) as caught:
        open_video(path)
    assert "a.mp4" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_come_in_number_order_and_keep_their_numbers(tmp_path, pictures):
    import cv2

    for number in (9, 10, 100, 8):
        cv2.imwrite(str(tmp_path / f"img_{number}.png"), pictures.numbered(number)[..., ::-1])
    (tmp_path / "notes.txt").write_text("x")
    folder = open_images(tmp_path)
    assert folder.frame_numbers.tolist() == [8, 9, 10, 100]
    assert (folder.count, folder.size, folder.fps) == (4, (160, 96), None)
    for number, image in zip((9, 10), folder.frames(1, 3), strict=True):
        assert np.array_equal(image, pictures.numbered(number))


def test_bad_images_are_named(tmp_path, pictures):
    import cv2

    cv2.imwrite(str(tmp_path / "0.png"), pictures.numbered(0))
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.png"):
        list(open_images(tmp_path).frames())
    cv2.imwrite(str(tmp_path / "1.png"), pictures.numbered(1)[:50])
    with pytest.raises(InputError, match="one size"):
        list(open_images(tmp_path).frames())
