"""``stremn data``: what can be asked about data sets."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stremn.commands import options
from stremn.commands.console import count_files, new_table, printable, say, show
from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.data.segmentation.check import Report

__all__ = ["check", "data"]

log = logging.getLogger("stremn")

MOST_LINES = 10
"""Faults of one kind that are listed per data set; the JSON file has all."""

data = typer.Typer(name="data", no_args_is_help=True, help="Look into data sets.")


@data.command("check")
def check(
    root: Annotated[Path, typer.Argument(help="A data set, or a folder of data sets.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads.  [default: a few per core]")] = None,
) -> None:
    """Open every file of the data sets at ROOT; say what is there, what is damaged and what is missing.

    The exit status is 2 if anything is damaged or missing.
    """
    from stremn.data.segmentation.stills import STILL_LAYOUTS
    from stremn.files import write_json

    options.check_records(json_file)
    reports, unknown = _check_all(root, jobs)
    if not reports:
        known = ", ".join(layout.layout for layout in STILL_LAYOUTS)
        raise StremnError(
            f"{root}: neither it nor a folder in it is laid out like {known}, DAVIS or YouTube-VOS"
        )
    _print(reports, root)
    if unknown:
        log.info("no stills or videos with masks in: %s", ", ".join(unknown))
    if json_file:
        write_json(json_file, {"root": str(root), "sets": [report.to_dict() for report in reports]})
    faulty = [report for report in reports if not report.fine]
    if faulty:
        damaged, missing = (sum(len(getattr(r, kind)) for r in faulty) for kind in ("damaged", "missing"))
        names = ", ".join(_name(report, root) for report in faulty)
        raise StremnError(f"{damaged} damaged, {missing} missing, in {names}; mend or remove what is listed")


def _check_all(root: Path, jobs: int | None) -> "tuple[list[Report], list[str]]":
    """Reports on ``root`` or on the folders in it, and the names of the folders that are no data set."""
    from stremn.data.segmentation.check import check_folder

    if not root.is_dir():
        raise StremnError(f"{root}: no such folder; give a data set, or a folder of data sets")
    unknown = []
    with count_files("looking") as seen:

        def progress(label: str, done: int, total: int) -> None:
            seen(Path(label).name, done, total)

        reports = check_folder(root, jobs, progress)
        if not reports:
            for folder in sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != "."):
                found = check_folder(folder, jobs, progress)
                reports += found
                unknown += [] if found else [folder.name]
    return reports, unknown


def _print(reports: "list[Report]", root: Path) -> None:
    view = new_table(["data set", "layout", "holds"], ["damaged", "missing"])
    for report in reports:
        holds = ", ".join(f"{n:,} {key.replace('_', ' ')}" for key, n in report.counts.items() if n)
        faults = (f"{len(report.damaged):,}", f"{len(report.missing):,}")
        view.add_row(
            printable(_name(report, root)), report.layout, holds, *faults, style="" if report.fine else "red"
        )
    show(view)
    for report in reports:
        for kind, lines in (("damaged", report.damaged), ("missing", report.missing)):
            for line in lines[:MOST_LINES]:
                say(f"{kind}: {line}")
            if len(lines) > MOST_LINES:
                more = len(lines) - MOST_LINES
                say(f"{kind}: and {more:,} more in {_name(report, root)}; --json FILE lists all")


def _name(report: "Report", root: Path) -> str:
    inner = report.root.relative_to(root) if report.root.is_relative_to(root) else report.root
    return str(inner) if inner.parts else root.absolute().name
