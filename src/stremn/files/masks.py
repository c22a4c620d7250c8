"""Mask files: read whatever people have as label maps, write palette PNGs."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stremn.errors import StremnError
from stremn.files.colours import DARK, PALETTE, Legend, background_colour
from stremn.files.images import UNREADABLE, orientation_of, upright
from stremn.files.outputs import write_png
from stremn.files.snap import NotAMaskError, is_soft, snap

__all__ = ["MaskFile", "label_image", "read_ids", "read_mask", "write_mask"]

_PALETTE_BYTES = PALETTE.tobytes()
_LOSSY = {"JPEG", "MPO", "WEBP"}
_REMEDY = "give a palette or grey PNG whose pixels are object ids"
_VOID_NOTE = "255 beside other ids: void, taken as background"


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask as read.

    Attributes:
        labels: ``(H, W)`` uint8 object ids, 0 = background.
        notes: what was done to get there, one line each.
    """

    labels: np.ndarray
    notes: tuple[str, ...] = ()


def read_mask(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    orientation: int = 1,
    allow_empty: bool = False,
    legend: Legend | None = None,
) -> MaskFile:
    """Read a mask image of any common kind as a map of object ids.

    Palette, 1-bit and grey images hold ids as they are (1-255, never renumbered), but 255 beside other ids is
    void and becomes background; grey images of 0 and 255 only hold one object, id 1; colours become ids by
    the DAVIS palette or in sorted order, also those of palettes that begin with the colour of an object.
    Borders softened by antialiasing, resizing or JPEG are snapped to the real ids beside them, except in
    palette images, which are taken at their word. Every such decision is told in ``notes``.

    Args:
        path: image file.
        size: ``(h, w)`` in pixels that the mask must have.
        orientation: that of the frame's file by EXIF, from 1 to 8. A mask of the size that the frame has
            unless it is turned is turned along with it.
        allow_empty: accept a mask without objects.
        legend: what earlier masks of the same video told; it is added to.

    Raises:
        StremnError: if the file cannot be used as a mask; it names the file and the remedy.
    """
    path, notes = Path(path), list[str]()
    image, turned = _open(path)
    if size is not None:
        found = _turned_size((image.height, image.width), turned)
        if found == tuple(size):
            if turned == 1 and orientation != 1 and _turned_size(found, orientation) == found:
                notes.append("taken as drawn on the upright frame: EXIF turns the frame, not the mask")
        elif turned == 1 and _turned_size(found, orientation) == tuple(size):
            turned = orientation
            notes.append("turned like its frame: EXIF turns the frame, not the mask")
        else:
            raise StremnError(
                f"mask {path} is {found[1]}x{found[0]}, the frames are {size[1]}x{size[0]}: "
                "scale the mask to the frames without interpolation (nearest neighbour)"
            )
    labels = _labels(str(path), image, _small_depth_step(path), legend or Legend(), notes)
    if not allow_empty and not labels.any():
        raise StremnError(f"mask {path} holds no object: mark each object with an id from 1 to 255")
    return MaskFile(upright(labels, turned), tuple(notes))


def _turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else (size[0], size[1])


def label_image(image: Image.Image, legend: Legend | None = None) -> MaskFile:
    """The object ids of a mask that is open as a Pillow image, read as ``read_mask`` does; it is not turned.

    Raises:
        StremnError: if it cannot be used as a mask.
    """
    notes: list[str] = []
    try:
        image.load()
    except UNREADABLE as error:
        raise StremnError(f"the mask is not a readable image: {_REMEDY}") from error
    labels = _labels("picture", image, 1, legend or Legend(), notes)
    return MaskFile(labels, tuple(notes))


