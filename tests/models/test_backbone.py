"""Backbones outside edge-asc: who may import them, and what they must keep."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest
import torch

from edge_asc.backbone import TRUSTED_VARIABLE, load_backbone, trust_backbone
from edge_asc.errors import EdgeAscError
from edge_asc.models import ModelConfig, build

HEAD = """
import torch
from torch import nn
from edge_asc.models.layers import BackboneModule, Sequence, StreamConv
size = 3
class Net(BackboneModule):
    channels, mels = 4, 16
    def __init__(self, form):
        super().__init__()
        self.conv = StreamConv((1, 4), (17, 16), (16, 8), form=form)
"""
GOOD = "def forward(self, x, caches=None):\n    return self.conv(x, caches)\n"


@pytest.fixture(autouse=True)
def _own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(TRUSTED_VARIABLE, "")
    monkeypatch.setattr("edge_asc.models.conformance._checked", set())
    for name in ("nets", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def write(folder: Path, methods: str) -> None:
    (folder / "nets.py").write_text(HEAD + indent(dedent(methods), "    "))


def trusted(**options: object) -> object:
    trust_backbone("nets:Net")
    return build(ModelConfig(backbone="nets:Net", **options))  # type: ignore[arg-type]


def test_a_good_one_is_built_without_a_trace_in_the_random_numbers(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    trust_backbone("nets:Net")
    torch.manual_seed(1)
    first = build(ModelConfig(backbone="nets:Net")).state_dict()
    torch.manual_seed(1)
    again = build(ModelConfig(backbone="nets:Net")).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert load_backbone("nets:Net").options == ()


def test_a_file_alone_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("raise SystemExit('imported')")
    with pytest.raises(
        EdgeAscError, match=r"is the class 'nets:Net', code outside edge-asc.*set EDGE_ASC_BACKBONE=net"
    ):
        ModelConfig.from_json({"backbone": "nets:Net"})
    with pytest.raises(EdgeAscError, match="code outside edge-asc"):
        load_backbone("os:system")
    trust_backbone("other:Net")
    with pytest.raises(EdgeAscError, match="code outside edge-asc"):
        load_backbone("nets:Net")


def test_children_get_what_is_trusted() -> None:
    trust_backbone("nets:Net")
    trust_backbone("a.b:C")
    trust_backbone("nets:Net")
    assert os.environ[TRUSTED_VARIABLE] == "nets:Net,a.b:C"


@pytest.mark.parametrize("reference", ["nets", "nets:", ":Net", "nets:Net:Net", "a/b:Net", "nets:Net,os:system", "é:N"])
def test_other_text_is_no_reference(reference: str) -> None:
    with pytest.raises(EdgeAscError, match=r"expected package\.module:Class"):
        trust_backbone(reference)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere_to_be_found:Net", "there is no module nowhere_to_be_found; install the package that has it"),
        ("nets:Nothing", "has no attribute 'Nothing'; expected a class of that module"),
        ("nets:size", "got a int; expected a class that derives from"),
        ("nets:StreamConv", "got a class StreamConv; expected a class that derives from"),
        ("broken:Net", r"broken does not load \(ZeroDivisionError: division by zero\); correct that module"),
    ],
)
def test_what_is_no_class_of_a_backbone_is_reported(tmp_path: Path, reference: str, message: str) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "broken.py").write_text("1 / 0")
    trust_backbone(reference)
    with pytest.raises(EdgeAscError, match=message):
        load_backbone(reference)


FUTURE = """
def __init__(self, form):
    super().__init__()
    self.conv = StreamConv((1, 4), (17, 16), (16, 8), form=form)
    self.look = nn.Conv2d(4, 4, (1, 3), padding=(0, 1))
def forward(self, x, caches=None):
    return self.look(self.conv(x, caches))
"""
HIDDEN = FUTURE.replace("def forward", "    nn.init.zeros_(self.look.weight)\ndef forward").replace(
    "return self.look(self.conv(x, caches))", "y = self.conv(x, caches)\n    return y + self.look(y)"
)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("def forward(self, x, caches=None):\n    return self.conv(x)", "does not give the caches to conv"),
        ("def forward(self, x, caches=None):\n    return self.conv(x, caches)[:, :2]", r"gives \(1, 2, 16, 8\) for"),
        ("def forward(self, x, caches=None):\n    return 1", "gives int for"),
        ("def forward(self, x, caches=None):\n    return x @ x", r"fails on log-mel of shape \(1, 1, 256, 64\)"),
        ("def forward(self, x):\n    return self.conv(x)", "fails on a step of 8 frames"),
        (GOOD + "channels = None", "has channels None; expected the size of its output"),
        ("def __init__(self):\n    super().__init__()", "cannot be built"),
        (FUTURE, "is not causal: its stream differs from the whole clip"),
        (HIDDEN, "is not causal: its stream differs from the whole clip"),
        (
            "def forward(self, x, caches=None):\n    return self.conv(x - x.mean(dim=3, keepdim=True), caches)",
            "is not causal",
        ),
    ],
)
def test_what_does_not_stream_is_reported(tmp_path: Path, methods: str, message: str) -> None:
    write(tmp_path, methods)
    with pytest.raises(EdgeAscError, match=message):
        trusted()


def test_a_windowed_form_may_look_ahead(tmp_path: Path) -> None:
    write(tmp_path, FUTURE.replace("(17, 16), (16, 8)", "(17, 9), (16, 8)"))
    trusted(form="windowed")


def test_an_option_that_it_lacks_is_reported(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(EdgeAscError, match="backbone nets:Net has no option mels, width; leave it out"):
        trusted(mels=64, width=0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mels": 512}, "mels is 512; expected 8 to 256"),
        ({"mels": 36}, "mels is 36; expected a multiple of 8"),
        ({"width": 5.0}, "width is 5.0; expected 0.125 to 4"),
        ({"gru_units": 0}, "gru_units is 0; expected 1 to 512"),
        ({"gru_layers": 9}, "gru_layers is 9; expected 1 to 8"),
    ],
)
def test_sizes_out_of_range_are_reported(values: dict[str, float], message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        ModelConfig.from_json(values)
