"""Clocks by what videos hear, and by a light that goes on."""

from fractions import Fraction

import av
import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.rigs.sync_media import LIGHT, SOUND, brightness, hearing
from refit_mv.rigs.sync_motion import compared
from refit_mv.session.video import open_video, write_video

RATE, FPS, SECONDS = 16000, 30, 14.0
# When the second video began, seconds after the first, and how much slower its clock is.
LATE, DRIFT = 0.337, 0.001


def heard(times, seed):
    """Claps, words and steps of a room at any times of it, and noise of the microphone's own."""
    rng = np.random.default_rng(4)
    sound = np.zeros(len(times))
    for begin, pitch in zip(rng.uniform(0, 16, 40), rng.uniform(200, 2500, 40), strict=True):
        since = times - begin
        sound += np.where(since > 0, np.exp(-since.clip(0) / 0.06) * np.sin(2 * np.pi * pitch * since), 0)
    return 0.2 * sound + 0.01 * np.random.default_rng(seed).normal(size=len(times))


def write_film(path, samples=None, pictures=None):
    frames = int(SECONDS * FPS) if pictures is None else len(pictures)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = None
        if samples is not None:
            sound = container.add_stream("pcm_s16le", rate=RATE)
            sound.layout = "mono"
        for number in range(frames):
            level = 40 if pictures is None else pictures[number]
            picture = np.full((48, 64, 3), level, dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if sound is not None:
            whole = (samples.clip(-1, 1) * 32767).astype(np.int16)[None]
            for start in range(0, whole.shape[1], 1024):
                part = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole[:, start : start + 1024]), "s16", "mono")
                part.sample_rate, part.pts, part.time_base = RATE, start, Fraction(1, RATE)
                container.mux(sound.encode(part))
            container.mux(sound.encode())
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder, own = tmp_path_factory.mktemp("sound"), np.arange(int(SECONDS * RATE)) / RATE
    return [
        write_film(folder / "a.mkv", heard(own, 1)),
        write_film(folder / "b.mkv", heard(LATE + (1 + DRIFT) * own, 2)),
    ]


def test_sound_tells_offset_and_drift(sounds):
    found = compared([hearing(path.stem, path) for path in sounds], 0, SOUND)
    assert found.said == ()
    clock = found.clocks[1]
    assert clock.by == "audio"
    at = np.array([SECONDS / 2])
    assert clock.reference_time(at)[0] == pytest.approx(LATE + (1 + DRIFT) * at[0], abs=0.004)
    assert clock.drift == pytest.approx(DRIFT, abs=4e-4)


def test_noise_of_two_rooms_is_refused(sounds, tmp_path):
    other = write_film(tmp_path / "c.mkv", 0.1 * np.random.default_rng(3).normal(size=int(SECONDS * RATE)))
    found = compared([hearing("a", sounds[0]), hearing("c", other)], 0, SOUND)
    assert len(found.clocks) == 1
    assert found.said[0].startswith("c: too little sound")


def test_silence_and_videos_without_sound_are_said(tmp_path):
    for samples, said in ((None, "has no sound"), (np.zeros(4 * RATE), "silence")):
        with pytest.raises(InputError, match=said):
            hearing("a", write_film(tmp_path / f"{said[-5:]}.mkv", samples))


def test_a_light_that_goes_on_tells_the_offset(tmp_path):
    # On for 0.4 s and later for 0.9 s, at times of the room.
    def level(times):
        on = ((times > 3.01) & (times < 3.41)) | ((times > 5.2) & (times < 6.1))
        return (60 + 90 * on).astype(int)

    own = np.arange(240) / FPS
    films = []
    for name, shift in (("a", 0.0), ("b", 17 / FPS)):
        write_video(
            tmp_path / f"{name}.mp4", [np.full((48, 64, 3), each, np.uint8) for each in level(own + shift)], FPS
        )
        films.append(brightness(name, open_video(tmp_path / f"{name}.mp4"), own))
    found = compared(films, 0, LIGHT)
    assert found.said == ()
    assert found.clocks[1].offset * FPS == pytest.approx(17, abs=0.5)


def test_constant_light_is_refused(tmp_path):
    write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 60, FPS)
    with pytest.raises(InputError, match="no light"):
        brightness("a", open_video(tmp_path / "a.mp4"), np.arange(60) / FPS)
