"""config: recipes are checked before any work, and errors say what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from polystill.config import Precision, load_recipe, parse_recipe
from polystill.errors import UserError
from polystill.objectives.aio_kd import AioKd
from polystill.students import Student

MINIMAL: dict[str, Any] = {
    "data": {"train": [{"kind": "synthetic"}], "validation": {"kind": "synthetic", "split": "validation"}},
    "stages": [{"name": "one", "updates": 10}],
}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


def stage_objective(**objective: Any) -> dict[str, Any]:
    return {"stages": [{"name": "one", "updates": 1, "objective": objective}]}


NLL = {"objective": {"kind": "nll", "students_per_step": 1}}


def two_supernets(*stages: dict[str, Any]) -> dict[str, Any]:
    return {
        "supernets": {"tiny": {"d_model": 64, "heads": 4}},
        "stages": [{"name": f"s{i}", "updates": 1, **stage} for i, stage in enumerate(stages)],
    }


TAUGHT = {"kind": "word_kd", "students_per_step": 2}


def error(values: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse_recipe({**MINIMAL, **values}, "my.yaml")
    return str(caught.value)


def test_defaults_are_the_published_settings() -> None:
    recipe = parse_recipe(MINIMAL, "test")
    objective = recipe.objective
    assert isinstance(objective, AioKd)
    assert (objective.kd_weight, objective.ce_weight) == (5.5, 1.0)
    assert (objective.mutual_weight, objective.detach_threshold) == (0.5, 1.1)
    assert (objective.students_per_step, objective.label_smoothing) == (2, 0.1)
    assert (recipe.training.betas, recipe.training.schedule) == ((0.9, 0.98), "inverse_sqrt")
    assert len(recipe.students.space(recipe.model.teacher).candidates) == 15


def test_a_default_precision_is_named_as_results_name_it() -> None:
    assert parse_recipe({**MINIMAL, "evaluation": {"precision": "default"}}, "test").evaluation.precision == "float32"


def test_a_training_may_have_any_of_the_precisions_or_leave_it_to_the_machine() -> None:
    for precision in ("auto", *get_args(Precision)):
        assert parse_recipe({**MINIMAL, "training": {"precision": precision}}, "test").training.precision == precision
    assert "'auto', 'fp32', 'bf16' or 'fp16'" in error({"training": {"precision": "fp8"}})


def test_recipe_survives_a_round_trip(recipe_file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file, ["students.only=[e1d1, e2d1]", "training.betas=[0.9, 0.999]"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(copy) == recipe


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        ({}, "data.alignment: the key 'kind' is missing; there are: ibm pharaoh"),
        ({"kind": "ibn"}, "data.alignment: unknown kind 'ibn' (did you mean 'ibm'?); there are: ibm pharaoh"),
        ({"kind": "pharaoh"}, "data.alignment.files: Field required"),
        ({"kind": "pharaoh", "files": ["a"], "fils": 1}, "unknown key 'data.alignment.fils' (did you mean 'files'?)"),
    ],
)
def test_mistakes_in_alignment_are_named(alignment: dict[str, Any], message: str) -> None:
    text = {"kind": "text", "source": "a", "target": "b"}
    data = {"train": [text], "validation": text, "alignment": alignment}
    with pytest.raises(UserError) as caught:
        parse_recipe({"data": data, "stages": [{"name": "a", "updates": 1}]}, "my.yaml")
    assert str(caught.value) == f"my.yaml: {message}"


def test_unknown_key_names_file_field_and_the_nearest() -> None:
    assert error({"training": {"learning_rat": 1}}) == (
        "my.yaml: unknown key 'training.learning_rat' (did you mean 'learning_rate'?)"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"d_model": 1}}, "'training.d_model' (it belongs under 'model')"),
        ({"model": {"seed": 1}}, "'model.seed' (it belongs at the top, under no other key)"),
        ({"stages": [{"name": "a", "updates": 1, "lr": 1}]}, "'stages.0.lr'"),
        ({"stages": [{"name": "a", "updates": 1, "learnin_rate": 1}]}, "'stages.0.learnin_rate' (did you mean 'lear"),
        (stage_objective(kd_wieght=1), "'stages.0.objective.kd_wieght' (did you mean 'kd_weight'?)"),
        (
            {"data": {**MINIMAL["data"], "train": [{"kind": "tsv", "path": "x", "source": "y"}]}},
            "'data.train.0.source' (did you mean 'source_column'?)",
        ),
        (
            {"data": {**MINIMAL["data"], "test": {"synthetic": {"kind": "synthetic", "pair": 1}}}},
            "'data.test.synthetic.pair' (did you mean 'pairs'?)",
        ),
    ],
)
def test_hints_are_keys_of_the_same_section_or_name_the_other(values: dict[str, Any], message: str) -> None:
    given = error(values)
    assert message in given
    assert "'stages.0.lr'" not in given or "did you mean" not in given


def test_several_mistakes_are_reported_together() -> None:
    lines = error({"model": {"d_model": "big", "dropout": 2}, "sed": 3}).splitlines()
    assert len(lines) == 3
    assert any("model.d_model" in line and "'big'" in line for line in lines)
    assert any("model.dropout" in line for line in lines)
    assert any("'sed' (did you mean 'seed'?)" in line for line in lines)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": {"d_model": 100, "heads": 3}}, "d_model 100 must be even and divisible by heads 3"),
        ({"model": {"architecture": "lstn"}}, "model.architecture"),
        ({"model": {"architecture": "lstm", "heads": 8}}, "heads: an lstm has none"),
        ({"model": {"architecture": "lstm", "preset": "tiny"}}, "preset"),
        (
            {"model": {"architecture": "lstm"}, "evaluation": {"engine": "ctranslate2"}},
            "evaluation.engine: CTranslate2 has no LSTM",
        ),
        ({"stages": []}, "stages"),
        ({"stages": [{"name": "a", "updates": 1}, {"name": "a", "updates": 1}]}, "a name of its own"),
        ({"stages": [{"name": "a", "updates": 0}]}, "stages.0.updates"),
        ({"stages": [{"name": "a", "updates": 1, "objective": {"mutual": "half"}}]}, "mutual"),
        ({"stages": [{"name": "a", "updates": 1, "networks": "teacher"}]}, "stages.0.networks"),
        (
            {
                "stages": [
                    {"name": "a", "updates": 1},
                    {"name": "b", "updates": 1, "networks": "smallest"},
                ]
            },
            "stages.1.networks: the last stage (b) trains the smallest networks alone, which harms the students",
        ),
        (
            {"stages": [{"name": "a", "updates": 1, "networks": "smallest"}]},
            "stages.0.networks: there is no smallest network, because no stage trains students",
        ),
        (two_supernets({"supernets": "both"}), "stages.0.supernets"),
        ({"stages": [{"name": "a", "updates": 1, "supernets": "further"}]}, "stages.0.supernets: further, but"),
        (
            two_supernets({"supernets": "further", "objective": TAUGHT}, {"supernets": "first"}),
            "stages.0.supernets: the largest network of the first supernet, which teaches stage s0, is trained by no",
        ),
        (
            two_supernets(
                {"supernets": "first", "networks": "smallest"},
                {"supernets": "further", "objective": TAUGHT},
                {"supernets": "first"},
            ),
            "stages.1.supernets: the largest network of the first supernet, which teaches stage s1, is trained by no",
        ),
        (
            two_supernets({"supernets": "first"}, {"pruning": {"sparsity": 0.5}}),
            "stages.1.pruning: no stage before s1 trains supernets.tiny; prune in a later stage",
        ),
        (two_supernets({}, {"supernets": "further"}), "stages.1.supernets: aio_kd trains the teacher"),
        (two_supernets({"supernets": "first"}), "stages: none trains supernets.tiny"),
        (
            two_supernets({"supernets": "first", "networks": "largest"}, {"supernets": "further", **NLL}),
            "stages.0.networks: the last stage (s0) trains the largest networks alone",
        ),
        (
            two_supernets({}, {"supernets": "further", "pruning": {"sparsity": 0.5}, **NLL}),
            "stages.1.supernets: pruning prunes all supernets, and stage s1 trains only some",
        ),
        (
            two_supernets({}, {"pruning": {"sparsity": 0.5}}, {"supernets": "further", **NLL}),
            "stages.2.supernets: a stage before prunes all supernets and has their zeros held from then on",
        ),
        (
            two_supernets({"pruning": {"sparsity": 0.8}}, {"pruning": {"sparsity": 0.5}}),
            "stages.1.pruning.sparsity: 0.5, but a stage before prunes to 0.8",
        ),
        (
            two_supernets({"networks": "largest", "objective": {"sampling": "sandwich"}}, {}),
            "stages.0.objective.sampling: stage s0 trains the largest networks and draws none; leave it out",
        ),
        (
            two_supernets({"objective": {"sampling": "sandwich", "students_per_step": 1}}),
            "stages.0.objective: ",
        ),
        ({"training": {"average_last": 1}}, "training.average_last: one point is no average"),
        (
            two_supernets({}, {"objective": {"kind": "word_kd"}}),
            "objective.teacher: missing; word_kd (stage s1) learns from one",
        ),
        (
            two_supernets({}, {"supernets": "further", "objective": {"kind": "nll"}}),
            "stages.1.objective.students_per_step: 0 in stage s1, the last of supernets.tiny, whose other students it",
        ),
        ({"data": {**MINIMAL["data"], "train": [{"kind": "tvs", "path": "x"}]}}, "data.train.0"),
        ({"seed": "one"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"data": {**MINIMAL["data"], "train": [{"kind": "synthetic", "seed": 1}]}}, "unknown key 'data.train.0.seed'"),
        (
            {"data": {**MINIMAL["data"], "train": [{"kind": "synthetic", "split": "test", "pairs": 2001}]}},
            "data.train.0.pairs: the built-in corpus has 2,000 pairs for test; `python -m tools.corpus`",
        ),
        ({"training": {"betas": [0.9, 1.0]}}, "training.betas.1"),
        ({"training": {"betas": [-0.1, 0.9]}}, "training.betas.0"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate"),
        ({"training": {"threads": 100_000}}, "training.threads"),
        ({"evaluation": {"beams": [1, 0]}}, "evaluation.beams.1"),
        ({"evaluation": {"beams": [100_000]}}, "evaluation.beams.0"),
        ({"evaluation": {"length_penalty": float("nan")}}, "evaluation.length_penalty"),
        ({"evaluation": {"length_penalty": -1}}, "evaluation.length_penalty"),
        (stage_objective(kd_weight=-1), "stages.0.objective.kd_weight"),
    ],
)
def test_wrong_values_name_their_field(values: dict[str, Any], words: str) -> None:
    message = error(values)
    assert message.startswith("my.yaml: ")
    assert words in message
    assert "\n" not in message


def test_a_supernet_of_one_network_needs_no_drawn_students() -> None:
    stages = two_supernets({"supernets": "first"}, {"supernets": "further", "objective": {"kind": "nll"}})
    single = {"tiny": {**stages["supernets"]["tiny"], "encoder_layers": 1, "decoder_layers": 1}}
    assert parse_recipe({**MINIMAL, **stages, "supernets": single}, "test").method_of("tiny") == "nll"

    alone = two_supernets(
        {"supernets": "first", "objective": {"kind": "nll"}}, {"supernets": "further", "objective": TAUGHT}
    )
    recipe = parse_recipe({**MINIMAL, **alone, "students": {"only": ["tiny-e2d2"]}}, "test")
    assert (recipe.method, recipe.method_of(""), recipe.method_of("tiny")) == ("word_kd", "nll", "word_kd")


def test_a_first_supernet_that_no_stage_trains_has_the_students_of_its_start() -> None:
    values = two_supernets({"supernets": "further", "objective": TAUGHT})
    recipe = parse_recipe({**MINIMAL, **values, "model": {"start": "some-run"}}, "test")
    teacher, started = Student(6, 6), [Student(3, 2), Student(9, 9)]
    first, tiny = recipe.student_space(teacher, started).supernets
    assert first.candidates == (Student(3, 2), teacher)
    assert len(tiny.candidates) > 2
    assert recipe.student_space(teacher).supernets[0].candidates == (teacher,)
    assert recipe.method_of("") == ""
    moved = parse_recipe({**MINIMAL, **values, "model": {"start": "some-run", "positions": "marian"}}, "test")
    with pytest.raises(UserError, match=r"model\.positions: come from model\.start"):
        moved.refuse_ignored_keys()


@pytest.mark.parametrize("evaluation", [{}, {"evaluation": {"beams": [1]}}, {"evaluation": {"engine": "torch"}}])
def test_an_lstms_engine_is_torch(evaluation: dict[str, Any]) -> None:
    lstm = {**MINIMAL, "model": {"architecture": "lstm", "d_model": 7, "dropout": 0.2}, **evaluation}
    recipe = parse_recipe(lstm, "my.yaml")
    assert recipe.evaluation.engine_for("lstm") == "torch"
    assert recipe.model.sizes() == {
        "encoder_layers": 6,
        "decoder_layers": 6,
        "d_model": 7,
        "dropout": 0.2,
        "max_positions": 512,
    }
    assert parse_recipe(recipe.model_dump(mode="json"), "resolved.yaml") == recipe
    assert parse_recipe(MINIMAL, "my.yaml").evaluation.engine_for("transformer") == "ctranslate2"


def test_supernets_of_several_architectures_have_an_engine_each_unless_the_recipe_names_one() -> None:
    mixed = {**MINIMAL, "supernets": {"recurrent": {"architecture": "lstm", "d_model": 8}}}
    recipe = parse_recipe(mixed, "my.yaml")
    engines = {name: recipe.evaluation.engine_for(recipe.architecture_of(name)) for name in ("", "recurrent")}
    assert engines == {"": "ctranslate2", "recurrent": "torch"}
    named = parse_recipe({**mixed, "evaluation": {"engine": "torch"}}, "my.yaml")
    assert named.evaluation.engine_for("transformer") == "torch"
    with pytest.raises(UserError, match=r"evaluation\.engine: CTranslate2 has no LSTM; leave it out, or say torch"):
        parse_recipe({**mixed, "evaluation": {"engine": "ctranslate2"}}, "my.yaml")


@pytest.mark.parametrize(
    ("students", "words"),
    [
        ({"encoder": [2, 7]}, r"students\.encoder: \[2, 7\] does not fit a teacher with 6 encoder layers"),
        ({"decoder": [0, 2]}, r"students\.decoder: \[0, 2\]"),
        ({"encoder": [4, 3]}, r"students\.encoder: \[4, 3\]"),
        ({"only": ["e9d1"]}, "e9d1 is deeper than its teacher e6d6"),
        ({"only": ["small"]}, r"^students\.only: 'small' is not a student's name"),
        (
            {"encoder": [2, 2], "decoder": [3, 6]},
            r"^students\.rule: decoder<=encoder leaves no student of encoder \[2, 2\] and decoder \[3, 6\]",
        ),
    ],
)
def test_spaces_that_do_not_fit_the_teacher(students: dict[str, Any], words: str) -> None:
    recipe = parse_recipe({**MINIMAL, "students": students}, "test")
    with pytest.raises(UserError, match=words):
        recipe.students.space(Student(6, 6))


def test_preset_fills_sizes_and_single_values_win() -> None:
    model = parse_recipe({**MINIMAL, "model": {"preset": "tiny", "decoder_layers": 3}}, "test").model
    assert (model.encoder_layers, model.decoder_layers, model.d_model, model.ffn_dim) == (6, 3, 256, 1536)


def test_stage_objective_is_the_recipes_with_its_own_keys_on_top() -> None:
    values = {
        **MINIMAL,
        "objective": {"kd_weight": 3.0},
        "stages": [
            {"name": "one", "updates": 1},
            {"name": "two", "updates": 1, "objective": {"mutual": "full"}},
        ],
    }
    recipe = parse_recipe(values, "test")
    one, two = (recipe.stage_objective(stage) for stage in recipe.stages)
    assert isinstance(one, AioKd) and isinstance(two, AioKd)
    assert (one.kd_weight, one.mutual) == (3.0, "none")
    assert (two.kd_weight, two.mutual) == (3.0, "full")


def test_stage_objectives_are_read_as_the_recipes_own_is() -> None:
    (stage,) = parse_recipe({**MINIMAL, **stage_objective(kd_weight="1e-3", mutual="full")}, "test").stages
    assert stage.objective == {"kd_weight": 0.001, "mutual": "full"}


@pytest.mark.parametrize(
    ("kind", "stage_kinds", "method", "students"),
    [
        ("nll", ["nll", "nll"], "nll", 1),
        ("aio_kd", ["nll", "aio_kd"], "aio_kd", 15),
        ("nll", ["nll", "aio_kd"], "aio_kd", 15),
        ("aio_kd", ["nll", "nll"], "nll", 1),
    ],
)
def test_a_run_is_aio_kd_if_any_stage_is(kind: str, stage_kinds: list[str], method: str, students: int) -> None:
    stages = [{"name": f"s{i}", "updates": 1, "objective": {"kind": k}} for i, k in enumerate(stage_kinds)]
    recipe = parse_recipe({**MINIMAL, "objective": {"kind": kind}, "stages": stages}, "test")
    assert recipe.method == method
    assert len(recipe.student_space(recipe.model.teacher).candidates) == students


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": {"start": "m", "d_model": 64}}, r"^model\.d_model: come from model\.start \(m\); leave them out$"),
        ({"model": {"start": "m", "preset": "base"}}, r"model\.preset"),
        (
            {"model": {"start": "m"}, "data": {**MINIMAL["data"], "tokenizer": {"vocabulary_size": 99}}},
            r"^data\.tokenizer\.vocabulary_size: come from model\.start",
        ),
        ({"students": {"only": ["e1d1"], "encoder": [1, 2], "rule": "any"}}, r"^students\.encoder, students\.rule: "),
    ],
)
def test_values_that_others_make_void_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_recipe({**MINIMAL, **values}, "test").refuse_ignored_keys()


def test_a_resolved_recipe_with_a_start_model_or_a_list_is_not_refused() -> None:
    values = {**MINIMAL, "model": {"start": "m", "dropout": 0.3}, "students": {"only": ["e1d1"]}}
    parse_recipe(parse_recipe(values, "test").model_dump(mode="json"), "test").refuse_ignored_keys()


def test_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe({**MINIMAL, "model": {"start": "fam"}}, "test")
    monkeypatch.chdir(tmp_path)
    absolute = recipe.with_absolute_paths()
    assert (absolute.data.folder, absolute.model.start) == (str(tmp_path), str(tmp_path / "fam"))
    monkeypatch.chdir("/")
    assert absolute.with_absolute_paths() == absolute
    assert parse_recipe(MINIMAL, "test").with_absolute_paths().model.start is None


# --- files and overrides ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.learning_rate=1e-3", ("training", "learning_rate"), 0.001),
        ("stages.0.updates=77", ("stages", 0, "updates"), 77),
        ("data.folder=/some/where", ("data", "folder"), "/some/where"),
        ("evaluation.beams=[4]", ("evaluation", "beams"), [4]),
        ("name=1e5x", ("name",), "1e5x"),
        ("name=1e5", ("name",), "1e5"),
        ("name=1", ("name",), "1"),
        ("name=1.10", ("name",), "1.10"),
        ("name=1.0", ("name",), "1.0"),
        ("name=010", ("name",), "010"),
        ("name=2020-01-01", ("name",), "2020-01-01"),
        ("name=0.00001", ("name",), "0.00001"),
        ("data.folder=1_000", ("data", "folder"), "1_000"),
        ("data.folder=12:30:45", ("data", "folder"), "12:30:45"),
        ("data.folder=0x1F", ("data", "folder"), "0x1F"),
        ("data.folder=off", ("data", "folder"), "off"),
        ("data.target_language=no", ("data", "target_language"), "no"),
        ("data.target_language=y", ("data", "target_language"), "y"),
        ("data.cleaning.enabled=no", ("data", "cleaning", "enabled"), False),
        ("data.cleaning.enabled=false", ("data", "cleaning", "enabled"), False),
        ("data.cleaning.drop_identical=on", ("data", "cleaning", "drop_identical"), True),
        ("data.first_pairs=null", ("data", "first_pairs"), None),
        ("data.first_pairs=1_000", ("data", "first_pairs"), 1000),
        ("training.learning_rate=5.0e-4", ("training", "learning_rate"), 0.0005),
        ("training.learning_rate=0.10", ("training", "learning_rate"), 0.1),
        ("data.folder=inf", ("data", "folder"), "inf"),
        ("stages.0.objective.kd_weight=1e-1", ("stages", 0, "objective", "kd_weight"), 0.1),
    ],
)
def test_overrides(recipe_file: Path, override: str, path: tuple[str | int, ...], value: Any) -> None:
    place: Any = load_recipe(recipe_file, [override]).model_dump()
    for part in path:
        place = place[part]
    assert place == value


NORWEGIAN = """
data:
  source_language: en
  target_language: no
  train: [{kind: text, source: 2016, target: 1.10}]
  validation: {kind: huggingface, path: on, split: 2020-01-01, source_column: yes, target_column: no}
  test: {no: {kind: text, source: null.txt, target: "no"}, 2016: &set {kind: tsv, path: 010}, on: *set}
