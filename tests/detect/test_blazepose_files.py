"""The network files: from a folder, from the cache, or fetched; never others than the known ones, and never a traceback
where they cannot be had.
"""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from refit_mv import fetching
from refit_mv.detect import blazepose_files
from refit_mv.detect.blazepose_files import BROWSER_PACKAGE, FINDER, LANDMARKS, NetworkFile, networks
from refit_mv.errors import InputError
from refit_mv.fetching import fetched_archive, fetched_wheel, user_cache

CONTENT = {"one.tflite": b"first network", "two.tflite": b"second network"}
SMALL = tuple(NetworkFile(f"inside/{name}", hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items())


@pytest.fixture
def small(monkeypatch, isolated):
    """Two small files in the networks' place, and pip that brings them in a wheel; counts how often."""
    fetched = []

    def fetch(package, folder, options, instead):
        fetched.append(package)
        wheel = folder / "mediapipe-0.10.21-x.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for file in SMALL:
                archive.writestr(file.member, CONTENT[file.name])
        return wheel

    monkeypatch.setattr(blazepose_files, "fetched_wheel", fetch)
    return fetched


def test_networks_are_fetched_once_and_a_damaged_copy_again(small, isolated):
    expected = {file: CONTENT[file.name] for file in SMALL}
    assert networks(SMALL) == expected and networks(SMALL) == expected
    assert len(small) == 1
    kept = isolated / "refit-mv" / "blazepose"
    assert sorted(path.name for path in kept.iterdir()) == sorted(CONTENT)
    (kept / "two.tflite").write_bytes(b"second netw")
    assert networks(SMALL) == expected
    assert len(small) == 2 and (kept / "two.tflite").read_bytes() == CONTENT["two.tflite"]


def test_without_a_place_to_keep_them_they_are_fetched_each_time(small, isolated, monkeypatch):
    # A file where the cache should be: nobody, the administrator included, can write into it.
    (isolated / "occupied").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(isolated / "occupied"))
    assert len(networks(SMALL)) == 2 and len(networks(SMALL)) == 2
    assert len(small) == 2
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert user_cache() is None
    assert len(networks(SMALL)) == 2


def test_each_network_comes_out_of_its_own_package(small, isolated, monkeypatch):
    content = b"large network"
    heavy = NetworkFile("package/heavy.tflite", hashlib.sha256(content).hexdigest(), BROWSER_PACKAGE)

    def pack(package, folder, instead):
        small.append(package)
        with tarfile.open(folder / "pose.tgz", "w:gz") as archive:
            member = tarfile.TarInfo(heavy.member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        return folder / "pose.tgz"

    monkeypatch.setattr(blazepose_files, "fetched_archive", pack)
    assert networks((SMALL[0],)) == {SMALL[0]: CONTENT["one.tflite"]}
    # What is at hand is not fetched again.
    assert networks((SMALL[0], heavy)) == {SMALL[0]: CONTENT["one.tflite"], heavy: content}
    assert small == [SMALL[0].package, BROWSER_PACKAGE]


def test_a_folder_takes_the_place_of_the_network(small, tmp_path):
    folder = tmp_path / "weights"
    with pytest.raises(InputError, match=r"no folder of detector weights"):
        networks(SMALL, folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"no detector network at .*one\.tflite"):
        networks(SMALL, folder)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    assert set(networks(SMALL, folder).values()) == set(CONTENT.values())
    (folder / "two.tflite").write_bytes(b"another network")
    with pytest.raises(InputError, match=r"two\.tflite is not the network of mediapipe==0\.10\.21.*SHA-256") as caught:
        networks(SMALL, folder)
    assert "\n" not in str(caught.value)
    assert small == []


def test_another_network_in_the_package_is_refused(small, isolated):
    wrong = (SMALL[0], NetworkFile(SMALL[1].member, "0" * 64))
    with pytest.raises(InputError, match=r"two\.tflite in the fetched .*--detector-weights"):
        networks(wrong)
    assert not (isolated / "refit-mv").exists()
    with pytest.raises(InputError, match=r"cannot take the detector's networks.*three\.tflite"):
        networks((NetworkFile("inside/three.tflite", "0" * 64),))


def test_no_network_is_one_line_with_the_command(monkeypatch, isolated):
    asked = []

    def offline(command, **_):
        asked.append(command)
        said = "WARNING: Retrying\nERROR: No matching distribution found for mediapipe==0.10.21\n\nWARNING: bye\n"
        raise subprocess.CalledProcessError(1, command, stderr=said)

    monkeypatch.setattr(fetching.subprocess, "run", offline)
    with pytest.raises(InputError) as caught:
        networks((FINDER, LANDMARKS["full"]))
    message = str(caught.value)
    assert "\n" not in message
    assert "No matching distribution" in message and "pip download" in message and "mediapipe==0.10.21" in message
    assert "--detector-weights" in message and "pose_landmark_full.tflite" in message
    assert "--platform=manylinux_2_28_x86_64" in asked[0]


@pytest.mark.parametrize(
    "failure",
    [
        FileNotFoundError(2, "No such file or directory"),
        subprocess.TimeoutExpired("pip", 600),
        PermissionError(13, "no"),
    ],
)
def test_no_pip_is_one_line_too(monkeypatch, tmp_path, failure):
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(failure))
    with pytest.raises(
        InputError, match=r"cannot fetch thing==1 through pip \(.+\); see what this says: python -m pip"
    ):
        fetched_wheel("thing==1", tmp_path)
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: None)
    with pytest.raises(InputError, match="there is no wheel"):
        fetched_wheel("thing==1", tmp_path)
    with pytest.raises(InputError, match="there is no archive"):
        fetched_archive("@some/thing@1", tmp_path)


def test_no_npm_is_one_line_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"cannot fetch @some/thing@1 through npm .*npm pack @some/thing@1") as caught:
        fetched_archive("@some/thing@1", tmp_path)
    assert "\n" not in str(caught.value)
