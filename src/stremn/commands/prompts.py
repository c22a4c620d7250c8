"""How a command is told which objects to follow: masks, files of other tools, or options."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.files import FrameSource
    from stremn.prompts import PromptSchedule, Shown

__all__ = ["ObjectOptions"]

log = logging.getLogger("stremn")

_NUMBER = r"-?[0-9]*\.?[0-9]+"
_FORMS = {
    "box": (f"{_NUMBER}(?:,{_NUMBER}){{3}}", "1:x,y,width,height"),
    "point": (f"{_NUMBER},{_NUMBER}(?:,[+-])?", "1:x,y, with ,- if it is beside the object"),
    "polygon": (f"{_NUMBER},{_NUMBER}(?:,{_NUMBER},{_NUMBER}){{2,}}", "1:x,y,x,y,x,y and so on"),
}
"""For each kind of prompt what stands between the id and the frame, and how that is explained."""

_SHOWN = 60


@dataclass(frozen=True)
class _Given:
    """One option as read: its text, shortened, and what it says."""

    said: str
    kind: str
    object_id: int
    numbers: list[float]
    positive: bool
    frame: int | None

    @classmethod
    def parse(cls, kind: str, text: str) -> "_Given":
        said = f"--{kind} {text}"
        said = said if len(said) <= _SHOWN else said[:_SHOWN] + "..."
        values, form = _FORMS[kind]
        match = re.fullmatch(f"([0-9]+):({values})(?:@([0-9]+))?", text, re.ASCII)
        if match is None:
            raise StremnError(f"{said} is not like {form}: give that, and @frame if it is not the first one")
        object_id, frame = int(match[1]), match[3]
        if not 1 <= object_id <= 255:
            raise StremnError(f"{said}: the object's id {object_id} is not from 1 to 255")
        numbers = [float(number) for number in match[2].split(",") if number not in "+-"]
        return cls(
            said, kind, object_id, numbers, not match[2].endswith("-"), None if frame is None else int(frame)
        )


@dataclass(frozen=True)
class ObjectOptions:
    """The objects to follow; at least one option must be given.

    Raises:
        StremnError: naming the option that cannot be read, before the video is.
    """

    masks: Annotated[
        Path | None,
        typer.Option(
            help="Mask image of the first frame, or a folder of masks named like the frames; also LabelMe or "
            "COCO JSON."
        ),
    ] = None
    box: Annotated[
        list[str] | None,
        typer.Option(help="Around an object, ID:x,y,width,height[@frame]; may be given several times."),
    ] = None
    point: Annotated[
        list[str] | None,
        typer.Option(help="On an object, or beside it with ,-: ID:x,y[,+|-][@frame]; several times."),
    ] = None
    polygon: Annotated[
        list[str] | None, typer.Option(help="The outline of an object, ID:x,y,x,y,…[@frame]; several times.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if self.masks is None and not any((self.box, self.point, self.polygon)):
            raise StremnError(
                "nothing shows which objects to follow: give --masks, --box, --point or --polygon"
            )
        self._given()

    def open(self, frames: "FrameSource", source: str) -> "PromptSchedule":
        """What is given with which frame of a video.

        Raises:
            StremnError: if there is no such frame, or a file cannot be used.
        """
        from stremn.files import MaskSchedule
        from stremn.prompts import PromptSchedule, annotation_files, read_annotations

        shown, masks = list(self._shown(frames)), None
        if self.masks is not None:
            path = self.masks.expanduser()
            drawn = annotation_files(path)
            beside = Path(source).expanduser()
            among = beside.exists() and path.exists() and path.samefile(beside)
            if drawn and (path.is_file() or among or not _pictures(path)):
                shown = [*read_annotations(drawn, frames.frame_names), *shown]
            else:
                masks = MaskSchedule(path, frames.frame_names)
                if drawn:
                    log.warning("%s: %d JSON files beside the mask images are not used", path, len(drawn))
        return PromptSchedule(shown, masks)

    def describe(self) -> dict[str, Any]:
        """What ``summary.json`` says of them."""
        given = {name: getattr(self, name) for name in _FORMS if getattr(self, name)}
        return given if self.masks is None else {"masks": str(self.masks), **given}

    def _given(self) -> list[_Given]:
        return [_Given.parse(kind, text) for kind in _FORMS for text in getattr(self, kind) or ()]

    def _shown(self, frames: "FrameSource") -> Iterator["Shown"]:
        """What the options show, those of one object in one frame together."""
        from stremn.prompts import Prompt, Shown

        together: dict[tuple[int, int | None], list[_Given]] = {}
        for given in self._given():
            count = frames.frame_count
            if given.frame is not None and count is not None and given.frame >= count:
                raise StremnError(
                    f"{given.said}: {frames.name} has no frame {given.frame}: give one from 0 to {count - 1}"
                )
            together.setdefault((given.object_id, given.frame), []).append(given)
        for (object_id, frame), parts in together.items():
            said = " ".join(part.said for part in parts[:3]) + (" ..." if len(parts) > 3 else "")
            by_kind = {kind: [part for part in parts if part.kind == kind] for kind in _FORMS}
            if len(by_kind["box"]) > 1:
                raise StremnError(f"{said}: object {object_id} has several boxes in one frame: give one")
            prompt = Prompt(
                box=next((part.numbers for part in by_kind["box"]), None),
                points=[(*part.numbers, part.positive) for part in by_kind["point"]],
                polygons=[list(zip(*[iter(part.numbers)] * 2)) for part in by_kind["polygon"]],
            )
            yield Shown(object_id, prompt, frame, said)


def _pictures(folder: Path) -> bool:
    from stremn.files.names import image_files

    return bool(image_files(folder))
