"""A page about results: self-contained HTML, or Markdown for a pull request."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from edge_asc.errors import require
from edge_asc.reproduction.figure3 import Figure3
from edge_asc.reproduction.figure4 import Curve, Figure4
from edge_asc.text import escape_controls
from edge_asc_bench import figures
from edge_asc_bench.chart import learning_curves
from edge_asc_bench.errors import Errors, list_errors
from edge_asc_bench.kinds import Classification, ComparedArtefact, Conformance, Documents, Evaluation, load
from edge_asc_bench.markup import escape_markdown, to_code
from edge_asc_bench.players import Players
from edge_asc_bench.section import AccuracyTable, make_machines, make_section, tabulate_accuracy
from edge_asc_bench.training import Training

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["load", "to_html", "to_markdown"]


def to_html(documents: Documents, players: Players | None = None) -> str:
    """Return the HTML page of documents.

    Args:
        documents: to show.
        players: makes the players of clips; None for links to the files as the documents name them.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return _render("page.html", documents, players or Players(), charts=True)


def to_markdown(documents: Documents) -> str:
    """Return the tables of benchmarks, evaluations and reproductions as Markdown.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return _render("page.md", documents, Players(), charts=False)


def _render(template: str, documents: Documents, players: Players, *, charts: bool) -> str:
    text: str = _load_template(template).render(
        benches=[make_section(result, charts=charts) for result in documents.benches],
        machines=make_machines(documents.benches),
        exports=documents.exports,
        streams=[_make_stream(value) for value in documents.classifications],
        evaluations=[_make_evaluation(value, players) for value in documents.evaluations],
        trainings=[_make_training(value, charts=charts) for value in documents.trainings],
        conformances=[_make_conformance(value) for value in documents.conformances],
        table1=documents.tables1,
        figure3=[Figure3Section(value, figures.state_maps(value) if charts else "") for value in documents.figures3],
        figure4=[_make_figure4(value, charts=charts) for value in documents.figures4],
    )
    return text


@cache
def _load_template(name: str) -> Template:
    jinja2 = require("jinja2", "bench")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files("edge_asc_bench") / name).read_text(encoding="utf-8")),
        autoescape=name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_to_html_text if name.endswith(".html") else _to_markdown_text,
    )
    environment.filters["code"] = lambda text: jinja2.utils.markupsafe.Markup(to_code(text))
    template: Template = environment.get_template(name)
    return template


def _to_html_text(value: object) -> object:
    """Every value of an HTML page passes here before jinja2 escapes it."""
    return escape_controls(value, keep="\n") if type(value) is str else value


def _to_markdown_text(value: object) -> object:
    """Every value of a Markdown page passes here; what is marked as safe is Markdown."""
    return escape_markdown(value) if type(value) is str else value


@dataclass(frozen=True)
class Stream:
    """A classification, and the likeliest label's probability at each decision as points of a 600 × 80 picture."""

    value: Classification
    points: str
    last: float


def _make_stream(value: Classification) -> Stream:
    last = value.decisions[-1].time if value.decisions else 1.0
    points = [(600 * d.time / last, 80 * (1 - max(d.probabilities))) for d in value.decisions]
    return Stream(value, " ".join(f"{x:.1f},{y:.1f}" for x, y in points), last)


@dataclass(frozen=True)
class EvaluationSection:
    """An evaluation, its table, the errors of each model, where the recordings are, and whether audio is embedded."""

    value: Evaluation
    by_length: AccuracyTable
    errors: list[Errors]
    folder: str
    embeds: bool


def _make_evaluation(value: Evaluation, players: Players) -> EvaluationSection:
    folder = players.find_folder(value.folder)
    place = "" if folder is None else os.path.normpath(folder)
    return EvaluationSection(
        value, tabulate_accuracy(value.results), list_errors(value, players), place, players.embeds
    )


@dataclass(frozen=True)
class TrainingSection:
    """A training, and a picture of its learning curves; "" where none is drawn."""

    value: Training
    picture: str


def _make_training(value: Training, *, charts: bool) -> TrainingSection:
    return TrainingSection(value, learning_curves(value.curves) if charts and value.curves else "")


@dataclass(frozen=True)
class ConformanceSection:
    """A conformance: a row for each artefact and engine, with a cell for each processor."""

    value: Conformance
    processors: list[str]
    rows: dict[tuple[str, str], dict[str, ComparedArtefact]]


def _make_conformance(value: Conformance) -> ConformanceSection:
    processors = list(dict.fromkeys(row.processor for row in value.comparisons))
    rows: dict[tuple[str, str], dict[str, ComparedArtefact]] = {}
    for row in value.comparisons:
        rows.setdefault((row.artefact, row.engine), {})[row.processor] = row
    return ConformanceSection(value, processors, rows)


@dataclass(frozen=True)
class Figure3Section:
    """A Figure 3, and its picture; "" where none is drawn."""

    value: Figure3
    picture: str


Cell = tuple[float | None, float | None]
"""Mean recall and accuracy over the steps of a curve."""


@dataclass(frozen=True)
class Figure4Section:
    """A Figure 4, its picture, and means over steps: a row for each model and carry mode, a cell for each length."""

    value: Figure4
    picture: str
    lengths: list[int]
    rows: list[tuple[str, str, list[Cell]]]


def _make_figure4(value: Figure4, *, charts: bool) -> Figure4Section:
    curves: list[tuple[str, Curve]] = [(model.name, curve) for model in value.models for curve in model.curves]
    lengths = sorted({curve.seconds for _, curve in curves if curve.seconds})
    columns: list[int | None] = [*lengths, None]
    rows: dict[tuple[str, str], list[Cell]] = {}
    for name, curve in curves:
        cells = rows.setdefault((name, curve.carry), [(None, None)] * len(columns))
        cells[columns.index(curve.seconds)] = (_compute_mean(curve.recall), _compute_mean(curve.accuracy))
    picture = figures.recall_curves(value) if charts else ""
    return Figure4Section(value, picture, lengths, [(name, carry, cells) for (name, carry), cells in rows.items()])


def _compute_mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
