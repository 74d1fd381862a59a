"""The detector's errors have the sizes and shares that the presets promise."""

from dataclasses import replace

import numpy as np
import pytest

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.workshop.synthetic.detector_noise import (
    PRESETS,
    Detections,
    DetectorNoise,
    apparent_height,
    detect,
    detector_noise,
)

KEYPOINTS = keypoint_set("coco23")
FRAMES, VIEWS = 2000, 4
HEIGHT = 700.0
SIZE = 1e6


def run(noise: DetectorNoise, seed: int = 0) -> tuple[np.ndarray, Detections]:
    """Points in the middle of an image so large that nothing is clipped."""
    rng = np.random.default_rng(100 + seed)
    pixels = SIZE / 2 + rng.uniform(-300, 300, (FRAMES, VIEWS, len(KEYPOINTS.keypoint_names), 2))
    shape = pixels.shape[:3]
    report = detect(
        noise,
        KEYPOINTS,
        pixels,
        np.ones(shape, dtype=bool),
        np.full(shape[:2], HEIGHT),
        np.full((VIEWS, 2), SIZE),
        np.random.default_rng(seed),
    )
    return pixels, report


def test_no_noise_is_exact() -> None:
    pixels, report = run(PRESETS["none"])
    assert np.array_equal(report.pixels, pixels)
    assert (report.confidence == 1).all() and not report.outlier.any()


@pytest.mark.parametrize(("name", "sigma"), [("clean", 0.0005), ("standard", 0.006), ("strong", 0.012)])
def test_jitter_has_the_promised_size(name: str, sigma: float) -> None:
    noise = replace(PRESETS[name], swap_share=0.0)
    pixels, report = run(noise)
    good = (report.confidence > 0) & ~report.outlier
    error = (report.pixels - pixels)[good] / HEIGHT
    # E[U(0.5, 2)²] = 1.75. About 160,000 points: the mean square is known to some 0.5 %.
    assert np.sqrt((error**2).mean()) == pytest.approx(sigma * np.sqrt(1.75), rel=0.02)
    # No bias: the mean is known to sigma / 400.
    assert np.abs(error.mean(0)).max() < 0.02 * sigma
    confidence = report.confidence[good]
    # exp(-sigma U(0.5, 2) / 0.012) lies between these, times U(0.6, 1).
    low, high = 0.6 * np.exp(-2 * sigma / 0.012), np.exp(-0.5 * sigma / 0.012)
    assert low <= confidence.min() and confidence.max() <= high
    # And reaches near both ends.
    assert confidence.min() < low * 1.05 and confidence.max() > high * 0.95


@pytest.mark.parametrize(("name", "share"), [("clean", 0.0), ("standard", 0.05), ("strong", 0.10)])
def test_outliers_have_the_promised_share_and_size(name: str, share: float) -> None:
    pixels, report = run(replace(PRESETS[name], swap_share=0.0))
    seen = report.confidence > 0
    # Of some 160,000 points, 0.05 is known to 0.0006 (one standard deviation).
    assert report.outlier[seen].mean() == pytest.approx(share, abs=0.003)
    if share:
        error = (report.pixels - pixels)[report.outlier] / HEIGHT
        assert np.sqrt((error**2).mean()) == pytest.approx(0.12, rel=0.03)
        # Their confidence is lower on the mean by E[U(0.1, 1)] = 0.55.
        ratio = report.confidence[report.outlier].mean() / report.confidence[seen & ~report.outlier].mean()
        assert ratio == pytest.approx(0.55, abs=0.03)


@pytest.mark.parametrize("name", ["clean", "standard", "strong"])
def test_missing_points_and_views(name: str) -> None:
    _, report = run(PRESETS[name])
    seen = report.confidence > 0
    # Of 8,000 frame-views, 0.04 is known to 0.002; a whole view of 23 points never goes missing point by point
    # (0.08^23).
    whole = ~seen.any(-1)
    assert whole.mean() == pytest.approx(0.04, abs=0.007)
    assert (~seen[~whole]).mean() == pytest.approx(0.08, abs=0.004)
    assert (report.pixels[~seen] == 0).all()


def test_confidence_tells_good_points_from_bad() -> None:
    """A planted fault would be confidence drawn apart from the error it speaks of."""
    pixels, report = run(replace(PRESETS["standard"], outlier_share=0.0))
    seen = report.confidence > 0
    error = np.linalg.norm(report.pixels - pixels, axis=-1)[seen]
    confidence = report.confidence[seen]
    sure, unsure = np.quantile(confidence, [0.9, 0.1])
    assert error[confidence > sure].mean() < 0.6 * error[confidence < unsure].mean()


