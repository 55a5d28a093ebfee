"""Whether a result and a baseline can be compared at all."""

from __future__ import annotations

from edge_asc.errors import EdgeAscError
from edge_asc_bench.limits import Limits
from edge_asc_bench.result import Latency, Result
from edge_asc_bench.streamscore import Stream

# Properties that make two machines the same one, for times.
MACHINE = ("architecture", "cpu", "board", "cores", "features")


class IncomparableError(EdgeAscError):
    """A result and a baseline that cannot be compared."""


def check_comparable(result: Result, baseline: Result, *, allow_missing: bool = False) -> None:
    """Check that two results are complete, and about the same clips and models; models may be missing if allowed.

    Raises:
        IncomparableError: they are not.
    """
    for value, noun in ((result, "the result"), (baseline, "the baseline")):
        if not value.complete:
            raise IncomparableError(f"{noun} is incomplete ({value.incomplete}); mend that, and measure again")
    own, expected = result.data, baseline.data
    if (own.sha256, own.clips) != (expected.sha256, expected.clips):
        raise IncomparableError(
            f"the result is about {own.clips} clips of {own.name}, the baseline about "
            f"{expected.clips} of {expected.name}, or they are other clips; measure on the same ones"
        )
    if result.reference != baseline.reference:
        raise IncomparableError(
            f"the result's reference is {result.reference}, the baseline's {baseline.reference}; "
            "give the models in the same order"
        )
    if sorted(own.labels) != sorted(expected.labels):
        raise IncomparableError("the result's data have other labels than the baseline's; measure on the same ones")
    streams = [value.stream.sha256 for value in (result, baseline) if isinstance(value.stream, Stream)]
    if len(set(streams)) > 1:
        raise IncomparableError("the result's stream is another than the baseline's; use the same --stream options")
    threads = result.settings.threads, baseline.settings.threads
    if threads[0] != threads[1]:
        raise IncomparableError(f"measured with {threads[0]} threads, the baseline with {threads[1]}; use as many")
    names = {variant.name for variant in result.variants}
    missing = [variant.name for variant in baseline.variants if variant.name not in names]
    if missing and not allow_missing:
        raise IncomparableError(
            f"the result lacks {', '.join(missing)}, which the baseline has; measure them too, make a new baseline, or "
            "allow it with --allow-missing"
        )


def check_counts_comparable(result: Result, baseline: Result) -> None:
    """Check that instructions were counted of the same programs.

    Raises:
        IncomparableError: Python or a package has another version.
    """
    pairs = {
        "python": (result.machine.python, baseline.machine.python),
        "packages": (result.machine.packages, baseline.machine.packages),
    }
    for name, (now, was) in pairs.items():
        if was != now:
            raise IncomparableError(
                f"instructions were counted with {name} {now}, the baseline's with {was}; install those, or make a new "
                "baseline"
            )


def find_compiler(engine: str) -> tuple[str, str] | None:
    """Return the compiler of an engine for C and its major version, which decides what it emits; None for others.

    Args:
        engine: with its version, such as "c aarch64-linux-gnu-gcc 12.2.0".
    """
    match engine.split():
        case ["c", compiler, version]:
            return compiler, version.partition(".")[0]
        case _:
            return None


def check_times_comparable(result: Result, baseline: Result, limits: Limits) -> None:
    """Check that times are of machines that can be compared.

    Raises:
        IncomparableError: of another or an emulated machine.
    """
    off = 'or set timings = "off" in [gate] to compare all else'
    machines = baseline.machine, result.machine
    for machine, noun in zip(machines, ("the baseline", "the result"), strict=True):
        if machine.emulated:
            raise IncomparableError(f"{noun} was measured under emulation; measure on a device, {off}")
    differing = [name for name in MACHINE if getattr(machines[0], name) != getattr(machines[1], name)]
    if limits.timings == "anywhere" and are_relative(baseline, result):
        differing = [name for name in differing if name == "architecture"]
    if differing:
        was, now = (", ".join(str(getattr(machine, name)) for name in differing) for machine in machines)
        raise IncomparableError(
            f"the baseline's times are of another machine ({', '.join(differing)}: {was}; here {now}); keep a baseline "
            f"for each machine, {off}"
        )


def are_relative(*results: Result) -> bool:
    """Return whether all results have times of their reference, so that other times can be multiples of it."""
    return all(_list_reference_latencies(result) for result in results)


def find_reference_latency(result: Result, form: str) -> Latency:
    """Return the reference's times in a form; in its first form where it does not have that one."""
    latency = _list_reference_latencies(result)
    return latency.get(form, next(iter(latency.values())))


def _list_reference_latencies(result: Result) -> dict[str, Latency]:
    reference = result.variant(result.reference) if result.reference else None
    return {} if reference is None else reference.latency
