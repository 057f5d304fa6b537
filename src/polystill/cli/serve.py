"""polystill serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polystill.cli.common import ModelEngine, Threads, say, words
from polystill.environment.extras import need_packages
from polystill.progress import show_log

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client", "sentencex", "langcodes", "python_multipart", "selectolax")


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    model: Annotated[Path, typer.Argument(metavar="RUN", help="A run, or a CTranslate2 folder.", show_default=False)],
    student: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME,…",
            help="Serve these students, such as e4d2,e2d2. The first one answers requests that do not name a student. "
            "By default all, with the teacher as the first.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Listen at this address; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen at this port; 0 is any free one.")] = 5000,
    api_keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Require one of the API keys in this file, which has one key on each line."),
    ] = None,
    max_characters: Annotated[
        int, typer.Option(min=1, help="Refuse a request with more characters (status 413).")
    ] = 5000,
    max_batch: Annotated[int, typer.Option(min=1, help="Refuse a request with more texts (status 413).")] = 100,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Translate this many requests at a time and refuse more (status 429).")
    ] = 32,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Answer a request that takes more seconds with an error.")
    ] = 30.0,
    bergamot_runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Let the browser run the students in RUN/exports that were exported to bergamot. FOLDER is the npm "
            "package @browsermt/bergamot-translator.",
        ),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, help="Beam size; 1 is greedy search. By default the one that an export states, or 5."
        ),
    ] = None,
    engine: ModelEngine = None,
    precision: Annotated[
        str, typer.Option(help="Compute in this precision, such as int8. By default that of the run's evaluation.")
    ] = "default",
    threads: Threads = 0,
    log_text: Annotated[bool, typer.Option("--log-text", help="Log the texts and their translations.")] = False,
) -> None:
    """Serve a page to try the students side by side, and the LibreTranslate API.

    The page is at http://127.0.0.1:5000. /docs shows the API, and /metrics has counters for Prometheus. Texts are
    neither stored nor logged. Other machines can reach the server only if --host allows it.

    **Examples**

        polystill serve runs/quickstart

        polystill serve runs/quickstart --student e2d2,e3d3 --beam 1 --port 8000

        polystill serve my-model --host 0.0.0.0 --api-keys keys.txt

        polystill serve RUN --bergamot-runtime node_modules/@browsermt/bergamot-translator

        curl -d q="A dog runs." -d source=en -d target=de http://127.0.0.1:5000/translate
    """
    need_packages("serve", _PACKAGES, "serve")
    show_log()
    from polystill.serving.requests import Limits
    from polystill.serving.server import serve as serve_model

    serve_model(
        model,
        words("--student", student),
        Limits(max_characters, max_batch, max_requests, timeout),
        host=host,
        port=port,
        api_keys=api_keys,
        runtime=bergamot_runtime,
        engine=engine,
        precision=precision,
        beam=beam,
        threads=threads,
        log_text=log_text,
        say=say,
    )
