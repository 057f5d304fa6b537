"""experiments.kept: finished rows come along without weights, count as finished, and are done again where needed."""

from __future__ import annotations

import io
import json
import lzma
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from experiments import aio_kd_results
from experiments.aio_kd import AioKd, rows_of
from experiments.kept import keep, take, unpacked
from experiments.make import open_study, run_rows
from experiments.page_figures import RESULTS
from experiments.study import Row, load_study, with_begun_seeds
from polystill.errors import UserError

from .test_aio_kd import RECIPES, finish, study_of, values  # noqa: F401 (a fixture)

SCORES = {"e1d1": 17.0, "e2d1": 17.0, "e2d2": 19.0}


def say(line: str) -> None:
    pass


def begun(folder: Path, rows: dict[str, Row], **scores: dict[str, float]) -> None:
    """A study's folder with these rows finished."""
    open_study(folder, "aio-kd").close()
    for name, each in scores.items():
        row = rows[name.replace("_", "-")]
        finish(folder, row, each)
        (folder / row.out / "checkpoints").mkdir()
        (folder / row.out / "checkpoints" / "best.safetensors").write_bytes(b"x" * 5000)
        note = {"label": row.label, "seed": row.seed, "command": row.shown_command()}
        row.note(folder).write_text(json.dumps({**note, "recipe": row.parsed.model_dump(mode="json")}))
        row.stamp(folder).touch()


def named(study: AioKd) -> dict[str, Row]:
    return {row.name: row for row in rows_of(study)}


def brought(study: AioKd, archive: Path, folder: Path, said: list[str] | None = None) -> None:
    with unpacked(archive, "aio-kd") as kept:
        take(rows_of(study), kept, folder, "aio-kd", archive, say if said is None else said.append)


