"""`polystill init`: what it reads, draws, chooses and refuses. The system test runs what it writes."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from polystill.config import load_recipe
from polystill.data.held_out import likeness
from polystill.drafting import draft as drafting
from polystill.drafting.choice import SHAPES, choose, smaller_shape
from polystill.drafting.draft import Request, draft_recipe
from polystill.drafting.text import languages_of, size_of_sets, sources_of
from polystill.errors import UserError
from polystill.pipeline import check_recipe

SYLLABLES = ["ba", "ke", "li", "mo", "nu", "pra", "sten", "tri", "vo", "wal", "xen", "zo", "dra", "fi", "gro", "hul"]
WORDS = [one + other for one in SYLLABLES for other in SYLLABLES]


def sentences(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Pairs that a network could learn, with repetitions among short ones."""
    generator = random.Random(seed)
    rows = [[generator.choice(WORDS) for _ in range(generator.randint(1, 8))] for _ in range(count)]
    return [(" ".join(row).capitalize(), " ".join(f"{word[::-1]}o" for word in row)) for row in rows]


def write_text(folder: Path, pairs: list[tuple[str, str]], names: tuple[str, str] = ("a.en", "a.pt")) -> list[Path]:
    for i, name in enumerate(names):
        (folder / name).write_text("".join(f"{pair[i]}\n" for pair in pairs), encoding="utf-8")
    return [folder / name for name in names]


@pytest.fixture(scope="module", autouse=True)
def few_updates_are_timed() -> Iterator[None]:
    """The time that `init` takes to tell how long a training will take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drafting, "_ENOUGH_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder drafted from 600 pairs, and what was said."""
    folder = tmp_path_factory.mktemp("drafted")
    said: list[str] = []
    files = write_text(folder, sentences(600))
    assert draft_recipe(Request(files), folder / "mine", said.append) == folder / "mine" / "recipe.yaml"
    return folder, said


# --- files and languages ----------------------------------------------------------------------------------------------


def test_kinds_and_languages_by_the_files_names(tmp_path: Path) -> None:
    files = write_text(tmp_path, sentences(1), ("train.en.gz", "train.pt_BR.gz"))
    assert languages_of(files, None, None) == ("en", "pt-BR")
    assert languages_of(files, None, "gl") == ("en", "gl")
    with pytest.raises(UserError, match=r"train\.src: does not state its languages; give --from"):
        languages_of([tmp_path / "train.src", tmp_path / "train.tgt"], None, None)
    assert sources_of(files) == [{"kind": "text", "source": str(files[0]), "target": str(files[1])}]
    several = [tmp_path / name for name in ("a.tsv.gz", "b.TMX", "c.po", "d.xlf")]
    for path in several:
        path.write_text("")
    assert [source["kind"] for source in sources_of(several)] == ["tsv", "tmx", "po", "xliff"]


def test_documents_state_their_languages(tmp_path: Path) -> None:
    (tmp_path / "a.xlf").write_text('<xliff version="1.2"><file source-language="en" target-language="de"/></xliff>')
    assert languages_of([tmp_path / "a.xlf"], None, None) == ("en", "de")
    (tmp_path / "a.po").write_text('msgid ""\nmsgstr "Language: uk\\n"\n')
    assert languages_of([tmp_path / "a.po"], "en", None) == ("en", "uk")
    (tmp_path / "latin.po").write_text('msgid ""\nmsgstr "Language: sr@latin\\n"\n')
    assert languages_of([tmp_path / "latin.po"], "en", None) == ("en", "sr-Latn")
    with pytest.raises(UserError, match=r"a\.po: does not state its languages; give --from"):
        languages_of([tmp_path / "a.po"], None, None)


