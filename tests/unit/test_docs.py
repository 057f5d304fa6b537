"""The documentation: links and anchors exist, and every command line in it is one that polystill takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
import yaml

from polystill.cli import app

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
COMMANDS = typer.main.get_command(app)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """The text without fenced code."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """The headings' anchors, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda page: page.name)
def test_pages_link_to_nothing_outside_of_the_site(page: Path) -> None:
    assert re.findall(r"\]\((\.\./[^)]*)\)", prose_of(page)) == []


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    navigation = set(re.findall(r"[\w-]+\.md", text.split("\nnav:")[1]))
    assert navigation == {page.name for page in (REPOSITORY / "docs").glob("*.md")}


# --- command lines ----------------------------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[str]:
    """Each command in fenced code, lines that go on joined, and in inline code that starts with a command's name."""
    for block in re.findall(r"^```(?:\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.split(r"&&|\|", line.split(" #")[0])
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`]+)`", prose):
        yield " ".join(code.split()).split("|")[-1]


def problem_with(line: str) -> str | None:
    """Why a command line is none that polystill takes; None where it is one, or no command of polystill's."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    start = next((i for i, word in enumerate(words) if Path(word).name == "polystill"), None)
    if start is None or not (start == 0 or words[start - 1] == "-m" or "=" in words[start - 1]):
        return None
    command, rest = COMMANDS, words[start + 1 :]
    while hasattr(command, "commands"):  # typer's groups are not click.Group everywhere
        if not rest or rest[0].startswith("-") or rest[0].isupper() or rest[0] in ("…", "..."):
            break
        if rest[0] not in command.commands:
            return f"no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h", "--install-completion", "--show-completion"}
    unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
    return f"no option {unknown[0]!r}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_are_polystills(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("it tells of commands of earlier versions")
    wrong = {line.strip(): problem for line in command_lines(text_of(page)) if (problem := problem_with(line))}
    assert wrong == {}


def all_commands(group: click.Command, path: str = "polystill") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from all_commands(command, f"{path} {name}")


EXAMPLES = list(all_commands(COMMANDS))


@pytest.mark.parametrize(("path", "command"), EXAMPLES, ids=lambda value: str(value).replace(" ", "-"))
def test_examples_in_help_are_polystills(path: str, command: click.Command) -> None:
    lines = [line.strip() for line in (command.help or "").splitlines()]
    wrong = {line: problem for line in lines if (problem := problem_with(line.split("|")[-1]))}
    assert wrong == {}
    if path != "polystill":
        assert any(line.split("|")[-1].strip().startswith(path) for line in lines), "its help has an example"


def test_a_wrong_command_line_is_found() -> None:
    assert problem_with("polystill evaluat RUN") == "no command 'evaluat'"
    assert problem_with("polystill export RUN e2d2 --too hf") == "no option '--too'"
    assert problem_with("polystill bench train RUN --rounds 3") is None
    assert problem_with("tensorboard --logdir RUN/logs") is None


def missing_from(line: str, makefile: str) -> list[str]:
    """Scripts, recipes and make targets that a command line names and that are not there."""
    files = re.findall(r"(?<![\w/])(?:tools|recipes)/[\w/.-]+\.(?:py|yaml)\b", line)
    missing = [name for name in files if not (REPOSITORY / name).is_file()]
    target = re.match(r"\s*make ([a-z][a-z-]*)$|\s*make ([a-z][a-z-]*)\s+[A-Z]+=", line)
    name = target and (target[1] or target[2])
    return [*missing, *([f"make {name}"] if name and f"\n{name}:" not in makefile else [])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_commands_in_the_docs_name_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("it tells of files of earlier versions")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    wrong = [name for line in command_lines(text_of(page)) for name in missing_from(line.strip(), makefile)]
    assert wrong == []


def test_recipes_in_the_docs_have_known_sections() -> None:
    """Fenced YAML of the docs has only keys that a recipe, a devices file or an endpoint has at its top."""
    from polystill.config import Recipe
    from polystill.targets.endpoint import Endpoint

    known = {*Recipe.model_fields, *Endpoint.model_fields, "devices"}
    for page in PAGES:
        for block in re.findall(r"^```yaml\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL):
            values = yaml.safe_load(block)
            assert set(values) <= known, (page.name, set(values) - known)
