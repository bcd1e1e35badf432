import pytest

from fractureai.reports.figures import place_labels


@pytest.mark.parametrize("low", [0.0, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("step", [0.0, 0.001, 0.05, 0.2, 0.6, 1.0])
def test_the_words_of_two_thresholds_never_cover_each_other(low: float, step: float) -> None:
    high = min(1.0, low + step)
    widths, total = (80.0, 75.0), 441.0
    (first, first_row), (second, second_row) = place_labels((low * total, high * total), widths, total)
    for left, width in zip((first, second), widths, strict=True):
        assert left >= 0
        assert left + width <= total
    if first_row == second_row:
        assert first + widths[0] <= second or second + widths[1] <= first