stages: [{name: "1", updates: 10}, {name: 2, updates: 1_000}]
"""


def test_text_that_yaml_would_take_for_something_else(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(NORWEGIAN)
    recipe = load_recipe(path)
    data = recipe.data.model_dump()
    assert (data["source_language"], data["target_language"]) == ("en", "no")
    assert (data["train"][0]["source"], data["train"][0]["target"]) == ("2016", "1.10")
    columns = {key: data["validation"][key] for key in ("path", "split", "source_column", "target_column")}
    assert list(columns.values()) == ["on", "2020-01-01", "yes", "no"]
    assert {name: source.get("path") for name, source in data["test"].items()} == {
        **{"no": None, "2016": "010", "on": "010"},
    }
    assert [stage.updates for stage in recipe.stages] == [10, 1000]
    written = tmp_path / "written.yaml"
    written.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(written) == recipe


@pytest.mark.parametrize("value", ["true", "null", "[no]"])
def test_a_language_is_text(recipe_file: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"data\.target_language: .*valid string"):
        load_recipe(recipe_file, [f"data.target_language={value}"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "expected key.path=value"),
        ("=3", "expected key.path=value"),
        ("stages.5.updates=1", "not an index of a list of 1"),
        ("stages.one.updates=1", "not an index of a list of 1"),
        ("seed.deep=1", "seed.deep|has no keys below it"),
        ("evaluation.beams=[1, 5]|evaluation.beams.0.x=1", "'0' is a value and has no keys below it"),
        ("stages.².updates=1", "'²' is not an index of a list of 1"),
        ("evaluation.beams=[1, 5]|evaluation.beams.²=1", "'²' is not an index of a list of 2"),
        ("trainig.threads=1", r"did you mean 'training'\?"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_wrong_overrides(recipe_file: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_recipe(recipe_file, ["seed=1", *override.split("|")])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"data: [unclosed", "not valid YAML"),
        (b"- a\n- b\n", "expected a mapping"),
        (b"", "expected a mapping"),
        (b"\xff\xfe\x00", "cannot be read as a recipe"),
        (b"a: \x01", "not valid YAML: character 4 is not printable"),
        (
            b"a: [1",
            "not valid YAML: line 1, column 6: while parsing a flow sequence, expected ',' or ']', but got the end of",
        ),
        (b"seed: 1\nname: x\nseed: 2\n", "not valid YAML: line 3, column 1: the key 'seed' stands twice"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_recipe_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read as a recipe"):
        load_recipe(tmp_path)


# --- targets ------------------------------------------------------------------------------------------------------


def with_targets(*stages: dict[str, Any], **values: Any) -> dict[str, Any]:
    data = {**MINIMAL["data"], "targets": {"beam": "targets/beam", "inter-50": "targets/inter"}}
    named = [{"name": f"stage{i}", "updates": 1, **stage} for i, stage in enumerate(stages or ({},))]
    return {**MINIMAL, "data": data, "stages": named, **values}


@pytest.mark.parametrize(
    ("values", "label"),
    [
        (with_targets(), "gold"),
        (with_targets(targets={"beam": 3}), "beam"),
        (with_targets(targets={"beam": 0.5, "gold": 1}), "gold+0.5xbeam"),
        (with_targets({}, {"targets": {"inter-50": 1}}, {}, targets={"beam": 1}), "beam,inter-50"),
    ],
)
def test_what_a_run_is_trained_on(values: dict[str, Any], label: str) -> None:
    assert parse_recipe(values, "test").targets_label == label


def test_a_stages_own_targets_and_schedule() -> None:
    values = with_targets({}, {"targets": {"inter-50": 2}, "schedule": "constant"}, targets={"beam": 1})
    recipe = parse_recipe(values, "test")
    assert [recipe.stage_targets(stage) for stage in recipe.stages] == [{"beam": 1.0}, {"inter-50": 2.0}]
    assert [recipe.stage_schedule(stage) for stage in recipe.stages] == ["inverse_sqrt", "constant"]
    assert recipe.with_absolute_paths().data.targets["beam"] == str(Path("targets/beam").resolve())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (with_targets(targets={"bean": 1}), "targets: 'bean' is not in data.targets (did you mean 'beam'?); there are"),
        (with_targets({"targets": {"x": 1}}), "stages.0.targets: 'x' is not in data.targets"),
        (with_targets(targets={}), "my.yaml: targets: "),
        (with_targets(targets={"beam": -1}), "my.yaml: targets.beam: "),
        ({"data": {**MINIMAL["data"], "targets": {"gold": "x"}}}, "'gold' is the name of the corpus' own targets"),
        ({"data": {**MINIMAL["data"], "targets": {"../x": "x"}}}, "data.targets.../x"),
        (with_targets({"select_by": "chrf"}), "stages.0.select_by"),
    ],
)
def test_wrong_targets_are_named(values: dict[str, Any], words: str) -> None:
    assert words in error(values)


# --- domains ------------------------------------------------------------------------------------------------------


def with_domains(*stages: dict[str, Any], sources: tuple[str | None, ...] = ("software", "chat"), **values: Any) -> Any:
    train = [{"kind": "synthetic", **({"domain": domain} if domain else {})} for domain in sources]
    named = [{"name": f"stage{i}", "updates": 1, **stage} for i, stage in enumerate(stages or ({},))]
    return {**MINIMAL, "data": {**MINIMAL["data"], "train": train}, "stages": named, **values}


@pytest.mark.parametrize(
    ("values", "of_stages", "label"),
    [
        (with_domains(sources=(None, None)), [None], ""),
        (with_domains(), [None], ""),
        (with_domains(domains={"chat": 0.5, "software": 2}), [{"software": 2.0, "chat": 0.5}], "2xsoftware+0.5xchat"),
        (with_domains(domains={"chat": 3}), [{"chat": 3.0}], "3xchat"),
        (with_domains({}, {"domains": {"chat": 1}}), [None, {"chat": 1.0}], "software+chat,chat"),
        (
            with_domains(
                {}, {"domains": {"chat": 1}}, {}, sources=("software", "chat", "software"), domains={"chat": 2}
            ),
            [{"chat": 2.0}, {"chat": 1.0}, {"chat": 2.0}],
            "2xchat,chat",
        ),
    ],
)
def test_the_domains_of_stages(values: dict[str, Any], of_stages: list[dict[str, float] | None], label: str) -> None:
    recipe = parse_recipe(values, "test")
    found = [recipe.stage_domains(stage) for stage in recipe.stages]
    assert [each and list(each.items()) for each in found] == [each and list(each.items()) for each in of_stages]
    assert recipe.domains_label == label
    assert parse_recipe(recipe.model_dump(mode="json"), "test") == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            with_domains(domains={"sofware": 1}),
            "domains: 'sofware' is no domain of data.train (did you mean 'software'?); there are: software chat",
        ),
        (with_domains({"domains": {"x": 1}}), "stages.0.domains: 'x' is no domain of data.train; there are"),
        (with_domains(domains={}), "my.yaml: domains: "),
        (with_domains(domains={"chat": 0}), "my.yaml: domains.chat: "),
        (with_domains(sources=("chat", None)), "data.train.1.domain: missing; where domains are given, every source"),
        (with_domains({"domains": {"x": 1}}, sources=(None,)), "data.train.0.domain: missing; where domains are given"),
        (with_domains(sources=("Chat", "a+b")), "my.yaml: data.train.1.domain: String should match pattern"),
    ],
)
def test_wrong_domains_are_named(values: dict[str, Any], words: str) -> None:
    assert words in error(values)


def test_a_test_set_needs_a_plain_name() -> None:
    sets = {"../x": {"kind": "synthetic", "split": "test"}}
    assert error({"data": {**MINIMAL["data"], "test": sets}}) == (
        "my.yaml: data.test: '../x' is not a name for a test set; use letters, digits and _ . -"
    )


@pytest.mark.parametrize("place", ["validation", "test.news"])
def test_a_held_out_set_has_no_domain(place: str) -> None:
    source = {"kind": "synthetic", "split": "test", "domain": "chat"}
    data = {**MINIMAL["data"], **({"test": {"news": source}} if place == "test.news" else {"validation": source})}
    assert f"my.yaml: data.{place}.domain: of no use" in error({"data": data})
