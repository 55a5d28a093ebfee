"""Drawings of trainings."""

from __future__ import annotations

from collections.abc import Sequence

from edge_asc_bench.chart import Frame
from edge_asc_bench.drawing import COLOURS, INK, WIDE, Axes, panels
from edge_asc_bench.training import Curve


def learning_curves(frame: Frame, curves: Sequence[Curve]) -> str:
    """Draw loss and accuracy against the epoch: the model itself, the models of the folds, and held-out accuracy."""
    with panels(frame.canvas(5.4), 2, 1) as (((losses,), (shares,)), drawing):
        for curve in curves:
            epochs = [epoch.number for epoch in curve.epochs]
            is_fold = curve.fold is not None
            name = "training clips, models of the folds" if is_fold else "training clips"
            style = {"color": COLOURS[1] if is_fold else COLOURS[0], "lw": 0.9 if is_fold else 1.8, "label": name}
            style["ls"] = (0, (3, 1.5)) if is_fold else "-"
            losses.plot(epochs, [epoch.loss for epoch in curve.epochs], **style)
            shares.plot(epochs, [100 * epoch.accuracy for epoch in curve.epochs], **style)
            checked = [(e.number, 100 * e.validation) for e in curve.epochs if e.validation is not None]
            if checked:
                x, y = zip(*checked, strict=True)
                name = "held-out clips, models of the folds" if is_fold else "held-out clips"
                shares.plot(x, y, color=COLOURS[2], ls="--", marker="o", ms=3, lw=1.2, label=name)
        longest = max(curves, key=lambda curve: len(curve.epochs))
        losses.set(ylabel="loss", ylim=(0, None))
        shares.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
        for axes in (losses, shares):
            _mark_stages(axes, longest)
            axes.set_xlim(0.5, len(longest.epochs) + 0.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        named = dict(zip(*reversed(shares.get_legend_handles_labels()), strict=True))
        columns = 2 if frame.width >= WIDE else 1
        shares.figure.legend(named.values(), named.keys(), fontsize=9, loc="outside lower center", ncols=columns)
    return drawing.svg


def _mark_stages(axes: Axes, curve: Curve) -> None:
    """Draw a line before each stage but the first, and name the stages where there are several."""
    first = 1
    stages = curve.stages
    for stage in stages if len(stages) > 1 else ():
        if first > 1:
            axes.axvline(first - 0.5, color=INK, lw=0.8, ls=":")
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "bottom", "fontsize": 9}
        axes.annotate(stage.name, (first - 0.5, 1), xycoords=("data", "axes fraction"), **place)
        first += stage.epochs
