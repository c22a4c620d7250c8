"""Exports to tools by the text files that they read: CVAT, LabelMe and YOLO."""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np

from stremn.exports.exporter import UNWRITABLE, DatasetExporter, Exporter, LabelledFrame, dumped, write_bytes
from stremn.exports.polygons import joined, outlines
from stremn.files.outputs import write_text

__all__ = ["Cvat", "LabelMe", "Yolo"]


class Cvat(DatasetExporter):
    """CVAT for images 1.1: the mask of each object, run lengths of its rows; the id is the group."""

    description = "CVAT for images 1.1, masks, with frames as JPEG"
    files = ("cvat/annotations.xml", "cvat/images/*.jpg")
    text, pictures = "cvat/annotations.xml", "cvat/images"
    _count = 0

    def annotate(self, frame: LabelledFrame) -> None:
        """Put the element of the image into the spool."""
        self._count += 1
        height, width = frame.labels.shape
        # CVAT finds the frame of a video by its number, that of a folder by the name of its file.
        name = quoteattr(_shown(f"{frame.name}.jpg"))
        self.spool.add(f'<image id="{frame.index}" name={name} width="{width}" height="{height}">')
        for object_id in frame.object_ids:
            mask = frame.labels == object_id
            left, top, across, down = cv2.boundingRect(mask.view(np.uint8))
            rle = ",".join(map(str, _runs(mask[top : top + down, left : left + across].ravel())))
            label = quoteattr(self.categories.name(object_id))
            self.categories.number(object_id)
            self.spool.add(
                f'<mask label={label} source="auto" occluded="0" z_order="0" group_id="{object_id}" '
                f'rle="{rle}" left="{left}" top="{top}" width="{across}" height="{down}"></mask>'
            )
        self.spool.add("</image>")

    def lines(self) -> Iterator[str]:
        """What CVAT wants to know of the task, and the images."""
        yield '<?xml version="1.0" encoding="utf-8"?>'
        yield "<annotations><version>1.1</version><meta><task>"
        yield f"<size>{self._count}</size><mode>annotation</mode><labels>"
        for name in self.categories.names:
            yield f"<label><name>{escape(name)}</name><type>mask</type><attributes></attributes></label>"
        yield "</labels></task></meta>"
        yield from self.spool
        yield "</annotations>"


class LabelMe(Exporter):
    """LabelMe: a JSON file beside each frame, a polygon for each part of an object; the id is the group."""

    description = "LabelMe polygons beside frames as JPEG"
    files = ("labelme/*.json", "labelme/*.jpg")

    def write(self, frame: LabelledFrame) -> None:
        """Write the picture and its polygons."""
        shapes = [
            {
                "label": self.categories.name(object_id),
                "points": polygon.tolist(),
                "group_id": object_id,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for object_id in frame.object_ids
            for polygon in outlines(frame.labels == object_id, through_centres=True)
        ]
        height, width = frame.labels.shape
        data = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{frame.name}.jpg",
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_bytes(self.folder / "labelme" / f"{frame.name}.jpg", frame.jpeg)
        write_text(self.folder / "labelme" / f"{frame.name}.json", dumped(data))


class Yolo(Exporter):
    """YOLO segmentation as Ultralytics reads it: an object is one polygon, its parts joined by thin lines."""

    description = "YOLO segmentation polygons, with frames as JPEG"
    files = ("yolo/data.yaml", "yolo/images/train/*.jpg", "yolo/labels/train/*.txt")

    def write(self, frame: LabelledFrame) -> None:
        """Write the picture and its polygons, in parts of its width and height."""
        size = frame.labels.shape[::-1]
        lines = []
        for object_id in frame.object_ids:
            corners = (joined(outlines(frame.labels == object_id)) / size).ravel()
            points = " ".join(f"{value:.6f}" for value in corners)
            lines.append(f"{self.categories.number(object_id)} {points}\n")
        folder = self.folder / "yolo"
        write_bytes(folder / "images" / "train" / f"{frame.name}.jpg", frame.jpeg)
        write_bytes(folder / "labels" / "train" / f"{frame.name}.txt", "".join(lines).encode())

    def close(self) -> None:
        """Write where the pictures are and what the classes are called."""
        # A string of JSON is one of YAML too. Ultralytics asks for images to validate on, whatever they are.
        names = "".join(f"  {number}: {dumped(name)}\n" for number, name in enumerate(self.categories.names))
        text = f"train: images/train\nval: images/train\nnames:\n{names or '  {}'}"
        write_text(self.folder / "yolo" / "data.yaml", text)


def _runs(pixels: np.ndarray) -> np.ndarray:
    """Lengths of runs of a row of pixels, first of those that are False, maybe none."""
    ends = np.flatnonzero(np.diff(pixels)) + 1
    return np.diff(np.concatenate([[0] * (1 + bool(pixels[0])), ends, [len(pixels)]]))


def _shown(name: str) -> str:
    """A name of a file with escapes for what XML cannot hold."""
    return re.sub(UNWRITABLE, lambda found: ascii(found[0])[1:-1], name)
