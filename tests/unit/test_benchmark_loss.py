from polystill.bench.loss import LossRow, _growth, measure

SMALL = {"vocabulary_size": 3000, "tokens": 600, "d_model": 16, "rounds": 1, "threads": 1}


def test_peak_memory_is_seen_and_ours_needs_less_than_its_twin() -> None:
    result = measure(students=[4], log=lambda line: None, **SMALL)
    extra = {row.loss: row.extra_bytes or 0 for row in result.rows}
    logits = 5 * 600 * 3000 * 4
    assert 2.5 * logits < extra["plain"] < 20 * logits
    assert 0 < extra["fused"] < 0.5 * extra["plain"]
    assert result.growth == {"fused": 1.0, "plain": 1.0}
    assert all(row.seconds and 0 < row.seconds["min"] <= row.seconds["max"] for row in result.rows)


def test_growth_is_from_the_fewest_students_to_the_most() -> None:
    assert _growth([LossRow("fused", 8, 30, None), LossRow("fused", 1, 10, None)]) == 3.0
