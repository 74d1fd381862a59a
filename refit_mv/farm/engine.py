"""What an engine is here, and the engines by name. An engine runs calls somewhere and says how they ended; what has to
be run after what is the graph's matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from refit_mv.errors import InputError
from refit_mv.farm.calls import Call, Done


@dataclass(frozen=True)
class Ended:
    """A call that is over. ``lost`` says why nothing came back: a worker died, a job was cancelled."""

    call: Call
    done: tuple[Done, ...] = ()
    lost: str = ""


class EngineGoneError(InputError):
    """The engine itself is no more: nothing can be run any longer, and nothing that is finished is lost."""


@runtime_checkable
class Engine(Protocol):
    """``room`` is how many more calls are worth handing over now; ``budget`` the seconds after which a call should come
    back, so that others learn how far it is.
    """

    budget: float

    def room(self) -> int: ...
    def submit(self, calls: Sequence[Call]) -> None: ...
    def wait(self, seconds: float) -> list[Ended]:
        """Calls that ended, after ``seconds`` at the latest.

        Raises:
            EngineGoneError: the engine broke.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class EngineOptions:
    """``workers``: processes (None: as the engine sees fit); ``address``: of a dask scheduler; ``settings``: what a
    Slurm job asks for; ``folder``: where an engine may keep files; ``takes``: how many there are.
    """

    folder: Path
    workers: int | None = None
    address: str | None = None
    settings: Mapping[str, str] | None = None
    gpus: int = 0
    takes: int = 1


def _local(options: EngineOptions) -> Engine:
    from refit_mv.farm.local_processes import LocalProcesses

    return LocalProcesses(options)


def _dask(options: EngineOptions) -> Engine:
    from refit_mv.farm.dask_cluster import DaskCluster

    return DaskCluster(options)


def _slurm(options: EngineOptions) -> Engine:
    from refit_mv.farm.slurm_arrays import SlurmArrays

    return SlurmArrays(options)


# A new engine is a module and a line here.
ENGINES = {"local": _local, "dask": _dask, "slurm": _slurm}


def start_engine(name: str, options: EngineOptions) -> Engine:
    """The engine of a name.

    Raises:
        InputError: no such engine, its package is not installed, or it cannot be reached.
    """
    if name not in ENGINES:
        raise InputError(f"no engine '{name}'; there are {', '.join(ENGINES)}")
    return ENGINES[name](options)
