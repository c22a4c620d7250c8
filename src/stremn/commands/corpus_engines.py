"""Where the videos of a corpus are done: processes of this machine, a Ray cluster, or Slurm."""

import logging
import multiprocessing
import os
import re
import shutil
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import heapreplace
from importlib.util import find_spec
from itertools import cycle, islice
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from stremn.commands.console import Stop
from stremn.commands.corpus import Outcome, Work, read_finished, run_video
from stremn.errors import StremnError, one_line

if TYPE_CHECKING:
    from stremn.files.corpus import CorpusVideo

__all__ = ["ENGINES", "EngineOptions"]

TRIES = 2
"""How often a video is begun whose worker is killed, perhaps because of it."""

POLL = 0.5
"""Seconds after which a wait looks whether it shall stop."""

SLURM = "slurm"
"""The cluster as submitit calls it."""

Videos: TypeAlias = "Sequence[CorpusVideo]"
Done: TypeAlias = "Iterator[tuple[CorpusVideo, Outcome]]"


@dataclass(frozen=True)
class EngineOptions:
    """Where and by how many workers videos are done, of which each does one at a time.

    Raises:
        StremnError: if the engine is unknown, not there, or not what an option is for.
    """

    engine: Annotated[str, typer.Option(help="local: processes; ray: a Ray cluster; slurm: a job array.")] = (
        "local"
    )
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many; default: one a GPU or core, all of the Ray cluster, 8 Slurm jobs."
        ),
    ] = None
    threads: Annotated[
        int | None, typer.Option(min=1, help="Cores of a worker; default: local cores / workers, else 1.")
    ] = None
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster that runs; else one of this machine is started.")
    ] = None
    slurm: Annotated[
        list[str] | None,
        typer.Option(help="Of sbatch, as in partition=gpu or time=240 (minutes); several times."),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.engine not in ENGINES:
            raise StremnError(f"unknown engine '{self.engine}': choose one of {', '.join(ENGINES)}")
        for option, engine in (("address", "ray"), ("slurm", "slurm")):
            if getattr(self, option) is not None and self.engine != engine:
                raise StremnError(f"--{option} is for --engine {engine}: give that, or leave it out")
        package = {"ray": "ray", "slurm": "submitit"}.get(self.engine)
        if package is not None and find_spec(package) is None:
            raise StremnError(f"--engine {self.engine} needs {package}: pip install 'stremn[cluster]'")
        if self.engine == SLURM and shutil.which("sbatch") is None:
            raise StremnError(
                "--engine slurm: there is no sbatch here: run this where Slurm is, or choose local or ray"
            )
        self._slurm()

    def run(self, videos: Videos, work: Work, stop: Stop) -> Done:
        """Do the videos, the first ones first; each is given back as it ends.

        What was not begun, or not ended, when ``stop`` became true is not.

        Raises:
            StremnError: if the engine cannot be used.
        """
        return ENGINES[self.engine](self, videos, work, stop)

    def _slurm(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {}
        for given in self.slurm or ():
            name, _, value = given.partition("=")
            if not re.fullmatch("[a-z_]+", name) or not value:
                raise StremnError(f"--slurm {given} is not like partition=gpu: give a name and a value")
            found[f"slurm_{name}"] = int(value) if value.isascii() and value.isdecimal() else value
        return found


class _Worker:
    """A process of this machine that does one video after the other."""

    def __init__(self, work: Work, gpu: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.gpu, (self.pipe, theirs) = gpu, context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, gpu), daemon=True)
        self.process.start()
        theirs.close()


def _serve(pipe: Connection, work: Work, gpu: str | None) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between videos; the main process answers
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    with suppress(EOFError):
        while True:
            pipe.send(run_video(pipe.recv(), work))


def _end_with_parent() -> None:
    """A new run may begin as soon as the main process was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _local(asked: EngineOptions, videos: Videos, work: Work, stop: Stop) -> Done:
    cores, gpus = _computers(work.asked.device)
    count = asked.workers or len(gpus) or cores
    work = replace(work, threads=asked.threads or max(1, cores // count))
    todo, begun = deque(videos), Counter[str]()
    idle = [_Worker(work, gpu) for gpu in islice(cycle(gpus or [None]), min(count, len(videos)))]
    busy: dict[Connection, tuple[_Worker, CorpusVideo]] = {}
    try:
        while (todo or busy) and not stop:
            while idle and todo:
                worker, video = idle.pop(), todo.popleft()
                busy[worker.pipe] = worker, video
                begun[video.name] += 1
                with suppress(OSError):  # it has ended: the wait tells
                    worker.pipe.send(video)
            for pipe in wait(list(busy), timeout=POLL):
                assert isinstance(pipe, Connection)
                worker, video = busy.pop(pipe)
                try:
                    outcome = pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    idle.append(_Worker(work, worker.gpu))
                    if begun[video.name] < TRIES:
                        todo.appendleft(video)
                        continue
                    how = f"its process was ended {TRIES} times (exit status {worker.process.exitcode})"
                    outcome = Outcome(error=f"{how}: is there memory for {count} --workers?")
                else:
                    idle.append(worker)
                yield video, outcome
    finally:
        for worker, _ in busy.values():
            worker.process.terminate()
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.pipe.close()
            worker.process.join()


def _computers(device: str) -> tuple[int, list[str | None]]:
    """Cores of this process, and its GPUs by their names for CUDA; one without a name is the only one."""
    import torch

    from stremn.runtime import Runtime

    chosen = Runtime.choose(device).device
    gpus: list[str | None] = []
    if chosen.type == "cuda" and chosen.index is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus += visible.split(",") if visible else map(str, range(torch.cuda.device_count()))
    elif chosen.type != "cpu":
        gpus = [None]
    return torch.get_num_threads(), gpus


def _ray(asked: EngineOptions, videos: Videos, work: Work, stop: Stop) -> Done:
    import ray
    from ray.exceptions import RayError

    work = replace(work, threads=asked.threads or 1)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked to tell Ray's makers
    try:
        ray.init(asked.address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise StremnError(
            f"--engine ray: no cluster at {asked.address} ({one_line(error)}): start one"
        ) from error
    try:
        gpus = int(work.asked.device in ("auto", "cuda") and ray.cluster_resources().get("GPU", 0) >= 1)
        # A process keeps its model for the tasks to come: no limit of calls, which tasks with a GPU have.
        task = ray.remote(num_cpus=work.threads, num_gpus=gpus, max_calls=0, max_retries=TRIES - 1)(run_video)
        todo = deque(videos)
        busy: dict[Any, CorpusVideo] = {}
        while (todo or busy) and not stop:
            while todo and (asked.workers is None or len(busy) < asked.workers):
                video = todo.popleft()
                busy[task.options(name=video.name).remote(video, work)] = video
            for reference in ray.wait(list(busy), timeout=POLL)[0]:
                video = busy.pop(reference)
                try:
                    outcome = ray.get(reference)
                except RayError as error:
                    outcome = Outcome(error=f"its worker ended again and again ({one_line(error)})")
                yield video, outcome
    finally:
        ray.shutdown()


def _slurm(asked: EngineOptions, videos: Videos, work: Work, stop: Stop) -> Done:
    import submitit
    from submitit.core.utils import FailedJobError, UncompletedJobError
    from submitit.helpers import FunctionSequence

    work = replace(work, threads=asked.threads or 1)
    executor = submitit.AutoExecutor(work.out / "slurm", cluster=SLURM)
    gpus = int(work.asked.device.startswith("cuda"))
    try:
        executor.update_parameters(
            name="stremn", cpus_per_task=work.threads, gpus_per_node=gpus, **asked._slurm()
        )
    except NameError as error:
        raise StremnError(f"--slurm: {one_line(error)}") from error
    shares = _shared_out(videos, asked.workers or 8)
    # A job that Slurm puts into the queue again goes on where it was.
    sequences = [FunctionSequence() for _ in shares]
    for sequence, share in zip(sequences, shares):
        for video in share:
            sequence.add(run_video, video, work)
    busy = dict(zip(executor.submit_array(sequences), shares))
    try:
        while busy and not stop:
            for job in [job for job in busy if job.done()]:
                share = busy.pop(job)
                try:
                    outcomes = job.result()
                except (FailedJobError, UncompletedJobError):
                    ended = f"its job {job.job_id} ended before: see {job.paths.stderr}"
                    outcomes = [_left_by_job(work, video, ended) for video in share]
                yield from zip(share, outcomes)
            time.sleep(POLL)
    finally:
        for job in busy:
            job.cancel(check=False)


def _left_by_job(work: Work, video: "CorpusVideo", error: str) -> Outcome:
    summary = read_finished(work.out / video.name)
    return Outcome(summary) if summary else Outcome(error=error)


def _shared_out(videos: Videos, count: int) -> "list[list[CorpusVideo]]":
    """Shares of about the same number of bytes: each video, the longest first, goes to the least so far."""
    shares: list[list[CorpusVideo]] = [[] for _ in range(min(count, len(videos)))]
    least = [(0, index) for index in range(len(shares))]
    for video in videos:
        size, index = least[0]
        shares[index].append(video)
        heapreplace(least, (size + video.count_bytes(), index))
    return shares


ENGINES: dict[str, Callable[[EngineOptions, Videos, Work, Stop], Done]] = {
    "local": _local,
    "ray": _ray,
    "slurm": _slurm,
}
"""How the videos are done, by name; the first ones are begun first."""
