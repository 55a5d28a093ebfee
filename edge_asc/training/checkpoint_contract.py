"""The stream contract of a checkpoint: as it runs in PyTorch, or of an artefact that is exported from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_asc.contract import Signature, StreamContract
from edge_asc.errors import ContractError
from edge_asc.models import CRNN
from edge_asc.models.complexity import deployed_parameters
from edge_asc.models.signatures import step_signatures, window_signatures
from edge_asc.provenance import Measured, Provenance
from edge_asc.tensors import input_kind
from edge_asc.training.checkpoint import Checkpoint


def checkpoint_contract(
    checkpoint: Checkpoint,
    signatures: Sequence[Signature] | None = None,
    *,
    macs: Mapping[str, int] | None = None,
    scheme: str = "none",
    provenance: Provenance | None = None,
    measured: Measured | None = None,
) -> StreamContract:
    """Return the contract of a checkpoint, or of an artefact that is exported from it.

    Args:
        checkpoint: with a CRNN.
        signatures: the artefact's; None for those that PyTorch runs, channels first.
        macs: multiply-accumulates of each signature.
        scheme: name of the quantisation scheme.
        provenance: how the artefact was made.
        measured: measurements of the artefact.

    Raises:
        ContractError: the model is not a CRNN and does not stream.
    """
    model, config = recurrent_model(checkpoint), checkpoint.model.config
    if signatures is None:
        make = step_signatures if config.form == "causal" else window_signatures
        signatures = make(model, checkpoint.front_end)
    return StreamContract(
        name=checkpoint.name,
        backbone=config.backbone,
        form=config.form,
        output=config.output,
        labels=checkpoint.labels,
        front_end=checkpoint.front_end,
        decision=checkpoint.decision,
        parameters=deployed_parameters(model),
        macs=macs or {},
        scheme=scheme,
        signatures=tuple(signatures),
        temperature=checkpoint.temperature,
        unknown=checkpoint.unknown,
        live=checkpoint.live,
        events=checkpoint.events,
        input=input_kind(signatures),
        provenance=provenance or Provenance(),
        measured=measured or Measured(),
    )


def recurrent_model(checkpoint: Checkpoint) -> CRNN:
    """Return the CRNN of a checkpoint.

    Raises:
        ContractError: the model is not a CRNN and does not stream.
    """
    if not isinstance(checkpoint.model, CRNN):
        raise ContractError(
            f"{checkpoint.name}: a CNN with global average pooling classifies whole clips and does not "
            "stream; choose a model with head 'gru'"
        )
    return checkpoint.model
