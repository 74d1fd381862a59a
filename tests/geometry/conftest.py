import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors slow down many times over when threads fight for them."""
    torch.set_num_threads(1)
