"""The released network once more, written down from its formulas in float64 and by the released names: what the
implementation is held to.

NumPy throughout, only HRNet's convolutions are PyTorch's functions. Slow and plain on purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from refit_mv.body.model import BodyModel

Arrays = Mapping[str, np.ndarray]
# HRNet's configuration as its authors publish it.
MODULES = {2: 1, 3: 4, 4: 3}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def look_up(maps, pixels, radius):
    """Per crop and point: window values, the outer index moving x, bilinear between map pixels, zero outside."""
    crops, points, height, width = maps.shape
    seen = np.zeros((crops, points, (2 * radius + 1) ** 2))
    for crop in range(crops):
        for point in range(points):
            cell = 0
            for dx in range(-radius, radius + 1):
                for dy in range(-radius, radius + 1):
                    x, y = pixels[crop, point] / 4 + (dx, dy)
                    left, top = int(np.floor(x)), int(np.floor(y))
                    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                        if 0 <= column < width and 0 <= row < height:
                            share = (1 - abs(x - column)) * (1 - abs(y - row))
                            seen[crop, point, cell] += share * maps[crop, point, row, column]
                    cell += 1
    return seen


def gru(w: Arrays, name, h, x):
    hx = np.concatenate([h, x], -1)
    z = sigmoid(w[f"{name}.lz.weight"] @ hx + w[f"{name}.lz.bias"])
    r = sigmoid(w[f"{name}.lr.weight"] @ hx + w[f"{name}.lr.bias"])
    q = np.tanh(w[f"{name}.lq.weight"] @ np.concatenate([r * h, x]) + w[f"{name}.lq.bias"])
    return (1 - z) * h + z * q


def gru_of_joint(w: Arrays, joint, h, x):
    part = {
        f"g.l{gate}.{kind}": w[f"update_block.pose_gru.l{gate}.{kind}"][joint]
        for gate in "zrq"
        for kind in ("weight", "bias")
    }
    return gru(part, "g", h, x)


def update(w: Arrays, hidden, x):
    """Hidden states [26, 32] of one crop after one input [416]."""
    joints = [gru_of_joint(w, joint, hidden[joint], x) for joint in range(24)]
    return np.stack(
        [*joints, gru(w, "update_block.shape_gru", hidden[24], x), gru(w, "update_block.cam_gru", hidden[25], x)]
    )


def decode(w: Arrays, hidden, box):
    """Changes of pose [144], shape [10] and camera [3] of one crop."""
    pose = []
    for joint in range(24):
        inner = w["regressor.p.0.weight"][joint] @ np.concatenate([hidden[joint], box]) + w["regressor.p.0.bias"][joint]
        pose.append(w["regressor.decpose.weight"][joint] @ np.maximum(inner, 0) + w["regressor.decpose.bias"][joint])
    ends = []
    for stream, first, last in ((24, "s", "decshape"), (25, "c", "deccam")):
        inner = w[f"regressor.{first}.0.weight"] @ np.concatenate([hidden[stream], box])
        inner = np.maximum(inner + w[f"regressor.{first}.0.bias"], 0)
        ends.append(w[f"regressor.{last}.weight"] @ inner + w[f"regressor.{last}.bias"])
    return np.concatenate(pose), *ends


def rotation(six):
    """6D to a matrix: the six numbers are three rows of two columns."""
    a, b = np.reshape(six, (3, 2)).T
    x = a / np.linalg.norm(a)
    y = b - (x @ b) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


@dataclass
class Frame:
    """One crop's place: focal length, principal point, centre and side of the box."""

    f: float
    o: np.ndarray
    c: np.ndarray
    b: float

    def facts(self):
        return np.array(
            [
                (self.c[0] - self.o[0]) / self.f * 2.8,
                (self.c[1] - self.o[1]) / self.f * 2.8,
                (self.b - 0.24 * self.f) / (0.06 * self.f),
            ]
        )

    def translation(self, camera):
        s, tx, ty = camera
        return np.array(
            [
                tx + 2 * (self.c[0] - self.o[0]) / (self.b * s),
                ty + 2 * (self.c[1] - self.o[1]) / (self.b * s),
                2 * self.f / (self.b * s),
            ]
        )

    def project(self, points, size):
        full = self.f * points[:, :2] / points[:, 2:] + self.o
        return (full - (self.c - self.b / 2)) * size / self.b


def smpl_vertices(body: BodyModel, pose, shape, chosen):
    """Vertices of SMPL's forward pass with zero translation: the root turns about the rest pelvis."""
    template = body.template.numpy() + body.shape_directions.numpy() @ shape
    joints = body.joint_regressor.numpy() @ template
    local = [rotation(pose[6 * joint : 6 * joint + 6]) for joint in range(24)]
    turned, place = [local[0]], [joints[0]]
    for joint in range(1, 24):
        parent = body.parents[joint]
        turned.append(turned[parent] @ local[joint])
        place.append(place[parent] + turned[parent] @ (joints[joint] - joints[parent]))
    points = template
    if body.pose_directions is not None:
        points = points + body.pose_directions.numpy() @ np.concatenate([(r - np.eye(3)).ravel() for r in local[1:]])
    weights = body.skin_weights.numpy()
    return np.stack(
        [
            sum(weights[v, j] * (turned[j] @ (points[v] - joints[j]) + place[j]) for j in range(24) if weights[v, j])
            for v in chosen
        ]
    )


