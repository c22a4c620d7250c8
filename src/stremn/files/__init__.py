"""Files in and out: sources of frames, masks, and what a run leaves behind."""

from stremn.files.colours import PALETTE, Legend
from stremn.files.drawing import overlay
from stremn.files.frames import Frame, FrameSource
from stremn.files.live import newest_frames
from stremn.files.masks import MaskFile, read_mask, write_mask
from stremn.files.names import without_password
from stremn.files.outputs import (
    OutputFolder,
    PredictionFolder,
    SegmentationFolder,
    write_json,
    write_png,
    write_text,
)
from stremn.files.schedule import MaskSchedule, mask_folder
from stremn.files.source import open_source
from stremn.files.writers import TableWriter, VideoWriter

__all__ = [
    "PALETTE",
    "Frame",
    "FrameSource",
    "Legend",
    "MaskFile",
    "MaskSchedule",
    "OutputFolder",
    "PredictionFolder",
    "SegmentationFolder",
    "TableWriter",
    "VideoWriter",
    "mask_folder",
    "newest_frames",
    "open_source",
    "overlay",
    "read_mask",
    "without_password",
    "write_json",
    "write_mask",
    "write_png",
    "write_text",
]
