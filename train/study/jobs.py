"""Independent trainings, side by side: processes here, or machines of a dask.distributed cluster."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np

from edge.errors import UnavailableError
from edge.features.mfcc import MfccSpec
from edge.files import write_atomically
from train.config import TrainConfig
from train.data.clip import Clip
from train.data.features import Cache, Shipped, clip_key
from train.data.side_by_side import end_with_parent
from train.fitting import runs
from train.fitting.checkpoint import epochs_done
from train.fitting.job import Job
from train.fitting.progress import bar
from train.fitting.quiet import hush

_FILES = (runs.MODEL, runs.SPLIT, runs.LOGITS, runs.RECORD)  # the record last: it makes the run whole
_POLL_S = 2.0


def train_all(
    jobs: Sequence[Job],
    clips: Sequence[Clip],
    frames: Sequence[np.ndarray],
    config: TrainConfig,
    spec: MfccSpec,
    *,
    out: Path,
    processes: int,
    scheduler: str | None = None,
) -> list[runs.Run]:
    """Train every job that is not finished yet and return the runs in the order of the jobs.

    Raises UnavailableError where the scheduler does not answer or a process of the pool was killed.
    """
    unfinished = [job for job in jobs if not (out / job.name / runs.RECORD).exists()]
    if unfinished and scheduler:
        _on_cluster(unfinished, clips, frames, config, spec, out, scheduler)
    elif unfinished:
        _in_processes(unfinished, clips, config, spec, out, processes)
    return [runs.load_run(out / job.name) for job in jobs]


def train_one(
    job: Job, clips: Sequence[Clip], config: TrainConfig, spec: MfccSpec, out: Path, shipped: dict | None = None
) -> dict[str, bytes]:
    """Train one job in `out` of the machine this runs on, and return the files of its run."""
    hush()
    from train.fitting.fit import fit  # brings Keras: only in the process that trains

    folder = out / job.name
    fit(job, clips, config, spec, folder=folder, cache=Shipped(shipped) if shipped else Cache(config.cache))
    return {name: (folder / name).read_bytes() for name in _FILES}


def _in_processes(
    jobs: Sequence[Job], clips: Sequence[Clip], config: TrainConfig, spec: MfccSpec, out: Path, processes: int
) -> None:
    processes = min(processes, len(jobs))
    # Many small operations: a thread each and a process per core measured faster than one process with all cores.
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, threads)
    total = sum(job.recipe.epochs for job in jobs)
    pool_of = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent)
    with bar("epochs") as tell, pool_of as pool:
        pending = {pool.submit(train_one, job, clips, config, spec, out): job for job in jobs}
        try:
            while True:
                done = [future for future in pending if future.done()]
                for future in done:
                    future.result()
                tell(sum(epochs_done(out / job.name) for job in jobs), total, f"{len(done)} of {len(jobs)} trainings")
                if len(done) == len(jobs):
                    return
                time.sleep(_POLL_S)
        except BrokenProcessPool as error:
            raise UnavailableError("a training process was killed; the same command goes on from there") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # Ctrl-C interrupts the training of a process, which would then begin the next that is handed to it already.
            for process in active_children():
                process.terminate()
            raise


def _on_cluster(
    jobs: Sequence[Job],
    clips: Sequence[Clip],
    frames: Sequence[np.ndarray],
    config: TrainConfig,
    spec: MfccSpec,
    out: Path,
    scheduler: str,
) -> None:
    from distributed import Client, as_completed

    try:
        client = Client(scheduler, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise UnavailableError(f"{scheduler}: no dask scheduler answers there ({error})") from error
    with client, bar("trainings") as tell:
        arrays = {clip_key(clip, spec): array for clip, array in zip(clips, frames, strict=True)}
        data = client.scatter([list(clips), arrays], broadcast=True)
        futures = {
            client.submit(train_one, job, data[0], config, spec, out, data[1], key=f"train-{job.name}", pure=False): job
            for job in jobs
        }
        tell(0, len(jobs), "")
        for done, future in enumerate(as_completed(futures), start=1):
            job = futures[future]
            for name, content in future.result().items():
                write_atomically(out / job.name / name, content)
            tell(done, len(jobs), job.name)
