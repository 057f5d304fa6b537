"""experiments.aio_kd: which recipe every row is, and what tables, plots' data and claims are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from experiments import aio_kd_results
from experiments.aio_kd import STRATEGIES, AioKd, rows_of
from experiments.claims import Claim
from experiments.finished import shown, signed
from experiments.study import Row, load_study, located, merged, needs
from polystill.config import load_recipe, parse_recipe
from polystill.errors import UserError
from polystill.pipeline import run_recipe
from polystill.runs import Run
from polystill.runs.results import Cost, QualityRow

RECIPES = Path(__file__).parents[2] / "recipes" / "studies"


@pytest.fixture
def values(counting_recipe: dict[str, Any]) -> dict[str, Any]:
    r = counting_recipe
    return {
        **{
            "name": "tiny",
            "data": r["data"],
            "training": {**r["training"], "precision": "fp32"},
            "evaluation": {"beams": [1, 5]},
        },
        **{
            "model": r["model"],
            "students": r["students"],
            "stages": r["stages"],
            "objective": {"label_smoothing": 0.2},
        },
        "alone": {"students": ["e1d1", "e2d2"]},
        "students_per_step": [1],
        "spaces": {"any": {"encoder": [1, 2], "decoder": [1, 2], "rule": "any"}},
        "changes": {"otherwise": {"training": {"mode": "exact"}, "objective": {"sampling": "sandwich"}}},
        "pretrained": {"stages": [{"name": "few", "updates": 4, "select_by": "bleu"}]},
        "more_seeds": {2: ["family", "word-kd-e1d1"]},
    }


def study_of(values: dict[str, Any], tmp_path: Path) -> AioKd:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study(AioKd, path, None, {})


@pytest.mark.parametrize(
    "path", sorted(set(RECIPES.glob("*.yaml")) - set(RECIPES.glob("kim-rush*"))), ids=lambda path: path.name
)
def test_shipped_recipes_work(path: Path) -> None:
    study = load_study(AioKd, path, None, {})
    assert study.name == path.stem
    for row in rows_of(study):
        assert row.command[-1] == row.out  # as `keep` reads it


def test_all_rows_of_the_controls_have_as_many_updates() -> None:
    rows = {row.name: row for row in rows_of(load_study(AioKd, RECIPES / "controls.yaml", None, {}))}
    updates = {name: sum(stage.updates for stage in row.parsed.stages) for name, row in rows.items()}
    branches = {"common": 2000, "mutual": 1000, "no-mutual": 1000}
    for name, number in updates.items():
        label = rows[name].label
        assert number == (13000 if label.startswith("long") else branches.get(label, 2500)), name
    published = load_recipe(RECIPES.parent / "published.yaml").objective.model_dump()
    keys = {"kd_weight", "mutual_weight", "detach_threshold", "sampling", "students_per_step", "kd_warmup"}
    assert rows["published"].parsed.objective.model_dump(include=keys) == {key: published[key] for key in keys}


def test_the_shipped_recipe_has_all_that_the_claims_need() -> None:
    study = load_study(AioKd, RECIPES / "aio-kd.yaml", None, {})
    steps = rows_of(study)
    names = {step.name for step in steps}
    assert {"family", *STRATEGIES, "students-1", "space-any", "pretrained", "from-scratch", "family-seed2"} <= names
    family = next(step for step in steps if step.name == "family").parsed
    assert len(family.student_space(family.model.teacher).candidates) == 15
    wide = next(step for step in steps if step.name == "space-one-layer-decoders").parsed
    assert "e6d1" in map(str, wide.student_space(wide.model.teacher).candidates)


def test_every_row_differs_from_the_family_in_one_thing(values: dict[str, Any], tmp_path: Path) -> None:
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    recipes = {name: step.parsed for name, step in steps.items() if step.recipe is not None}
    family = recipes["family"]

    def objectives(name: str) -> list[Any]:
        return [recipes[name].stage_objective(stage) for stage in recipes[name].stages]

    assert [o.mutual for o in objectives("family")] == ["none", "no_weight"]
    assert [o.mutual for o in objectives("mutual-from-start")] == ["no_weight", "no_weight"]
    assert [o.mutual for o in objectives("mutual-full")] == ["none", "full"]
    assert [o.mutual for o in objectives("mutual-detaching")] == ["none", "detaching"]
    assert {o.detach_threshold for o in objectives("no-detaching")} == {1e9}
    assert {o.detach_threshold for o in objectives("always-detached")} == {0.0}
    assert [o.mutual for o in objectives("stage-1-only")] == ["none", "none"]
    assert {o.students_per_step for o in objectives("students-1")} == {1}
    changed = recipes["otherwise"]
    assert (changed.training.mode, family.training.mode) == ("exact", "shared")
    sampling = changed.objective.model_dump()
    assert (sampling["sampling"], sampling["label_smoothing"]) == ("sandwich", 0.2)
    any_space = recipes["space-any"]
    assert len(any_space.student_space(any_space.model.teacher).candidates) == 4
    for name in ("alone-e1d1", "word-kd-e1d1"):
        assert str(recipes[name].model.teacher) == "e1d1"
        assert recipes[name].objective.label_smoothing == 0.2
    assert recipes["word-kd-e1d1"].objective.frozen_teacher == "runs/alone-e2d2"
    assert recipes["pretrained"].model.start == "pretrained"
    assert [step.name for step in needs(steps["pretrained"], list(steps.values()))] == ["marian-folder"]
    assert [step.name for step in needs(steps["marian-folder"], list(steps.values()))] == ["alone-e2d2"]
    assert [stage.select_by for stage in recipes["from-scratch"].stages] == ["bleu"]
    assert (recipes["family-seed2"].seed, family.seed) == (2, 1)


def test_a_rows_setting_holds_in_stages_that_have_their_own(values: dict[str, Any], tmp_path: Path) -> None:
    own = {"detach_threshold": 1.3, "students_per_step": 3}
    values["stages"][1] = merged(values["stages"][1], {"objective": own})
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}

    def settings(name: str, key: str) -> list[float]:
        recipe = steps[name].parsed
        return [getattr(recipe.stage_objective(stage), key) for stage in recipe.stages]

    assert settings("family", "detach_threshold") == [1.1, 1.3]
    assert settings("no-detaching", "detach_threshold") == [1e9, 1e9]
    assert settings("always-detached", "detach_threshold") == [0, 0]
    assert settings("students-1", "students_per_step") == [1, 1]
    assert settings("mutual-full", "students_per_step") == [2, 3]


def test_a_network_of_a_further_supernet_alone_is_as_in_the_family(values: dict[str, Any], tmp_path: Path) -> None:
    small = {"d_model": 8, "ffn_dim": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}
    values["supernets"] = {"small": {**small, "learning_rate_factor": 2}}
    values["alone"]["students"] = ["small-e2d1", "e2d2"]
    values["training"]["learning_rate"] = 0.004
    values["stages"][1] = {**values["stages"][1], "learning_rate": 0.001}
    values["more_seeds"] = {2: ["word-kd-small-e2d1"]}
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    assert list(steps["family"].parsed.supernets) == list(steps["students-1"].parsed.supernets) == ["small"]
    for name in ("alone-small-e2d1", "word-kd-small-e2d1", "word-kd-small-e2d1-seed2"):
        recipe = steps[name].parsed
        assert not recipe.supernets
        assert recipe.model.model_dump().items() >= {**small, "decoder_layers": 1}.items()
        assert (recipe.training.learning_rate, recipe.stages[1].learning_rate) == (0.008, 0.002)
    assert steps["word-kd-small-e2d1"].parsed.objective.frozen_teacher == "runs/alone-e2d2"
    assert steps["alone-e2d2"].parsed.training.learning_rate == 0.004


def test_word_kd_with_a_further_seed_learns_from_the_teacher_of_that_seed(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["more_seeds"] = {2: ["alone-e2d2", "word-kd-e1d1"], 3: ["alone-e1d1", "word-kd-e1d1"]}
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    assert steps["word-kd-e1d1-seed2"].parsed.objective.frozen_teacher == "runs/alone-e2d2-seed2"
    assert steps["word-kd-e1d1-seed3"].parsed.objective.frozen_teacher == "runs/alone-e2d2"  # there is none


def test_a_network_alone_has_the_stages_of_its_supernet(values: dict[str, Any], tmp_path: Path) -> None:
    values["supernets"] = {"small": {"d_model": 8, "ffn_dim": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 2}}
    values["alone"]["students"] = ["small-e2d1", "e2d2"]
    values["training"]["mode"] = "exact"
    values |= {"more_seeds": {}, "pretrained": None}
    learns = {"kind": "word_kd", "students_per_step": 2}
    values["stages"] = [
        {"name": "wide", "updates": 5, "supernets": "first"},
        {"name": "narrow", "updates": 3, "supernets": "further", "objective": learns},
    ]
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    stages = {
        name: [(s.name, s.updates) for s in steps[name].parsed.stages] for name in ("alone-e2d2", "word-kd-small-e2d1")
    }
    assert stages == {"alone-e2d2": [("wide", 5)], "word-kd-small-e2d1": [("narrow", 3)]}
    assert steps["family"].parsed.training.mode == "exact"
    assert "mode" not in (steps["alone-e2d2"].recipe or {})["training"], "alike for one network"


def test_no_row_has_other_rates_or_a_fresh_optimizer_at_another_time(values: dict[str, Any], tmp_path: Path) -> None:
    values["stages"][1] = {**values["stages"][1], "learning_rate": 0.001, "warmup": 3, "schedule": "constant"}
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    recipes = {name: step.parsed for name, step in steps.items() if step.recipe is not None}

    def without_objective(name: str) -> list[dict[str, Any]]:
        return [stage.model_dump(exclude={"objective"}) for stage in recipes[name].stages]

    for name in (*STRATEGIES, "alone-e1d1", "alone-e2d2", "word-kd-e1d1", "students-1", "space-any"):
        assert without_objective(name) == without_objective("family"), name
    alone = {key: value for key, value in values.items() if key not in ("alone", "more_seeds")}
    steps = {step.name: step for step in rows_of(study_of(alone, tmp_path))}
    teacher = steps["alone-e2d2"]  # which `pretrained` needs all the same
    assert [stage.learning_rate for stage in teacher.parsed.stages] == [None, 0.001]


def test_a_change_of_a_change(values: dict[str, Any], tmp_path: Path) -> None:
    values["changes"]["otherwise"]["named"] = "as published"
    values["changes"]["both"] = {
        "of": "otherwise",
        "named": "unweighted",
        "shows": "better",
        "objective": {"kd_weight": 0.0},
    }
    values["changes"]["plain"] = {"shows": "no better", "objective": {"kd_weight": 0.5}}
    values["more_seeds"] = {2: ["both"]}
    rows = {row.name: row for row in rows_of(study_of(values, tmp_path))}
    for name in ("both", "both-seed2"):
        recipe = rows[name].parsed
        objective = recipe.objective.model_dump()
        assert (recipe.training.mode, objective["sampling"], objective["kd_weight"]) == ("exact", "sandwich", 0)
        assert rows[name].claim == "The family as published and unweighted is better than the family as published"
        assert (rows[name].against, rows[name].shows) == (("otherwise",), "better")
    assert rows["otherwise"].claim == "The family is better than the family as published"
    assert rows["plain"].claim == "The family is as good as the family of row plain"


def test_selective_kd_stands_beside_word_kd(values: dict[str, Any], tmp_path: Path) -> None:
    values["alone"]["selective_kd"] = {"share": 0.4}
    values["evaluation"]["students"] = ["e1d1", "e2d1", "e2d2"]  # of families
    rows = {row.name: row for row in rows_of(study_of(values, tmp_path))}
    recipe = rows["selective-kd-e1d1"].parsed
    assert recipe.method == "selective_kd" and recipe.objective.frozen_teacher == "runs/alone-e2d2"
    assert recipe.objective.model_dump().items() >= {"share": 0.4, "label_smoothing": 0.2}.items()
    assert recipe.evaluation.students is None
    assert [row.name for row in needs(rows["selective-kd-e1d1"], list(rows.values()))] == ["alone-e2d2"]
    assert rows["family"].parsed.evaluation.students == ["e1d1", "e2d1", "e2d2"]


BRANCHES = {
    "stages": [{"name": "first", "updates": 2}],
    "continued": {
        "mutual": {"stages": [{"name": "more", "updates": 1, "objective": {"mutual": "no_weight"}}]},
        "no-mutual": {"stages": [{"name": "more", "updates": 1}]},
    },
}


def test_branches_go_on_from_one_training(values: dict[str, Any], tmp_path: Path) -> None:
    values |= {"branches": BRANCHES, "more_seeds": {2: ["no-mutual"]}}
    rows = {row.name: row for row in rows_of(study_of(values, tmp_path))}
    assert [stage.name for stage in rows["common"].parsed.stages] == ["first"]
    for name, common in {"mutual": "common", "no-mutual": "common", "no-mutual-seed2": "common-seed2"}.items():
        recipe = rows[name].parsed
        assert recipe.model.start == f"runs/{common}/family" and [stage.name for stage in recipe.stages] == ["more"]
        assert [row.name for row in needs(rows[name], list(rows.values()))] == [common]
        assert recipe.seed == rows[common].parsed.seed
    text = "After the same first stage, going on as row mutual is better than going on as row no-mutual"
    assert rows["no-mutual"].claim == text
    assert rows["no-mutual"].against == ("mutual",) and not rows["mutual"].claim


def test_a_branch_begins_with_all_weights_and_the_vocabulary(values: dict[str, Any], tmp_path: Path) -> None:
    still = {"stages": [{"name": "more", "updates": 1, "learning_rate": 1e-12, "warmup": 0}]}
    values |= {"branches": {**BRANCHES, "continued": {"one": still, "other": still}}, "more_seeds": {}}
    values["evaluation"]["students"] = ["e1d1"]
    rows = {row.name: row for row in rows_of(study_of(values, tmp_path))}
    for name in ("common", "one"):
        recipe = parse_recipe(located(rows[name].recipe, tmp_path), name)
        run_recipe(recipe, tmp_path / rows[name].out)
    before, after = (load_file(tmp_path / "runs" / name / "family" / "model.safetensors") for name in ("common", "one"))
    assert before.keys() == after.keys() and any("layers.1." in name for name in before)
    for name, weights in before.items():
        assert torch.allclose(weights, after[name], rtol=0, atol=1e-9), name
    vocabularies = {(tmp_path / "runs" / name / "family" / "vocab.json").read_bytes() for name in ("common", "one")}
    assert len(vocabularies) == 1


def test_from_scratch_goes_as_far_as_the_familys_first_stage(values: dict[str, Any], tmp_path: Path) -> None:
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    (stage,) = steps["from-scratch"].parsed.stages
    assert (stage.name, stage.updates, stage.select_by) == ("distillation", 12, "bleu")
    values["pretrained"]["from_scratch"] = [{"name": "long", "updates": 9}]
    steps = {step.name: step for step in rows_of(study_of(values, tmp_path))}
    assert [(stage.name, stage.updates) for stage in steps["from-scratch"].parsed.stages] == [("long", 9)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategies": ["no-detach"]}, r"strategies: 'no-detach' is no row \(did you mean 'no-detaching'"),
        ({"alone": {"students": ["e1d1"]}}, r"alone.students: the teacher e2d2 is missing"),
        ({"alone": {"students": ["tiny", "e2d2"]}}, r"alone.students: 'tiny' is not a student's name"),
        (
            {"alone": {"students": ["e2d2", "e1d2"]}},
            r"alone.students: student e1d2 is not in this family; it has: e1d1",
        ),
        ({"alone": {"stages": []}}, r"alone.stages: "),
        ({"alone": {"word_kd": {"teacher": "x"}}}, r"alone.word_kd.teacher: is given by the study"),
        ({"objective": {"kind": "nll"}}, r"row family: .*stages.1.objective.mutual: nll has no such key; aio_kd has"),
        (
            {"objective": {"kind": "nll"}, "stages": [{"name": "all", "updates": 4}]},
            r"yaml: objective.kind: nll; it is aio_kd here, leave it out",
        ),
        ({"more_seeds": {2: ["pretrained"]}}, r"more_seeds: 'pretrained' is no row"),
        ({"spaces": {"deep": {"encoder": [1, 7]}}}, r"row space-deep: students.encoder: \[1, 7\] does not fit"),
        ({"students_per_step": [1, 2]}, r"students_per_step: 2 is what the family has itself"),
        ({"students_per_step": [0]}, r"students_per_step.0: .*greater than or equal to 1"),
        ({"pretrained": {"stages": [{"name": "few"}]}}, r"row pretrained: stages.0.updates: "),
        ({"pretrained": {"from_scratch": []}}, r"study.yaml: pretrained.from_scratch: "),
        (
            {"pretrained": {"stages": [{"select_by": "likelihood"}]}},
            r"pretrained.stages.0.select_by: likelihood; curves",
        ),
        ({"changes": {"alone-e2d2": {}}}, r"changes.alone-e2d2: there is a row of that name"),
        ({"changes": {"space-x": {}}}, r"changes.space-x: there is a row of that name, or there may be one"),
        ({"changes": {"same": {}}}, r"changes.same: changes nothing"),
        ({"changes": {"other": {"seed": 5}}}, r"changes.other.seed: a further seed has `more_seeds`"),
        ({"changes": {"wide": {"model": {"d_modle": 8}}}}, r"row wide: unknown key .model.d_modle. .did you mean"),
        ({"changes": {"other": {"of": "family"}}}, r"changes.other: changes nothing"),
        ({"changes": {"other": {"of": "late", "seed": 1}}}, r"changes.other.seed: a further seed has"),
        (
            {"changes": {"other": {"of": "othrwise", "data": {}}}},
            r"changes.other.of: 'othrwise' is no row .did you mean 'otherwise'.*; there are: family ",
        ),
        (
            {"changes": {"otherwise": {"of": "other"}, "other": {"of": "otherwise", "data": {}}}},
            r"changes.other.*.of: other.* is itself a change of ",
        ),
        (
            {"changes": {"other": {"objective": {"kind": "nll"}, "stages": [{"name": "all", "updates": 4}]}}},
            r"yaml: changes.other.objective.kind: nll; it is aio_kd here, leave it out",
        ),
        ({"changes": {"same": {"named": "x"}}}, r"changes.same: changes nothing"),
        ({"changes": {"other": {"named": 1, "data": {}}}}, r"changes.other.named: say in words what it is"),
        (
            {"changes": {"other": {"shows": "worst", "data": {}}}},
            r"changes.other.shows: 'worst'; it is one of: worse, better, as good, no better",
        ),
        ({"alone": {"selective_kd": {"share": 2}}}, r"row selective-kd-e1d1: objective.share: "),
        ({"alone": {"selective_kd": {"kind": "nll"}}}, r"alone.selective_kd.kind: is given by the study"),
        ({"alone": {"families": ["family"]}}, r"alone.families: 'family' is no row; there are: otherwise"),
        ({"branches": {"stages": [], "continued": {}}}, r"study.yaml: branches.stages: "),
        ({"branches": {**BRANCHES, "continued": {"one": {"stages": []}}}}, r"study.yaml: branches.continued: "),
        (
            {"branches": merged(BRANCHES, {"continued": {"otherwise": {"stages": []}}})},
            r"branches.continued.otherwise: there is a row of that name",
        ),
        (
            {"branches": merged(BRANCHES, {"continued": {"one": {"objective": {"kd_weight": 1}}}})},
            r"branches.continued.one.stages: missing; they follow those of common",
        ),
        (
            {"branches": merged(BRANCHES, {"continued": {"mutual": {"model": {"d_model": 8}}}})},
            r"row mutual: model.d_model: come from model.start",
        ),
        (
            {"branches": BRANCHES, "supernets": {"small": {"d_model": 8, "heads": 2}}},
            r"branches: further supernets would begin anew in each",
        ),
        ({"stages": []}, r"study.yaml: stages: "),
        ({"training": {"precision": "auto"}}, r"training.precision: name it, such as fp32"),
        ({"trials": {"familly": []}}, r"trials: 'familly' is no row \(did you mean 'family'"),
        ({"trials": {"family": [{"tried": {}}]}}, r"study.yaml: trials.family.0.validation: "),
        ({"stages": [{"name": "all", "updates": 1, "objective": "x"}]}, r"row family: stages.0.objective: "),
    ],
)
def test_mistakes_are_found_before_any_work(
    values: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(study_of(merged(values, change), tmp_path))


# --- results ----------------------------------------------------------------------------------------------------------


def finish(folder: Path, step: Row, scores: dict[str, float], bleu_history: list[float] | None = None) -> Run:
    """A run that says of itself that its members have these scores; CE ratios 1.2 and 1, one draw of two detached."""
    recipe = step.parsed
    with Run.start(folder / step.out, recipe) as run:
        (run.data / "test").mkdir(parents=True)
        (run.data / "test" / "counting.target.txt").write_text("eins zwei drei vier\n" * 20)
        (run.folder / "hypotheses").mkdir()
        (run.family).mkdir()
        (run.family / "model.safetensors").write_bytes(b"x" * 1000)
        rows = []
        for model, bleu in scores.items():
            for beam in (1, 5):
                path = f"hypotheses/{model}.{beam}.txt"
                (run.folder / path).write_text("eins zwei drei vier\n" * int(bleu) + "null\n" * (20 - int(bleu)))
                rows.append(
                    {
                        **{"model_id": f"x-{model}", "model": model, "test_set": "counting", "beam": beam},
                        **{"engine": "ctranslate2", "precision": "float32", "length_penalty": 1.0, "hypotheses": path},
                        **{"bleu": bleu, "chrf": bleu, "bleu_signature": "sig", "parameters": 10},
                    }
                )
        run.add([QualityRow(**row) for row in rows])
        run.finish("evaluation", {"rows": len(rows)})
        tokens = {"vocabulary_size": 30, "pairs": {"train": 10}, "tokens": {"source": 70, "target": 90}}
        run.finish("data", tokens)
        for stage in recipe.stages:
            scores_of = {key: {"e1d1": 2.4, "e2d2": 2.0} for key in ("nll", "cross_entropy")}
            history = [{"update": 5 * (i + 1), **scores_of} for i in range(len(bleu_history or [0]))]
            for point, score in zip(history, bleu_history or [], strict=False):
                point["bleu"] = {"e1d1": score, "e2d2": 20.0}
            draws = {"until": [6, 12], "draws": {"e1d1": [0, 2]}, "detached": {"e1d1": [0, 1]}}
            record = {"updates": stage.updates, "history": history, "interaction": {"threshold": 1.1, **draws}}
            run.finish(f"training.{stage.name}", record)
            run.add_cost(f"training.{stage.name}", Cost(seconds=10.0, cpu_seconds=20.0, flops=5, target_tokens=7))
    return run


CHEAPER = (
    "Training the family of 3 students takes fewer FLOPs than training e1d1, e2d2 one by one, e2d2 alone and the "
    "others by Word-KD from it"
)


def test_tables_claims_and_data(values: dict[str, Any], tmp_path: Path) -> None:
    seeds = {2: ["family", "no-detaching", "alone-e1d1", "alone-e2d2"]}
    further = {"branches": BRANCHES, "alone": {"selective_kd": {}, "families": ["otherwise"]}}
    study = study_of(merged({**values, "more_seeds": seeds}, further), tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    folder = tmp_path / "study"
    folder.mkdir()
    nothing = aio_kd_results.write(study, folder, steps, final=True)
    assert {claim.holds for claim in nothing} == {None}

    for suffix, more in (("", 0.0), ("-seed2", 1.0)):
        finish(folder, named[f"family{suffix}"], {"e1d1": 17.0 + more, "e2d1": 17.0, "e2d2": 19.0 + more})
        finish(folder, named[f"no-detaching{suffix}"], {"e1d1": 6.0 + more, "e2d1": 17.0, "e2d2": 19.0 + more})
        finish(folder, named[f"alone-e1d1{suffix}"], {"e1d1": 5.0 + more})
        finish(folder, named[f"alone-e2d2{suffix}"], {"e2d2": 19.0 + more})
    finish(folder, named["space-any"], {"e1d1": 17.0, "e1d2": 2.0, "e2d1": 17.0, "e2d2": 18.7})
    finish(folder, named["otherwise"], {"e1d1": 17.0, "e2d1": 8.0, "e2d2": 19.0})
    for name, score in (("mutual", 17.0), ("no-mutual", 12.0)):
        finish(folder, named[name], {"e1d1": score, "e2d2": 19.0})
    for name, score in (("word-kd-e1d1", 18.0), ("word-kd-e2d2", 19.0), ("selective-kd-e1d1", 12.0)):
        finish(folder, named[name], {name[-4:]: score})
    finish(folder, named["pretrained"], {"e1d1": 18.0, "e2d2": 20.0}, bleu_history=[17.0, 19.0])
    finish(folder, named["from-scratch"], {"e1d1": 18.0, "e2d2": 20.0}, bleu_history=[2.0, 3.0])
    claims = {claim.text: claim for claim in aio_kd_results.write(study, folder, steps, final=True)}
    alone = claims["e1d1 of the family is as good as the same network trained alone (beam 5)"]
    assert alone.holds is True and alone.ours["BLEU"]["low"] > 0 and alone.ours["seeds"] == [2, 2]
    text = "e1d1, e2d2 of the family are on average as good as the same networks trained alone (greedy)"
    assert claims[text].holds is True
    taught = claims["e2d2 of the family is as good as the same network taught alone by Word-KD (beam 5)"]
    assert taught.paper == "De→En -0.29, En→Ro +0.49, En→De -0.21"
    assert taught.verdict == "not clear: one seed" and taught.ours["seeds"] == [1, 2]
    cheaper = claims[CHEAPER]
    teacher = claims["The teacher e2d2 of the family is better than trained alone (beam 5)"]
    assert teacher.paper == "De→En +1.16, En→Ro +3.67, En→De -0.28" and teacher.ours["BLEU"]["difference"] == 0
    assert teacher.rows == ["alone-e2d2", "family"]
    otherwise = "e1d1 of the family of row otherwise is as good as the same network"
    beside = claims[f"{otherwise} taught alone by Word-KD (beam 5)"]
    assert beside.verdict == "not clear: one seed" and beside.ours["BLEU"]["difference"] < 0
    text = "After the same first stage, going on as row mutual is better than going on as row no-mutual (beam 5)"
    branches = claims[text]
    assert branches.ours["BLEU"]["difference"] > 0
    selective = claims["e1d1 of the family is as good as the same network taught alone by Selective-KD (beam 5)"]
    assert selective.ours["BLEU"]["difference"] > 0
    assert cheaper.holds is True and cheaper.ours["FLOPs family"] == "10"  # two stages, against two runs of two
    text = "The family is better than the family whose teacher gets gradients from every student"
    for how in ("greedy", "beam 5"):
        detaching = claims[f"{text} ({how})"]
        assert detaching.holds is True and detaching.ours["members"] == 3
        for metric in ("BLEU", "chrF"):
            found = detaching.ours[metric]
            assert 0 < found["low"] < found["difference"] < found["high"]
    assert claims[f"{text} (beam 5)"].paper == "En→De +0.76"
    text = "In the space any of 4 students, the family's own students are as good as in the family (beam 5)"
    space = claims[text]
    assert space.ours["members"] == 3 and space.verdict == "not clear: one seed"
    (usable,) = (claim for text, claim in claims.items() if "the best teacher's validation BLEU" in text)
    assert usable.holds is True and usable.ours == {"updates pretrained": 10, "updates from-scratch": "not within it"}

    result = json.loads((folder / "results.json").read_text())
    stage = result["interaction"]["family"]["distillation"]
    assert stage["detached"] == {"e1d1": 0.5} and stage["draws"] == {"e1d1": 2}
    assert stage["threshold"] == 1.1
    assert stage["bins"] == {"until": [6, 12], "draws": {"e1d1": [0, 2]}, "detached": {"e1d1": [0, 1]}}
    assert stage["length"] == 12
    assert stage["updates"] == [5] and stage["ce_ratio"] == {"e1d1": [1.2], "e2d2": [1.0]}
    assert result["pretrained"]["pretrained"]["bleu"]["e1d1"] == [17.0, 19.0]
    assert result["cost_of_ways"]["word-kd"]["runs"] == 2
    assert result["cost_of_ways"]["alone"]["bytes_kept"] == 2000
    every = result["cost_of_all"]
    assert set(every) == {"family", "otherwise", "teacher", "alone", "word-kd"}  # of Selective-KD one is trained
    assert every["family"]["all"]["students"] == 3 and "trained" not in every["family"]
    assert every["teacher"]["all"]["students"] == 1
    for way in ("alone", "word-kd"):
        parts = [every[way][part] for part in ("trained", "estimated", "all")]
        assert [part["students"] for part in parts] == [2, 1, 3]
        assert parts[0]["bytes_kept"] == 2000 and parts[1]["bytes_kept"] == pytest.approx(1000)
        assert every[way]["times_family"]["bytes_kept"] == pytest.approx(3)
    (all_of_them,) = (claim for text, claim in claims.items() if "1 of them estimated" in text)
    assert all_of_them.holds is True and all_of_them.paper == "GPU hours: 2.42, 2.47, 2.09 times"
    table = (folder / "results.md").read_text()
    assert "| family | 1 | 3 | 17.67 | 17.00 | 19.00 | 17.67 | 17.67 | 17.00 | 19.00 | 17.67 | 0.01 | 10 |" in table
    assert "| e1d1 | 5.50 ± 0.71 | 18.00 | 12.00 | 17.50 ± 0.71 | 17.00 |" in table
    assert "BLEU greedy, selective-kd | BLEU greedy, family | BLEU greedy, otherwise" in table
    assert "| one by one by Word-KD: trained | 2 | 20 | 0.02 |" in table
    assert "| space-any | 1 | e2d1 | 17.00 | 17.00 |" in table
    assert "| family, distillation | 1.10 | 2 | e1d1 50% |" in table
    assert "| no-detaching: mean of 3 | family: mean of 3 | beam 5 | 2 / 2 | 0 / 0 | +" in table
    assert aio_kd_results.shown_shares({"e1d1": 0.0, "e2d1": 0.0}) == "none"
    assert aio_kd_results.shown_shares({"e1d1": 1.0, "e2d1": 0.0, "e2d2": 0.0006}) == "e1d1 100%, e2d2 0.06%"
    assert aio_kd_results.shown_shares({}) == ""


def test_one_seed_decides_nothing(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of({**values, "more_seeds": {2: ["family", "no-detaching"]}}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    text = "The family is better than the family whose teacher gets gradients from every student (beam 5)"
    folder = tmp_path / "study"
    finish(folder, named["family"], {"e1d1": 18.0, "e2d2": 20.0})
    finish(folder, named["no-detaching"], {"e1d1": 6.0, "e2d2": 20.0})

    def claim(final: bool) -> Claim:
        return {claim.text: claim for claim in aio_kd_results.write(study, folder, steps, final=final)}[text]

    assert claim(final=False).verdict == "not tested yet"
    first = claim(final=True)
    assert first.verdict == "not clear: one seed" and first.ours["BLEU"]["p"] < 0.05

    finish(folder, named["family-seed2"], {"e1d1": 18.0, "e2d2": 19.0})
    assert claim(final=False).verdict == "not tested yet"  # it is another comparison now
    assert claim(final=True).verdict == "not clear: one seed"  # of the other
    finish(folder, named["no-detaching-seed2"], {"e1d1": 6.0, "e2d2": 20.0})
    assert claim(final=True).verdict == "yes"
    assert claim(final=False).verdict == "yes"  # what was computed once is known


def test_unequal_care_is_no_comparison(values: dict[str, Any], tmp_path: Path) -> None:
    tried = {"tried": {"model": {"dropout": 0.1}}, "validation": {"bleu": 20.5}}
    seeds = {2: ["family", "alone-e1d1"]}
    study = study_of({**values, "more_seeds": seeds, "trials": {"family": [tried, tried]}}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    folder = tmp_path / "study"
    for suffix in ("", "-seed2"):
        finish(folder, named[f"family{suffix}"], {"e1d1": 18.0, "e2d2": 20.0})
        finish(folder, named[f"alone-e1d1{suffix}"], {"e1d1": 6.0})
    text = "e1d1 of the family is as good as the same network trained alone (beam 5)"

    def verdict() -> str:
        return {claim.text: claim for claim in aio_kd_results.write(study, folder, steps, final=True)}[text].verdict

    assert verdict() == "not comparable: 0 and 2 tuning trials"
    table = (folder / "results.md").read_text()
    assert "| family | 2 of 2 | model: {'dropout': 0.1} | bleu 20.50 |" in table
    study = study_of({**values, "more_seeds": seeds, "trials": {"family": [tried], "alone": [tried]}}, tmp_path)
    assert verdict() == "yes"


def test_a_family_without_its_results_or_cost_is_not_cheap(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    steps = rows_of(study)
    folder = tmp_path / "study"
    named = {step.name: step for step in steps}
    for name in ("family", "alone-e1d1", "alone-e2d2", "word-kd-e1d1", "word-kd-e2d2"):
        finish(folder, named[name], {name[-4:]: 18.0} if "-" in name else {"e1d1": 18.0, "e2d2": 20.0})
    (folder / named["family"].out / "results.json").unlink()
    assert not named["family"].is_written(folder)  # it is measured again
    Run.open(folder / named["family"].out).add([])
    claims = {claim.text: claim for claim in aio_kd_results.write(study, folder, steps, final=False)}
    cheaper = claims[CHEAPER]
    assert cheaper.holds is None and cheaper.missing == ["family"]


def test_a_claim_about_cost_names_the_rows_that_it_lacks(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    finish(tmp_path / "study", named["family"], {"e1d1": 18.0, "e2d2": 20.0})
    finish(tmp_path / "study", named["word-kd-e1d1"], {"e1d1": 18.0})
    claims = aio_kd_results.write(study, tmp_path / "study", steps, final=False)
    about_cost = [claim for claim in claims if "takes fewer FLOPs" in claim.text]
    assert [claim.missing for claim in about_cost] == [["alone-e2d2"], ["alone-e2d2"]]


def test_a_family_from_scratch_that_ended_too_early_is_not_slower(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}

    def claim(pretrained: list[float], scratch: list[float]) -> bool | None:
        folder = tmp_path / f"{len(pretrained)}-{len(scratch)}-{scratch[-1]:g}"
        finish(folder, named["pretrained"], {"e1d1": 18.0, "e2d2": 20.0}, bleu_history=pretrained)
        finish(folder, named["from-scratch"], {"e1d1": 18.0, "e2d2": 20.0}, bleu_history=scratch)
        claims = aio_kd_results.write(study, folder, steps, final=False)
        (found,) = (each for each in claims if "the best teacher's validation BLEU" in each.text)
        return found.holds

    assert claim([2.0, 19.0], [2.0, 3.0]) is True
    assert claim([2.0, 3.0, 19.0], [2.0, 3.0]) is None
    assert claim([2.0, 3.0], [2.0, 19.0]) is False


def test_the_highest_ratio_is_a_students_and_not_the_teachers() -> None:
    stage = {"threshold": 1.1, "ce_ratio": {"e1d1": [0.9, 0.95], "e2d2": [1.0, 1.0]}}
    alone = {"ce_ratio": {"e1d1": [1.0]}}
    lines = aio_kd_results.detaching_table({"family": {"all": stage, "smallest": alone}}).splitlines()
    assert lines[2].endswith("| 0.950 |") and lines[3].endswith("|  |")


def test_a_difference_that_is_rounded_to_nothing_has_no_sign() -> None:
    assert (signed(-0.004), signed(-0.006), shown(-0.0)) == ("+0.00", "-0.01", "0.00")