def hrnet(w: Mapping[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Feature maps [720, h, w] and vector [384] of crops; normalisation by stored statistics."""

    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(x, name):
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / torch.sqrt(var + 1e-5)
        return (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]

    def pair(x, name, first=0, stride=1):
        return norm(conv(x, f"{name}.{first}", stride), f"{name}.{first + 1}")

    def basic(x, name):
        y = F.relu(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"))
        return F.relu(norm(conv(y, f"{name}.conv2"), f"{name}.bn2") + x)

    def bottleneck(x, name):
        y = F.relu(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"))
        y = F.relu(norm(conv(y, f"{name}.conv2"), f"{name}.bn2"))
        y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
        return F.relu(y + (pair(x, f"{name}.downsample") if f"{name}.downsample.0.weight" in w else x))

    def module(xs, name):
        for index in range(len(xs)):
            for block in range(4):
                xs[index] = basic(xs[index], f"{name}.branches.{index}.{block}")
        out = []
        for i in range(len(xs)):
            total = 0
            for j, x in enumerate(xs):
                fuse = f"{name}.fuse_layers.{i}.{j}"
                if j > i:
                    x = pair(x, fuse).repeat_interleave(2 ** (j - i), -1).repeat_interleave(2 ** (j - i), -2)
                for k in range(i - j):
                    x = pair(x, f"{fuse}.{k}", stride=2)
                    x = F.relu(x) if k < i - j - 1 else x
                total = total + x
            out.append(F.relu(total))
        return out

    x = F.relu(norm(conv(x, "conv1", 2), "bn1"))
    x = F.relu(norm(conv(x, "conv2", 2), "bn2"))
    for index in range(4):
        x = bottleneck(x, f"layer1.{index}")
    xs = [F.relu(pair(x, "transition1.0")), F.relu(pair(x, "transition1.1.0", stride=2))]
    for stage, count in MODULES.items():
        if stage > 2:
            xs.append(F.relu(pair(xs[-1], f"transition{stage - 1}.{stage - 1}.0", stride=2)))
        for index in range(count):
            xs = module(xs, f"stage{stage}.{index}")
    fine = [xs[0]]
    for branch in (1, 2, 3):
        x = xs[branch]
        for step in range(branch):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = F.relu(pair(x, f"upsample_stage_{branch + 1}", 4 * step + 1))
        fine.append(x)
    y = xs[0]
    for index in range(3):
        y = F.relu(pair(y, f"downsample_stage_{index + 1}", stride=2)) + xs[index + 1]
    return torch.cat(fine, 1), F.relu(pair(y, "final_layer")).mean((2, 3))


def feature_maps(w: Mapping[str, torch.Tensor], features: torch.Tensor) -> np.ndarray:
    """One map per point."""
    x = features
    for first in (0, 3):
        x = F.conv2d(x, w[f"corr_layer.{first}.weight"], padding=1)
        name = f"corr_layer.{first + 1}"
        x = F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"])
        x = F.relu(x)
    return F.conv2d(x, w["corr_layer.6.weight"]).numpy()


@dataclass
class Answer:
    """What the released code keeps of one iteration: pose [crop, 144], shape [crop, 10], camera [crop, 3]."""

    pose: np.ndarray
    shape: np.ndarray
    camera: np.ndarray


def plain_mean(answer: Answer, cam_from_world: np.ndarray) -> Answer:
    """The released multi-view mode: all crops are views of one person."""
    count = len(answer.pose)
    root = np.mean([r.T @ rotation(pose[:6]) for r, pose in zip(cam_from_world, answer.pose, strict=True)], axis=0)
    u, _, vt = np.linalg.svd(root)
    roots = np.stack([(r @ (u @ vt))[:, :2].ravel() for r in cam_from_world])
    limbs = np.tile(answer.pose[:, 6:].mean(0), (count, 1))
    return Answer(np.concatenate([roots, limbs], 1), np.tile(answer.shape.mean(0), (count, 1)), answer.camera)


def refit(
    w: Mapping[str, torch.Tensor],
    images: torch.Tensor,
    frames: list[Frame],
    body: BodyModel,
    chosen,
    iterations: int,
    cam_from_world: np.ndarray | None = None,
) -> list[Answer]:
    """The whole released network in evaluation mode."""
    arrays = {key: value.numpy() for key, value in w.items()}
    backbone = {key.removeprefix("backbone."): value for key, value in w.items() if key.startswith("backbone.")}
    features, summary = hrnet(backbone, images)
    maps, size = feature_maps(w, features), images.shape[-1]
    boxes = [frame.facts() for frame in frames]

    def step(pose, shape, camera, hidden):
        changes = [decode(arrays, h, box) for h, box in zip(hidden, boxes, strict=True)]
        answer = Answer(
            *(old + np.stack(new) for old, new in zip((pose, shape, camera), zip(*changes, strict=True), strict=True))
        )
        return answer if cam_from_world is None else plain_mean(answer, cam_from_world)

    start = np.tanh(summary.numpy() @ arrays["init_layer.weight"].T + arrays["init_layer.bias"])
    answers = [step(arrays["init_pose"], arrays["init_shape"], arrays["init_cam"], start.reshape(len(images), 26, -1))]
    hidden = np.zeros((len(images), 26, 32))
    for _ in range(iterations):
        now = answers[-1]
        rows = []
        for crop, frame in enumerate(frames):
            points = smpl_vertices(body, now.pose[crop], now.shape[crop], chosen) + frame.translation(now.camera[crop])
            windows = look_up(maps[crop : crop + 1], frame.project(points, size)[None], 3)[0]
            local = np.einsum("pij,pj->pi", arrays["flow_layer.weight"], windows) + arrays["flow_layer.bias"]
            local = arrays["local_layer.weight"] @ local.ravel() + arrays["local_layer.bias"]
            rows.append(np.concatenate([local, boxes[crop], now.pose[crop], now.shape[crop], now.camera[crop]]))
        hidden = np.stack([update(arrays, h, x) for h, x in zip(hidden, rows, strict=True)])
        answers.append(step(now.pose, now.shape, now.camera, hidden))
    return answers
