"""What videos hear, and how light they are, as signals that all views share."""

from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from refit_mv.errors import InputError
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.sync_motion import Kind
from refit_mv.rigs.sync_signals import Movement
from refit_mv.session.video import FrameSource

# Sound travels a metre in 3 ms: microphones some metres apart hear a clap at other times. Brightness is of a whole
# frame, whose lines are taken one after the other.
SOUND, LIGHT = Kind("audio", "sound", 0.005, 0.3, 0.3), Kind("flash", "change of light", 0.008, 0.5, 0.5)
SAMPLES, HOP, WINDOW = 8000, 40, 160
BANDS = np.geomspace(120, 3800, 9)
# Sound counts where it is this many times as strong as the usual, which is noise mostly.
NOISE = 20.0
# Peaks of correlation are as wide as the parabola through them (samples of ``HOP``).
SMOOTH = 2.0
# Longer sound than this is not needed, seconds.
LONGEST_SOUND = 1200.0
# Every so manieth pixel tells how light a picture is.
STRIDE = 8
# A light changes a picture by this share at least.
LEAST_LIGHT = 0.02
BEYOND_SECONDS = 20.0


def hearing(view: str, path: Path) -> Movement:
    """How sound begins and ends in bands of frequency, on the clock of the video's frames.

    Raises:
        InputError: no sound, or none that can be decoded.
    """
    samples, begin = _sound(path)
    if len(samples) < SAMPLES:
        raise InputError(f"video {path} has less than a second of sound")
    if float(np.abs(samples).max()) < 1e-5:
        raise InputError(f"video {path}: its sound is silence")
    transform = ShortTimeFFT(hann(WINDOW), HOP, SAMPLES)
    power = np.abs(transform.stft(samples.astype(np.float64))) ** 2
    times = transform.t(len(samples)) + begin
    band = np.digitize(transform.f, BANDS)
    energy = np.stack([power[band == place].sum(0) for place in range(1, len(BANDS))], axis=1)
    # What stands out of the room's and the microphone's own noise.
    loud = np.log(energy + NOISE * np.median(energy, axis=0) + 1e-3 * energy.mean(0) + 1e-12)
    change = gaussian_filter1d(np.gradient(loud, axis=0), SMOOTH, axis=0)
    velocity = np.stack([np.maximum(change, 0), np.minimum(change, 0)], axis=-1)
    return Movement(view, times, velocity - velocity.mean(0), np.ones(change.shape), SAMPLES / HOP)


def _sound(path: Path) -> tuple[Float[np.ndarray, " sample"], float]:
    """One channel, and when it begins after the first picture, seconds."""
    parts: list[np.ndarray] = []
    begin, count = 0.0, 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(f"video {path} has no sound; use --by motion or flash")
            stream = container.streams.audio[0]
            pictures = container.streams.video[0] if container.streams.video else None
            if pictures is not None and pictures.start_time is not None and pictures.time_base is not None:
                begin = -float(pictures.start_time * pictures.time_base)
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLES)
            for frame in container.decode(stream):
                if count == 0 and frame.time is not None:
                    begin += frame.time
                parts += [each.to_ndarray()[0] for each in resampler.resample(frame)]
                count += frame.samples
                if count > LONGEST_SOUND * frame.sample_rate:
                    break
    except (FFmpegError, OSError) as error:
        raise InputError(f"video {path}: its sound cannot be decoded ({getattr(error, 'strerror', error)})") from None
    return (np.concatenate(parts) if parts else np.zeros(0)), begin


def brightness(
    view: str, source: FrameSource, times: Float[np.ndarray, " picture"], progress: Progress = quiet
) -> Movement:
    """How the light changes from picture to picture, at ``times`` of the view's own clock.

    Raises:
        InputError: pictures that cannot be read, or in which no light changes.
    """
    light = np.zeros(len(times))
    for place, picture in enumerate(source.frames(0, len(times))):
        light[place] = picture[::STRIDE, ::STRIDE].mean()
        if place % 50 == 0:
            progress(f"light of {view}", place, len(times))
    progress(f"light of {view}", len(times), len(times))
    change = np.diff(light) / max(float(light.mean()), 1.0)
    change = change - np.median(change)
    if float(np.abs(change).max()) < LEAST_LIGHT:
        raise InputError(f"{source.path}: no light goes on or off in it; use --by motion or audio")
    step = float(np.median(np.diff(times)))
    middle = (times[1:] + times[:-1]) / 2
    velocity = np.stack([np.maximum(change, 0), np.minimum(change, 0)], axis=-1)[:, None]
    # Outside the take no light changes: what one view shows and another does not speaks against it.
    beyond = np.arange(1, int(min(len(middle), BEYOND_SECONDS / step)) + 1) * step
    dark = np.zeros((len(beyond), 1, 2))
    line = np.concatenate([middle[0] - beyond[::-1], middle, middle[-1] + beyond])
    velocity = np.concatenate([dark, velocity, dark])
    return Movement(view, line, velocity, np.ones(velocity.shape[:2]), 1 / step)
