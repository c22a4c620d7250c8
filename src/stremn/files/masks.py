"""Mask files: read whatever people have as label maps, write palette PNGs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from stremn.errors import StremnError
from stremn.files.colours import PALETTE, Legend, background_colour, palette_ids
from stremn.files.images import UNREADABLE, open_image, orientation_of, upright
from stremn.files.outputs import write_png
from stremn.files.snap import NotAMaskError, is_soft, snap

__all__ = ["MaskFile", "label_image", "read_ids", "read_mask", "write_mask"]

_LOSSY = {"JPEG", "MPO", "WEBP"}
_REMEDY = "give a palette or grey PNG whose pixels are object ids"
_SPREAD = {"L;2": 85, "L;4": 17}
"""By how much Pillow spreads the values of grey PNGs of 2 and 4 bits, over 0-255."""


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask as read: ``(H, W)`` uint8 ids of objects, 0 = background, and what was done to get there."""

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
    path = Path(path)
    image, turned, reader = _open(path, legend)
    if size is not None:
        found = _turned_size((image.height, image.width), turned)
        if found == tuple(size):
            if turned == 1 and orientation != 1 and _turned_size(found, orientation) == found:
                reader.notes.append("taken as drawn on the upright frame: EXIF turns the frame, not the mask")
        elif turned == 1 and _turned_size(found, orientation) == tuple(size):
            turned = orientation
            reader.notes.append("turned like its frame: EXIF turns the frame, not the mask")
        else:
            raise StremnError(
                f"mask {path} is {found[1]}x{found[0]}, the frames are {size[1]}x{size[0]}: "
                "scale the mask to the frames without interpolation (nearest neighbour)"
            )
    labels = reader.labels(image)
    if not allow_empty and not labels.any():
        raise StremnError(f"mask {path} holds no object: mark each object with an id from 1 to 255")
    return MaskFile(upright(labels, turned), tuple(reader.notes))


def _turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else (size[0], size[1])


def label_image(image: Image.Image) -> MaskFile:
    """The object ids of a mask that is open as a Pillow image, read as ``read_mask`` does; it is not turned.

    Raises:
        StremnError: if it cannot be used as a mask.
    """
    try:
        image.load()
    except UNREADABLE as error:
        raise StremnError(f"the mask is not a readable image: {_REMEDY}") from error
    reader = _Reader("picture", Legend())
    labels = reader.labels(image)
    return MaskFile(labels, tuple(reader.notes))


def read_ids(path: str | Path) -> np.ndarray:
    """Read a mask image for scores, which repair nothing: values as they are, void too, ``(H, W)`` uint8.

    Palettes that begin with the colour of an object are read by their colours, as ``read_mask`` does.

    Raises:
        StremnError: if it cannot be read, or is a picture in colours that are no ids.
    """
    image, turned, reader = _open(Path(path))
    ids = reader.plain_ids(image)
    if ids is None:
        raise StremnError(
            f"{path} is an image in colours ({image.mode}), not a label map: "
            "save object ids as a palette or grey PNG"
        )
    return upright(ids, turned)


def _open(path: Path, legend: Legend | None = None) -> tuple[Image.Image, int, "_Reader"]:
    """The loaded image, the EXIF orientation that is still to be undone, and what reads the image."""
    if not path.is_file():
        what = "is no regular file" if path.exists() else "does not exist"
        raise StremnError(f"mask {path} {what}: give an image file, or a folder of them")
    try:
        with open_image(path) as image:
            png = image.format == "PNG" and image.tile  # asked first: its orientation needs all of it
            step = _SPREAD.get(str(image.tile[0].args), 1) if png else 1
            turned = 1 if image.format == "TIFF" else orientation_of(image)
            image.load()
            return image, turned, _Reader(str(path), legend or Legend(), step)
    except UNREADABLE as error:
        raise StremnError(f"mask {path} is not a readable image: {_REMEDY}") from error


