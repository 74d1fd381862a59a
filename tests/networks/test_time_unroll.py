"""Windows of motion: what the chain makes of them, in what order, and what gaps and ends do to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry import rotations as so3
from refit_mv.networks.time_network import Mixing, SequenceNetwork, SequenceOptions
from refit_mv.networks.time_uncertainty import drawn_joint_covariance
from refit_mv.networks.time_unroll import Networks, Timeline, bridged, unroll_sequence
from refit_mv.networks.time_weights import load_sequence_network, save_sequence_network
from refit_mv.networks.unroll import unroll
from refit_mv.networks.weights_file import load_network
from refit_mv.solve.gaps import seen_frames
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.training.losses import scene_joints
from refit_mv.workshop.training.sequence_batch import WindowBatch, window_batch
from refit_mv.workshop.training.sequence_samples import SampleWindow, Takes, WindowMix, draw_window

FRAMES = 16
PLAIN = WindowMix(
    frames=FRAMES, strides=((1, 1.0),), warp=(1.0, 1.0), views=((3, 1.0),), keypoint_sets=(("coco23", 1.0),),
    noise=(("standard", 1.0),), first_body=1.0,
    recombined=0.0, disturbed=0.0, tumbled=0.0, gaps=0.0, lost_views=0.0, ragged=0.0, drifting=0.0, swap_runs=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def takes() -> Takes:
    return Takes.of([sampled_motion(load_pose_prior(), 3, 200, 60.0)], FRAMES)


def _windows(takes: Takes, count: int, mix: WindowMix = PLAIN) -> list[SampleWindow]:
    return [draw_window(takes, [open_body()], mix, np.random.default_rng([7, number])) for number in range(count)]


def _networks(seed: int = 0, mixing: Mixing = "convolution", lively: bool = False):
    frame_network, _ = load_network()
    torch.manual_seed(seed)
    network = SequenceNetwork(SequenceOptions(mixing=mixing, channels=16), frame_network.options).eval()
    if lively:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.02 * torch.randn(parameter.shape)
    return frame_network, network.requires_grad_(False)


def _errors(batch: WindowBatch, params: BodyParams) -> torch.Tensor:
    return (scene_joints(batch.scene, params) - scene_joints(batch.scene, batch.truth)).norm(dim=-1).mean(-1)


def _run(batch: WindowBatch, lively: bool = False, mixing: Mixing = "convolution") -> BodyParams:
    frame_network, network = _networks(lively=lively, mixing=mixing)
    with torch.no_grad():
        return unroll_sequence(
            Networks(frame_network, network), batch.scene, batch.evidence, batch.start, batch.time
        ).final


def test_neighbours_help_even_before_anything_is_learned(takes: Takes) -> None:
    batch = window_batch(_windows(takes, 3), [open_body()])
    with torch.no_grad():
        alone = unroll(_networks()[0], batch.scene, batch.evidence, batch.start).final
    # Four independent looks at nearly the same pose would halve the error; an eighth is less than constant weights
    # give.
    assert float(_errors(batch, _run(batch)).mean()) < 0.9 * float(_errors(batch, alone).mean())


@pytest.mark.parametrize("mixing", ["convolution", "gru", "attention"])
def test_windows_do_not_know_of_one_another(takes: Takes, mixing: Mixing) -> None:
    windows = _windows(takes, 3)
    together = _run(window_batch(windows, [open_body()]), lively=True, mixing=mixing)
    alone = _run(window_batch(windows[1:2], [open_body()]), lively=True, mixing=mixing)
    # Float32, other batch sizes.
    torch.testing.assert_close(together[slice(FRAMES, 2 * FRAMES)].pelvis, alone.pelvis, atol=1e-4, rtol=0)


def test_padding_changes_nothing(takes: Takes) -> None:
    (window,) = _windows(takes, 1)
    short = FRAMES - 5
    cut = replace(
        window,
        evidence=window.evidence[slice(0, short)], truth=window.truth[slice(0, short)], start=window.start[slice(0,
        short)], valid=window.valid[:short],
    )  # fmt: skip
    valid = window.valid.clone()
    valid[short:] = False
    silent = replace(window.evidence, confidence=window.evidence.confidence * valid[:, None, None])
    padded = replace(window, evidence=silent, valid=valid)
    expected = _run(window_batch([cut], [open_body()]), lively=True)
    found = _run(window_batch([padded], [open_body()]), lively=True)[slice(0, short)]
    torch.testing.assert_close(found.pelvis, expected.pelvis, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.rotations, expected.rotations, atol=1e-3, rtol=0)


def test_turning_the_world_turns_the_result(takes: Takes) -> None:
    batch = window_batch(_windows(takes, 1), [open_body()])
    turn = so3.exp(torch.tensor([0.4, -1.1, 0.7]))
    shift = torch.tensor([3.0, -2.0, 1.0])

    def carried(params: BodyParams) -> BodyParams:
        rotations = params.rotations.clone()
        rotations[:, 0] = turn @ rotations[:, 0]
        return BodyParams(params.pelvis @ turn.T + shift, rotations, params.shape)

    evidence = replace(
        batch.evidence, center=batch.evidence.center @ turn.T + shift, bearing=batch.evidence.bearing @ turn.T
    )
    expected = carried(_run(batch, lively=True))
    found = _run(replace(batch, evidence=evidence, start=carried(batch.start)), lively=True)
    torch.testing.assert_close(found.pelvis, expected.pelvis, atol=5e-4, rtol=0)


def test_a_gap_is_bridged_between_its_ends_with_growing_uncertainty(takes: Takes) -> None:
    (window,) = _windows(takes, 1, replace(PLAIN, noise=(("clean", 1.0),)))
    hidden = slice(6, 11)
    confidence = window.evidence.confidence.clone()
    confidence[hidden] = 0
    gone = replace(window, evidence=replace(window.evidence, confidence=confidence))
    batch = window_batch([gone], [open_body()])
    frame_network, network = _networks()
    with torch.no_grad():
        unrolled = unroll_sequence(
            Networks(frame_network, network), batch.scene, batch.evidence, batch.start, batch.time
        )
    assert (~unrolled.seen).nonzero()[:, 0].tolist() == list(range(6, 11))
    errors = _errors(batch, unrolled.final)
    # The made-up movement is smooth: 80 ms of it are nearly a line.
    assert float(errors[hidden].max()) < 0.05
    sigma = drawn_joint_covariance(batch.scene, unrolled).diagonal(dim1=-2, dim2=-1).sum(-1).sqrt().mean(-1)
    assert float(sigma[8]) > float(sigma[6]) > float(sigma[4])
    assert float(sigma[8]) > float(sigma[10]) > float(sigma[12])


def test_bridging_is_linear_in_time_and_keeps_the_ends() -> None:
    pelvis = torch.tensor([[0.0, 0, 0], [9, 9, 9], [9, 9, 9], [4, 0, 0], [9, 9, 9]])
    turns = so3.exp(torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 0.8], [1, 0, 0]]))[:, None]
    params = BodyParams(pelvis, turns, torch.zeros(5, 1))
    time = Timeline(torch.tensor([[0.1, 0.1, 0.2, 0.1]]), torch.ones(1, 5, dtype=torch.bool))
    filled = bridged(params, torch.tensor([True, False, False, True, False]), time)
    torch.testing.assert_close(filled.pelvis[:, 0], torch.tensor([0.0, 1.0, 2.0, 4.0, 4.0]))
    torch.testing.assert_close(so3.log(filled.rotations[:, 0])[:, 2], torch.tensor([0.0, 0.2, 0.4, 0.8, 0.8]))


def test_gradients_reach_every_weight(takes: Takes) -> None:
    batch = window_batch(_windows(takes, 1), [open_body()])
    frame_network, network = _networks(lively=True)
    network.requires_grad_(True)
    final = unroll_sequence(
        Networks(frame_network, network), batch.scene, batch.evidence, batch.start, batch.time
    ).final
    _errors(batch, final).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    _, network = _networks(lively=True)
    save_sequence_network(tmp_path / "w.safetensors", network, {"steps": 3})
    again, facts = load_sequence_network(tmp_path / "w.safetensors")
    assert facts == {"steps": 3} and again.options == network.options
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="bad"):
        load_sequence_network(tmp_path / "bad.safetensors")


def test_unseen_frames_are_known_as_such(takes: Takes) -> None:
    (window,) = _windows(takes, 1)
    few = torch.zeros_like(window.evidence.confidence)
    few[:, :, :3] = 1.0
    assert bool(seen_frames(window.evidence.confidence).all())
    assert not bool(seen_frames(few).any())
