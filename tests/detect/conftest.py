"""BlazePose's networks, which pip fetches once into the user's cache."""

import pytest

from refit_mv.detect.blazepose import BlazePose
from refit_mv.detect.blazepose_files import FINDER, LANDMARKS, networks
from refit_mv.errors import InputError


@pytest.fixture(scope="session")
def network_folder(tmp_path_factory):
    """The two network files, in a folder of their own."""
    try:
        content = networks((FINDER, LANDMARKS["full"]))
    except InputError as error:
        pytest.skip(f"BLAZEPOSE NOT TESTED: {error}")
    folder = tmp_path_factory.mktemp("blazepose")
    for file, written in content.items():
        (folder / file.name).write_bytes(written)
    return folder


@pytest.fixture(scope="session")
def blazepose(network_folder):
    return BlazePose(network_folder)
