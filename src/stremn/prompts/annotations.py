"""Objects drawn in another tool: LabelMe's file of one picture, or COCO's of many."""

import base64
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from types import NoneType
from typing import Any

import numpy as np
from PIL import Image

from stremn.errors import StremnError, one_line
from stremn.files.images import UNREADABLE
from stremn.files.names import natural_key, some_of
from stremn.prompts.schedule import Shown
from stremn.prompts.shapes import Prompt, Size

__all__ = ["annotation_files", "read_annotations"]

log = logging.getLogger("stremn")

CORNERS = 64
"""Of the polygon that stands for a circle."""

MOST = 255

Key = tuple[str, Any]
"""Of an object: its label, and its group, its track, or which one of its label it is."""


@dataclass(frozen=True)
class _Drawn:
    """An object in a picture; ``wanted`` is its id if the file tells one."""

    file: Path
    picture: str
    size: Size | None
    key: Key
    wanted: int | None
    prompt: Prompt


def annotation_files(path: Path) -> list[Path]:
    """The JSON files that a path means: itself, or those of a folder; none for anything else."""
    if path.is_dir():
        return sorted(path.glob("*.json"), key=lambda file: natural_key(file.name))
    return [path] if path.suffix.lower() == ".json" else []


def read_annotations(files: Sequence[Path], frame_names: Sequence[str] | None = None) -> list[Shown]:
    """The objects of LabelMe and COCO files, by the names of the frames in which they are drawn.

    An object is what has one label and one group or track. Without such a number, the second shape of a
    label is the second object of that label, in all pictures; points and lines belong to the first. A group,
    a track or a label that is a number from 1 to 255 is the object's id; others get the lowest that are free.

    Args:
        files: LabelMe or COCO.
        frame_names: names of the frames; ``None`` for a video, whose frames are known by number only.

    Returns:
        What is shown. One picture alone that is not named like a frame is the first one that comes.

    Raises:
        StremnError: naming the file that cannot be used.
    """
    drawn: list[_Drawn] = []
    for file in files:
        try:
            drawn += _read(file)
        except (*UNREADABLE, AttributeError) as error:
            said = f"{type(error).__name__}: {one_line(error)}"
            raise StremnError(f"{file}: not a LabelMe or COCO file ({said}); export it again") from error
    if not drawn:
        raise StremnError(f"{some_of([str(file) for file in files], 1)}: no object is drawn in it: draw one")
    pictures: dict[str, Path] = {}
    for one in drawn:
        if (twin := pictures.setdefault(one.picture, one.file)) != one.file:
            raise StremnError(
                f"{twin} and {one.file} are both of the picture {one.picture}: keep one of them"
            )
    ids, frames = _ids(drawn), _frames(pictures, frame_names)
    return [
        Shown(ids[one.key], one.prompt, frames[one.picture], f"{one.file}: '{one.key[0]}'", one.size)
        for one in drawn
        if one.picture in frames
    ]


def _ids(drawn: Sequence[_Drawn]) -> dict[Key, int]:
    ids: dict[Key, int] = {}
    for one in drawn:
        if one.wanted is not None and 1 <= one.wanted <= MOST and one.wanted not in ids.values():
            ids.setdefault(one.key, one.wanted)
    free = iter(sorted(set(range(1, MOST + 1)) - set(ids.values())))
    for one in drawn:
        if one.key not in ids:
            found = next(free, None)
            if found is None:
                raise StremnError(f"{one.file}: more than {MOST} objects: keep fewer")
            ids[one.key] = found
    return ids


def _frames(pictures: dict[str, Path], frame_names: Sequence[str] | None) -> dict[str, str | None]:
    """The name of the frame that each picture is of; those that are of none are left out."""
    if frame_names is None:
        found = {name: f"{int(name):05d}" for name in pictures if name.isascii() and name.isdecimal()}
    else:
        known = set(frame_names)
        found = {name: name for name in pictures if name in known}
    if not found and len(pictures) == 1:
        return dict.fromkeys(pictures)
    unused = [name for name in pictures if name not in found]
    file = next(iter(pictures.values()))
    if not found:
        wanted = "00000, 00001, 00002" if frame_names is None else some_of(frame_names, 3)
        raise StremnError(
            f"{file}: no picture in it is named like a frame: pictures are {some_of(unused, 3)}; "
            f"frames are {wanted}"
        )
    if unused:
        log.warning("%s: %d pictures are of no frame: %s", file, len(unused), some_of(unused, 3))
    return {**found}


def _read(file: Path) -> list[_Drawn]:
    data = json.loads(file.read_text(encoding="utf-8-sig"))
    return list(_labelme(file, data) if "shapes" in data else _coco(file, data))


