"""Mixed precision where it is safe: convolutions take nearly all the time and bear rough numbers; projections and
rotations do not.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16", "float16"]
_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def compute_in(precision: Precision, modules: list[nn.Module]) -> None:
    """Let the insides of the modules compute in the asked precision from now on; what goes in and comes out stays
    float32.
    """
    if precision == "float32":
        return
    for module in modules:
        _wrap(module, _TYPES[precision])


def _wrap(module: nn.Module, dtype: torch.dtype) -> None:
    entered: list[AbstractContextManager] = []

    def begin(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        context = torch.autocast(inputs[0].device.type, dtype)
        context.__enter__()
        entered.append(context)

    def end(_module: nn.Module, _inputs: object, outputs: Any) -> Any:
        entered.pop().__exit__(None, None, None)
        if isinstance(outputs, Tensor):
            return outputs.float()
        # None where the module raised.
        return outputs and tuple(each.float() for each in outputs)

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end, always_call=True)
