"""Distributions of other people: modules and entry points in a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent


@dataclass(frozen=True)
class Toy:
    """A descriptor."""

    sound: str


def write_distribution(
    folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]
) -> Path:
    """Write what an installer would; `folder` belongs on sys.path or PYTHONPATH.

    Args:
        folder: to write to.
        name: of the distribution.
        entry_points: "module:attribute" or "package" by group and name.
        modules: source text by path in the folder.
    """
    for path, text in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(dedent(text))
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


TOYS = {
    "toy_plugins/__init__.py": "",
    "toy_plugins/engines/__init__.py": "",
    "toy_plugins/engines/_helper.py": "raise RuntimeError('modules with an underscore are not descriptors')",
    "toy_plugins/engines/toy.py": '''
        """Runs files that hold a stream contract alone: logits are the loudest features so far."""
        import numpy as np

        from edge_asc.engine import Engine, has_suffix
        from edge_asc.runtime import Runtime, check_inputs, read_contract


        class ToyRuntime(Runtime):
            def __init__(self, path, threads):
                self.engine = "toy 1.0"
                self.contract = read_contract(path, path.read_bytes())

            def run(self, signature, inputs):
                check_inputs(self.contract, signature, inputs)
                logits = np.maximum(inputs["loudest"], inputs["features"][0, 0].max(axis=1)[None, :2])
                return {"logits": logits, "loudest_next": logits}


        ENGINE = Engine(
            name="toy", title="Toy", accepts=has_suffix(".toy"), open=ToyRuntime,
            distribution="toy-plugins", module="toy_plugins", suffixes=(".toy",),
        )
        ''',
    "toy_plugins/commands.py": """
        from edge_asc.cli.command import Command, Need

        TOY = Command("toy_plugins.command", "Play with a toy.", needs=(Need("no-such-toy", "no_such_toy", "", "toy"),))
        """,
    "toy_plugins/command.py": """
        import click


        @click.command("toy")
        @click.option("--loud", is_flag=True)
        def command(loud):
            click.echo("SQUEAK" if loud else "squeak")
        """,
    "toy_plugins/layouts/__init__.py": "",
    "toy_plugins/layouts/toy.py": '''
        """A folder with toy.txt: a label and a file name a line."""
        from edge_asc.data.dataset import Clip, Dataset, Fold, Layout


        def read(root):
            if not (root / "toy.txt").exists():
                return None
            rows = [line.split() for line in (root / "toy.txt").read_text().splitlines()]
            clips = tuple(Clip(name, label, group=name) for label, name in rows)
            labels = tuple(sorted({clip.label for clip in clips}))
            return Dataset("toys", root, labels, clips, folds={1: Fold(clips[::2], clips[1::2])})


        LAYOUT = Layout(name="toy", title="Toys", expects="toy.txt with a label and a file name a line", read=read)
        ''',
    "toy_plugins/backbone.py": '''
        """The smallest backbone: one convolution."""
        from torch import nn

        from edge_asc.backbone import Backbone
        from edge_asc.models.layers import BackboneModule, Sequence, StreamConv


        class Toy(BackboneModule):
            channels, mels = 4, 16

            def __init__(self, form):
                super().__init__()
                conv = StreamConv((1, 4), (17, 8), (16, 8), form=form)
                self.body = Sequence(conv, nn.BatchNorm2d(4), nn.ReLU())

            def forward(self, x, caches=None):
                return self.body(x, caches)


        BACKBONE = Backbone(name="toy", title="Toy", build=Toy)
        ''',
}
ENTRY_POINTS = {
    "edge_asc.engines": {"toys": "toy_plugins.engines"},
    "edge_asc.commands": {"toy": "toy_plugins.commands:TOY"},
    "edge_asc.layouts": {"toys": "toy_plugins.layouts"},
    "edge_asc.backbones": {"toy": "toy_plugins.backbone:BACKBONE"},
}


def write_toys(folder: Path) -> Path:
    """A toy of each kind."""
    return write_distribution(folder, "toy-plugins", ENTRY_POINTS, TOYS)