def _coco(file: Path, data: Any) -> Iterator[_Drawn]:
    categories = {entry["id"]: str(entry["name"]) for entry in data.get("categories", ())}
    images = {image["id"]: image for image in data["images"]}
    seen: Counter[tuple[Any, str]] = Counter()
    for annotation in data["annotations"]:
        if annotation["image_id"] not in images:
            raise ValueError(f"an annotation is of image {annotation['image_id']}, which is not there")
        image = images[annotation["image_id"]]
        label = categories.get(annotation.get("category_id"), "object")
        track = annotation.get("track_id", (annotation.get("attributes") or {}).get("track_id"))
        if not isinstance(track, (int, float, str, NoneType)):
            raise ValueError(f"track_id {track} is neither a number nor a name")
        seen[image["id"], label] += track is None
        segmentation = annotation.get("segmentation")
        yield _Drawn(
            file,
            _stem(image["file_name"]),
            _size(image.get("height"), image.get("width")),
            (label, seen[image["id"], label] if track is None else ("track", track)),
            track if isinstance(track, int) else None,
            Prompt(areas=[segmentation]) if segmentation else Prompt(box=annotation["bbox"]),
        )


def _labelme(file: Path, data: Any) -> Iterator[_Drawn]:
    size = _size(data.get("imageHeight"), data.get("imageWidth"))
    objects: dict[Key, list[Prompt]] = {}
    seen: Counter[str] = Counter()
    for shape in data["shapes"]:
        label, group, part = str(shape["label"]), shape.get("group_id"), _shape(shape, size)
        seen[label] += group is None and not (part.points or part.scribbles)
        which = max(seen[label], 1) if group is None else ("group", group)
        objects.setdefault((label, which), []).append(part)
    for key, parts in objects.items():
        boxes = [part.box for part in parts if part.box is not None]
        if len(boxes) > 1:
            raise StremnError(
                f"{file}: '{key[0]}' has {len(boxes)} rectangles in group {key[1][1]}: keep one"
            )
        points, scribbles, polygons, areas = (
            [shape for part in parts for shape in getattr(part, kind)]
            for kind in ("points", "scribbles", "polygons", "areas")
        )
        number = str(key[1][1] if isinstance(key[1], tuple) else key[0] if key[1] == 1 else "")
        wanted = int(number) if number.isascii() and number.isdecimal() else None
        prompt = Prompt(boxes[0] if boxes else None, points, scribbles, polygons, areas)
        yield _Drawn(file, _stem(data.get("imagePath") or file.name), size, key, wanted, prompt)


def _shape(shape: Any, size: Size | None) -> Prompt:
    """A shape of LabelMe as part of a prompt."""
    points = [(float(x), float(y)) for x, y in shape["points"]]
    match shape.get("shape_type") or "polygon":
        case "polygon":
            return Prompt(polygons=[points])
        case "rectangle":
            (left, top), (right, bottom) = (tuple(extreme(v) for v in zip(*points)) for extreme in (min, max))
            return Prompt(box=(left, top, right - left, bottom - top))
        case "circle":
            (x, y), edge = points
            angles = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
            radius = math.dist((x, y), edge)
            return Prompt(polygons=[[(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]])
        case "point" | "points":
            return Prompt(points=points)
        case "line" | "linestrip":
            return Prompt(scribbles=[points])
        case "mask":
            return Prompt(areas=[_bitmap(shape["mask"], points[0], size)])
        case other:
            raise ValueError(f"a shape of type {other!r}")


def _bitmap(packed: str, corner: tuple[float, float], size: Size | None) -> dict[str, Any]:
    """A PNG in base64 whose upper left pixel lies at the corner, as run lengths of the picture."""
    if size is None:
        raise ValueError("a mask in a picture whose size is not told")
    with Image.open(io.BytesIO(base64.b64decode(packed))) as image:
        found = np.asarray(image.convert("L")) > 0
    whole = np.zeros(size, bool)
    left, top = (max(round(v), 0) for v in corner)
    within = whole[top : top + found.shape[0], left : left + found.shape[1]]
    within[:] = found[: within.shape[0], : within.shape[1]]
    pixels = whole.T.ravel()
    ends = np.flatnonzero(np.diff(pixels, prepend=False))
    return {"counts": np.diff(ends, prepend=0, append=pixels.size), "size": list(size)}


def _size(height: Any, width: Any) -> Size | None:
    return None if height is None or width is None else (int(height), int(width))


def _stem(path: Any) -> str:
    """Of a path of any system."""
    return PureWindowsPath(str(path)).stem