@pytest.mark.parametrize(
    ("names", "languages", "problem"),
    [
        (["a.en", "none.pt"], {}, r"none\.pt: no such file"),
        (["a.en"], {}, r"a\.en: expected two text files"),
        (["a.en", "a.pt", "few.pt"], {}, r"a\.en, .*few\.pt: expected two text files; a comma joins the two of a set"),
        (["a.tsv"], {"target_language": "pt"}, r"a\.tsv: does not state its languages; give --from"),
        (["a.en", "a.pt"], {"target_language": "en"}, r"both sides are of the same language"),
        (["a.en", "a.pt"], {"target_language": "Portuguese!"}, r"--to Portuguese!: not a language code"),
        (["a.en", "a.en"], {"target_language": "pt"}, r"given twice"),
        (["a.en", "short.pt"], {}, r"a\.en: 60 lines, but .*short\.pt has 10"),
        (["empty.en", "empty.pt"], {}, r"empty\.en: empty corpus"),
        (["a.csv"], {"source_language": "en", "target_language": "pt"}, r"a\.csv: expected two text files"),
        (["a.po.gz"], {"source_language": "en"}, r"a\.po\.gz: PO and XLIFF files are not read compressed; unpack it"),
        (["few.en", "few.pt"], {}, r"of 10 pairs can be used; at least 50 are needed"),
        (["a.en", "a.pt"], {"validation": ["a.tsv", "b.tsv"]}, r"--validation .*b\.tsv: one set only; join the files"),
        (["a.en", "a.pt"], {"source_language": "ru"}, r"not in the scripts of ru and pt; are --from and --to right"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, names: list[str], languages: dict[str, Any], problem: str
) -> None:
    write_text(tmp_path, sentences(60))
    write_text(tmp_path, sentences(10), ("few.en", "few.pt"))
    write_text(tmp_path, sentences(10), ("short.en", "short.pt"))
    write_text(tmp_path, [], ("empty.en", "empty.pt"))
    for name in ("a.csv", "a.tsv", "b.tsv", "a.po.gz"):
        (tmp_path / name).write_text("a\tb\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=problem) as caught:
        files = {key: [tmp_path / name for name in value] for key, value in languages.items() if key == "validation"}
        request = Request([tmp_path / name for name in names], **{**languages, **files})
        draft_recipe(request, tmp_path / "mine", lambda line: None)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_overwritten(drafted: tuple[Path, list[str]]) -> None:
    folder, _ = drafted
    before = {path: path.read_bytes() for path in (folder / "mine").iterdir()}
    with pytest.raises(UserError, match=r"mine: exists already; give a new folder"):
        draft_recipe(Request([folder / "a.en", folder / "a.pt"]), folder / "mine", lambda line: None)
    assert {path: path.read_bytes() for path in (folder / "mine").iterdir()} == before


# --- what is drawn ----------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_drawn_sets_share_no_side_with_each_other(drafted: tuple[Path, list[str]]) -> None:
    folder = drafted[0] / "mine"
    for language in ("en", "pt"):
        validation, test = (
            {likeness(line) for line in lines(folder / f"{name}.{language}")} for name in ("validation", "test")
        )
        assert len(validation) == len(test) == len(lines(folder / f"test.{language}"))
        assert not validation & test
    pairs = set(zip(lines(drafted[0] / "a.en"), lines(drafted[0] / "a.pt"), strict=True))
    assert set(zip(lines(folder / "test.en"), lines(folder / "test.pt"), strict=True)) <= pairs


def test_the_recipe_is_complete_and_trains_on_nothing_held_out(drafted: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, said = drafted
    recipe = load_recipe(folder / "mine" / "recipe.yaml")
    assert len(check_recipe(recipe).candidates) == 6
    recipe.refuse_ignored_keys()
    from polystill.data.prepare import prepare_data

    record = prepare_data(recipe, tmp_path / "data", log=lambda line: None)
    assert record["leakage"] == {name: {"sources": 0, "pairs": 0} for name in ("validation", "test/test")}
    assert record["dropped"]["held_out"] > 0
    assert any(f"{record['dropped']['held_out']:,} training pairs are left out" in line for line in said)


def test_what_is_said_and_why(drafted: tuple[Path, list[str]]) -> None:
    folder, said = drafted
    text = "\n".join(said)
    assert "600 pairs, of which" in text and "duplicate" in text
    assert "s an update" in text and "updates of 1,024 tokens" in text
    assert "too few to learn a language from" in text and "docs/opus-mt.md" in text
    comments = [line for line in lines(folder / "mine" / "recipe.yaml") if "#" in line]
    assert len(comments) > 15
    assert any(" s each on " in line for line in comments)


def test_given_sets_are_used_as_they_are(tmp_path: Path) -> None:
    files = write_text(tmp_path, sentences(300))
    valid = write_text(tmp_path, sentences(20, seed=2), ("valid.en", "valid.pt"))
    test = tmp_path / "test.tsv"
    test.write_text("".join(f"{source}\t{target}\n" for source, target in sentences(20, seed=3)))
    recipe = draft_recipe(Request(files, validation=valid, test=[test]), tmp_path / "mine", lambda line: None)
    data = load_recipe(recipe).data
    assert data.validation.source == str(valid[0])  # type: ignore[union-attr]
    assert data.test["test"].path == str(test)  # type: ignore[union-attr]
    assert [path.name for path in recipe.parent.iterdir()] == ["recipe.yaml"]


def test_a_limit_of_time_is_kept(tmp_path: Path) -> None:
    files = write_text(tmp_path, sentences(300))
    said: list[str] = []
    draft_recipe(Request(files, hours=0.01), tmp_path / "mine", said.append)
    stages = yaml.safe_load((tmp_path / "mine" / "recipe.yaml").read_text())["stages"]
    (per_update,) = [float(line.split(": ")[1].split()[0]) for line in said if "s an update" in line]
    updates = sum(stage["updates"] for stage in stages)
    assert updates * per_update <= 36 * 1.01 or updates == 20  # the least, on a busy machine
    assert "limited to 0.01 h" in "\n".join(said)


def test_languages_that_yaml_would_misread(tmp_path: Path) -> None:
    files = write_text(tmp_path, sentences(100), ("a.en", "a.no"))
    recipe = load_recipe(draft_recipe(Request(files), tmp_path / "mine", lambda line: None))
    assert recipe.data.target_language == "no"


# --- what is chosen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "shape", "vocabulary", "batch_tokens", "set_size"),
    [
        (300, None, 450, 1024, 15),
        (100, None, 450, 1024, 5),
        (30_000, "tiny", 4_000, 1024, 1_500),
        (100_000, "tiny", 8_000, 1024, 1_500),
        (1_000_000, "tiny", 16_000, 2048, 1_500),
        (5_000_000, "base-memory", 32_000, 8192, 1_500),
        (50_000_000, "base", 32_000, 8192, 1_500),
    ],
)
def test_sizes_follow_the_text(
    pairs: int, shape: str | None, vocabulary: int, batch_tokens: int, set_size: int
) -> None:
    choice = choose(words=12 * pairs, characters=130 * pairs, alphabet=90)
    assert (choice.shape.model.get("preset"), choice.vocabulary, choice.batch_tokens) == (
        shape,
        vocabulary,
        batch_tokens,
    )
    assert size_of_sets(pairs) == set_size


def test_an_alphabet_of_thousands_needs_a_vocabulary() -> None:
    choice = choose(words=1e6, characters=2_000_000, alphabet=4_000)
    assert choice.vocabulary == 8_000 and choice.character_coverage == 0.9995


def test_updates_follow_from_epochs_and_limits() -> None:
    choice = choose(words=1e6, characters=12_000_000, alphabet=90).with_epochs(batches=500)
    assert choice.updates == 15_000 and choice.epochs == 30
    assert choice.stage_updates == {"smallest": 3_750, "largest": 3_750, "distillation": 6_000, "mutual": 1_500}
    assert sum(replace(choice, updates=22).stage_updates.values()) == 22
    limited = choice.within(seconds=1_000, update=0.5, validation=1, batches=500)
    assert limited.validations == 20 and limited.updates == 1_952 and limited.epochs == pytest.approx(3.9, abs=0.1)
    assert limited.seconds(update=0.5, validation=1) == 1_000
    slow = choice.within(seconds=1_000, update=0.5, validation=40, batches=500)
    assert slow.validations == 2 and slow.seconds(update=0.5, validation=40) == 1_000
    assert choice.within(seconds=1e9, update=0.5, validation=1, batches=500) == choice
    assert choice.within(seconds=1, update=0.5, validation=1, batches=500).updates == 20
    assert choose(1e3, 1e4, 60).with_epochs(batches=3).updates == 1_000
    smaller = smaller_shape(choice)
    assert smaller is not None and smaller.shape is SHAPES[0] and smaller_shape(smaller) is None


def test_gzip_is_read(tmp_path: Path) -> None:
    files = [tmp_path / "a.en.gz", tmp_path / "a.pt.gz"]
    for i, path in enumerate(files):
        path.write_bytes(gzip.compress("".join(f"{pair[i]}\n" for pair in sentences(100)).encode()))
    assert draft_recipe(Request(files), tmp_path / "mine", lambda line: None).is_file()
