"""Passes: what happens to a lowered graph before a writer takes it, step by step.

A format lists its passes in order (edge_asc_export/formats/). Each pass is one module of `edge_asc_export.passes` and
states what it needs and why it changes nothing but the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_asc.contract import Affine
from edge_asc_export.graph import Graph

if TYPE_CHECKING:
    from edge_asc_export.plan import Plan


@dataclass(frozen=True)
class Lowered:
    """A lowered graph on its way to a file.

    Attributes:
        graph: as the passes so far have left it.
        plan: of quantisation.
        qparams: quantisation parameters by tensor: the plan's, and those of tensors that passes added. A tensor without
            any is float.
    """

    graph: Graph
    plan: Plan
    qparams: Mapping[str, Affine]

    @classmethod
    def of(cls, graph: Graph, plan: Plan) -> Lowered:
        """Return a graph before its first pass."""
        return cls(graph, plan, plan.qparams)

    def with_graph(self, graph: Graph, qparams: Mapping[str, Affine] | None = None) -> Lowered:
        """Return another graph; `qparams` are those of new tensors."""
        return replace(self, graph=graph, qparams={**self.qparams, **(qparams or {})})


def _always(_: Lowered) -> bool:
    return True


@dataclass(frozen=True)
class Pass:
    """One step from a lowered graph to the graph that a writer takes.

    Attributes:
        name: a verb and its object.
        needs: what must be true of the graph before.
        exact: why the graph computes the same after it.
        run: the change.
        applies: whether a format wants it for this graph.
    """

    name: str
    needs: str
    exact: str
    run: Callable[[Lowered], Lowered]
    applies: Callable[[Lowered], bool] = _always

    def where(self, applies: Callable[[Lowered], bool]) -> Pass:
        """Return this pass for some graphs only."""
        return replace(self, applies=applies)


def run_passes(lowered: Lowered, passes: Sequence[Pass]) -> Lowered:
    """Apply passes in order."""
    for each in passes:
        if each.applies(lowered):
            lowered = each.run(lowered)
    return lowered
