"""Sample blocks kept on disk, so that an interrupted run does not draw them again."""

import json
from collections import deque
from dataclasses import fields
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file

from refit_mv.body.params import BodyParams
from refit_mv.networks.weights_file import save_tensors
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.training.sample_blocks import SampleBlock

# What is kept of rays, in their order.
RAYS = ("center", "bearing", "confidence", "distance")


def _tensors(block: SampleBlock) -> dict[str, torch.Tensor]:
    parts = {"truth": block.truth, "start": block.start}
    params = {f"{kind}.{each.name}": getattr(part, each.name) for kind, part in parts.items() for each in fields(part)}
    return {**{name: getattr(block.evidence, name) for name in RAYS}, **params}


def write_block(path: Path, block: SampleBlock) -> None:
    """One block as safetensors."""
    names = {"keypoint_set": block.keypoint_set, "noise": block.noise, "body": str(block.body)}
    save_tensors(path, _tensors(block), {**names, "landmark_names": json.dumps(block.landmark_names)})


def read_block(path: Path) -> SampleBlock:
    """The inverse of :func:`write_block`."""
    tensors = load_file(str(path))
    with safetensors.safe_open(str(path), "pt") as file:
        facts = file.metadata()

    def params(kind: str) -> BodyParams:
        return BodyParams(*(tensors[f"{kind}.{each.name}"] for each in fields(BodyParams)))

    center, bearing, confidence, distance = (tensors[name] for name in RAYS)
    evidence = Rays(center, bearing, confidence, distance)
    names = tuple(json.loads(facts["landmark_names"]))
    return SampleBlock(
        facts["keypoint_set"], names, facts["noise"], int(facts["body"]), evidence, params("truth"), params("start")
    )


class BlockStore:
    """The newest ``capacity`` blocks of a run in one folder, numbered as they were drawn."""

    def __init__(self, folder: Path, capacity: int) -> None:
        self._folder = folder
        self._capacity = capacity
        folder.mkdir(parents=True, exist_ok=True)
        paths = sorted(folder.glob("[0-9]*.safetensors"))[-capacity:]
        self._kept = deque((path, read_block(path)) for path in paths)
        self.drawn = int(paths[-1].stem) + 1 if paths else 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def blocks(self) -> list[SampleBlock]:
        return [block for _, block in self._kept]

    def add(self, block: SampleBlock) -> None:
        """Keep a block; beyond the capacity the oldest leaves the disk too."""
        path = self._folder / f"{self.drawn:07d}.safetensors"
        write_block(path, block)
        self._kept.append((path, block))
        self.drawn += 1
        while len(self._kept) > self._capacity:
            oldest, _ = self._kept.popleft()
            oldest.unlink(missing_ok=True)
