"""Exports of annotations as run lengths, the same pixels: COCO, YouTube-VIS, MOTS and Datumaro."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from stremn.exports.exporter import DatasetExporter, LabelledFrame, dumped, separated
from stremn.files.outputs import make_folder, write_png, write_text

__all__ = ["Coco", "Datumaro", "Mots", "YouTubeVis"]


def box(rle: dict[str, Any]) -> list[int]:
    """The bounding box ``[x, y, width, height]`` of a run length in pixels."""
    from pycocotools import mask

    return [int(side) for side in mask.toBbox(rle)]


def area(rle: dict[str, Any]) -> int:
    """The pixels of a run length."""
    from pycocotools import mask

    return int(mask.area(rle))


class Coco(DatasetExporter):
    """Instances of COCO: one image a frame; the id of an object is the attribute ``track_id``."""

    description = "COCO instances, run lengths, with frames as JPEG"
    needs = "pycocotools"
    files = ("coco/annotations/instances_default.json", "coco/images/default/*.jpg")
    text, pictures = "coco/annotations/instances_default.json", "coco/images/default"
    _annotations = 0

    def annotate(self, frame: LabelledFrame) -> None:
        """Put the image and its annotations into the spool."""
        height, width = frame.labels.shape
        image = {"id": frame.index + 1, "file_name": f"{frame.name}.jpg", "width": width, "height": height}
        self.spool.add(f"i{dumped(image)}")
        for object_id, rle in frame.rles.items():
            self._annotations += 1
            annotation = {
                "id": self._annotations,
                "image_id": frame.index + 1,
                "category_id": self.categories.number(object_id) + 1,
                "segmentation": rle,
                "area": area(rle),
                "bbox": box(rle),
                "iscrowd": 0,
                "attributes": {"track_id": object_id},
            }
            self.spool.add(f"a{dumped(annotation)}")

    def lines(self) -> Iterator[str]:
        """One pass over the spool for the images, one for the annotations."""
        yield '{"images": ['
        yield from separated(line[1:] for line in self.spool if line[0] == "i")
        yield '], "annotations": ['
        yield from separated(line[1:] for line in self.spool if line[0] == "a")
        yield f'], "categories": {dumped(numbered(self.categories.names))}}}'


class YouTubeVis(DatasetExporter):
    """YouTube-VIS: an annotation an object, with a run length for each frame, null where it has no pixels."""

    description = "YouTube-VIS tracks, run lengths, with frames as JPEG"
    needs = "pycocotools"
    files = ("ytvis/instances.json", "ytvis/JPEGImages/video/*.jpg")
    text, pictures = "ytvis/instances.json", "ytvis/JPEGImages/video"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._objects: set[int] = set()
        self._size = (0, 0)
        self._length = 0

    def annotate(self, frame: LabelledFrame) -> None:
        """Put the name of the frame and the run lengths of its objects into the spool."""
        self._objects.update(frame.object_ids)
        self._size = (frame.labels.shape[0], frame.labels.shape[1])
        self._length += 1
        self.spool.add(f"{dumped(f'video/{frame.name}.jpg')}\t{dumped(frame.rles)}")

    def lines(self) -> Iterator[str]:
        """One pass over the spool for the names of the frames, three for each object."""
        height, width = self._size
        video = {"id": 1, "width": width, "height": height, "length": self._length}
        yield f'{{"videos": [{dumped(video)[:-1]}, "file_names": ['
        yield from separated(line.split("\t")[0] for line in self.spool)
        yield ']}], "annotations": ['
        for position, object_id in enumerate(sorted(self._objects)):
            number = self.categories.number(object_id) + 1
            track = {"id": object_id, "video_id": 1, "category_id": number, "iscrowd": 0}
            track |= dict(zip(("height", "width"), self._size))
            yield f'{"," if position else ""}{dumped(track)[:-1]}, "segmentations": ['
            yield from separated(self._of(object_id, lambda rle: rle))
            yield '], "bboxes": ['
            yield from separated(self._of(object_id, box))
            yield '], "areas": ['
            yield from separated(self._of(object_id, area))
            yield "]}"
        yield f'], "categories": {dumped(numbered(self.categories.names))}}}'

    def _of(self, object_id: int, what: Callable[[dict[str, Any]], Any]) -> Iterator[str]:
        """Something of an object in every frame, null where it has no pixels."""
        for line in self.spool:
            rle = json.loads(line.split("\t")[1]).get(str(object_id))
            yield "null" if rle is None else dumped(what(rle))


class Mots(DatasetExporter):
    """MOTS: 16-bit PNGs of 1000 · class + id, and the same as run lengths in a text file."""

    description = "MOTS label PNGs (16 bits) and text, run lengths"
    needs = "pycocotools"
    files = ("mots/instances/0000/*.png", "mots/instances/labels.txt", "mots/instances_txt/0000.txt")
    text = "mots/instances_txt/0000.txt"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._pictures = self.folder / "mots/instances/0000"
        make_folder(self._pictures)

    def annotate(self, frame: LabelledFrame) -> None:
        """Write the PNG and put the lines of the objects into the spool."""
        classes = np.zeros(256, np.uint16)
        for object_id, rle in frame.rles.items():
            number = self.categories.number(object_id) + 1
            classes[object_id] = value = 1000 * number + object_id
            height, width = rle["size"]
            self.spool.add(f"{frame.index} {value} {number} {height} {width} {rle['counts']}")
        write_png(self._pictures / f"{frame.index:06d}.png", Image.fromarray(classes[frame.labels]))

    def lines(self) -> Iterator[str]:
        """Write the names of the classes; the lines of the spool are the text."""
        write_text(
            self._pictures.parent / "labels.txt", "".join(f"{name}\n" for name in self.categories.names)
        )
        yield from self.spool


class Datumaro(DatasetExporter):
    """Datumaro's own format; the id of an object is the attribute ``track_id``."""

    description = "Datumaro masks, run lengths, with frames as JPEG"
    needs = "pycocotools"
    files = ("datumaro/annotations/default.json", "datumaro/images/default/*.jpg")
    text, pictures = "datumaro/annotations/default.json", "datumaro/images/default"

    def annotate(self, frame: LabelledFrame) -> None:
        """Put the item of the frame into the spool."""
        annotations = [
            {
                "id": position,
                "type": "mask",
                "attributes": {"track_id": object_id},
                "group": 0,
                "label_id": self.categories.number(object_id),
                "rle": rle,
                "z_order": 0,
            }
            for position, (object_id, rle) in enumerate(frame.rles.items())
        ]
        image = {"path": f"{frame.name}.jpg", "size": frame.labels.shape}
        item = {"id": frame.name, "annotations": annotations, "attr": {"frame": frame.index}, "image": image}
        self.spool.add(dumped(item))

    def lines(self) -> Iterator[str]:
        """The items and the names of the categories."""
        labels = [{"name": name, "parent": "", "attributes": []} for name in self.categories.names]
        categories = {"label": {"labels": labels, "attributes": []}}
        yield f'{{"infos": {{}}, "categories": {dumped(categories)}, "items": ['
        yield from separated(iter(self.spool))
        yield "]}"


def numbered(names: list[str]) -> list[dict[str, Any]]:
    """The categories as COCO lists them."""
    return [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
