"""Variants: the models of a result, described and with their times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET

from edge_asc.contract import StreamContract
from edge_asc.errors import ContractError
from edge_asc.evaluation.windows import PERIOD
from edge_asc.files import identity
from edge_asc.training.checkpoint import WEIGHTS
from edge_asc_bench.events import SustainedMeasured
from edge_asc_bench.inputs import Model
from edge_asc_bench.job import Settings
from edge_asc_bench.latency import Distribution, round_to_digits
from edge_asc_bench.observation import TaskObservation
from edge_asc_bench.result import Graph, Latency, Sustained, Variant

# Of sustained inference, this many medians at most are kept.
PARTS = 60


def describe_model(model: Model) -> Variant:
    """Return what is known of a model without running it; all measurements are empty."""
    contract = model.contract
    digest, size = identity(model.path / WEIGHTS if model.is_checkpoint else model.path)
    states = contract.signatures[0].states() or contract.signatures[-1].states()
    checkpoint = digest if model.is_checkpoint else contract.provenance.checkpoint_sha256
    return Variant(
        name=model.name,
        file=model.path.name,
        sha256=digest,
        checkpoint_sha256=checkpoint,
        bytes=size,
        engine=model.runtime.engine,
        form=contract.form,
        scheme=contract.scheme,
        parameters=contract.parameters,
        macs=dict(contract.macs),
        state_bytes=sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in states),
        graph=_inspect(model.path) if model.path.is_file() else None,
        latency={},
        memory=None,
        accuracy=None,
        agreement=None,
        loss=None,
        instructions=None,
    )


def make_variant(
    model: Model, tasks: Sequence[TaskObservation], settings: Settings, disturbances: Sequence[str]
) -> Variant:
    """Return a model with its times and its memory.

    Args:
        model: that was measured.
        tasks: its forms, in the order of `Model.windows`; empty where it was not run on the target.
        settings: of the benchmark.
        disturbances: of the machine while times were taken.
    """
    variant = describe_model(model)
    windows = model.windows(settings.lengths)
    names = ["step" if seconds is None else f"{seconds}" for seconds in windows]
    forms = zip(names, windows, tasks, strict=False)
    memory = [task.memory for task in tasks if task.memory]
    opened = tasks[0].opened if tasks else None
    return msgspec.structs.replace(
        variant,
        engine=variant.engine if opened is None else opened.engine,
        latency={
            form: _make_latency(task, model.contract, seconds, settings, disturbances)
            for form, seconds, task in forms
            if task.model
        },
        memory=max(memory, key=lambda parts: parts.peak or 0) if memory else None,
    )


def _make_latency(
    task: TaskObservation,
    contract: StreamContract,
    seconds: int | None,
    settings: Settings,
    disturbances: Sequence[str],
) -> Latency:
    assert task.opened is not None
    total = Distribution.of(task.totals)
    period = contract.step_seconds if seconds is None else PERIOD
    return Latency(
        front_end=None if task.front_end is None else Distribution.of(task.front_end).round(),
        model=Distribution.of(task.model).round(),
        engine=Distribution.of(task.engine).round() if task.engine else UNSET,
        total=total.round(),
        rounds_ms=tuple(task.rounds),
        period_s=period,
        real_time_factor=total.mean / 1000 / period,
        load_ms=task.opened.load_ms,
        cold_start_ms=task.opened.cold_start_ms,
        sustained=None if task.sustained is None else _summarise_sustained(task.sustained, settings.duration, period),
        unstable=(*total.doubts(), *disturbances),
    )


def _summarise_sustained(measured: SustainedMeasured, duration: float, period: float) -> Sustained:
    """The first and the last tenth of a run without a pause, and the memory before and after it."""
    medians = measured.medians
    tenth = max(1, len(medians) // 10)
    first, last = float(np.median(medians[:tenth])), float(np.median(medians[-tenth:]))
    parts = np.array_split(np.asarray(medians), min(len(medians), PARTS))
    before, after = measured.resident
    return Sustained(
        seconds=duration,
        audio_seconds=measured.decisions * period,
        resident=(before, after),
        first_ms=first,
        last_ms=last,
        ratio=last / first,
        medians_ms=tuple(round_to_digits(float(np.median(part))) for part in parts),
    )


def _inspect(path: Path) -> Graph | None:
    try:
        from edge_asc_export.inspection import inspect

        return msgspec.convert(inspect(path).to_json(), Graph)
    except (ImportError, ContractError):
        return None  # edge-asc[export] is not installed, or the format is not one of its own
