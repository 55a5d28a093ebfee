"""A training overwrites nothing in its folder that no training has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asc.errors import OutputError
from edge_asc.evaluation.document import HELD_OUT
from edge_asc.training.card import CARDS, find_card_path
from edge_asc.training.checkpoint import WEIGHTS
from edge_asc.training.log import LOG
from edge_asc.training.state import check_folder


def test_a_readme_of_somebody_else_stays(tmp_path: Path) -> None:
    first, second = CARDS
    assert find_card_path(tmp_path) == tmp_path / first
    (tmp_path / first).write_text("mine")
    assert find_card_path(tmp_path) == tmp_path / second
    (tmp_path / second).write_text("mine, too")
    with pytest.raises(OutputError, match=r"are not cards of edge-asc; move one of them"):
        find_card_path(tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS, LOG, HELD_OUT])
def test_files_that_no_training_has_left_stay(tmp_path: Path, name: str) -> None:
    check_folder(tmp_path, resume=False)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match=f"holds {name}, which no training has left"):
        check_folder(tmp_path, resume=False)
