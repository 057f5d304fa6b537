"""Scores translations with COMET, run by `polystill comet` in an environment that has unbabel-comet.

    python -c "$(cat comet_scorer.py)" < request.json > answer.json

request: {"model": name or checkpoint, "batch_size": n, "systems": {key: [{"src", "mt", "ref"}, ...]}}
answer, a line for each as soon as it is scored: {"key": ..., "score": system score, "version": of unbabel-comet}
"""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def main() -> None:
    request = json.load(sys.stdin)
    from comet import download_model, load_from_checkpoint  # type: ignore[import-not-found,unused-ignore]

    name = request["model"]
    model = load_from_checkpoint(str(Path(name).resolve()) if Path(name).is_file() else download_model(name))
    try:
        installed = version("unbabel-comet")
    except PackageNotFoundError:
        installed = "unknown"
    for key, data in request["systems"].items():
        predicted = model.predict(data, batch_size=request["batch_size"], gpus=0, progress_bar=False)
        print(json.dumps({"key": key, "score": float(predicted.system_score), "version": installed}), flush=True)


if __name__ == "__main__":
    main()
