import json

from polystill.environment import malloc
from polystill.runs.provenance import provenance


def test_provenance_can_be_written_as_json() -> None:
    found = json.loads(json.dumps(provenance().to_json()))
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["ctranslate2"]
    assert found["command"]
    assert found["malloc"] == malloc.in_use()
