"""Files of LabelMe and COCO that show the first object of :mod:`small_data`."""

import json
from pathlib import Path
from typing import Any

from small_data import HEIGHT, WIDTH

SIDE = HEIGHT // 3
OUTLINE = [[4, 6], [4 + SIDE, 6], [4 + SIDE, 6 + SIDE], [4, 6 + SIDE]]
"""Of object 1 in frame 0, as :func:`small_data.labels` draws it."""


def labelme(path: Path, *shapes: dict[str, Any], **changes: Any) -> Path:
    picture = {"imagePath": "a.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.write_text(json.dumps({"version": "5.5.0", "shapes": shapes, **picture, **changes}))
    return path


def coco(path: Path, *annotations: dict[str, Any], **changes: Any) -> Path:
    images = [
        {"id": i, "file_name": f"seq/{n}.png", "height": HEIGHT, "width": WIDTH} for i, n in enumerate("abz")
    ]
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "square"}]}
    path.write_text(json.dumps(whole | changes))
    return path


def shape(label: str, points: Any, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, **more}
