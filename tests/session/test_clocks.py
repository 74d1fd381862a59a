"""Views are read at their own times: ``sync.yaml`` there and back, and points between a view's frames."""

import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.session.between import between, same_people
from refit_mv.session.clock_pairing import pair_by_clock
from refit_mv.session.clocks import Clocks, ViewClock
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.session.sync_file import read_clocks, write_clocks

TWO = Clocks("a", (ViewClock("a", 0.0, 0.0, 50.0), ViewClock("b", 0.1, 0.002, 25.0, 0.001, 1e-5, "motion")))


def test_a_written_file_is_read_as_it_was(tmp_path):
    write_clocks(TWO, tmp_path / "sync.yaml")
    assert read_clocks(tmp_path / "sync.yaml") == TWO


def test_own_and_reference_time_are_inverse():
    own = np.linspace(-3, 100, 7)
    clock = TWO["b"]
    assert clock.own_time(clock.reference_time(own)) == pytest.approx(own)
    assert clock.reference_time(np.array([10.0])) == pytest.approx(0.1 + 10.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference: a\nviews:\n  - {view: a, offset: 0, fps: 30}\n  - {view: a, offset: 1, fps: 30}", "given twice"),
        ("reference: c\nviews:\n  - {view: a, offset: 0, fps: 30}", "none of the views"),
        ("reference: a\nviews:\n  - {view: a, ofset: 0}", "offset"),
        ("reference: a\nviews:\n  - {view: a, offset: 0, frames: 1}", "one of the two"),
        ("reference: a\nviews:\n  - {view: a, frames: 1}", "fps"),
        ("reference: a\nviews:\n  - {view: a, offset: 0, drift: 0.5}", "0.5"),
        ("- 3", "reference"),
    ],
)
def test_files_that_say_nothing_sensible_are_refused(tmp_path, text, said):
    (tmp_path / "sync.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_clocks(tmp_path / "sync.yaml")
    assert "sync.yaml" in str(refused.value)


def test_frames_by_hand_are_of_the_views_own_rate(tmp_path):
    (tmp_path / "sync.yaml").write_text(
        "reference: a\nviews:\n  - {view: a, frames: 0, fps: 50}\n  - {view: b, frames: -5, fps: 25}"
    )
    assert read_clocks(tmp_path / "sync.yaml")["b"].offset == -0.2


def seen_at(time):
    """Two people's points that move evenly, at any time: interpolation meets them exactly."""
    start = np.arange(24.0).reshape(2, 6, 2) * [7, 11] + np.array([0, 500])[:, None, None]
    return start + np.asarray(time)[..., None, None, None] * np.array([30.0, -12.0])


def test_points_are_read_between_frames_whatever_the_order_of_people():
    numbers = {"a": np.arange(100), "b": np.arange(3, 60)}
    times = {view: numbers[view] / TWO[view].fps for view in numbers}
    paired = pair_by_clock(numbers, times, TWO, None)
    placed = paired.between
    assert paired.fps == 50.0
    truth = seen_at(paired.frame_numbers / 50.0)
    pixels = np.zeros((*placed.numbers.shape, 2, 6, 2))
    for view, name in enumerate(numbers):
        own = placed.numbers[:, view] / TWO[name].fps
        pixels[:, view] = seen_at(TWO[name].reference_time(own))
    shuffled = placed.numbers[:, 1] % 2 == 1
    pixels[shuffled, 1] = pixels[shuffled, 1][:, ::-1]
    found, trust = placed.interpolated(pixels, np.ones(pixels.shape[:-1]))
    assert (trust == 1).all()
    either = np.minimum(np.abs(found[:, 1] - truth).max((1, 2, 3)), np.abs(found[:, 1, ::-1] - truth).max((1, 2, 3)))
    # A frame itself is taken when it is 0.04 of its step away or nearer: 30 px a second, 25 frames a second.
    assert either.max() <= 0.04 / 25 * 30 + 1e-6
    assert np.abs(found[:, 0] - truth).max() < 1e-9


def test_nothing_is_made_up_in_gaps_and_where_one_neighbour_misses_a_point():
    own = np.array([0, 1, 2, 6, 7])
    placed = between(np.array([0.5, 1.5, 4.0, 6.5]), {"a": own.astype(float)}, {"a": own})
    pixels = np.array([[0.0, 0], [50, 0], [0, 90]]) + np.arange(1, 6)[:, None, None, None, None]
    confidence = np.full((5, 1, 1, 3), 0.8)
    confidence[1, 0, 0, 2] = 0
    confidence[4, 0, 0, 1] = 0.3
    found, trust = placed.interpolated(pixels, confidence)
    assert trust[:, 0, 0].round(6).tolist() == [[0.8, 0.8, 0], [0.8, 0.8, 0], [0, 0, 0], [0.8, 0.3, 0.8]]
    assert found[0, 0, 0, 0].tolist() == [1.5, 1.5]
    assert placed.nearest[:, 0].tolist()[2:] == [-1, 7]


def test_people_who_swap_places_in_the_file_are_assigned():
    pixels = np.random.default_rng(0).uniform(0, 100, (1, 3, 5, 2)) + np.arange(3)[None, :, None, None] * 300
    seen = np.ones((1, 3, 5))
    order = [2, 0, 1]
    assert same_people(pixels, seen, pixels[:, order] + 3, seen[:, order]).tolist() == [[1, 2, 0]]


def test_a_session_reads_its_views_at_their_times(recording):
    folder = recording(frames=12)
    plain = read_recording(open_session(folder, units="m"))
    assert not any("sync.yaml" in warning for warning in plain.warnings)
    (folder / "sync.yaml").write_text(
        "reference: cam01\nviews:\n  - {view: cam01, frames: 0, fps: 30}\n  - {view: cam02, frames: -2, fps: 30}"
    )
    found = read_recording(open_session(folder, units="m"))
    assert any("sync.yaml" in warning and "cam_02 -2.00 frames" in warning for warning in found.warnings)
    # Frame 2 of cam02 was taken when cam01 took its first.
    assert found.observations.frame_numbers.tolist() == list(range(10))
    assert found.source_numbers.T.tolist() == [list(range(10)), list(range(2, 12))]
    assert (found.observations.pixels[:, 1] == plain.observations.pixels[2:, 1]).all()
    assert (found.observations.pixels[:, 0] == plain.observations.pixels[:10, 0]).all()


def test_a_view_of_unknown_clock_is_refused(recording):
    folder = recording(frames=12)
    (folder / "sync.yaml").write_text("reference: cam01\nviews:\n  - {view: cam01, frames: 0, fps: 30}")
    with pytest.raises(InputError, match="cam_02"):
        open_session(folder, units="m")


def test_selected_frames_alone_are_opened(recording):
    folder = recording(frames=12)
    write_clocks(
        Clocks("cam_01", (ViewClock("cam_01", 0.0, fps=30.0), ViewClock("cam_02", -0.05, fps=30.0))),
        folder / "sync.yaml",
    )
    (folder / "pose" / "cam02_json" / "cam02.0001.json").write_text("{")  # damaged, and not asked for
    found = read_recording(open_session(folder, units="m"), frames=slice(2, 4))
    assert found.observations.frame_numbers.tolist() == [2, 3]