@dataclass
class _Reader:
    """Makes object ids ``(H, W)`` uint8 of a loaded image.

    Attributes:
        name: of the mask, for errors.
        legend: what earlier masks of the same video told.
        step: undoes the spread of small grey depths.
        notes: what was done, one line each.
    """

    name: str
    legend: Legend
    step: int = 1
    notes: list[str] = field(default_factory=list)

    def labels(self, image: Image.Image) -> np.ndarray:
        """The ids of a mask that may be in colours, or soft, or both."""
        try:
            return self._labels(image)
        except NotAMaskError as error:
            raise StremnError(f"{self.name} looks like a photograph, not a mask: {_REMEDY}") from error
        except ImportError as error:
            raise StremnError(
                f"mask {self.name} is antialiased, resized or compressed, which OpenCV is needed to mend: "
                "pip install opencv-python-headless"
            ) from error
        except UNREADABLE as error:
            raise StremnError(f"mask {self.name} cannot be read as one: {_REMEDY}") from error

    def plain_ids(self, image: Image.Image) -> np.ndarray | None:
        """The ids as they are; ``None`` where there are colours that are no ids."""
        if image.mode == "P":
            ids, _ = palette_ids(image)
            if ids is not None:
                return ids
            labels = self.labels(image)
            return None if self.legend.numbered and labels.max() > 1 else labels
        if image.mode.startswith(("I", "F")):
            return self._eight_bits(np.asarray(image))
        if image.mode in ("L", "1"):
            return np.asarray(image, np.uint8) // self.step
        pixels = np.asarray(image.convert("RGB"))
        return pixels[..., 0] if (pixels == pixels[..., :1]).all() else None

    def _labels(self, image: Image.Image) -> np.ndarray:
        lossy = image.format in _LOSSY
        if image.mode == "PA":
            return self._without_void(np.array(image.getchannel(0), dtype=np.uint8))
        if image.mode == "P":
            ids, cleared = palette_ids(image)
            if cleared:
                self.notes.append("transparent index taken as background")
            if ids is not None:
                return self._without_void(ids)
            self.notes.append("its palette begins with an object's colour: read by colours, not by index")
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        if image.mode == "1":
            return np.array(image).astype(np.uint8)
        if image.mode.startswith(("I", "F")):
            return self._grey(self._eight_bits(np.asarray(image)), lossy)
        image, opaque = self._without_alpha(image)
        pixels = np.array(image) // self.step if image.mode == "L" else np.array(image.convert("RGB"))
        coloured = pixels.ndim == 3 and (pixels != pixels[..., :1]).any()
        if opaque is not None:
            pixels[~opaque] = 0
        if coloured:
            return self._colour(pixels, lossy)
        return self._grey(pixels if pixels.ndim == 2 else pixels[..., 0].copy(), lossy)

    def _without_void(self, labels: np.ndarray) -> np.ndarray:
        labels, found = self.legend.without_void(labels)
        if found:
            self.notes.append("255 beside other ids: void, taken as background")
        return labels

    def _without_alpha(self, image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
        """Split off transparency: the plain image, and where it is opaque (None: everywhere)."""
        if image.mode not in ("RGBA", "LA", "RGBa", "La"):
            return image, None
        image = image.convert("RGBA" if image.mode.startswith("RGB") else "LA")
        alpha = np.array(image.getchannel("A"))
        plain = image.convert("RGB" if image.mode == "RGBA" else "L")
        if alpha.min() == alpha.max():
            self.notes.append("alpha channel ignored")
            return plain, None
        pixels = np.array(plain)
        opaque = alpha > int(alpha.max()) // 2
        if (pixels == pixels.reshape(-1, *pixels.shape[2:])[0]).all() or not pixels[opaque].any():
            self.notes.append("object taken from the alpha channel")
            return Image.fromarray(alpha), None
        self.notes.append("transparent pixels taken as background")
        return plain, opaque

    def _eight_bits(self, deep: np.ndarray) -> np.ndarray:
        """16- and 32-bit grey as 8-bit ids: as they are, or scaled down where 8-bit ids were scaled up."""
        with np.errstate(invalid="ignore"):
            whole = deep.astype(np.int64)
        if (whole != deep).any() or whole.min() < 0:
            raise StremnError(f"mask {self.name} holds values that are no ids: {_REMEDY}")
        if whole.max() <= 255:
            return whole.astype(np.uint8)
        if whole.max() <= 65535:
            small = ((whole + 128) // 257).astype(np.uint8)
            scaled_up = bool((whole % 257 == 0).all())
            if scaled_up or (whole.max() == 65535 and is_soft(small[..., None])):
                self.notes.append("16-bit values divided by 257")
                return small
        ids = np.unique(whole)
        what = f"{len(ids)} ids" if len(ids) > 256 else f"id {ids[-1]}"
        raise StremnError(
            f"mask {self.name} holds {what}, ids go from 1 to 255: renumber the objects, or keep fewer"
        )

    def _grey(self, grey: np.ndarray, lossy: bool) -> np.ndarray:
        pixels = np.ascontiguousarray(grey[..., None])
        if lossy or is_soft(pixels):
            indices, colours, changed = snap(pixels, lossy=lossy)
            values = colours[:, 0]
            if lossy and len(values) <= 2 and values.max() >= 240:
                values = np.where(values >= 240, 255, 0).astype(np.uint8)
            grey = values[indices]
            if changed:
                shown = [1] if set(values) <= {0, 255} else sorted(int(v) for v in values if v)
                self.notes.append(_repair_note(changed, grey.size, shown))
        grey = self._without_void(grey)
        if grey.max() == 255:
            self.notes.append("black and white: white taken as object 1")
            return (grey == 255).astype(np.uint8)
        return grey

    def _colour(self, pixels: np.ndarray, lossy: bool) -> np.ndarray:
        soft = lossy or is_soft(pixels)
        if soft:
            indices, values, changed = snap(pixels, lossy=lossy)
        else:
            values, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
            indices, changed = indices.reshape(pixels.shape[:2]), 0
        background = background_colour(values, indices, tolerant=soft)
        objects = [i for i in range(len(values)) if i != background]
        if len(objects) > 255:
            raise StremnError(
                f"mask {self.name} holds {len(objects)} colours, ids go from 1 to 255: keep fewer objects"
            )
        ids = self.legend.assign([tuple(int(c) for c in values[i]) for i in objects], tolerant=soft)
        if ids is None:
            raise StremnError(
                f"mask {self.name} brings the video to more than 255 colours: keep fewer objects"
            )
        lookup = np.zeros(len(values), np.uint8)
        lookup[objects] = ids
        if changed:
            self.notes.append(_repair_note(changed, indices.size, sorted(set(ids))))
        self.notes.append(_mapping_note(values, objects, ids, background))
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
    image.putpalette(PALETTE.tobytes())
    write_png(path, image)
