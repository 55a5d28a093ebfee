from __future__ import annotations

from edge_asc.closeness import Closeness, MarginRange
from edge_asc_bench.chart import Series
from edge_asc_bench.pictures import draw_margins


def closeness(*agreed: int) -> Closeness:
    margins = tuple(
        MarginRange(least=least, steps=10, agreed=share) for least, share in zip((0.0, 0.2, 0.5), agreed, strict=True)
    )
    return Closeness(agreed=sum(agreed), last_agreed=25, kl=0.01, margins=margins)


def test_the_chart_says_from_which_margin_on_nothing_differs() -> None:
    models = {Series(0, "float"): closeness(10, 10, 10), Series(1, "int8"): closeness(7, 9, 10)}
    (picture,) = draw_margins(models)
    assert picture.caption.answer == "No decision with a margin of 0.5 or more differs."
    assert "int8, margin from 0.2: 9 of 10 equal" in picture.svg
    assert "float, margin" not in picture.svg


def test_the_chart_names_the_model_whose_clear_decisions_differ() -> None:
    (picture,) = draw_margins({Series(0, "a"): closeness(9, 10, 10), Series(1, "b"): closeness(10, 10, 8)})
    assert picture.caption.answer == "Decisions of all margins differ (b)."


def test_models_that_decide_alike_need_no_chart() -> None:
    assert draw_margins({Series(0, "float"): closeness(10, 10, 10)}) == []
    assert draw_margins({}) == []
