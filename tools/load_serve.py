"""Ask a `polystill serve` for many lines at once, and check that each answer is that of its own line.

    python tools/load_serve.py http://127.0.0.1:5000 --requests 400 --clients 16 --lines test.source.txt

Each line is first translated alone. Standard library only, so that it runs where the server is to be tried.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


class Client:
    """One server's languages and student."""

    def __init__(self, url: str, model: str | None) -> None:
        self.url = url.rstrip("/")
        with urllib.request.urlopen(f"{self.url}/frontend/settings") as answer:
            languages = json.load(answer)["language"]
        self.fields = {"source": languages["source"]["code"], "target": languages["target"]["code"]}
        if model is not None:
            self.fields["model"] = model

    def ask(self, line: str) -> tuple[str, float, int]:
        """The translation, the seconds until it was there, and how often the server was too busy before (429)."""
        body = json.dumps({"q": line, **self.fields}).encode()
        for busy in range(1000):
            request = urllib.request.Request(f"{self.url}/translate", body, {"content-type": "application/json"})
            start = time.perf_counter()
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)["translatedText"], time.perf_counter() - start, busy
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(0.05)
        raise TimeoutError("the server stays too busy")


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p95 = (1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95))
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, most {1000 * ordered[-1]:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--lines", type=Path, required=True, help="a text file, one sentence a line")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", help="such as e2d2")
    given = parser.parse_args()

    try:
        client = Client(given.url, given.model)
    except urllib.error.URLError as error:
        sys.exit(f"error: {given.url}: no answer ({error.reason}); is polystill serve running there?")
    lines = given.lines.read_text(encoding="utf-8").split("\n")
    questions = [line for line in dict.fromkeys(lines) if line.strip()][: given.requests]
    alone = [client.ask(line) for line in questions]
    expected = {line: answer for line, (answer, _, _) in zip(questions, alone, strict=True)}
    print(f"{len(questions)} lines alone: {percentiles([seconds for _, seconds, _ in alone])}")

    asked = [questions[i % len(questions)] for i in range(given.requests)]
    start = time.perf_counter()
    with ThreadPoolExecutor(given.clients) as clients:
        answers = list(clients.map(client.ask, asked))
    wall = time.perf_counter() - start
    wrong = [line for line, (answer, _, _) in zip(asked, answers, strict=True) if answer != expected[line]]
    busy = sum(times for _, _, times in answers)
    print(f"{len(answers)} requests of {given.clients} clients: {percentiles([seconds for _, seconds, _ in answers])}")
    print(f"{len(answers) / wall:.0f} requests/s; {busy} times too busy (429); {len(wrong)} answers differ")
    for line in wrong[:5]:
        print(f"  {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
