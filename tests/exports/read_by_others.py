"""Reads exports with Datumaro and LabelMe; ``test_by_others.py`` runs it with a Python that has both.

Datumaro takes other versions of OpenCV and Pillow than the project does, LabelMe a whole window system.
"""

import json
import sys
from pathlib import Path
from typing import Any

import datumaro as dm
import numpy as np


def by_datumaro(folder: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Label maps by frame, and the name of the category of each object."""
    data = dm.Dataset.import_from(str(folder), kind)
    categories = data.categories()[dm.AnnotationType.label]
    found, names = {}, {}
    for item in data:  # COCO gives a box beside each mask
        masks = [annotation for annotation in item.annotations if annotation.type == dm.AnnotationType.mask]
        labels: Any = 0
        for mask in masks:
            object_id = int(mask.attributes.get("track_id", mask.group))
            labels = np.maximum(labels, np.asarray(mask.image).astype(int) * object_id)
            names[str(object_id)] = categories[mask.label].name
        if item.media is not None:
            assert item.media.data.shape[:2] == np.shape(labels), f"{kind}: no picture"
        found[str(item.id)] = labels
    return found, names


def by_labelme(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from labelme._label_file import read_label_file
    from labelme.utils import img_data_to_arr, shape_to_mask

    found, names = {}, {}
    for path in folder.glob("*.json"):
        file = read_label_file(str(path))
        labels = np.zeros(img_data_to_arr(file.image_data).shape[:2], int)
        for shape in file.shapes:
            labels[shape_to_mask(labels.shape, shape["points"], shape["shape_type"])] = shape["group_id"]
            names[str(shape["group_id"])] = shape["label"]
        found[path.stem] = labels
    return found, names


if __name__ == "__main__":
    exports, out = Path(sys.argv[1]), Path(sys.argv[2])
    arrays, told = {}, {}
    for kind, source in {"coco": "coco", "datumaro": "datumaro", "cvat": "cvat", "mots": "mots"}.items():
        arrays[kind], told[kind] = by_datumaro(exports / source, kind)
    arrays["labelme"], told["labelme"] = by_labelme(exports / "labelme")
    np.savez(out, **{f"{kind}|{name}": x for kind, found in arrays.items() for name, x in found.items()})
    print(json.dumps(told))
