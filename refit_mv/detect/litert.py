"""TensorFlow Lite networks, run by LiteRT on one thread and without its greeting."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import numpy as np
from jaxtyping import Float

from refit_mv.errors import InputError

INSTALL = "pip install ai-edge-litert"
# What the runtime writes to the error stream for every network, past Python, with no switch against it.
GREETING = b"Created TensorFlow Lite XNNPACK delegate"


class Network:
    """One network with one input; calling it gives its outputs in their order. One thread: the numbers do not depend on
    how many cores there are, and views or recordings are better run side by side than layers."""

    def __init__(self, content: bytes) -> None:
        try:
            interpreter = import_module("ai_edge_litert.interpreter").Interpreter
        except ImportError as error:
            raise InputError(f"ai-edge-litert cannot be loaded ({error}); run: {INSTALL}") from None
        with _without_greeting():
            self._interpreter = interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input: int = self._interpreter.get_input_details()[0]["index"]
        self._outputs: list[int] = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, picture: Float[np.ndarray, "height width 3"]) -> list[Float[np.ndarray, "..."]]:
        self._interpreter.set_tensor(self._input, picture[None].astype(np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output)[0] for output in self._outputs]


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Holds the process's error stream back and passes on all that is not the greeting."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no error stream: nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            said = b"".join(line for line in held if GREETING not in line)
            if said:
                os.write(2, said)
