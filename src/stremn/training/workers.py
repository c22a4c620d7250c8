"""What a process that makes clips does first."""

import signal

import cv2
import torch

__all__ = ["in_worker"]


def in_worker(_: int) -> None:
    """One thread, and no reaction to Ctrl-C, which the main process answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