def test_strong_swaps_arms_and_legs_apart() -> None:
    noise = replace(PRESETS["strong"], sigma=0.0, outlier_share=0.0, missing_points=0.0, missing_views=0.0)
    pixels, report = run(noise)
    assert report.arms_swapped.mean() == pytest.approx(0.05, abs=0.01)
    assert report.legs_swapped.mean() == pytest.approx(0.05, abs=0.01)
    # Independent of one another: both together in 0.25 % of 8,000 frame-views, 20 ± 4.5.
    assert 0 < (report.arms_swapped & report.legs_swapped).sum() < 45
    names = KEYPOINTS.keypoint_names
    only_arms = report.arms_swapped & ~report.legs_swapped
    for given, reported in (
        ("left_wrist", "right_wrist"),
        ("left_shoulder", "right_shoulder"),
        ("left_knee", "left_knee"),
    ):
        np.testing.assert_array_equal(
            report.pixels[only_arms][:, names.index(given)], pixels[only_arms][:, names.index(reported)]
        )
    untouched = ~report.arms_swapped & ~report.legs_swapped
    np.testing.assert_array_equal(report.pixels[untouched], pixels[untouched])
    assert not PRESETS["standard"].swap_share


@pytest.mark.parametrize("name", ["coco17", "body25", "body25b", "halpe26", "blazepose33", "wholebody133"])
def test_limb_mirrors_are_disjoint_involutions(name: str) -> None:
    keypoints = keypoint_set(name)
    arms, legs = (np.array(mirrored_order(keypoints.keypoint_names, limb)) for limb in ("arms", "legs"))
    identity = np.arange(len(keypoints.keypoint_names))
    for order in (arms, legs):
        np.testing.assert_array_equal(order[order], identity)
        assert (order != identity).any()
    assert not ((arms != identity) & (legs != identity)).any()
    # Faces are never swapped.
    for place, keypoint in enumerate(keypoints.keypoint_names):
        if any(word in keypoint for word in ("eye", "ear", "nose", "mouth", "face")) and "fore" not in keypoint:
            assert arms[place] == legs[place] == place


def test_habits_are_constant_over_frames_and_views() -> None:
    noise = replace(PRESETS["none"], offset_sigma=0.02)
    pixels, report = run(noise)
    offset = (report.pixels - pixels) / HEIGHT
    # Subtracting numbers of 5e5 pixels leaves 1e-10 of rounding.
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:1, :1], offset.shape), atol=1e-9)
    # 46 numbers of sigma 0.02: their spread is known to 10 %.
    assert offset[0, 0].std() == pytest.approx(0.02, rel=0.35)


def test_nothing_outside_the_image_or_behind_the_camera() -> None:
    pixels = np.zeros((1, 1, len(KEYPOINTS.keypoint_names), 2)) + 50.0
    pixels[0, 0, 0] = (-0.5, 50)
    pixels[0, 0, 1] = (50, 100.5)
    pixels[0, 0, 2] = (99, 0)
    visible = np.ones(pixels.shape[:3], dtype=bool)
    visible[0, 0, 3] = False
    noise = replace(PRESETS["standard"], missing_points=0.0, missing_views=0.0)
    report = detect(
        noise,
        KEYPOINTS,
        pixels,
        visible,
        np.full((1, 1), 500.0),
        np.array([[100.0, 100.0]]),
        np.random.default_rng(0),
    )
    assert (report.confidence[0, 0, [0, 1, 3]] == 0).all() and (report.confidence[0, 0, 4:] > 0).all()
    assert report.confidence[0, 0, 2] > 0
    assert (report.pixels >= 0).all() and (report.pixels <= 99).all()


def test_seeds_decide_everything() -> None:
    first, again, other = (run(PRESETS["strong"], seed)[1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.confidence, again.confidence)
    assert not np.array_equal(first.confidence, other.confidence)


def test_apparent_height_is_that_of_an_average_person() -> None:
    depth = np.full((1, 2, 5), 3.4)
    np.testing.assert_allclose(apparent_height(depth, np.array([1000.0, 2000.0])), [[500.0, 1000.0]])
    assert np.isfinite(apparent_height(-depth, np.array([1000.0, 2000.0]))).all()


def test_unknown_preset_names_the_known() -> None:
    assert detector_noise("strong") is PRESETS["strong"]
    with pytest.raises(InputError, match="none, clean, standard, strong"):
        detector_noise("medium")
