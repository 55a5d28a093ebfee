"""Text of users, files and devices in each kind of output: it shows as it stands."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from edge_asc.cli.console import PlainConsole
from edge_asc.text import UNSAFE, escape_controls
from edge_asc_bench import chart
from edge_asc_bench.markup import escape_markdown, escape_xml, to_code

# Any text, surrogates too, and more often what acts somewhere.
ANY = st.text() | st.text(st.sampled_from("[]/$_`|*<>&\\\n\x1b\x9b\u202e\udcdf:@#ab "))


def test_what_acts_on_a_terminal_is_written_out() -> None:
    assert escape_controls("a\x1b[31m\n\tb\x9b\u202e\udcdf") == "a\\x1b[31m\\n\\tb\\x9b\\u202e\\xdf"
    assert escape_controls("a\nb\x00", keep="\n") == "a\nb\\x00"
    assert escape_controls("Straße – 雨 👩‍🚀") == "Straße – 雨 👩‍🚀"


@given(ANY)
def test_nothing_unsafe_is_left(text: str) -> None:
    assert not UNSAFE.search(escape_controls(text))


@given(ANY)
def test_the_console_prints_text_as_it_stands(text: str) -> None:
    console = PlainConsole()
    console.file, console.width = io.StringIO(), 4000
    console.print(text)
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(table)
    printed = console.file.getvalue()
    assert not UNSAFE.search(printed.replace("\n", ""))
    assert printed.splitlines()[0].rstrip() == escape_controls(text, keep="\n").split("\n")[0].rstrip() or not text


@given(ANY)
def test_markdown_stays_in_its_cell(text: str) -> None:
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|~$]", escaped)
    shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped.replace("&#8203;", ""))
    assert shown == escape_controls(text)


@given(ANY)
def test_a_code_span_ends_where_it_should(text: str) -> None:
    code = to_code(text)
    match = re.fullmatch(r"(`+)( ?)(.*?)\2\1", code, re.DOTALL)
    assert match is not None
    assert match[1] not in re.findall("`+", match[3])
    assert "\n" not in code


@given(ANY)
def test_xml_holds_it(text: str) -> None:
    element = ElementTree.Element("a", name=escape_xml(text))
    read = ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode").encode())
    assert read.get("name") == escape_xml(text).replace("\r\n", "\n").replace("\r", "\n") or "\r" in text


def draw(name: str) -> str:
    """Draw a chart with a name as title, description, row and point."""
    return chart.memory(chart.Frame(name, name), {chart.Series(0, name): {"interpreter": 1.0}})


@settings(max_examples=15)
@given(ANY)
def test_charts_draw_names_as_they_stand(text: str) -> None:
    root = ElementTree.fromstring(draw(text).replace("xlink:href", "href").encode())
    assert root.get("role") == "img"


@pytest.mark.parametrize("name", ["$x$", "$\\frac{1}$", "a_$b", "_hidden", "a\x1b\nb"])
def test_no_name_is_a_formula_or_left_out(name: str) -> None:
    root = ElementTree.fromstring(draw(name).replace("xlink:href", "href"))
    shown = " ".join("".join(each.itertext()) for each in root.iter() if each.tag.endswith("text"))
    assert escape_controls(name, keep="\n").split("\n")[0].strip() in shown
