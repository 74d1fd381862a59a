"""Weights on disk: round trips, refusals, and the size that ships."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from refit_mv.errors import InputError
from refit_mv.networks.frame_network import NetworkOptions, ReFitNetwork
from refit_mv.networks.uncertainty import SigmaCorrection
from refit_mv.networks.weights_file import (
    FORMAT,
    SHIPPED_WEIGHTS,
    load_network,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_network,
    save_state,
)

SMALL = NetworkOptions(iterations=1, layers=1, hidden=8, context=8, context_hidden=16)


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ReFitNetwork(SMALL)
    save_network(tmp_path / "w.safetensors", network, {"steps": 3})
    loaded, facts = load_network(tmp_path / "w.safetensors")
    assert loaded.options == SMALL
    assert facts == {"steps": 3}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_loading_draws_no_numbers_of_the_program(tmp_path: Path) -> None:
    save_network(tmp_path / "w.safetensors", ReFitNetwork(SMALL), {})
    before = torch.get_rng_state()
    load_network(tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, str(path))
    with pytest.raises(InputError, match="expected weights of format"):
        load_network(path)
    metadata = {"format": FORMAT, "network": json.dumps({"hidden": 8, "wheels": 4})}
    save_file({"a": torch.zeros(1)}, str(path), metadata=metadata)
    with pytest.raises(InputError, match="wheels"):
        load_network(path)


def test_shipped_weights_load_and_are_small() -> None:
    assert SHIPPED_WEIGHTS.stat().st_size < 10e6
    _, facts = load_network()
    SigmaCorrection.of(facts)
    assert SHIPPED_WEIGHTS.with_suffix(".md").is_file()


def test_training_state_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(1)
    twins = [torch.nn.Linear(3, 2) for _ in range(2)]
    twins[1].load_state_dict(twins[0].state_dict())
    optimizers = [torch.optim.AdamW(twin.parameters(), lr=0.1) for twin in twins]

    def advance(index: int, value: float) -> None:
        optimizers[index].zero_grad()
        (twins[index](torch.full((1, 3), value)) ** 2).sum().backward()
        optimizers[index].step()

    advance(0, 1.0)
    path = tmp_path / "state.safetensors"
    save_state(path, {**optimizer_tensors(optimizers[0]), **twins[0].state_dict()}, {"step": 1})
    tensors, plain = load_state(path)
    assert plain == {"step": 1}
    twins[1].load_state_dict({name: tensors[name] for name in ("weight", "bias")})
    restore_optimizer(optimizers[1], tensors)
    for index in range(2):
        advance(index, -2.0)
    # The same moments make the same step.
    assert torch.equal(twins[0].weight, twins[1].weight)
