"""A performer of a day: shape and landmark offsets, met once from the best frames of all takes they are in, the same in
each of them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.farm.jobs import digest, recipe_word
from refit_mv.farm.take_list import TakeEntry
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import Person
from refit_mv.people.subject import Subject, best_frames, evidence_quality, meet_in
from refit_mv.pipeline import FitRequest
from refit_mv.recipe import FitRecipe
from refit_mv.strict_yaml import read_yaml

FORMAT = "refit-mv performer 1"
# Who was met on another night, and shall not be met again.
GIVEN = "given"
FILE = "performers.yaml"
# A performer of BlazePose's points has 3 kB.
MOST_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class Performer:
    """Somebody on a day. ``sources`` are the takes whose frames told, each with the key of what it was made from."""

    name: str
    day: str
    subject: Subject
    landmark_names: tuple[str, ...]
    body: str
    key: str
    sources: Mapping[str, str]

    @staticmethod
    def file(name: str, day: str) -> str:
        """Where a night keeps them, relative to its output."""
        return f"performers/{day or 'all days'}/{name}.json"

    @property
    def word(self) -> str:
        """Digest of what fits depend on."""
        numbers = self.subject.shape.numpy().tobytes() + self.subject.landmark_offset.numpy().tobytes()
        return hashlib.sha256("\n".join((self.body, *self.landmark_names)).encode() + numbers).hexdigest()

    def text(self) -> dict[str, Any]:
        """As JSON and YAML have it."""
        return {
            "format": FORMAT,
            "name": self.name,
            "day": self.day,
            "body": self.body,
            "shape": self.subject.shape.tolist(),
            "landmark_names": list(self.landmark_names),
            "landmark_offset": self.subject.landmark_offset.tolist(),
            "key": self.key,
            "sources": dict(self.sources),
        }

    @staticmethod
    def read(text: Mapping[str, Any]) -> "Performer":
        """From :meth:`text`.

        Raises:
            InputError: it is none.
        """
        try:
            if text.get("format", FORMAT) != FORMAT:
                raise ValueError(f"format is {text['format']}")
            names = tuple(str(name) for name in text["landmark_names"])
            shape = torch.tensor(text["shape"], dtype=torch.float64)
            offset = torch.tensor(text["landmark_offset"], dtype=torch.float64)
            if shape.ndim != 1 or offset.shape != (len(names), 3):
                raise ValueError(f"shape {tuple(shape.shape)}, landmark_offset {tuple(offset.shape)}")
            if not (shape.isfinite().all() and offset.isfinite().all()):
                raise ValueError("numbers that are not finite")
            name, day, body = (str(text[key]) for key in ("name", "day", "body"))
            sources = {str(take): str(key) for take, key in text.get("sources", {}).items()}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"no performer of a night ({' '.join(str(error).split())}); meet them again") from None
        return Performer(name, day, Subject(shape, offset), names, body, str(text.get("key", GIVEN)), sources)

    def fits(self, person: Person, body: BodyModel, body_source: str) -> Subject:
        """The subject, for a person whose keypoints and body are the performer's.

        Raises:
            InputError: they are not.
        """
        if person.evidence.landmark_names != self.landmark_names or len(self.subject.shape) != body.shape_count:
            raise InputError(
                f"performer {self.name} was met with other keypoints or another body ({self.body}, "
                f"{len(self.landmark_names)} points) than this take has ({body_source}, "
                f"{len(person.evidence.landmark_names)} points); give takes of one detector and body to a day"
            )
        return self.subject


def performer_key(request: FitRequest, name: str, day: str, sources: Mapping[str, str]) -> str:
    """What a performer is made from."""
    return digest(json.dumps([recipe_word(request), name, day, sorted(sources.items())]))


def performer_of(person: Person, people: Sequence[Person], entry: TakeEntry) -> str | None:
    """Who of a take's performers somebody is: whoever has their name by hand, else by the order of numbers."""
    if person.track.name in entry.performers:
        return person.track.name
    if person.id >= len(entry.performers):
        return None
    name = entry.performers[person.id]
    return None if any(other.track.name == name for other in people) else name


