"""Takes and results behind SSH: a server in this process."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from refit_mv.errors import PassingError
from refit_mv.farm.batch import run_batch, wrong_files
from refit_mv.farm.places import Place
from tests.farm.single_runs import numbers, quiet


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that lets everybody in."""
    import fsspec

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    loop, ports = asyncio.new_event_loop(), []
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def begin() -> None:
        listening = await asyncssh.create_server(
            Open, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=True, allow_scp=False
        )
        ports.append(listening.get_port())

    loop.run_until_complete(begin())
    threading.Thread(target=loop.run_forever, daemon=True).start()
    before = dict(fsspec.config.conf)
    fsspec.config.conf["ssh"] = {"port": ports[0], "username": "night", "known_hosts": None, "client_keys": None}
    yield "ssh://127.0.0.1"
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    loop.call_soon_threadsafe(loop.stop)


def test_inputs_and_outputs_behind_ssh_change_no_number(
    server: str, takes: Path, alone: Path, request_for, here, tmp_path: Path
) -> None:
    here()
    out = Place(f"{server}{tmp_path}/far")
    asked = request_for([f"{server}{takes}/take_0"], out=out, state=tmp_path / "state")
    assert run_batch(asked, quiet, quiet).done_now == 1
    assert numbers(tmp_path / "far" / "take_0") == numbers(alone / "take_0")
    assert wrong_files(out, ["take_0"]) == {}
    # Nothing is left of how files were sent.
    assert [path.name for path in (tmp_path / "far").rglob(".*")] == []


def test_a_torn_write_never_has_the_files_name(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Place(f"{server}{tmp_path}/far")
    (tmp_path / "results.bin").write_bytes(b"0123456789")
    system, _ = out._reached

    def torn(local: str, remote: str, **_given: object) -> None:
        Path(remote).write_bytes(Path(local).read_bytes()[:4])

    with monkeypatch.context() as patched:
        patched.setattr(system, "put_file", torn, raising=False)
        with pytest.raises(PassingError, match="4 bytes arrived of 10"):
            out.send(tmp_path, ["results.bin"])
    assert not (tmp_path / "far" / "results.bin").exists()
    out.send(tmp_path, ["results.bin"])
    assert (tmp_path / "far" / "results.bin").read_bytes() == b"0123456789"
