"""``fbamatte matte``: a sequence of plates and trimaps or rotos in, EXRs with alpha, F and B out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbamatte.errors import CancelledError, FbaMatteError, OutputError
from fbamatte.farm.settings import MatteSettings, to_flags
from fbamatte.settings import add_flags, from_arguments

if TYPE_CHECKING:
    from fbamatte.farm.batch import Job, MatteVerb
    from fbamatte.farm.progress import FrameReport, Progress
    from fbamatte.farm.report import RunReport
    from fbamatte.rpc.client import Client

# How long a server that does not answer yet may take to start; once more for every retry.
PATIENCE_S = 30.0


def add_parser(verbs: Any) -> None:
    """Add the verb to the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "matte",
        help="matte a sequence",
        description="Matte a sequence. Every option also comes from the environment, as FBAMATTE_ and its name.",
        epilog="exit codes: 0 all done, 1 some frame failed for good, 2 wrong usage, 75 try again later, 130 stopped",
    )
    add_flags(parser, MatteSettings)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Matte what the options say."""
    return _matte(from_arguments(MatteSettings, options))


def _matte(settings: MatteSettings) -> int:
    from fbamatte.farm.dialects import progress_for
    from fbamatte.farm.plan import plan

    job = plan(settings)
    _check_report(settings)
    progress = progress_for(settings.told)
    if settings.engine == "ray":
        from fbamatte.farm.ray_batch import RayBatch

        with RayBatch(job, settings, progress) as batch:
            return _reported(settings, batch.job, batch.model, batch, progress)
    with _matte_verb(settings) as (matte, model):
        from fbamatte.farm.batch import Batch
        from fbamatte.farm.plan import fingerprint

        job = replace(job, settings=fingerprint(settings, model))
        return _reported(settings, job, model, Batch(job, matte, progress), progress)


def _reported(settings: MatteSettings, job: Job, model: str, batch: Any, progress: Progress) -> int:
    """Run a batch and tell how it went, however it ends."""
    from fbamatte.farm.job import exit_code
    from fbamatte.farm.report import RunReport

    frames: list[FrameReport] = batch.reports
    report = RunReport(job, ["fbamatte", "matte", *to_flags(settings)], model, frames)
    started = time.monotonic()
    try:
        batch.run()
        report.code = exit_code(frames)
    except FbaMatteError as error:
        report.code, report.stopped_by = error.exit_code, str(error)
        raise
    except KeyboardInterrupt:
        report.code, report.stopped_by = CancelledError.exit_code, "interrupted"
        raise
    finally:
        report.seconds = time.monotonic() - started
        _tell(report, settings)
        progress.ended(report.code, report.stopped_by or report.failure)
    return report.code


def _tell(report: RunReport, settings: MatteSettings) -> None:
    """Write the report that was asked for; say on the log what was done and what is missing."""
    if settings.report:
        report.write(Path(settings.report))
    # standard output belongs to whoever parses it
    quiet = settings.told in {"json", "openjd", "deadline", "tractor"}
    for line in report.sentences():
        missing = line == report.failure
        if missing or not quiet:
            print(line, file=sys.stderr if missing else sys.stdout, flush=True)


def _check_report(settings: MatteSettings) -> None:
    """Find out before the first frame whether the report can be written."""
    if not settings.report:
        return
    folder = Path(settings.report).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: this folder cannot be made: {error.strerror}") from error


@contextmanager
def _matte_verb(settings: MatteSettings) -> Iterator[tuple[MatteVerb, str]]:
    """Yield the verb of an engine here, or of a server elsewhere, and the name of its model."""
    if settings.server:
        from fbamatte.rpc.client import Client

        with Client(settings.server, settings.token or None) as client:
            model, known_as = _model_of_server(client, settings)
            yield partial(client.matte, model=model, precision=settings.precision, priority="batch"), known_as
        return
    from fbamatte.farm.engines import make_engine

    with make_engine(settings) as engine:
        yield engine.matte, engine.info.sha256 or engine.info.name


def _model_of_server(client: Client, settings: MatteSettings) -> tuple[str, str]:
    """Return the model's name on the server; and its hash, else that name: what this machine would call it too."""
    client.wait_ready(PATIENCE_S * (1 + settings.retries))
    name = settings.model or client.server_info().default_model
    known = {model.name: model.sha256 for model in client.list_models()}
    return name, known.get(name) or name
