"""Tables of accuracy for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.table import Table

from edge_asc.closeness import CLEAR_MARGIN
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import Accuracy, LengthResult


def accuracy_table(results: Sequence[Accuracy]) -> Table:
    """Return a table of accuracy and 95 % interval, %, with a row for each model and a column for each length.

    A last column has the agreement with the reference, where there is one.
    """
    title = "Accuracy, % [95 % interval]" + _level(results)
    notes = dict.fromkeys(note for result in results for note in result.notes)
    columns = Table(title=title, caption="; ".join(notes) or None)
    columns.add_column("model")
    columns.add_column("engine")
    lengths = sorted({length.seconds for result in results for length in result.lengths})
    for seconds in lengths:
        counts = sorted({length.count for result in results if (length := result.at(seconds))})
        columns.add_column(f"{seconds:g} s\nn = {', '.join(map(str, counts))}", justify="right", no_wrap=True)
    compared = any(result.reference for result in results)
    if compared:
        columns.add_column("agreement, %\nall steps", justify="right")
    for result in results:
        agreement = [_percent(result.all_steps.agreement)] if compared else []
        cells = [_cell(result.at(seconds)) for seconds in lengths]
        columns.add_row(result.model, result.engine, *cells, *agreement)
    return columns


def closeness_table(results: Sequence[Accuracy]) -> Table | None:
    """Return a table of how close models are to their reference over all steps; None where none has one.

    The columns: decisions under the model's rule, those with a clear margin, last outputs, and the divergence.
    """
    known = [(result, result.closeness) for result in results if result.closeness is not None]
    if not known:
        return None
    reference = ", ".join(dict.fromkeys(str(result.reference) for result, _ in known))
    rows = Table(title=f"Agreement with {reference}, %, all steps{_level(results)}")
    rows.add_column("model")
    for name in ("decisions", f"with a margin above {CLEAR_MARGIN:g}", "last outputs", "KL, nats"):
        rows.add_column(name, justify="right")
    for result, closeness in known:
        clear = f"{_share(closeness.clear_agreement)} (n = {closeness.clear_steps})"
        rows.add_row(
            result.model,
            _share(closeness.agreement),
            clear if closeness.clear_steps else "–",
            _share(closeness.last_agreement),
            f"{closeness.kl:.2g}",
        )
    return rows


def recall_table(results: Sequence[Accuracy], seconds: float | None = None) -> Table:
    """Return a table of recall, %, after `seconds`, by default the longest length: a row a label, a column a model.

    Raises:
        EdgeAscError: no model was measured at that length, or the results differ in their labels.
    """
    lengths = sorted({length.seconds for result in results for length in result.lengths})
    if not lengths or seconds not in (None, *lengths):
        known = ", ".join(f"{length:g}" for length in lengths) or "none"
        raise EdgeAscError(f"nothing was measured at {seconds} s; lengths measured: {known}")
    if len({result.labels for result in results}) > 1:
        raise EdgeAscError("the results differ in their labels; expected results of one data set")
    at = lengths[-1] if seconds is None else seconds
    rows = Table(title=f"Recall after {at:g} s, %{_level(results)}")
    rows.add_column("label")
    for result in results:
        rows.add_column(result.model, justify="right")
    columns = [result.at(at) for result in results]
    for label in results[0].labels:
        rows.add_row(label, *(_percent(x.recall[label] if x else None) for x in columns))
    return rows


def loss_table(results: Sequence[Accuracy]) -> Table:
    """Return a table of the accuracy, in points, that each row loses to the row above.

    This is the cost of streaming, export and quantisation.
    """
    rows = Table(title=f"Accuracy lost to the row above, points{_level(results)}")
    rows.add_column("model")
    lengths = sorted({length.seconds for result in results for length in result.lengths})
    for seconds in lengths:
        rows.add_column(f"{seconds:g} s", justify="right")
    rows.add_column("all steps", justify="right")
    for above, result in pairwise(results):
        pairs = [(above.at(seconds), result.at(seconds)) for seconds in lengths]
        lost = [_points(a.accuracy - b.accuracy) if a and b else "–" for a, b in pairs]
        rows.add_row(result.model, *lost, _points(above.all_steps.accuracy - result.all_steps.accuracy))
    return rows


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def _level(results: Sequence[Accuracy]) -> str:
    gains = dict.fromkeys(result.gain for result in results)
    return "" if set(gains) <= {0.0} else f", at {', '.join(f'{gain:+g}' for gain in gains)} dB"


def _cell(result: LengthResult | None) -> str:
    if result is None:
        return "–"
    low, high = result.interval
    return f"{100 * result.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
