"""Artefacts are the same bytes as those recorded in tests/golden/artefacts.json, but for the contract inside.

A hash is the SHA-256 of the whole file, written with its digest alone in place of the contract.
`PYTHONPATH=tests python tests/export/test_bytes.py` records them again: for a change that is meant to change artefacts.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from artefacts import FRONT_END, LABELS
from edge_asc.contract import UNSEALED, StreamContract
from edge_asc.models import CRNN, ModelConfig, build
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo, zoo_path
from edge_asc_export.artefact import Draft, write
from edge_asc_export.lowering import lower_gru, lower_window
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import Plan, SharedRange, digest, sharing_of_all
from edge_asc_export.scheme import SCHEMES

GOLDEN = Path(__file__).parents[1] / "golden/artefacts.json"
WINDOWED = "windowed"
WINDOWS = (1, 3)
CASES = [
    (model, scheme, fmt)
    for model in (*zoo(), WINDOWED)
    for scheme in SCHEMES
    for fmt in ("onnx", "tflite")
    if (fmt, scheme) != ("onnx", "int16x8")
    and (scheme != "int8-float-gru" or model == WINDOWED)  # pretrained models have no GRU to keep in float
]


def windowed() -> CRNN:
    """A windowed model of weights that are the same on every machine."""
    model = build(ModelConfig(backbone="bcresnet", form="windowed"))
    assert isinstance(model, CRNN)
    rng = np.random.default_rng(7)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                values = rng.uniform(0.5, 1.5, tensor.shape) if "var" in name else rng.uniform(-0.3, 0.3, tensor.shape)
                tensor.copy_(torch.from_numpy(values))
    return model.eval()


def plan(model: CRNN) -> Plan:
    """A plan whose recorded ranges are all −2 to 3."""
    frames = 16000 * WINDOWS[0] // 512
    graphs = [expand_gru(graph) for graph in (lower_window(model, WINDOWS[0], frames), lower_gru(model))]
    ranges = [
        SharedRange(tensors, *(fixed or (-2.0, 3.0)), fixed is not None)
        for tensors, fixed in sharing_of_all(graphs, (-FRONT_END.clip, FRONT_END.clip))
    ]
    return Plan(SCHEMES["int8"], digest(model), tuple(ranges))


def draft(model: str, scheme: str) -> Draft:
    if model == WINDOWED:
        crnn = windowed()
        checkpoint = Checkpoint(WINDOWED, crnn, FRONT_END, LABELS, quantisation=plan(crnn).to_json())
    else:
        folder = zoo_path(model)
        assert folder is not None
        checkpoint = Checkpoint.load(folder)
    own = Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES[scheme])
    return Draft(checkpoint, "", own, WINDOWS if model == WINDOWED else ())


def hashes(model: str, scheme: str, fmt: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """SHA-256 of each file that a format writes, by file name."""
    monkeypatch.setattr(StreamContract, "dumps", lambda *_: f'{{"file_sha256":"{UNSEALED}"}}')
    return {a.name: hashlib.sha256(a.data).hexdigest() for a in write(draft(model, scheme), fmt)}


@pytest.mark.parametrize(("model", "scheme", "fmt"), CASES)
def test_artefacts_are_the_recorded_bytes(model: str, scheme: str, fmt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = json.loads(GOLDEN.read_text())
    found = hashes(model, scheme, fmt, monkeypatch)
    assert found == {name: recorded[name] for name in found}
    assert found


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patched:
        every = {name: value for case in CASES for name, value in hashes(*case, patched).items()}
    GOLDEN.write_text(json.dumps(every, indent=2) + "\n")
