"""Exports of a segmented video to the formats of other tools, written frame by frame."""

from stremn.exports.exporter import Exporter, LabelledFrame
from stremn.exports.run import EXPORTS, Exports, clear_exports, find_export

__all__ = ["EXPORTS", "Exporter", "Exports", "LabelledFrame", "clear_exports", "find_export"]
