"""Every reader is given damaged files: it refuses them by name, in time, or gives what has the right form."""

import collections
import contextlib
import logging
import signal
import time
import warnings

import numpy as np
import pytest
from support import damage

from bind.media.sensor import open_sensor
from bind.types import Clip

SECONDS_PER_CASE = 10.0
"""Of the processor: other programs may keep it from a case."""
WAITED_SECONDS = 120.0


class TimeIsUpError(BaseException):
    """A reader took longer than `SECONDS_PER_CASE`."""


@contextlib.contextmanager
def time_limit():
    began, computed = time.monotonic(), time.process_time()

    def stop(*_):
        if time.process_time() - computed > SECONDS_PER_CASE or time.monotonic() - began > WAITED_SECONDS:
            raise TimeIsUpError

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


@pytest.fixture(autouse=True)
def quiet(caplog):
    """No warnings of what is indexed and left out, for this module alone."""
    caplog.set_level(logging.ERROR, "bind.data")
    caplog.set_level(logging.CRITICAL, "PIL")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return damage.kinds(tmp_path_factory.mktemp("valid"))


def write(kind, folder, stem, content):
    """The file, with what lies beside it; the one to be read where `kind` is itself what lies beside."""
    path = folder / f"{stem}.{kind.suffix}"
    path.write_bytes(content)
    for suffix, beside in (kind.beside or {}).items():
        path.with_suffix(suffix).write_bytes(beside)
    return path


def readers_of(kind):
    return kind.reads or (lambda path: open_sensor(Clip(path.with_suffix(".npy"))).read(0, 1),)


def complaint(read, path, whole_value):
    """What is wrong with how `read` takes this file; None where nothing is."""
    try:
        with time_limit():
            value = read(path)
    except ValueError as error:
        return None if path.stem in str(error) else f"the message does not name the file: {error}"
    except TimeIsUpError:
        return f"not done after {SECONDS_PER_CASE:g} s of computing or {WAITED_SECONDS:g} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(value, np.ndarray):
        if not value.size:
            return f"nothing in it: {value.shape}"
        if not np.isfinite(value).all():
            return "values that are not finite"
    if whole_value is not None and not np.array_equal(np.asarray(value), np.asarray(whole_value)):
        return "cut off, but read as something else"
    return None


def fuzz(kinds, folder, seeds):
    """Complaints about the cases of these seeds, and how many of each kind there were."""
    names = list(kinds)
    complaints, counts = [], collections.Counter()
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        name, other = names[seed % len(names)], names[int(rng.integers(len(names)))]
        kind = kinds[name]
        how, content = damage.damage(kind.content, kinds[other].content, rng)
        read = readers_of(kind)[int(rng.integers(len(readers_of(kind))))]
        whole_value = None
        if how == "cut off" and kind.whole:
            whole_value = read(write(kind, folder, "whole", kind.content))
        path = write(kind, folder, f"case{seed}", content)
        if problem := complaint(read, path, whole_value):
            complaints.append(f"seed {seed}, {name} ({how}), {read.__name__}: {problem}")
        counts[name] += 1
        for file in folder.glob(f"case{seed}.*"):
            file.unlink()
    return complaints, counts


def check(kinds, folder, seeds):
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders, about what they then refuse or repair
        complaints, counts = fuzz(kinds, folder, seeds)
    print(f"{counts.total()} cases of {len(counts)} kinds of files, {time.monotonic() - start:.0f} s")
    assert not complaints, f"{len(complaints)} complaints:\n" + "\n".join(complaints)


@pytest.mark.slow
def test_whole_files_are_read(kinds, tmp_path):
    for kind in kinds.values():
        path = write(kind, tmp_path, "whole", kind.content)
        for read in readers_of(kind):
            read(path)
            assert complaint(read, path, None) is None


@pytest.mark.slow
def test_damaged_files_are_refused_by_name(kinds, tmp_path):
    check(kinds, tmp_path, range(1000))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_damaged_files_are_refused_by_name(kinds, tmp_path):
    check(kinds, tmp_path, range(1000, 21_000))
