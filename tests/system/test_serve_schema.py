"""polystill serve, asked what its OpenAPI description allows and much that it does not: it never fails itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode


@pytest.mark.parametrize("requests", [150, pytest.param(5000, marks=pytest.mark.long)])
def test_no_request_makes_the_server_fail(
    counting_ctranslate2: Path, tmp_path: Path, start_server: Any, requests: int
) -> None:
    """Of half of the requests that have languages, these are made such that something is translated."""
    statuses: Counter[int] = Counter()
    with start_server(counting_ctranslate2, tmp_path / "log", "--max-characters", "500", "--beam", "1") as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
        posts = [operation for operation in operations if operation.method == "post"]
        assert {operation.path for operation in posts} == {"/translate", "/detect"}
        for operation in operations:
            modes = list(GenerationMode) if operation in posts else [GenerationMode.POSITIVE]
            for mode in modes:
                count = requests // (len(posts) * len(modes)) if operation in posts else 1
                ask_all(operation.as_strategy(generation_mode=mode), count, statuses)
        assert server.translate("one")
    assert sum(statuses.values()) >= requests
    assert not {status for status in statuses if status >= 500}, statuses
    assert statuses[200] > requests / 10, statuses


def ask_all(cases: Any, count: int, statuses: Counter[int]) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.booleans())
    def ask(case: Case, is_served: bool) -> None:
        if is_served and isinstance(case.body, dict) and "source" in case.body:
            case.body |= {"source": "en", "target": "de"}
        status = case.call().status_code
        statuses[status] += 1
        assert status < 500, case.as_curl_command()

    ask()
