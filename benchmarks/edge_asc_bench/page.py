"""A page about results: self-contained HTML, or Markdown for a pull request."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from edge_asc.errors import require
from edge_asc.reproduction.figure3 import Figure3
from edge_asc.reproduction.figure4 import Curve, Figure4
from edge_asc.text import escape_controls
from edge_asc_bench import figures
from edge_asc_bench.chart import Series
from edge_asc_bench.curves import learning_curves
from edge_asc_bench.drawing import fit
from edge_asc_bench.errors import Errors, list_errors
from edge_asc_bench.glossary import Glossary
from edge_asc_bench.kinds import ComparedArtefact, Conformance, Documents, Evaluation, Export, load
from edge_asc_bench.markup import escape_markdown, to_code
from edge_asc_bench.pictures import Caption, Picture, draw_accuracy, draw_agreement, draw_margins, list_agreements
from edge_asc_bench.players import Players
from edge_asc_bench.recordings import make_recordings
from edge_asc_bench.section import AccuracyTable, Section, make_machines, make_section, tabulate_accuracy
from edge_asc_bench.training import Training
from edge_asc_bench.verdict import (
    Verdict,
    judge_conformance,
    judge_evaluation,
    judge_export,
    judge_table1,
    judge_training,
)

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["load", "to_html", "to_markdown"]

# A figure and its unit, which stay on one line.
UNIT = re.compile(r"(\d) (%|ms|s|KB|MB|GB|kHz|times|million)(?!\w)")


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
    benches = _number([make_section(result, charts=charts) for result in documents.benches])
    recordings = make_recordings(documents.classifications, players, charts=charts)
    evaluations = [_make_evaluation(value, players, charts=charts) for value in documents.evaluations]
    trainings = [_make_training(value, charts=charts) for value in documents.trainings]
    conformances = [_make_conformance(value) for value in documents.conformances]
    exports = [_make_export(value, charts=charts) for value in documents.exports]
    summary = [
        *_list_entries("bench", [(each.title, each.verdict) for each in benches]),
        *_list_entries("recording", [(each.name, each.verdict) for each in recordings]),
        *_list_entries("evaluation", [(f"Accuracy on {each.value.data}", each.verdict) for each in evaluations]),
        *_list_entries("training", [(f"Learning curves of {each.value.name}", each.verdict) for each in trainings]),
        *_list_entries("conformance", [("Conformance", each.verdict) for each in conformances]),
        *_list_entries("export", [(f"Artefacts of {each.value.name}", each.verdict) for each in exports]),
        *_list_entries("table", [(f"Table 1 on {each.data}", judge_table1(each)) for each in documents.tables1]),
    ]
    text: str = _load_template(template).render(
        glossary=Glossary(),
        summary=summary,
        benches=benches,
        machines=make_machines(documents.benches),
        exports=exports,
        recordings=recordings,
        evaluations=evaluations,
        trainings=trainings,
        conformances=conformances,
        table1=documents.tables1,
        figure3=[_make_figure3(value, charts=charts) for value in documents.figures3],
        figure4=[_make_figure4(value, charts=charts) for value in documents.figures4],
    )
    return text


@cache
def _load_template(name: str) -> Template:
    jinja2 = require("jinja2", "bench")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_to_html_text if name.endswith(".html") else _to_markdown_text,
    )
    markup = jinja2.utils.markupsafe.Markup
    environment.filters["code"] = lambda text: markup(to_code(text))
    environment.filters["link"] = markup('<a class="term" href="#term-{0.key}">{1}</a>').format
    environment.filters["units"] = lambda text: UNIT.sub("\\1\u00a0\\2", text)
    style, script = (_read(name) for name in ("page.css", "page.js"))
    environment.globals |= {"style": markup(style), "script": markup(script)}
    environment.globals["script_hash"] = "sha256-" + base64.b64encode(sha256(script.encode()).digest()).decode()
    template: Template = environment.get_template(name)
    return template


def _read(name: str) -> str:
    return (files("edge_asc_bench") / name).read_text(encoding="utf-8")


def _to_html_text(value: object) -> object:
    """Every value of an HTML page passes here before jinja2 escapes it."""
    return escape_controls(value, keep="\n") if type(value) is str else value


def _to_markdown_text(value: object) -> object:
    """Every value of a Markdown page passes here; what is marked as safe is Markdown."""
    return escape_markdown(value) if type(value) is str else value


@dataclass(frozen=True)
class Entry:
    """A verdict at the top of the page, and the title and anchor of the section that it is about."""

    anchor: str
    title: str
    verdict: Verdict


def _number(sections: Sequence[Section]) -> list[Section]:
    """Number the sections of benchmarks whose titles are equal."""
    titles = [section.title for section in sections]
    numbered = []
    for i, section in enumerate(sections):
        own = titles[:i].count(section.title) + 1
        is_alone = titles.count(section.title) == 1
        numbered.append(section if is_alone else replace(section, title=f"{section.title} ({own})"))
    return numbered


def _list_entries(kind: str, verdicts: Sequence[tuple[str, Verdict]]) -> list[Entry]:
    """The entries of the sections of one kind, from their titles and verdicts."""
    return [Entry(f"{kind}-{i}", title, verdict) for i, (title, verdict) in enumerate(verdicts, 1)]


@dataclass(frozen=True)
class EvaluationSection:
    """An evaluation.

    Attributes:
        value: the document.
        verdict: on it.
        models: names of the models; their places are their numbers in charts and tables.
        pictures: of accuracy and agreement.
        by_length: table of accuracy.
        errors: of each model.
        folder: of the recordings; "" where it is not known.
        embeds: whether audio is embedded.
    """

    value: Evaluation
    verdict: Verdict
    models: list[str]
    pictures: list[Picture]
    by_length: AccuracyTable
    errors: list[Errors]
    folder: str
    embeds: bool

    @property
    def is_close(self) -> bool:
        """Whether it was measured how close a model is to the reference."""
        return any(each.closeness for each in self.value.results)


def _make_evaluation(value: Evaluation, players: Players, *, charts: bool) -> EvaluationSection:
    folder = players.find_folder(value.folder)
    place = "" if folder is None else os.path.normpath(folder)
    names = [each.model for each in value.results]
    pictures: list[Picture] = []
    if charts:
        series = [Series(i, name) for i, name in enumerate(names)]
        curves = {key: each.lengths for key, each in zip(series, value.results, strict=True)}
        agreements = [list_agreements(each, each.model) for each in value.results]
        shares = {key: points for key, points in zip(series, agreements, strict=True) if points}
        closeness = {key: each.closeness for key, each in zip(series, value.results, strict=True) if each.closeness}
        pictures = [*draw_accuracy(curves), *draw_agreement(shares), *draw_margins(closeness)]
    return EvaluationSection(
        value=value,
        verdict=judge_evaluation(value),
        models=names,
        pictures=pictures,
        by_length=tabulate_accuracy(value.results),
        errors=list_errors(value, players),
        folder=place,
        embeds=players.embeds,
    )


@dataclass(frozen=True)
class TrainingSection:
    """A training, the verdict on it, and its learning curves; None where none are drawn."""

    value: Training
    verdict: Verdict
    picture: Picture | None


def _make_training(value: Training, *, charts: bool) -> TrainingSection:
    caption = Caption("How did the training go?")
    drawn = charts and value.curves
    picture = Picture.of(caption, lambda frame: learning_curves(frame, value.curves), []) if drawn else None
    return TrainingSection(value, judge_training(value), picture)


@dataclass(frozen=True)
class ExportSection:
    """Artefacts, the verdict on them, and a picture of their agreement."""

    value: Export
    verdict: Verdict
    pictures: list[Picture]


def _make_export(value: Export, *, charts: bool) -> ExportSection:
    curves, closeness = {}, {}
    for i, (name, file) in enumerate(value.files.items()):
        shares = file.contract.measured.parity.agreement_by_length
        points = [(float(seconds), 100 * share) for seconds, share in shares.items() if seconds.isdecimal()]
        if points:
            curves[Series(i, name)] = points
        if file.contract.measured.parity.closeness:
            closeness[Series(i, name)] = file.contract.measured.parity.closeness
    pictures = [*draw_agreement(curves), *draw_margins(closeness)] if charts else []
    return ExportSection(value, judge_export(value), pictures)


@dataclass(frozen=True)
class ConformanceSection:
    """A conformance: the verdict, and a row for each artefact and engine, with a cell for each processor."""

    value: Conformance
    verdict: Verdict
    processors: list[str]
    rows: dict[tuple[str, str], dict[str, ComparedArtefact]]


def _make_conformance(value: Conformance) -> ConformanceSection:
    processors = list(dict.fromkeys(row.processor for row in value.comparisons))
    rows: dict[tuple[str, str], dict[str, ComparedArtefact]] = {}
    for row in value.comparisons:
        rows.setdefault((row.artefact, row.engine), {})[row.processor] = row
    return ConformanceSection(value, judge_conformance(value), processors, rows)


@dataclass(frozen=True)
class Figure3Section:
    """A Figure 3, and its picture; "" where none is drawn."""

    value: Figure3
    picture: str


def _make_figure3(value: Figure3, *, charts: bool) -> Figure3Section:
    return Figure3Section(value, fit(lambda width: figures.state_maps(value, width)) if charts else "")


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
    picture = fit(lambda width: figures.recall_curves(value, width)) if charts else ""
    return Figure4Section(value, picture, lengths, [(name, carry, cells) for (name, carry), cells in rows.items()])


def _compute_mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
