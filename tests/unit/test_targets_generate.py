"""Generation with a real teacher: whole, resumed, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.targets import store
from polystill.targets.generate import generate_targets
from polystill.targets.job import Compute
from polystill.targets.sources import Text
from polystill.targets.store import Candidate, Entry, TargetSet, read_manifest, shard_path, write_manifest

OPTIONS = DecodingOptions(beam_size=3, n_best=3)


@pytest.fixture
def recipe_file(counting_recipe: dict[str, Any], counting_data: Path, tmp_path: Path) -> Path:
    """The toy corpus' first 60 pairs, some of their sources twice."""
    sources, targets = ((counting_data / f"train.{side}").read_text().splitlines() for side in ("en", "de"))
    pairs = list(dict(zip(sources, targets, strict=True)).items())[:60]
    pairs += [(source, f"null {target}") for source, target in pairs[:5]]
    for i, side in enumerate(("en", "de")):
        (tmp_path / f"small.{side}").write_text("".join(f"{pair[i]}\n" for pair in pairs))
    train = {"kind": "text", "source": str(tmp_path / "small.en"), "target": str(tmp_path / "small.de")}
    counting_recipe["data"] |= {"train": [train], "cleaning": {"max_ratio": 20}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(counting_recipe))
    return path


@pytest.fixture
def generate(counting_student: Path, recipe_file: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(out: str = "out", **changes: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "teachers": [counting_student],
            "text": Text(run=recipe_file),
            "options": DecodingOptions(n_best=3) if changes.get("teachers", [Path()])[0].is_file() else OPTIONS,
            "compute": Compute(threads=1),
            "shard_size": 20,
            "say": lambda line: None,
            **changes,
        }
        return generate_targets(out=tmp_path / out, **arguments)

    return run


def entries(folder: Path) -> list[Entry]:
    return list(TargetSet.open(folder).entries())


def test_a_corpus_is_translated_whole(generate: Any, tmp_path: Path, recipe_file: Path) -> None:
    manifest = generate()
    found = entries(tmp_path / "out")
    lines = (tmp_path / "small.en").read_text().splitlines()
    references = (tmp_path / "small.de").read_text().splitlines()
    assert sorted(i for entry in found for i in entry.ids) == list(range(65))
    assert [len(entry.ids) for entry in found[:6]] == [2] * 5 + [1]
    for entry in found:
        assert [lines[i] for i in entry.ids] == [entry.source] * len(entry.ids)
        assert [references[i] for i in entry.ids] == entry.references
        assert len(entry.hypotheses) + entry.filtered == 3
        scores = [h.score for h in entry.hypotheses if h.score is not None]
        assert scores == sorted(scores, reverse=True) and len(scores) == len(entry.hypotheses)
    assert manifest["plan"]["engine"] == "ctranslate2" and manifest["plan"]["beam"] == 3
    assert [shard["sources"] for shard in manifest["shards"]] == [20, 20, 20]
    counts = manifest["filter"]
    assert counts["hypotheses"] == 180 == counts["kept"] + sum(counts["dropped"].values())
    assert counts["kept"] == sum(len(entry.hypotheses) for entry in found)
    assert not (tmp_path / "out/.scratch").exists()


def test_what_is_done_is_not_done_again(generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after a shard, with another one lost, and started again: the same content, and nothing done twice."""
    generate("whole")
    written = store.write_shard

    def stop(folder: Path, number: int, *arguments: Any) -> None:
        written(folder, number, *arguments)
        if number == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        generate()
    monkeypatch.undo()
    with pytest.raises(UserError, match="not finished"):
        TargetSet.open(tmp_path / "out")
    spent = store.read_manifest(tmp_path / "out")["cost"]
    assert min(spent["seconds"], spent["cpu_seconds"]) > 0
    shard_path(tmp_path / "out", 0).unlink()
    before = shard_path(tmp_path / "out", 1).stat().st_mtime_ns
    assert all(after > spent[figure] for figure, after in generate()["cost"].items())
    assert shard_path(tmp_path / "out", 1).stat().st_mtime_ns == before
    assert entries(tmp_path / "out") == entries(tmp_path / "whole")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("[!.]*.*")}
    generate()  # finished already
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("[!.]*.*")} == stamps


def test_a_shard_that_was_lost_is_made_again(generate: Any, tmp_path: Path) -> None:
    whole = generate()
    before = entries(tmp_path / "out")
    shard_path(tmp_path / "out", 1).unlink()
    with pytest.raises(UserError, match="generate"):
        entries(tmp_path / "out")
    again = generate()
    assert entries(tmp_path / "out") == before
    changing = ("cost", "provenance")
    assert {k: v for k, v in again.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }


def test_where_the_filters_leave_nothing_it_is_said(generate: Any, tmp_path: Path) -> None:
    lines = (tmp_path / "small.en").read_text().splitlines()
    tsv = tmp_path / "copies.tsv"
    tsv.write_text("".join(f"{line}\t{line}\n" for line in lines))
    for _ in range(2):  # when it is made, and when it is there
        with pytest.raises(UserError, match=r"out: the filters left none of 60 translations \(identical 60\)"):
            generate(teachers=[tsv])
    with pytest.raises(UserError, match="these targets are not finished"):  # what trains on targets does not take it
        TargetSet.open(tmp_path / "out")


def test_an_attempt_that_failed_at_once_does_not_hold_the_folder(generate: Any, tmp_path: Path) -> None:
    lines = (tmp_path / "small.en").read_text().splitlines()
    tsv = tmp_path / "have.tsv"
    tsv.write_text(f"{lines[0]}\n")
    with pytest.raises(UserError, match=r"have\.tsv: line 1: no translation"):
        generate(teachers=[tsv])
    tsv.write_text("".join(f"{line}\tdies ist {i}\n" for i, line in enumerate(lines)))
    assert generate(teachers=[tsv])["finished"]
    tsv.write_text("".join(f"{line}\tdas ist {i}\n" for i, line in enumerate(lines)))
    with pytest.raises(UserError, match=r"was begun with teachers \S*have\.tsv \(sha256 .*give another folder"):
        generate(teachers=[tsv])


def test_workers_make_no_difference(generate: Any, tmp_path: Path) -> None:
    generate("one")
    generate("two", compute=Compute(workers=2, threads=1))
    assert entries(tmp_path / "one") == entries(tmp_path / "two")


def test_a_text_without_references(generate: Any, tmp_path: Path) -> None:
    (tmp_path / "mono").write_text("one two\n\nthree\none two\n")
    manifest = generate(text=Text(source=tmp_path / "mono", languages=("en", "de")), options=DecodingOptions(2))
    found = entries(tmp_path / "out")
    assert [(entry.ids, entry.source, entry.references) for entry in found] == [
        ([0, 3], "one two", []),
        ([2], "three", []),
    ]
    assert manifest["plan"]["source"]["kind"] == "text" and manifest["sentences"] == 3


@pytest.mark.parametrize(
    ("of_teacher", "languages", "shown"),
    [
        (("en", "fr"), ("en", "de"), "en–fr, but en–de is needed"),
        (("de", "en"), ("en", "de"), "de–en, but en–de is needed"),
        (("eng", "deu"), ("en", "ja"), "eng–deu, but en–ja is needed"),
        (("en", "de"), ("eng_Latn", "fra_Latn"), "en–de, but eng_Latn–fra_Latn is needed"),
        (("en", "de"), (None, "fr"), "en–de, but en–fr is needed"),
    ],
)
def test_a_teacher_of_another_language_pair_is_refused_first(
    generate: Any, counting_student: Path, tmp_path: Path, of_teacher: Any, languages: Any, shown: str
) -> None:
    teacher = Path(shutil.copytree(counting_student, tmp_path / "teacher"))
    _set_languages(teacher, *of_teacher)
    (tmp_path / "mono").write_text("one two\n")
    with pytest.raises(UserError, match=f"^{teacher}: this is for {shown}"):
        generate(teachers=[teacher], text=Text(source=tmp_path / "mono", languages=languages))
    assert not (tmp_path / "out").exists()


def test_the_recipes_languages_count_and_groups_of_languages_pass(
    generate: Any, counting_student: Path, tmp_path: Path
) -> None:
    teacher = Path(shutil.copytree(counting_student, tmp_path / "teacher"))
    _set_languages(teacher, "en", "fr")
    with pytest.raises(UserError, match=f"^{teacher}: this is for en–fr, but en–de is needed"):
        generate(teachers=[counting_student, teacher])
    for source, target in (("eng", "GEM"), ("mul", "de"), ("en", "deu")):
        _set_languages(teacher, source, target)
        generate(f"{source}-{target}", teachers=[teacher])


def test_settings_change_the_recipe(generate: Any, tmp_path: Path, recipe_file: Path) -> None:
    generate(text=Text(run=recipe_file, settings=["data.first_pairs=7"]))
    assert sorted(i for entry in entries(tmp_path / "out") for i in entry.ids) == list(range(7))
    with pytest.raises(UserError, match=r"^--set seed=2: only a recipe can be changed; give one with --run$"):
        generate("other", text=Text(source=tmp_path / "small.en", settings=["seed=2"]))
    assert not (tmp_path / "other").exists()


def test_languages_that_are_not_the_recipes_are_refused(generate: Any, tmp_path: Path, recipe_file: Path) -> None:
    with pytest.raises(UserError, match=r"--target-language: this is for en–fra_Latn, but en–de is needed"):
        generate(text=Text(run=recipe_file, languages=("en", "fra_Latn")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_teacher_that_does_not_say_its_languages_is_stopped_soon(
    generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("polystill.targets.generate.HOPELESS", 20)
    lines = [f"one {i}" for i in range(60)]
    (tmp_path / "mono").write_text("".join(f"{line}\n" for line in lines))
    german = ["eins"] * kept + ["один"] * 60
    (tmp_path / "mono.tsv").write_text("".join(f"{line}\t{german[i]} {i}\n" for i, line in enumerate(lines)))
    text = Text(source=tmp_path / "mono", languages=("en", "de"))
    if kept:
        assert generate(text=text, teachers=[tmp_path / "mono.tsv"])["filter"]["kept"] == 1
        return
    message = r"the filters left none of the first 20 translations \(wrong_script 20\); check .* translates en to de"
    with pytest.raises(UserError, match=message):
        generate(text=text, teachers=[tmp_path / "mono.tsv"])
    assert [path.name for path in (tmp_path / "out/shards").iterdir()] == [shard_path(tmp_path, 0).name]


def _set_languages(folder: Path, source: str, target: str) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    changed = {**config, "source_lang": source, "target_lang": target}
    (folder / "tokenizer_config.json").write_text(json.dumps(changed))


def test_languages_that_nobody_says_are_the_teachers_own_or_warned_of(generate: Any, tmp_path: Path) -> None:
    (tmp_path / "mono").write_text("one two\nthree\n")
    (tmp_path / "mono.tsv").write_text("one two\tодин два\nthree\tтри\n")
    said: list[str] = []
    text = Text(source=tmp_path / "mono")
    assert generate("model", text=text, say=said.append)["plan"]["languages"] == ["en", "de"]
    assert not any("languages" in line for line in said)
    assert generate("file", text=text, teachers=[tmp_path / "mono.tsv"], say=said.append)["filter"]["kept"] == 2
    assert any(line.startswith("warning: the languages are not known") for line in said)
    german = Text(source=tmp_path / "mono", languages=("eng_Latn", "deu_Latn"))
    with pytest.raises(UserError, match="wrong_script 2"):
        generate("german", text=german, teachers=[tmp_path / "mono.tsv"])


def test_translations_that_were_cut_are_left_out(generate: Any, tmp_path: Path) -> None:
    (tmp_path / "mono").write_text("one two three four\nfive\n")
    manifest = generate(text=Text(source=tmp_path / "mono"), options=DecodingOptions(2, max_length=3))
    assert manifest["filter"]["dropped"]["cut"] == 1
    assert [entry.hypotheses == [] for entry in entries(tmp_path / "out")] == [True, False]


@pytest.mark.parametrize("engine", ["ctranslate2", "torch"])
def test_translations_of_sources_that_were_cut_are_left_out(
    engine: Literal["ctranslate2", "torch"], generate: Any, tmp_path: Path
) -> None:
    spaces = " " * 64 * 256  # more than is tokenised, so that what is translated is "one", which ends
    (tmp_path / "mono").write_text(f"one{spaces}two\none\n")
    manifest = generate(
        text=Text(source=tmp_path / "mono"), options=DecodingOptions(2), compute=Compute(threads=1, engine=engine)
    )
    assert manifest["filter"]["dropped"]["cut"] == 1
    assert [entry.hypotheses == [] for entry in entries(tmp_path / "out")] == [True, False]


def test_a_file_of_translations(generate: Any, tmp_path: Path) -> None:
    lines = (tmp_path / "small.en").read_text().splitlines()
    tsv = tmp_path / "have.tsv"
    tsv.write_text("".join(f"{line}\tdies ist {i}\tdas ist {i}\n" for i, line in enumerate(lines)))
    generate(teachers=[tsv])
    first = entries(tmp_path / "out")[0]
    assert first.ids == [0, 60] and first.hypotheses == [Candidate("dies ist 0"), Candidate("das ist 0")]
    generate("best", teachers=[tsv], options=DecodingOptions(5))
    assert entries(tmp_path / "best")[0].hypotheses == [Candidate("dies ist 0")]
    with pytest.raises(UserError, match=r"have\.tsv: translations are not made but read; leave out --engine"):
        generate("how", teachers=[tsv], compute=Compute(precision="int8"))
    with pytest.raises(UserError, match=r"leave out .*--beam"):
        generate("how", teachers=[tsv], options=DecodingOptions(7))
    tsv.write_text("".join(f"{line}\tx\n" for line in lines[:30] + lines[31:]))
    with pytest.raises(UserError, match=f"have.tsv: no translation of '{lines[30]}' from line 31 on"):
        generate("missing", teachers=[tsv])
    tsv.write_text("".join(f"{line}\t{'' if i == 30 else 'x'}\n" for i, line in enumerate(lines)))
    with pytest.raises(UserError, match=f"have.tsv: line 31: no translation of '{lines[30]}'"):
        generate("empty", teachers=[tsv])


def test_a_folder_for_other_languages_or_of_another_vocabulary_is_refused(
    generate: Any, counting_student: Path, tmp_path: Path, recipe_file: Path
) -> None:
    teacher = shutil.copytree(counting_student, tmp_path / "teacher")
    german = Text(run=recipe_file, languages=("eng_Latn", "deu_Latn"))
    assert generate(teachers=[teacher], text=german)["finished"]
    with pytest.raises(UserError, match=r"teachers' languages .*deu_Latn.* not .*deu_Goth"):
        generate(teachers=[teacher], text=Text(run=recipe_file, languages=("eng_Latn", "deu_Goth")))
    vocabulary = teacher / "vocab.json"
    vocabulary.write_text(vocabulary.read_text() + "\n")
    with pytest.raises(UserError, match="was begun with teachers "):
        generate(teachers=[teacher], text=german)


def test_a_folder_of_another_plan_is_refused(generate: Any, tmp_path: Path, recipe_file: Path) -> None:
    generate()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("[!.]*.*")}
    with pytest.raises(UserError, match="was begun with beam 3, n_best 3, not with beam 2, n_best 1"):
        generate(options=DecodingOptions(2))
    (tmp_path / "small.en").write_text((tmp_path / "small.en").read_text().replace("one", "eleven"))
    with pytest.raises(UserError, match=r"was begun with source of 65 sentences \(sha256 .*not with source of 65"):
        generate()
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("[!.]*.*")} == before


def test_a_shard_from_another_generation_is_refused(generate: Any, tmp_path: Path) -> None:
    generate("other", options=DecodingOptions(2))
    generate()
    write_manifest(tmp_path / "out", {**read_manifest(tmp_path / "out"), "finished": False})
    shutil.copy(shard_path(tmp_path / "other", 0), shard_path(tmp_path / "out", 0))
    with pytest.raises(UserError, match="was made of another source, by another teacher or with another search"):
        generate()


def test_killed_while_its_first_file_was_written(generate: Any, tmp_path: Path) -> None:
    (tmp_path / "out/.scratch").mkdir(parents=True)
    for name in (".lock", ".manifest.json.tmp-0123abcd"):
        (tmp_path / "out" / name).touch()
    (tmp_path / "done.tsv").write_text("".join(f"one {i}\teins {i}\n" for i in range(9)))
    (tmp_path / "text").write_text("".join(f"one {i}\n" for i in range(9)))
    generate(teachers=[tmp_path / "done.tsv"], text=Text(source=tmp_path / "text"))
    assert len(entries(tmp_path / "out")) == 9
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "manifest.json", "shards"]


def test_mistakes_before_anything_is_written(
    generate: Any, counting_student: Path, tmp_path: Path, recipe_file: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    (tmp_path / "mine/done.tsv").write_text("one\teins\n")
    for changes, message in (
        ({"text": Text()}, "give one of --run"),
        ({"text": Text(run=recipe_file, source=recipe_file)}, "give one of --run"),
        ({"teachers": [tmp_path / "nobody"]}, "nobody: no such folder"),
        ({"teachers": [tmp_path / "nobody.tsv"]}, "nobody.tsv: no such model's folder or file of translations"),
        ({"text": Text(run=tmp_path / "nowhere.yaml")}, "no such recipe"),
        (
            {"teachers": [counting_student, tmp_path / "mine/done.tsv"]},
            r"done\.tsv: a file of translations cannot be part of an ensemble",
        ),
    ):
        with pytest.raises(UserError, match=message):
            generate(**changes)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"mine: holds .* and no generated targets"):
        generate("mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["done.tsv", "letter.txt"]
