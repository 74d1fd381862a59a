"""How long the image network takes: ``python -m refit_mv.workshop.pictures.speed``.

Random weights take as long as trained ones. Pictures are already cut; what reading and cutting them takes is measured
by fitting a session.
"""

import argparse
import time
from dataclasses import dataclass

import torch

from refit_mv.body.open_body import open_body
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.fusion import Views
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import feedback_body


@dataclass(frozen=True)
class Timing:
    """Medians over repetitions, in seconds per frame with all its views. ``processor_seconds`` add up over threads, and
    do not grow when other programs keep the processor busy.
    """

    views: int
    frame_seconds: float
    backbone_seconds: float
    processor_seconds: float

    @property
    def backbone_share(self) -> float:
        return self.backbone_seconds / self.frame_seconds

    def __str__(self) -> str:
        return (
            f"{self.views} view{'s' if self.views > 1 else ''}: {self.frame_seconds:.3f} s per frame,"
            f" {self.backbone_share:.0%} of it in the backbone; {self.processor_seconds:.3f} s of processor time"
        )


def measure(options: ImageNetworkOptions, views: int, repetitions: int = 5, device: str = "cpu") -> Timing:
    """Time one frame of several views, as it comes from a live recording: no other frame is there to fill a batch."""
    network = ImageReFit(options).eval().requires_grad_(False).to(device)
    body = feedback_body(open_body(), options).to(torch.float32, device)
    images = torch.randn(views, 3, options.crop_size, options.crop_size, device=device)
    crops = CropCamera(
        torch.full((views,), 1100.0),
        torch.full((views, 2), 500.0),
        torch.full((views, 2), 450.0),
        torch.full((views,), 300.0),
    ).to(torch.float32, device)
    seen_by = RigidTransform(torch.eye(3, device=device).expand(views, 3, 3), torch.zeros(views, 3, device=device))
    grouped = Views(views, seen_by)
    whole, backbone, busy = [], [], []
    with torch.inference_mode():
        for turn in range(repetitions + 1):
            times, processor = [_now(device)], time.process_time()
            network(images, crops, body, grouped)
            times.append(_now(device))
            processor = time.process_time() - processor
            network.backbone(images)
            times.append(_now(device))
            # The first turn prepares kernels and memory.
            if turn:
                whole.append(times[1] - times[0])
                backbone.append(times[2] - times[1])
                busy.append(processor)
    return Timing(views, _median(whole), _median(backbone), _median(busy))


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Print the timings."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.pictures.speed", description="Time the image network."
    )
    parser.add_argument("--backbone", choices=("hrnet-w48", "small"), default="hrnet-w48")
    parser.add_argument("--crop-size", type=int, default=256)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    options = ImageNetworkOptions(backbone=given.backbone, crop_size=given.crop_size)
    print(
        f"{options.backbone}, crops of {options.crop_size} px, {options.iterations} iterations, {given.device}, "
        f"{given.threads} threads"
    )
    for views in given.views:
        print(measure(options, views, given.repetitions, given.device))


if __name__ == "__main__":
    main()
