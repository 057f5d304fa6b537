"""experiments.kim_rush: which recipe every row is, and what the tables and claims make of figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import kim_rush_results
from experiments.claims import Claim
from experiments.comparisons import SIGNIFICANCE, TRANSLATIONS, read_significance, read_translations
from experiments.kim_rush import METHODS, KimRush, rows_of, seedable
from experiments.study import Row, load_study, merged, needs, with_begun_seeds, with_seed
from polystill.errors import UserError
from polystill.runs import Run
from polystill.runs.results import QualityRow

RECIPES = Path(__file__).parents[2] / "recipes" / "studies"
STAGES = [{"name": "retrain", "updates": 3}, {"name": "tuning", "updates": 2, "targets": {"interpolated": 1.0}}]


@pytest.fixture
def values(counting_recipe: dict[str, Any]) -> dict[str, Any]:
    r = counting_recipe
    lstm = {"architecture": "lstm", "encoder_layers": 2, "decoder_layers": 2, "d_model": 16, "max_positions": 64}
    return {
        "name": "tiny",
        "data": r["data"],
        "training": {**r["training"], "precision": "fp32"},
        "teacher": {"model": lstm, "stages": [{"name": "teacher", "updates": 4, "learning_rate": 0.02}]},
        "student": {"model": r["model"], "stages": [{"name": "student", "updates": 4}]},
        "pruning": {"sparsities": [0.5, 0.8], "stages": STAGES},
        "speed": {"rows": ["baseline"], "batch_sizes": [4, 1]},
        "families": {"family-beam": {"targets": {"beam": 1.0}}},
        "family": {"model": r["model"], "students": r["students"], "stages": [{"name": "family", "updates": 4}]},
        "members": ["e2d1"],
        "depths": ["e1d1"],
    }


def study_of(values: dict[str, Any], tmp_path: Path, *settings: str) -> KimRush:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_study(KimRush, path, list(settings), {})


def by_name(study: KimRush) -> dict[str, Row]:
    return {step.name: step for step in rows_of(study)}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("kim-rush*.yaml")), ids=lambda path: path.name)
def test_shipped_recipes_work(path: Path) -> None:
    study = load_study(KimRush, path, ["data.first_pairs=5000"], {})
    assert study.name == path.stem
    for step in rows_of(study):
        assert step.command[-1] == step.out  # as `keep` reads it
        if step.recipe is not None:
            recipe = step.parsed
            assert recipe.data.first_pairs == 5000
            assert recipe.data.tokenizer.vocabulary_size in (4000, 8000)  # 8000: comes from the start model


def test_translations_that_no_row_learns_from_are_not_made(values: dict[str, Any], tmp_path: Path) -> None:
    few = {**values, "rows": ["baseline", "seq-kd"], "depths": [], "families": {}, "speed": None, "pruning": None}
    targets = {"beam", "n-best", "interpolated", "mbr"}

    def made(**changes: Any) -> set[str]:
        return targets & set(by_name(study_of({**few, **changes}, tmp_path)))

    assert made() == {"beam"}
    assert made(rows=["baseline+seq-inter"]) == {"n-best", "interpolated"}
    assert made(rows=["teacher"], families={"family-mbr": {"targets": {"mbr": 1.0}}}) == {"n-best", "mbr"}


def test_every_row_is_what_its_name_says(values: dict[str, Any], tmp_path: Path) -> None:
    steps = by_name(study_of(values, tmp_path))
    assert set(METHODS) <= set(steps)
    for name in METHODS:
        recipe = steps[name].parsed
        methods = name.split("+")
        assert recipe.method == ("word_kd" if "word-kd" in methods else "nll")
        tuned = methods[-1] == "seq-inter"
        assert recipe.targets_label == ("interpolated" if tuned else "beam" if "seq-kd" in methods else "gold")
        assert recipe.model.start == (f"runs/{'+'.join(methods[:-1])}/family" if tuned else None)
        assert recipe.model.architecture == ("lstm" if methods[0] == "teacher" else "transformer")
        assert recipe.evaluation.engine is None
        if tuned:  # a constant tenth of the peak
            (stage,) = recipe.stages
            assert stage.learning_rate == pytest.approx(0.002 if methods[0] == "teacher" else 0.0005)
            assert (stage.schedule, stage.warmup, stage.select_by) == ("constant", 0, "bleu")
    assert steps["seq-kd+word-kd+seq-inter"].parsed.objective.frozen_teacher == "runs/teacher"


def test_pruning_families_depths_and_speed(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    steps = by_name(study)
    pruned = steps["pruned-80"].parsed
    assert pruned.model.start == "runs/seq-kd+seq-inter/family"
    assert [stage.pruning and stage.pruning.sparsity for stage in pruned.stages] == [0.8, None]
    assert [pruned.stage_targets(stage) for stage in pruned.stages] == [{"interpolated": 1.0}] * 2
    family = steps["family-beam"].parsed
    assert (family.method, family.targets_label, family.evaluation.students) == ("aio_kd", "beam", ["e2d1"])
    assert str(steps["seq-kd-e1d1"].parsed.model.teacher) == "e1d1"
    assert (
        "--student runs/baseline/e2d2 --beam 1 --beam 5 --threads 1 --batch-sizes 4,1" in steps["speed"].shown_command()
    )
    assert steps["speed"].alone
    assert {step.name for step in needs(steps["speed"], list(steps.values()))} == {"teacher", "baseline"}


def test_a_whole_model_is_trained_on_likewise(values: dict[str, Any], tmp_path: Path) -> None:
    gradual = {**STAGES[0], "pruning": {"schedule": "gradual", "updates": 2}}
    values["pruning"] |= {"sparsities": [0.0, 0.8], "stages": [gradual, *STAGES[1:]]}
    study = study_of(values, tmp_path)
    steps = by_name(study)
    assert [stage.pruning for stage in steps["pruned-0"].parsed.stages] == [None, None]
    assert not [name for name in steps if name.startswith("pruned-0-")]
    first = steps["pruned-80"].parsed.stages[0].pruning
    assert first is not None and (first.schedule, first.sparsity, first.updates) == ("gradual", 0.8, 2)

    folder = tmp_path / "study"
    finish(folder, steps["teacher"], {1: (20.0, 0.01), 5: (21.0, 0.01)}, parameters=10_000)
    finish(folder, steps["seq-kd+seq-inter"], {1: (19.0, 0.09), 5: (20.2, 0.11)})
    finish(folder, steps["pruned-0"], {1: (19.5, 0.09), 5: (20.8, 0.11)})
    finish(folder, steps["pruned-80"], {1: (10.0, 0.0), 5: (20.5, 0.0)}, nonzero_parameters=500)
    for row in ("seq-kd+seq-inter", "pruned-0", "pruned-80"):
        weights(folder / f"runs/{row}/family/model.safetensors", 40_000)
    kim_rush_results.write(study, folder, list(steps.values()), final=True)
    result = json.loads((folder / "results.json").read_text())
    assert ("pruned-0", "pruned-80") in {(each["first"], each["second"]) for each in result["comparisons"]}
    table = (folder / "results.md").read_text()
    assert "| as it was | 0.001 M | 10.0 | 19.00 | 20.20 | -0.80 | -0.60 |" in table
    assert "| 0 % | 0.001 M | 10.0 | 19.50 | 20.80 | -0.20 |" in table
    assert "| 80 % | 0.001 M | 20.0 | 10.00 | 20.50 | -0.50 | -0.30 |" in table


def test_retraining_stops_as_the_row_and_not_as_its_tuning(values: dict[str, Any], tmp_path: Path) -> None:
    values["tuning"] = {"training": {"early_stopping": 2, "validate_every": 1}}
    values["training"] = {**values["training"], "early_stopping": 6}
    values["student"]["training"] = {"clip_norm": 1.0}
    steps = by_name(study_of(values, tmp_path))
    assert steps["seq-kd+seq-inter"].parsed.training.early_stopping == 2
    training = steps["pruned-80"].parsed.training
    assert (training.early_stopping, training.validate_every, training.clip_norm) == (6, 5, 1.0)
    values["pruning"] |= {"training": {"early_stopping": 0}, "model": {"dropout": 0.0}}
    values["student"]["model"] = {**values["student"]["model"], "dropout": 0.4}
    steps = by_name(study_of(values, tmp_path))
    assert steps["pruned-80"].parsed.training.early_stopping == 0
    assert [steps[row].parsed.model.dropout for row in ("pruned-80", "seq-kd+seq-inter")] == [0.0, 0.4]


def test_a_pruned_row_of_a_further_seed_has_what_it_starts_from(values: dict[str, Any], tmp_path: Path) -> None:
    few = {**values, "rows": ["baseline"], "speed": None, "more_seeds": {2: ["pruned-80"]}}
    steps = by_name(study_of(few, tmp_path))
    assert {"seq-kd-seed2", "seq-kd+seq-inter-seed2", "pruned-80-seed2"} <= set(steps)
    needed = [row.name for row in needs(steps["pruned-80-seed2"], list(steps.values()))]
    assert needed == ["interpolated", "seq-kd+seq-inter-seed2"]
    with pytest.raises(UserError, match=r"more_seeds: 'pruned-90' is no row .did you mean 'pruned-80'"):
        rows_of(study_of({**few, "more_seeds": {2: ["pruned-90"]}}, tmp_path))


def test_a_teacher_trained_as_long_as_the_pruned_student(values: dict[str, Any], tmp_path: Path) -> None:
    stages = [{"name": "one", "updates": 6}, {"name": "two", "updates": 2, "learning_rate": 0.01}]
    values["teacher"] = {**values["teacher"], "stages": stages}
    values["tuning"] = {"updates": 11}
    assert "teacher-as-long" not in by_name(study_of(values, tmp_path))
    values["pruning"] |= {"teacher_as_long": True}
    study = study_of(values, tmp_path)
    steps = by_name(study)
    recipe = steps["teacher-as-long"].parsed
    assert [(s.name, s.updates, s.learning_rate) for s in recipe.stages] == [("one", 15, None), ("two", 5, 0.01)]
    assert recipe.model == steps["teacher"].parsed.model and steps["teacher-as-long"].against == ("teacher",)
    assert study.tuned_with(steps["teacher-as-long"]) == "teacher"

    study = study_of({**values, "more_seeds": {2: ["pruned-80"]}}, tmp_path)
    steps = by_name(study)
    folder = tmp_path / "study"
    finish(folder, steps["teacher"], {1: (20.0, 0.01), 5: (20.0, 0.01)}, parameters=30_000)
    finish(folder, steps["teacher-as-long"], {1: (20.0, 0.01), 5: (30.0, 0.01)}, parameters=30_000)
    for suffix in ("", "-seed2"):
        finish(folder, steps[f"pruned-80{suffix}"], {1: (20.0, 0.0), 5: (20.0, 0.0)}, nonzero_parameters=1000)
        weights(folder / f"runs/pruned-80{suffix}/family/model.safetensors", 40_000)
    claims = {claim.text: claim for claim in kim_rush_results.write(study, folder, list(steps.values()), final=True)}
    text = "Pruned by 80 % and trained on, the student is at most 0.4 below {} (beam 5), with 25 times fewer parameters"
    near, far = (
        claims[text.format(teacher)] for teacher in ("the teacher", "a teacher trained for as many updates as it")
    )
    assert near.holds is True and near.ours["seeds"] == [1, 2] and near.rows == ["teacher", "pruned-80"]
    assert far.holds is False and far.ours["BLEU"]["high"] < -0.4
    table = (folder / "results.md").read_text()
    assert "| 80 %, seed 2 | 0.001 M | 30.0 | 20.00 | 20.00 | +0.00 |" in table
    assert "| teacher-as-long | 0.03 M | 20.00 | +0.00 | 30.00 | +10.00 |" in table


def test_pruned_models_are_written_in_the_sparse_form(values: dict[str, Any], tmp_path: Path) -> None:
    steps = by_name(study_of(values, tmp_path))
    sparse = steps["pruned-80-int8"]
    assert sparse.shown_command() == (
        "polystill export runs/pruned-80 teacher --to sparse --quantization int8 --out sparse/pruned-80-int8"
    )
    assert [step.name for step in needs(sparse, list(steps.values()))] == ["pruned-80"]
    assert "pruned-50-float32" in steps


def test_rows_that_others_start_from_are_there_without_being_asked_for(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of({**values, "rows": ["word-kd+seq-inter"]}, tmp_path)
    assert {"word-kd", "seq-kd", "seq-kd+seq-inter", "baseline"} <= set(by_name(study))


def test_a_further_seed_gives_rows_of_their_own(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    study = with_seed(study, 7, ["seq-kd+seq-inter"], seedable(study))
    steps = by_name(study)
    again = steps["seq-kd+seq-inter-seed7"].parsed
    assert (again.seed, again.model.start) == (7, "runs/seq-kd-seed7/family")
    assert steps["seq-kd-seed7"].parsed.data.targets == {"beam": "targets/beam"}
    assert steps["seq-kd"].parsed.seed == 1
    study = with_seed(study, 7, ["pruned-80"], seedable(study))
    steps = by_name(study)
    pruned = steps["pruned-80-seed7"]
    assert (pruned.parsed.seed, pruned.parsed.model.start) == (7, "runs/seq-kd+seq-inter-seed7/family")
    assert pruned.against == steps["pruned-80"].against and "pruned-80-seed7-int8" not in steps
    with pytest.raises(UserError, match=r"--seed 7: say which rows"):
        with_seed(study, 7, None, seedable(study))
    with pytest.raises(UserError, match=r"--seed 1: is the study's own"):
        with_seed(study, 1, ["seq-kd"], seedable(study))
    with pytest.raises(
        UserError, match=r"--rows seq: no row for a further seed \(did you mean .seq-kd.\?\); there are: "
    ):
        with_seed(study, 7, ["seq"], seedable(study))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"techer": {}}, r"study.yaml: unknown key 'techer' \(did you mean 'teacher'\?\)"),
        ({"generate": {"beams": 5}}, r"unknown key 'generate.beams' \(did you mean 'beam'\?\)"),
        ({"generate": {"n_best": 1}}, r"generate.n_best: .*greater than or equal to 2"),
        ({"pruning": {"sparsities": [1.0], "stages": STAGES}}, r"pruning.sparsities.0: .*less than 1"),
        ({"rows": ["seqkd"]}, r"rows: 'seqkd' is no row \(did you mean 'seq-kd'\?\); there are: teacher"),
        ({"more_seeds": {2: ["teacher"]}}, r"more_seeds: 'teacher' is no row"),
        ({"student": {"model": {"d_modell": 4}}}, r"row baseline: unknown key 'model.d_modell'"),
        ({"word_kd": {"alfa": 1}}, r"row word-kd: unknown key 'objective.alfa'"),
        ({"members": ["e9d9"]}, r"row family-beam: student e9d9 is not in this family"),
        ({"families": {"speed": {}, "baseline": {}}}, r"baseline is there twice"),
        ({"evaluation": {"beams": [1, 4]}}, r"evaluation.beams: \[1, 4\]; the tables need 1 and 5"),
        ({"student": {"stages": []}}, r"row baseline: stages: "),
        (
            {"student": {"objective": {"kind": "aio_kd"}}},
            r"student.objective.kind: aio_kd; it is nll here, leave it out",
        ),
        ({"student": {"targets": {"gold": 1.0}}}, r"student.targets: is given by the study; leave it out"),
        (
            {"teacher": {"stages": [{"name": "a", "updates": 1, "targets": {"gold": 1.0}}]}},
            r"teacher.stages.0.targets: is",
        ),
        ({"word_kd": {"teacher": "x"}}, r"word_kd.teacher: is given by the study; leave it out"),
        (
            {"members": [], "families": {"one": {"objective": {"kind": "nll"}}}},
            r"families.one.objective.kind: nll; it is aio_kd here",
        ),
        ({"depths": ["deep"]}, r"study.yaml: depths: 'deep' is not a student's name"),
    ],
)
def test_mistakes_are_found_before_any_work(
    values: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(study_of(merged(values, change), tmp_path))


def test_damaged_timings_are_one_line(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    (tmp_path / "speed.json").write_text("{")
    with pytest.raises(UserError, match=r"speed.json: damaged .*; remove it, and speed is measured again"):
        kim_rush_results.write(study, tmp_path, rows_of(study), final=False)


# --- results ----------------------------------------------------------------------------------------------------------


def finish(folder: Path, step: Row, figures: dict[int, tuple[float, float]], **more: Any) -> None:
    """A run that has these figures: BLEU and p(mode) by beam."""
    recipe = step.parsed
    model = more.pop("model", "e2d2")
    with Run.start(folder / step.out, recipe) as run:
        (run.data / "test").mkdir(parents=True)
        lines = [f"sentence {i} of the references" for i in range(30)]
        (run.data / "test" / "counting.target.txt").write_text("".join(f"{line}\n" for line in lines))
        rows = []
        for beam, (bleu, p_mode) in figures.items():
            path = f"hypotheses/{beam}.txt"
            (run.folder / "hypotheses").mkdir(exist_ok=True)
            right = round(bleu)
            said = [line if i < right else f"nothing at all {i}" for i, line in enumerate(lines)]
            (run.folder / path).write_text("".join(f"{line}\n" for line in said))
            rows.append(
                {
                    **{"model_id": f"{step.name}-{model}", "model": model, "test_set": "counting", "beam": beam},
                    **{
                        "engine": recipe.evaluation.engine_for(recipe.model.architecture),
                        "precision": "float32",
                        "length_penalty": 1.0,
                    },
                    **{"bleu": bleu, "bleu_signature": "sig", "p_mode": p_mode, "chrf": bleu, "perplexity": 10 + bleu},
                    **{"architecture": recipe.model.architecture, "parameters": 1000},
                    **{"targets": recipe.targets_label, "hypotheses": path, **more},
                }
            )
        run.add([QualityRow(**row) for row in rows])
        run.finish("evaluation", {"rows": len(rows)})


def test_greedy_is_behind_beam_search_where_that_is_no_luck(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of({**values, "more_seeds": {2: ["seq-kd"]}}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    finish(tmp_path, named["seq-kd"], {1: (10.0, 0.1), 5: (20.0, 0.1)})

    def verdict(final: bool) -> Claim:
        claims = kim_rush_results.write(study, tmp_path, steps, final=final)
        return next(
            claim
            for claim in claims
            if claim.text == "After Seq-KD the student's greedy search is as good as its beam 5"
        )

    assert verdict(final=False).verdict == "not tested yet"
    assert verdict(final=True).verdict == "not clear: one seed"
    finish(tmp_path, named["seq-kd-seed2"], {1: (11.0, 0.1), 5: (21.0, 0.1)})
    claim = verdict(final=True)
    assert claim.verdict == "no" and claim.ours["seeds"] == [2, 2]
    assert claim.ours["BLEU"]["low"] < claim.ours["BLEU"]["high"] < -0.3
    assert claim.ours["BLEU"]["difference"] == pytest.approx(claim.ours["BLEU"]["to"] - claim.ours["BLEU"]["from"])


def test_seeds_are_compared_with_themselves(values: dict[str, Any], tmp_path: Path) -> None:
    """Where one of a row's seeds is not measured yet."""
    study = study_of({**values, "more_seeds": {2: ["baseline", "seq-kd"], 3: ["baseline", "seq-kd"]}}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    for seed, bleu in ((1, 10.0), (2, 2.0), (3, 20.0)):
        suffix = "" if seed == 1 else f"-seed{seed}"
        finish(tmp_path, named[f"baseline{suffix}"], {1: (bleu, 0.1), 5: (bleu, 0.1)})
        if seed != 2:
            finish(tmp_path, named[f"seq-kd{suffix}"], {1: (bleu + 4, 0.1), 5: (bleu + 1, 0.1)})
    claims = {claim.text: claim for claim in kim_rush_results.write(study, tmp_path, steps, final=True)}
    ours = claims["Seq-KD brings more BLEU with greedy search than with beam 5"].ours
    assert (ours["greedy"], ours["beam 5"]) == ("+4.00 and +4.00", "+1.00 and +1.00")


def weights(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * size)


def test_tables_and_claims(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of({**values, "more_seeds": {2: ["baseline", "seq-kd"]}}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    folder = tmp_path / "study"
    folder.mkdir()
    claims = {claim.text: claim for claim in kim_rush_results.write(study, folder, steps, final=True)}
    assert {claim.holds for claim in claims.values()} == {None}
    assert claims["Seq-KD raises the student's greedy BLEU"].missing == ["baseline", "seq-kd"]

    finish(folder, named["teacher"], {1: (20.0, 0.01), 5: (21.0, 0.01)}, parameters=10_000)
    for suffix in ("", "-seed2"):
        finish(folder, named[f"baseline{suffix}"], {1: (10.0, 0.01), 5: (14.0, 0.01)})
        finish(folder, named[f"seq-kd{suffix}"], {1: (19.8, 0.11), 5: (20.0, 0.11)})
    finish(folder, named["seq-kd+seq-inter"], {1: (19.0, 0.09), 5: (20.2, 0.11)})
    finish(folder, named["pruned-80"], {1: (10.0, 0.0), 5: (20.5, 0.0)}, nonzero_parameters=500)
    finish(folder, named["family-beam"], {1: (19.5, 0.1), 5: (20.0, 0.1)}, model="e2d2")
    speeds = [("teacher", 5, 10.0), ("teacher", 1, 30.0), ("/tmp/elsewhere/runs/baseline/e2d2", 1, 95.0)]
    rows = [
        {
            **{"student": who, "beam": beam, "batch_size": 1, "engine": "torch", "precision": "float32"},
            "words_per_second": {"min": words - 1, "median": words, "max": words + 1},
            "speed_to_teacher_same_engine": {"min": words / 10 - 1, "median": words / 10, "max": words / 10 + 1},
        }
        for who, beam, words in speeds
    ]
    (folder / "speed.json").write_text(json.dumps({"rows": rows}))
    for place in ("runs/seq-kd+seq-inter/family/model", "runs/pruned-80/family/model"):
        weights(folder / f"{place}.safetensors", 40_000)
    weights(folder / "sparse/pruned-80-int8/model.sparse.safetensors", 10_000)
    claims = {claim.text: claim for claim in kim_rush_results.write(study, folder, steps, final=True)}
    gain = claims["Seq-KD raises the student's greedy BLEU"]
    assert gain.holds is True and gain.ours["seeds"] == [2, 2] and gain.ours["chrF"]["low"] > 0
    larger = claims["Seq-KD brings more BLEU with greedy search than with beam 5"]
    assert larger.holds is True and larger.ours["greedy"] == "+9.80 and +9.80"
    assert (
        claims["After Seq-KD the student's greedy search is as good as its beam 5"].holds is True
    )  # the texts are the same
    tenfold = claims["Seq-KD raises the probability of the student's best translation, p(mode), at least tenfold"]
    assert tenfold.holds is True and tenfold.ours["times"] == "11.0 and 11.0"
    assert claims["After Seq-KD the student's perplexity is worse, and its BLEU with beam 5 better"].holds is True
    assert claims["Word-KD raises the student's greedy BLEU"].holds is None
    (fast,) = (claim for text, claim in claims.items() if "10 times as fast" in text)
    assert fast.verdict == "not clear" and fast.ours == {"times": 9.5, "from": 8.5, "to": 10.5}
    (pruned,) = (claim for text, claim in claims.items() if "Pruned" in text)
    assert pruned.holds is False and pruned.ours["times fewer"] == 20  # not 25
    near = claims["e2d2 of family-beam is as good greedily as with beam 5"]
    assert near.verdict == "not clear: one seed"
    close = claims["e2d2 of family-beam is as good greedily as the same student trained alone on the same translations"]
    assert close.verdict == "not clear: one seed" and close.ours["seeds"] == [2, 1]

    result = json.loads((folder / "results.json").read_text())
    assert [row["student"] for row in result["speed"]["rows"]] == ["teacher", "teacher", "runs/baseline/e2d2"]
    runs = {step.name for step in steps if step.recipe is not None and (folder / step.out).is_dir()}
    assert {row["row"] for row in result["rows"]} == runs
    assert (folder / result["rows"][0]["hypotheses"]).is_file()
    assert "holds" not in next(c for c in result["claims"] if c["claim"] == "Word-KD raises the student's greedy BLEU")
    table = (folder / "results.md").read_text()
    line = next(line for line in table.splitlines() if line.startswith("| seq-kd |"))
    assert "| 19.80 | +9.80 | 20.00 | +6.00 |" in line
    assert line.endswith("| 18.9 | +4.2 | 19.0 | +1.4 | 22.7 | 16.9 % |")
    assert next(line for line in table.splitlines() if line.startswith("| seq-kd+word-kd |")).count("|  |") > 5
    assert "| 80 % | 0.001 M | 20.0 | 10.00 | 20.50 | -0.50 | +0.30 | 10.00 | 20.50 | 0.04 |  | 0.01 | 19.1 |" in table
    assert result["pruning"] == [
        {"row": "seq-kd+seq-inter", "sparsity": 0.0, "bytes": {"dense": 40_000}},
        {"row": "pruned-80", "sparsity": 0.8, "bytes": {"dense": 40_000, "int8": 10_000}},
    ]
    assert {(each["first"], each["second"]) for each in result["comparisons"]} == {
        ("baseline", "seq-kd"),
        ("baseline", "seq-kd+seq-inter"),
        ("seq-kd", "seq-kd"),
        ("teacher", "pruned-80"),
        ("seq-kd+seq-inter", "pruned-80"),
        ("seq-kd: e2d2", "family-beam: e2d2"),
        ("family-beam: e2d2", "family-beam: e2d2"),
    }


def test_all_is_kept_that_a_sceptic_needs(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of({**values, "more_seeds": {2: ["baseline", "seq-kd"]}}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    for name, bleu in (("baseline", 10.0), ("baseline-seed2", 12.0), ("seq-kd", 20.0), ("seq-kd-seed2", 21.0)):
        finish(tmp_path, named[name], {1: (bleu, 0.1), 5: (bleu + 2, 0.1)})
    kim_rush_results.write(study, tmp_path, steps, final=True)
    again = read_translations(tmp_path / TRANSLATIONS, "de")
    known = read_significance(tmp_path / SIGNIFICANCE)
    assert known
    for comparison, sha256, differences in known:
        assert again.sha256(comparison) == sha256
        assert again.compare(comparison) == differences
    sides = [side.trainings for comparison, _, _ in known for side in (comparison.first, comparison.second)]
    assert (("seq-kd e2d2 beam 5",), ("seq-kd-seed2 e2d2 beam 5",)) in sides
    references = tmp_path / "runs" / "seq-kd" / "data" / "test" / "counting.target.txt"
    whole = references.read_text()
    references.write_text(whole.replace("sentence 3", "sentence 4"))
    with pytest.raises(UserError, match=r"runs/seq-kd: its test set has other references than .*/runs/baseline"):
        kim_rush_results.write(study, tmp_path, steps, final=True)
    references.write_text(whole)
    (tmp_path / SIGNIFICANCE).write_text('{"broken')
    with pytest.raises(UserError, match=r"significance.json: damaged .*; remove it, and it is computed again"):
        kim_rush_results.write(study, tmp_path, steps, final=True)


def test_members_are_compared_with_their_twins_on_gold(values: dict[str, Any], tmp_path: Path) -> None:
    smoothed = {"objective": {"label_smoothing": 0.1}}
    on_beam = {"targets": {"beam": 1.0}}
    families = {"a-gold": {}, "a-beam": on_beam, "b-gold": smoothed, "b-beam": {**smoothed, **on_beam}}
    study = study_of({**values, "families": families, "depths": [], "members": ["e2d1", "e2d2"]}, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    folder = tmp_path / "study"
    for name in ("baseline", "word-kd", "seq-kd", *families):
        finish(folder, named[name], {1: (10.0, 0.1), 5: (10.0, 0.1)})
    claims = kim_rush_results.write(study, folder, steps, final=True)
    result = json.loads((folder / "results.json").read_text())
    pairs = [(each["first"].split(":")[0], each["second"].split(":")[0]) for each in result["comparisons"]]
    assert {pair for pair in pairs if pair[1] in families and pair[0] != pair[1]} == {
        *(("seq-kd", name) for name in families),
        *((base, name) for base in ("baseline", "word-kd") for name in ("a-gold", "b-gold")),
        *(("a-gold", "a-beam"), ("b-gold", "b-beam")),
    }
    texts = {claim.text for claim in claims}
    assert "e2d2 of a-beam is as good greedily as the same student trained alone on the same translations" in texts
    for search in ("greedy", "beam 5"):
        assert f"a-beam is better than a-gold, {search}, on the mean of its members" in texts


def test_a_member_that_no_row_trains_alone_is_not_missed(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)  # the student is e2d2, depths has e1d1
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    folder = tmp_path / "study"
    text = "{} of family-beam is as good greedily as the same student trained alone on the same translations"

    def missing() -> dict[str, list[str]]:
        claims = kim_rush_results.write(study, folder, steps, final=False)
        return {claim.text: list(claim.missing) for claim in claims if "the same student trained alone" in claim.text}

    finish(folder, named["family-beam"], {1: (10.0, 0.1), 5: (10.0, 0.1)}, model="e2d1")
    assert missing() == {}
    for model, row in (("e2d2", "seq-kd"), ("e1d1", "seq-kd-e1d1")):
        shutil.rmtree(folder / "runs" / "family-beam")
        finish(folder, named["family-beam"], {1: (10.0, 0.1), 5: (10.0, 0.1)}, model=model)
        assert missing() == {text.format(model): [row]}
    finish(folder, named["seq-kd-e1d1"], {1: (10.0, 0.1), 5: (10.0, 0.1)}, model="e1d1", parameters=900)
    assert missing() == {}  # another network after all


def test_the_papers_figures_are_those_of_the_language_pair(values: dict[str, Any], tmp_path: Path) -> None:
    def papers(name: str) -> dict[str, str]:
        study, folder = study_of({**values, "paper": name}, tmp_path), tmp_path / name
        folder.mkdir()
        claims = kim_rush_results.write(study, folder, rows_of(study), final=False)
        foreign = [claim.paper for claim in claims if "fewer" in claim.text or "fast" in claim.text]
        assert len(foreign) == 2 and all(paper.startswith("English→German: ") for paper in foreign)
        return {claim.text: claim.paper for claim in claims if "English→German: " not in claim.paper}

    german = papers("english-german")
    assert list(german.values()) == [
        *("+4.2", "+1.4", "+4.2", "+1.7", "+0.7", "+4.2 / +1.4", "18.9 / 19.0", "0.9 % → 16.9 %", "8.2 → 22.7"),
        "17.7 → 19.6",
    ]
    assert set(papers("thai-english").values()) == {"–"}


def test_without_p_mode_nothing_is_said_of_it(values: dict[str, Any], tmp_path: Path) -> None:
    study = study_of(values, tmp_path)
    steps = rows_of(study)
    named = {step.name: step for step in steps}
    folder = tmp_path / "study"
    finish(folder, named["baseline"], {1: (10.0, 0.1), 5: (10.0, 0.1)}, p_mode=None)
    finish(folder, named["seq-kd"], {1: (10.0, 0.1), 5: (10.0, 0.1)})
    claims = {claim.text: claim for claim in kim_rush_results.write(study, folder, steps, final=False)}
    assert (
        claims["Seq-KD raises the probability of the student's best translation, p(mode), at least tenfold"].verdict
        == "not measured"
    )
    assert claims["Seq-KD raises the student's greedy BLEU"].verdict == "not tested yet"  # no bootstrap, no verdict


def test_rows_of_a_further_seed_stay_when_it_is_not_given_again(values: dict[str, Any], tmp_path: Path) -> None:
    notes = tmp_path / "study" / "steps"
    notes.mkdir(parents=True)
    (tmp_path / "study" / "logs").mkdir()
    begun = [("seq-kd", 7), ("baseline", 1), ("nothing", 7), ("word-kd", 8)]
    for label, seed in [*begun, ("seq-kd", 9)]:
        note = {"label": label, "seed": seed, "command": "", "recipe": None}
        (notes / f"{label}-seed{seed}.json").write_text(json.dumps(note))
    for label, seed in begun:  # the row of seed 9 never began
        (tmp_path / "study" / "logs" / f"{label}-seed{seed}.log").touch()
    study = study_of({**values, "more_seeds": {8: ["baseline"]}}, tmp_path)
    kept = with_begun_seeds(study, tmp_path / "study", seedable(study))
    assert kept.more_seeds == {8: ["baseline", "word-kd"], 7: ["seq-kd"]}
    assert {"seq-kd-seed7", "word-kd-seed8", "baseline-seed8"} <= set(by_name(kept))
    assert with_begun_seeds(study, tmp_path / "new", seedable(study)).more_seeds == {8: ["baseline"]}
