"""The tables of `edge-asc export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from edge_asc.manifest import Manifest
from edge_asc.provenance import Parity
from edge_asc_export.selection import Attempt


def parities_of(manifest: Manifest) -> dict[str, Parity]:
    """Return the parity in the contract of each artefact, by file name."""
    measured = {name: entry.contract.measured.parity for name, entry in manifest.files.items()}
    return {name: parity for name, parity in measured.items() if parity is not None}


def attempts_table(attempts: Sequence[Attempt]) -> Table:
    """Return a table of the schemes that were tried."""
    title = "schemes tried; instructions of a step in LiteRT are predicted, milliseconds are this machine's"
    table = Table(title=title, title_justify="left")
    lengths = list(attempts[0].reference)
    for name in ("scheme", "artefact"):
        table.add_column(name, overflow="fold")
    for seconds in lengths:
        table.add_column("all steps" if seconds == "all" else f"{seconds} s", justify="right")
    for name in ("agreement", "KL, nats", "KB", "M instructions", "ms a step"):
        table.add_column(name, justify="right")
    table.add_column("holds", overflow="fold")
    table.add_row("", "float PyTorch", *(f"{100 * share:.1f}" for share in attempts[0].reference.values()))
    for attempt in attempts:
        at_lengths = (attempt.accuracy.get(seconds) for seconds in lengths)
        shares = ("" if share is None else f"{100 * share:.1f}" for share in at_lengths)
        ms = "" if attempt.step_ms is None else f"{attempt.step_ms:.2f}"
        kl = "" if attempt.kl is None else f"{attempt.kl:.2g}"
        cost = "" if attempt.instructions is None else f"{attempt.instructions / 1e6:.2f}"
        size, verdict = f"{attempt.size / 1000:.0f}", "yes" if attempt.holds else attempt.reason
        near = f"{attempt.agreement:.4f}"
        table.add_row(attempt.scheme, attempt.artefact, *shares, near, kl, size, cost, ms, verdict)
    return table


def parity_table(manifest: Manifest, parities: Mapping[str, Parity]) -> Table:
    """Return a table of each artefact's size and errors against float PyTorch."""
    first = next(iter(parities.values()))
    table = Table(title=f"against float PyTorch: {first.steps} steps, {first.audio}", title_justify="left")
    table.add_column("artefact", overflow="fold")
    for name in ("engine", "KB", "agreement", "KL, nats", "max logit error", "mean", "drift: first / last quarter"):
        table.add_column(name, justify="right")
    for name, parity in parities.items():
        entry = manifest.files[name]
        kl = "" if parity.closeness is None else f"{parity.closeness.kl:.2g}"
        table.add_row(
            name,
            entry.engine,
            f"{entry.bytes / 1000:.0f}",
            f"{parity.agreement:.4f}",
            kl,
            f"{parity.max_error:.2g}",
            f"{parity.mean_error:.2g}",
            f"{parity.max_error_first:.2g} / {parity.max_error_last:.2g}",
        )
    return table


def closeness_table(parities: Mapping[str, Parity]) -> Table:
    """Return a table of the share of equal decisions, under the rule for clips, by the margin of PyTorch's."""
    table = Table(title="agreement of decisions by their margin in float PyTorch", title_justify="left")
    table.add_column("artefact", overflow="fold")
    known = {name: parity.closeness for name, parity in parities.items() if parity.closeness is not None}
    margins = next(iter(known.values())).margins if known else ()
    for each in margins:
        table.add_column(f"≥ {each.least:g}\nn = {each.steps}", justify="right")
    for name, closeness in known.items():
        shares = ("–" if not each.steps else f"{each.agreed / each.steps:.3f}" for each in closeness.margins)
        table.add_row(name, *shares)
    return table


def level_table(manifest: Manifest) -> Table:
    """Return a table of the errors of artefacts that take samples, by level."""
    table = Table(title="with the front end inside, by level of the peak", title_justify="left")
    table.add_column("artefact", overflow="fold")
    for name in ("dBFS", "features, mean error", "max", "agreement", "max logit error"):
        table.add_column(name, justify="right")
    for name, entry in manifest.files.items():
        for level in entry.contract.measured.levels:
            table.add_row(
                name,
                f"{level.dbfs:g}",
                f"{level.features_mean_error:.2g}",
                f"{level.features_max_error:.2g}",
                f"{level.agreement:.4f}",
                f"{level.max_error:.2g}",
            )
    return table


def length_table(parities: Mapping[str, Parity]) -> Table:
    """Return a table of the agreement with float PyTorch at each length."""
    lengths = sorted({int(s) for parity in parities.values() for s in parity.agreement_by_length})
    table = Table(title="agreement of decisions at each length, s", title_justify="left")
    table.add_column("artefact", overflow="fold")
    for seconds in lengths:
        table.add_column(str(seconds), justify="right")
    for name, parity in parities.items():
        shares = (parity.agreement_by_length.get(str(s)) for s in lengths)
        table.add_row(name, *("" if share is None else f"{share:.2f}" for share in shares))
    return table
