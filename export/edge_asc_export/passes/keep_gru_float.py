"""Keep the GRU and the output layer float: take their quantisation parameters away."""

from __future__ import annotations

from dataclasses import replace

from edge_asc_export.pipeline import Lowered, Pass

RECURRENT = ("gru_", "hidden_", "logits")


def keep_gru_float(lowered: Lowered) -> Lowered:
    """Return the same graph whose recurrent tensors are float."""
    qparams = {tensor: each for tensor, each in lowered.qparams.items() if not tensor.startswith(RECURRENT)}
    return replace(lowered, qparams=qparams)


PASS = Pass(
    name="keep the GRU float",
    needs="nothing",
    exact="fewer tensors are rounded",
    run=keep_gru_float,
)