def test_rows_that_the_recipe_does_not_have_are_named(
    values: dict[str, Any],  # noqa: F811
    archives: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    said: list[str] = []
    other = study_of({**values, "strategies": []}, tmp_path)
    brought(other, archives[1], tmp_path / "other", said)
    assert said == [f"{archives[1]}: 2 rows taken; the recipe does not have no-detaching"]


@pytest.fixture
def study(values: dict[str, Any], tmp_path: Path) -> AioKd:  # noqa: F811
    return study_of(values, tmp_path)


@pytest.fixture
def archives(study: AioKd, tmp_path: Path) -> tuple[Path, Path]:
    """Of two machines, on which the same row was trained as well."""
    rows = named(study)
    begun(tmp_path / "one", rows, family=SCORES, alone_e2d2={"e2d2": 19.0}, alone_e1d1={"e1d1": 5.0})
    begun(tmp_path / "two", rows, family_seed2=SCORES, alone_e2d2={"e2d2": 12.0}, no_detaching={**SCORES, "e1d1": 6.0})
    for name in ("one", "two"):
        keep(tmp_path / name, tmp_path / f"{name}.tar.xz", say)
    return tmp_path / "one.tar.xz", tmp_path / "two.tar.xz"


def test_rows_of_two_machines_stand_in_one_table(study: AioKd, archives: tuple[Path, Path], tmp_path: Path) -> None:
    said: list[str] = []
    for archive in archives:
        brought(study, archive, tmp_path / "both", said)
    assert said == [f"{archives[0]}: 3 rows taken", f"{archives[1]}: 2 rows taken, 1 were there"]
    rows = named(study)
    both = tmp_path / "both"
    assert not list(both.rglob("*.safetensors")) and not list(both.rglob("*.source.txt"))
    wanted = [rows[name] for name in ("family", "family-seed2", "no-detaching", "alone-e1d1", "alone-e2d2")]
    run_rows(wanted, rows_of(study), both, "aio-kd", parallel=1, say=said.append, write=lambda final: None)
    assert said[2].startswith("5 rows, 5 of them finished")
    claims = {c.text: c for c in aio_kd_results.write(study, both, rows_of(study), final=True)}
    compared = claims["e1d1 of the family is as good as the same network trained alone (beam 5)"].ours
    assert compared["BLEU"]["low"] > 0 and compared["seeds"] == [1, 2]
    result = json.loads((both / "results.json").read_text())
    assert result["cost_of_ways"]["alone"]["bytes_kept"] == 2000  # of the weights that are not here
    assert {row["bleu"] for row in result["rows"] if row["row"] == "alone-e2d2"} == {19.0}  # the first archive's

    # A call that was killed while it moved a row is repeated.
    rows["family"].stamp(both).unlink()
    (both / "runs" / "family" / "results.json").unlink()
    brought(study, archives[0], both, said)
    assert said[-1].endswith("1 rows taken, 2 were there") and rows["family"].is_written(both)

    # What came from archives is kept again, and a second call takes nothing.
    keep(both, tmp_path / "all.tar.xz", said.append)
    assert said[-1].startswith(f"wrote {tmp_path / 'all.tar.xz'}: 5 rows, 0.0")
    brought(study, tmp_path / "all.tar.xz", both, said)
    assert said[-1].endswith("0 rows taken, 5 were there")


def test_a_row_is_done_again_for_its_weights(
    archives: tuple[Path, Path],
    values: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    text, folder = tmp_path / "text", tmp_path / "new"
    text.mkdir()
    for name in ("train", "validation", "test"):
        for language in ("en", "de"):
            (text / f"{name}.{language}").write_text("\n")  # too little: what is started is seen in the logs
    study = study_of({**values, "data": {**values["data"], "folder": str(text)}}, tmp_path)
    brought(study, archives[0], folder)
    rows, said = named(study), list[str]()
    wanted = [rows[name] for name in ("alone-e1d1", "alone-e2d2", "word-kd-e1d1")]
    with pytest.raises(UserError, match="word-kd-e1d1: needs alone-e2d2"):
        run_rows(wanted, rows_of(study), folder, "aio-kd", parallel=1, say=said.append, write=lambda final: None)
    assert said[0] == "alone-e2d2: is done again for word-kd-e1d1, which needs more of it than an archive has"
    assert said[1].startswith("3 rows, 1 of them finished")
    assert (folder / "logs" / "alone-e2d2.log").exists() and not rows["alone-e2d2"].kept(folder).exists()
    assert rows["alone-e1d1"].is_written(folder) and not rows["alone-e2d2"].is_written(folder)


def test_rows_of_another_recipe_are_refused(
    study: AioKd,
    archives: tuple[Path, Path],
    values: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    longer = study_of({**values, "training": {**values["training"], "learning_rate": 0.5}}, tmp_path)
    message = r"one.tar.xz: family was begun with other settings:\n  training.learning_rate: was .*, now 0.5"
    with pytest.raises(UserError, match=message):
        brought(longer, archives[0], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    wider = study_of({**values, "evaluation": {"beams": [1, 2, 5]}}, tmp_path)
    with pytest.raises(UserError, match=r"evaluation.beams: .*\nits weights were not kept, and nothing more can be"):
        brought(wider, archives[0], tmp_path / "new")
    elsewhere = study_of({**values, "data": {**values["data"], "folder": "/elsewhere"}}, tmp_path)
    brought(elsewhere, archives[0], tmp_path / "new")
    rows = named(elsewhere)
    run_rows([rows["family"]], [], tmp_path / "new", "aio-kd", parallel=1, say=say, write=lambda final: None)


def test_a_further_seed_comes_along(study: AioKd, archives: tuple[Path, Path], tmp_path: Path) -> None:
    one_seed = study.model_copy(update={"more_seeds": {}})
    with unpacked(archives[1], "aio-kd") as kept:
        assert with_begun_seeds(one_seed, kept, ["family"]).more_seeds == {2: ["family"]}


def archive_of(path: Path, *entries: tuple[str, bytes | None]) -> Path:
    """With a link instead of a file where there is no content."""
    with tarfile.open(path, "w:xz") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content or b"")
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry, io.BytesIO(content or b""))
    return path


def test_bad_archives(study: AioKd, archives: tuple[Path, Path], tmp_path: Path) -> None:
    about = ("study.json", b'{"format": 1, "study": "aio-kd"}')

    def refused(match: str, path: Path) -> None:
        with pytest.raises(UserError, match=match):
            brought(study, path, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    made = tmp_path / "made.tar.xz"
    refused("none.tar.xz: no such file", tmp_path / "none.tar.xz")
    refused("link is no ordinary file", archive_of(made, about, ("link", None)))
    refused("damaged, or not written by .*outside", archive_of(made, about, ("../there", b"")))
    assert not (tmp_path / "there").exists()
    refused("damaged, or not written by", archive_of(made))
    refused("holds rows of kim-rush, not of aio-kd", archive_of(made, (about[0], b'{"study": "kim-rush"}')))
    made.write_bytes(archives[0].read_bytes()[:-200])
    refused("damaged, or not written by", made)
    with unpacked(archives[0], "aio-kd") as kept:
        (kept / "runs" / "family" / "results.json").unlink()
        with pytest.raises(UserError, match="damaged, not all of family is there"):
            take(rows_of(study), kept, tmp_path / "new", "aio-kd", archives[0], say)


def test_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        keep(tmp_path, tmp_path / "a.tar.xz", say)
    open_study(tmp_path / "study", "aio-kd").close()
    with pytest.raises(UserError, match="no row is finished yet"):
        keep(tmp_path / "study", tmp_path / "a.tar.xz", say)


@pytest.mark.parametrize("archive", sorted(RESULTS.glob("study-*/rows.tar.xz")), ids=lambda path: path.parent.name)
def test_published_rows_are_those_of_their_recipe(archive: Path, tmp_path: Path) -> None:
    recipe = RECIPES / f"{archive.parent.name.removeprefix('study-')}.yaml"
    study = load_study(AioKd, recipe, None, {})
    brought(study, archive, tmp_path / "study")
    assert list((tmp_path / "study" / "steps").glob("*.done"))


@pytest.mark.parametrize("path", sorted([*RESULTS.rglob("*.json"), *RESULTS.rglob("*.tar.xz")]), ids=str)
def test_published_files_have_no_paths_of_a_machine(path: Path) -> None:
    content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    assert re.search(rb"[\s\"=]/(home|root|tmp|work)/", content) is None