@dataclass(frozen=True)
class Source:
    """One person of one take, read when they are asked for."""

    take: str
    key: str
    read: Callable[[], tuple[CameraRig, BodyModel, Evidence]]


def meet_performer(
    name: str, day: str, sources: Sequence[Source], recipe: FitRecipe, body_source: str, device: str, key: str
) -> Performer:
    """Somebody, from the best frames of all takes they are in.

    Raises:
        InputError: nobody saw them, or takes were detected with different keypoints.
    """
    if not sources:
        raise InputError(f"performer {name} is in none of the takes that could be read")
    qualities = [evidence_quality(source.read()[2]) for source in sources]
    cameras: dict[tuple[object, ...], Camera] = {}
    parts: list[tuple[Evidence, list[int]]] = []
    body, names = None, None
    for source, rows in zip(sources, best_frames(qualities, recipe.subject_frames), strict=True):
        rig, body, evidence = source.read()
        names = evidence.landmark_names if names is None else names
        if evidence.landmark_names != names:
            raise InputError(f"performer {name}: takes {sources[0].take} and {source.take} have different keypoints")
        words = [_word(camera) for camera in rig]
        for word, camera in zip(words, rig, strict=True):
            # One name for each: the same camera of two rigs may have been calibrated twice.
            cameras.setdefault(word, replace(camera, name=f"{camera.name} {len(cameras)}"))
        order = list(cameras)
        parts.append((evidence.frames(rows), [order.index(word) for word in words]))
    assert body is not None
    rig = CameraRig(tuple(cameras.values()))
    joint = _joined(parts, len(rig))
    subject = meet_in(body, rig, joint, recipe.build_keypoint_optimizer(), recipe.cost, device)
    told = {source.take: source.key for source in sources}
    return Performer(name, day, subject, joint.landmark_names, body_source, key, told)


def _joined(parts: Sequence[tuple[Evidence, list[int]]], views: int) -> Evidence:
    """Frames of several takes in a row, each seen by the cameras of its own rig alone."""
    pixels, confidence = [], []
    for evidence, place in parts:
        frames, _, landmarks = evidence.confidence.shape
        wide = evidence.pixels.new_zeros(frames, views, landmarks, 2)
        trust = evidence.confidence.new_zeros(frames, views, landmarks)
        wide[:, place], trust[:, place] = evidence.pixels, evidence.confidence
        pixels.append(wide)
        confidence.append(trust)
    return replace(parts[0][0], pixels=torch.cat(pixels), confidence=torch.cat(confidence))


def _word(camera: Camera) -> tuple[object, ...]:
    pose = camera.cam_from_world
    arrays = (camera.matrix, camera.distortion, pose.rotation.numpy(), pose.translation.numpy())
    return (camera.name, camera.lens, *(array.tobytes() for array in arrays))


def read_performers(path: Path) -> tuple[Performer, ...]:
    """Those of a ``performers.yaml``.

    Raises:
        InputError: it cannot be read.
    """
    content = read_yaml(path, "file of performers", MOST_BYTES)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise InputError(f"{path}: expected a list of performers, as refit-mv batch writes it")
    try:
        return tuple(replace(Performer.read(item), key=GIVEN, sources={}) for item in content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def performers_text(performers: Sequence[Performer]) -> str:
    """A ``performers.yaml``: JSON values in YAML's outer form, every number with all its digits."""
    lines = ["# Who was met: shape coefficients, and landmarks' offsets in metres in the rest frame."]
    for each in performers:
        told = {key: value for key, value in each.text().items() if key not in ("key", "sources")}
        told["takes"] = sorted(each.sources)
        lines += [
            f"{'- ' if not place else '  '}{key}: {json.dumps(value)}"
            for place, (key, value) in enumerate(told.items())
        ]
    return "\n".join(lines) + "\n"
