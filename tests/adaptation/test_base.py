"""What can be adapted, and what to use instead of the rest."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_asc.adaptation.base import Base
from edge_asc.errors import ContractError

if TYPE_CHECKING:
    from artefacts import Artefacts

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


@needs_torch
def test_recurrent_models_are_refused(artefacts: Artefacts) -> None:
    with pytest.raises(ContractError, match=r"recurrent layers.*such as fuse-50-int8"):
        Base.open(artefacts.folder / "step-int8.tflite")


@needs_torch
def test_checkpoints_and_windowed_models_are_refused(artefacts: Artefacts) -> None:
    with pytest.raises(ContractError, match="not an artefact in TFLite or ONNX"):
        Base.open(artefacts.folder / "checkpoint")
    with pytest.raises(ContractError, match="windowed model"):
        Base.open(artefacts.folder / "windows.tflite")


@needs_torch
@pytest.mark.parametrize(("scheme", "adaptable"), [("int8-dynamic", True), ("fp16", False), ("int16x8", False)])
def test_schemes_are_adapted_or_refused(scheme: str, adaptable: bool, tmp_path: Path) -> None:
    from artefacts import calibrated, checkpoint, crnn, write_file
    from edge_asc_export.lowering import lower_step
    from edge_asc_export.scheme import SCHEMES

    model = crnn(checkpoint(head="linear"))
    plan = calibrated(model).with_scheme(SCHEMES[scheme])
    path = write_file(tmp_path / "step.tflite", [lower_step(model)], plan)
    if adaptable:
        assert Base.open(path).editor.site.source is None
    else:
        with pytest.raises(ContractError, match="not one of float32 or int8"):
            Base.open(path)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no model there"):
        Base.open(tmp_path / "absent.tflite")
