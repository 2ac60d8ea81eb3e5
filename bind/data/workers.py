"""Signals of loader processes: they end when the training process ends them, not by a signal to all of a job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def ignore_stop_signals(worker_id: int) -> None:
    """Have a worker ignore what a scheduler or Ctrl-C sends to every process: the training needs it for its last step.

    The training process ends its workers by a SIGTERM that it sends, or by its death, which PyTorch's loop looks for.
    """
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # it alone gives the sender of a signal; macOS lacks it
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        parent = multiprocessing.parent_process()
        assert parent is not None, "this runs in a process of a loader"
        threading.Thread(target=_end_with_the_parent, args=(parent.pid,), daemon=True).start()


def _end_with_the_parent(parent_pid: int | None) -> None:
    """End on SIGTERM of the process that made the loader, which a fork server's workers are no children of."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent_pid:
        pass
    os._exit(0)
