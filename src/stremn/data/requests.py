"""What a data set of training clips is asked for."""

from typing import NamedTuple

__all__ = ["ClipRequest"]


class ClipRequest(NamedTuple):
    """Which training clip to make.

    Attributes:
        number: of the clip, from 0; with the seed of the data set it fixes all that is random.
        frames: T.
        size: sides of the clip in pixels.
    """

    number: int
    frames: int
    size: int
