"""Mask files: read whatever people have as label maps, write palette PNGs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from stremn.errors import StremnError
from stremn.files.atomic import write_png
from stremn.files.colours import ColourTable, background_colour
from stremn.files.folders import UNREADABLE
from stremn.files.palette import PALETTE
from stremn.files.snap import NotAMaskError, is_soft, snap

__all__ = ["MaskFile", "read_mask", "write_mask"]

_PALETTE_BYTES = PALETTE.tobytes()
_LOSSY = {"JPEG", "MPO", "WEBP"}
_REMEDY = "give a palette or grey PNG whose pixels are object ids"


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask as read: `labels` (H, W) uint8, 0 = background, and what was done to get there."""

    labels: np.ndarray
    notes: tuple[str, ...] = ()


def read_mask(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    allow_empty: bool = False,
    colours: ColourTable | None = None,
) -> MaskFile:
    """Read a mask image of any common kind as a map of object ids.

    Palette, 1-bit and grey images hold ids as they are (1-255, never renumbered); grey images of 0 and 255
    only hold one object, id 1; colours become ids by the DAVIS palette or in sorted order. Borders softened
    by antialiasing, resizing or JPEG are snapped to the real ids beside them, except in palette images,
    which are taken at their word. Every such decision is told in `notes`.

    Args:
        path: image file.
        size: (h, w) in pixels that the mask must have.
        allow_empty: accept a mask without objects.
        colours: colours and ids of earlier masks of the same video, to be kept and added to.

    Raises StremnError when the file cannot be used as a mask; it names the file and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise StremnError(f"mask {path} does not exist: give an image file, or a folder of them")
    try:
        with Image.open(path) as image:
            lossy = image.format in _LOSSY
            # Turning drops `format`, so it is asked first.
            image.load()
            upright = ImageOps.exif_transpose(image)
    except UNREADABLE as error:
        raise StremnError(f"mask {path} is not a readable image: {_REMEDY}") from error
    if size is not None and (upright.height, upright.width) != tuple(size):
        raise StremnError(
            f"mask {path} is {upright.width}x{upright.height}, the frames are {size[1]}x{size[0]}: "
            "scale the mask to the frames without interpolation (nearest neighbour)"
        )
    notes: list[str] = []
    try:
        labels = _labels(path, upright, lossy, ColourTable() if colours is None else colours, notes)
    except NotAMaskError as error:
        raise StremnError(f"{path} looks like a photograph, not a mask: {_REMEDY}") from error
    if not allow_empty and not labels.any():
        raise StremnError(f"mask {path} holds no object: mark each object with an id from 1 to 255")
    return MaskFile(labels, tuple(notes))


def _labels(path: Path, image: Image.Image, lossy: bool, table: ColourTable, notes: list[str]) -> np.ndarray:
    if image.mode in ("P", "PA"):
        return np.array(image.getchannel(0) if image.mode == "PA" else image, dtype=np.uint8)
    if image.mode == "1":
        return np.array(image).astype(np.uint8)
    if image.mode.startswith(("I", "F")):
        return _grey(path, _eight_bits(path, np.asarray(image), notes), lossy, notes)
    image, opacity = _without_alpha(image, notes)
    if image.mode == "L":
        grey = np.array(image) // _small_depth_step(path)
    else:
        pixels = np.array(image.convert("RGB"))
        if (pixels == pixels[..., :1]).all():
            grey = pixels[..., 0].copy()
        else:
            return _colour(path, pixels, opacity, lossy, table, notes)
    if opacity is not None:
        grey[~opacity] = 0
    return _grey(path, grey, lossy, notes)


def _small_depth_step(path: Path) -> int:
    """Pillow spreads the values of grey PNGs of 2 and 4 bits over 0-255: the factor to undo."""
    with path.open("rb") as file:
        header = file.read(26)
    if header[:4] != b"\x89PNG" or header[25] not in (0, 4):
        return 1
    return {2: 85, 4: 17}.get(header[24], 1)


def _without_alpha(image: Image.Image, notes: list[str]) -> tuple[Image.Image, np.ndarray | None]:
    """Split off transparency: the plain image, and where it is opaque (None: everywhere)."""
    if image.mode not in ("RGBA", "LA", "RGBa", "La"):
        return image, None
    image = image.convert("RGBA" if image.mode.startswith("RGB") else "LA")
    alpha = np.array(image.getchannel("A"))
    plain = image.convert("RGB" if image.mode == "RGBA" else "L")
    if alpha.min() == alpha.max():
        notes.append("alpha channel ignored")
        return plain, None
    pixels = np.array(plain)
    opaque = alpha > int(alpha.max()) // 2
    if (pixels == pixels.reshape(-1, *pixels.shape[2:])[0]).all() or not pixels[opaque].any():
        notes.append("object taken from the alpha channel")
        return Image.fromarray(alpha), None
    notes.append("transparent pixels taken as background")
    return plain, opaque


def _eight_bits(path: Path, deep: np.ndarray, notes: list[str]) -> np.ndarray:
    """16- and 32-bit grey as 8-bit ids: as they are, or scaled down where 8-bit ids were scaled up."""
    whole = deep.astype(np.int64)
    if (whole != deep).any() or whole.min() < 0:
        raise StremnError(f"mask {path} holds values that are no ids: {_REMEDY}")
    if whole.max() <= 255:
        return whole.astype(np.uint8)
    if whole.max() <= 65535:
        small = ((whole + 128) // 257).astype(np.uint8)
        scaled_up = bool((whole % 257 == 0).all())
        if scaled_up or (whole.max() == 65535 and is_soft(small[..., None])):
            notes.append("16-bit values divided by 257")
            return small
    ids = np.unique(whole)
    what = f"{len(ids)} ids" if len(ids) > 256 else f"id {ids[-1]}"
    raise StremnError(f"mask {path} holds {what}, ids go from 1 to 255: renumber the objects, or keep fewer")


def _grey(path: Path, grey: np.ndarray, lossy: bool, notes: list[str]) -> np.ndarray:
    pixels = np.ascontiguousarray(grey[..., None])
    if lossy or is_soft(pixels):
        snapped = snap(pixels, lossy=lossy)
        values = snapped.values[:, 0]
        if lossy and len(values) <= 2 and values.max() >= 240:
            values = np.where(values >= 240, 255, 0).astype(np.uint8)
        grey = values[snapped.indices]
        if snapped.changed:
            shown = [1] if set(values) <= {0, 255} else sorted(int(v) for v in values if v)
            notes.append(_repair_note(snapped.changed, grey.size, shown))
    ids = np.unique(grey)
    if ids[-1] == 255 and set(ids) <= {0, 255}:
        notes.append("black and white: white taken as object 1")
        return (grey == 255).astype(np.uint8)
    return grey


def _colour(
    path: Path,
    pixels: np.ndarray,
    opaque: np.ndarray | None,
    lossy: bool,
    table: ColourTable,
    notes: list[str],
) -> np.ndarray:
    if opaque is not None:
        pixels[~opaque] = 0
    soft = lossy or is_soft(pixels)
    if soft:
        snapped = snap(pixels, lossy=lossy)
        values, indices, changed = snapped.values, snapped.indices, snapped.changed
    else:
        values, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
        indices, changed = indices.reshape(pixels.shape[:2]), 0
    background = background_colour(values, indices, tolerant=soft)
    objects = [i for i in range(len(values)) if i != background]
    if len(objects) > 255:
        raise StremnError(
            f"mask {path} holds {len(objects)} colours, ids go from 1 to 255: keep fewer objects"
        )
    ids = table.assign([tuple(int(c) for c in values[i]) for i in objects], tolerant=soft)
    if ids is None:
        raise StremnError(f"mask {path} brings the video to more than 255 colours: keep fewer objects")
    lookup = np.zeros(len(values), np.uint8)
    lookup[objects] = ids
    if changed:
        notes.append(_repair_note(changed, indices.size, sorted(set(ids))))
    notes.append(_mapping_note(values, objects, ids, background))
    return lookup[indices]


def _repair_note(changed: int, total: int, ids: Iterable[int]) -> str:
    listed = ", ".join(map(str, ids)) or "none"
    return (
        f"antialiased, resized or compressed: {changed} pixels ({100 * changed / total:.1f} %) "
        f"with values in between were set to the nearest real id (ids: {listed})"
    )


def _mapping_note(values: np.ndarray, objects: list[int], ids: list[int], background: int | None) -> str:
    def name(i: int) -> str:
        return "#{:02x}{:02x}{:02x}".format(*(int(c) for c in values[i]))

    pairs = sorted(zip(ids, objects, strict=True))
    told = ", ".join(f"{name(i)} = {object_id}" for object_id, i in pairs[:12])
    more = f" and {len(pairs) - 12} more" if len(pairs) > 12 else ""
    ground = f"; background {name(background)}" if background is not None else ""
    return f"colours taken as object ids: {told}{more}{ground}"


def write_mask(path: str | Path, labels: np.ndarray) -> None:
    """Write (H, W) uint8 labels as a palette PNG in the DAVIS colours, whole or not at all.

    Raises StremnError when the disk is full or the folder cannot be written to.
    """
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    image.putpalette(_PALETTE_BYTES)
    write_png(path, image)