def read_ids(path: str | Path) -> np.ndarray:
    """Read a mask image for scores, which repair nothing: values as they are, void too, ``(H, W)`` uint8.

    Palettes that begin with the colour of an object are read by their colours, as ``read_mask`` does.

    Raises:
        StremnError: if it cannot be read, or is a picture in colours that are no ids.
    """
    path = Path(path)
    image, turned = _open(path)
    name, mode, legend, notes = str(path), image.mode, Legend(), list[str]()
    if mode == "P" and (ids := _palette_ids(image, notes)) is not None:
        return upright(ids, turned)
    if mode.startswith(("I", "F")):
        return upright(_eight_bits(name, np.asarray(image), notes), turned)
    if mode == "P":
        labels = _labels(name, image, 1, legend, notes)
        if not legend.numbered or labels.max() <= 1:
            return upright(labels, turned)
    elif mode in ("L", "1"):
        return upright(np.asarray(image, np.uint8) // _small_depth_step(path), turned)
    else:
        pixels = np.asarray(image.convert("RGB"))
        if (pixels == pixels[..., :1]).all():
            return upright(pixels[..., 0], turned)
    raise StremnError(
        f"{path} is an image in colours ({mode}), not a label map: save object ids as a palette or grey PNG"
    )


def _open(path: Path) -> tuple[Image.Image, int]:
    """The loaded image and the EXIF orientation that is still to be undone."""
    if not path.exists():
        raise StremnError(f"mask {path} does not exist: give an image file, or a folder of them")
    if not path.is_file():
        raise StremnError(f"mask {path} is no regular file: give an image file, or a folder of them")
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            turned = 1 if image.format == "TIFF" else orientation_of(image)
            image.load()
            return image, turned
    except UNREADABLE as error:
        raise StremnError(f"mask {path} is not a readable image: {_REMEDY}") from error


def _labels(name: str, image: Image.Image, step: int, legend: Legend, notes: list[str]) -> np.ndarray:
    """Object ids ``(H, W)`` uint8 of a loaded image; ``step`` undoes the spread of small grey depths."""
    try:
        labels = _read_values(name, image, step, legend, notes)
    except NotAMaskError as error:
        raise StremnError(f"{name} looks like a photograph, not a mask: {_REMEDY}") from error
    except UNREADABLE as error:
        raise StremnError(f"mask {name} cannot be read as one: {_REMEDY}") from error
    return labels


def _read_values(name: str, image: Image.Image, step: int, legend: Legend, notes: list[str]) -> np.ndarray:
    lossy = image.format in _LOSSY
    if image.mode == "PA":
        image = image.getchannel(0)
        return _without_void(np.array(image, dtype=np.uint8), legend, notes)
    if image.mode == "P":
        ids = _palette_ids(image, notes)
        if ids is not None:
            return _without_void(ids, legend, notes)
        notes.append("its palette begins with an object's colour: read by colours, not by index")
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "1":
        return np.array(image).astype(np.uint8)
    if image.mode.startswith(("I", "F")):
        return _grey(_eight_bits(name, np.asarray(image), notes), lossy, legend, notes)
    image, opacity = _without_alpha(image, notes)
    if image.mode == "L":
        grey = np.array(image) // step
    else:
        pixels = np.array(image.convert("RGB"))
        if (pixels == pixels[..., :1]).all():
            grey = pixels[..., 0].copy()
        else:
            return _colour(name, pixels, opacity, lossy, legend, notes)
    if opacity is not None:
        grey[~opacity] = 0
    return _grey(grey, lossy, legend, notes)


def _without_void(labels: np.ndarray, legend: Legend, notes: list[str]) -> np.ndarray:
    labels, found = legend.without_void(labels)
    if found:
        notes.append(_VOID_NOTE)
    return labels


def _palette_ids(image: Image.Image, notes: list[str]) -> np.ndarray | None:
    """The indices of a palette image as ids, or ``None`` where its colours tell the background and not they.

    They do if index 0 is not the background but a colour, and black or a transparent index is used.
    """
    ids = np.array(image, dtype=np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.asarray(image.getpalette() or [], np.uint8).reshape(-1, 3)[:256]
    palette[: len(colours)] = colours
    clear = np.zeros(256, bool)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        clear[: len(transparency)] = np.frombuffer(transparency, np.uint8)[:256] == 0
    elif isinstance(transparency, int) and 0 <= transparency < 256:
        clear[transparency] = True
    others = np.bincount(ids.ravel(), minlength=256) > 0
    zero_is_used, others[0] = bool(others[0]), False
    levels = palette.max(axis=1)
    levels[len(colours) :] = 255
    # Quantizers shift black by a few levels; where several colours are dark they tell nothing.
    dark = (levels <= DARK) & (others | (levels > 0))
    black = others & (dark if dark.sum() == 1 else levels == 0)
    hidden = others & clear
    zero_is_ground = clear[0] or levels[0] <= DARK or not len(colours)
    if not zero_is_ground and (black | hidden).any() and (zero_is_used or not hidden.any()):
        return None
    if hidden.any():
        notes.append("transparent index taken as background")
        ids[hidden[ids]] = 0
    return ids


def _small_depth_step(path: Path) -> int:
    """Pillow spreads the values of grey PNGs of 2 and 4 bits over 0-255: the factor to undo."""
    with path.open("rb") as file:
        header = file.read(26)
    if header[:4] != b"\x89PNG" or len(header) < 26 or header[25] not in (0, 4):
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


def _eight_bits(name: str, deep: np.ndarray, notes: list[str]) -> np.ndarray:
    """16- and 32-bit grey as 8-bit ids: as they are, or scaled down where 8-bit ids were scaled up."""
    with np.errstate(invalid="ignore"):
        whole = deep.astype(np.int64)
    if (whole != deep).any() or whole.min() < 0:
        raise StremnError(f"mask {name} holds values that are no ids: {_REMEDY}")
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
    raise StremnError(f"mask {name} holds {what}, ids go from 1 to 255: renumber the objects, or keep fewer")


def _grey(grey: np.ndarray, lossy: bool, legend: Legend, notes: list[str]) -> np.ndarray:
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
    grey = _without_void(grey, legend, notes)
    if grey.max() == 255:
        notes.append("black and white: white taken as object 1")
        return (grey == 255).astype(np.uint8)
    return grey


def _colour(
    name: str,
    pixels: np.ndarray,
    opaque: np.ndarray | None,
    lossy: bool,
    legend: Legend,
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
            f"mask {name} holds {len(objects)} colours, ids go from 1 to 255: keep fewer objects"
        )
    ids = legend.assign([tuple(int(c) for c in values[i]) for i in objects], tolerant=soft)
    if ids is None:
        raise StremnError(f"mask {name} brings the video to more than 255 colours: keep fewer objects")
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
    def colour(i: int) -> str:
        return "#{:02x}{:02x}{:02x}".format(*(int(c) for c in values[i]))

    pairs = sorted(zip(ids, objects, strict=True))
    told = ", ".join(f"{colour(i)} = {object_id}" for object_id, i in pairs[:12])
    more = f" and {len(pairs) - 12} more" if len(pairs) > 12 else ""
    ground = f"; background {colour(background)}" if background is not None else ""
    return f"colours taken as object ids: {told}{more}{ground}"


def write_mask(path: str | Path, labels: np.ndarray) -> None:
    """Write labels as a palette PNG in the DAVIS colours, whole or not at all.

    Args:
        path: of the file.
        labels: ``(H, W)`` uint8.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    image.putpalette(_PALETTE_BYTES)
    write_png(path, image)
