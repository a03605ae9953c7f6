"""What a change makes Snakemake do again: what it touches, and no training for the sake of a comment."""

import re

import pytest
import yaml

from harness import contents, differing, plan, planned, snakemake, trained

DATA = {"harvest_text", "train_tokenizer", "encode_corpus"}
JUDGED = {"judge_claims", "tabulate_seeds"}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_touch_of_any_code_plans_no_training(sandbox):
    for pattern in ("scripts/**/*.py", "workflow/**/*", "envs/*", "config.yaml"):
        for path in sandbox.glob(pattern):
            path.touch()
    jobs = plan(sandbox)
    assert not trained(jobs) and not DATA & set(jobs)


def test_an_edited_comment_plans_nothing(sandbox):
    for path in sandbox.glob("scripts/myopia/**/*.py"):
        path.write_text(path.read_text() + "# a comment\n")
    for name in ("train_models", "harvest_text", "evaluate_text", "judge_claims"):
        path = sandbox / f"scripts/{name}.py"
        path.write_text(path.read_text() + "# a comment\n")
    for path in (*sandbox.glob("workflow/rules/*.smk"), sandbox / "config.yaml", *sandbox.glob("envs/*.yaml")):
        path.write_text("# a comment\n" + path.read_text())
    assert plan(sandbox) == {}


def test_the_order_of_keys_plans_nothing(sandbox):
    def turned(node):
        if isinstance(node, dict):
            return {key: turned(node[key]) for key in reversed(node)}
        return node

    path = sandbox / "config.yaml"
    path.write_text(yaml.dump(turned(yaml.safe_load(path.read_text())), sort_keys=False))
    assert plan(sandbox) == {}


def test_another_scale_changes_nothing_here(sandbox):
    edit(sandbox / "config.yaml", "steps: 58594", "steps: 58595")
    assert plan(sandbox) == {}


def test_a_recipe_bump_plans_all_training(sandbox):
    path = sandbox / "workflow/rules/common.smk"
    number = re.search(r'"train": (\d+)', path.read_text()).group(1)
    edit(path, f'"train": {number}', f'"train": {int(number) + 1}')
    jobs = plan(sandbox)
    assert trained(jobs) == 4 and not {"harvest_text", "encode_corpus"} & set(jobs)


@pytest.mark.parametrize(
    ("room", "bundles", "measured", "left"),
    [
        ("synthetic", 1, {"evaluate_synthetic", "probe_synthetic"}, {"evaluate_text", "evaluate_tokens"}),
        (
            "text",
            2,
            {"evaluate_text", "evaluate_tokens", "evaluate_zero_shot"},
            {"evaluate_synthetic", "probe_synthetic", "make_task"},
        ),
    ],
)
def test_changed_steps_plan_one_experiment_and_what_hangs_on_it(sandbox, room, bundles, measured, left):
    config = yaml.safe_load((sandbox / "config.yaml").read_text())
    config["scales"]["smoke"][room]["steps"] = 21
    (sandbox / "config.yaml").write_text(yaml.dump(config))
    jobs = plan(sandbox)
    assert trained(jobs) == bundles
    assert measured | JUDGED <= set(jobs) and not left & set(jobs)
    assert not {"harvest_text", "train_tokenizer", "encode_corpus"} & set(jobs)


def test_changed_fine_tuning_plans_the_family_alone(sandbox):
    config = yaml.safe_load((sandbox / "config.yaml").read_text())
    config["scales"]["smoke"]["family"]["finetune"]["sequences"] = 88
    (sandbox / "config.yaml").write_text(yaml.dump(config))
    jobs = plan(sandbox)
    assert trained(jobs) == 1 and {"train_family_d16_d24", "evaluate_family", "draw_figures"} | JUDGED <= set(jobs)
    assert not {"evaluate_text", "evaluate_synthetic", "encode_corpus"} & set(jobs)


def test_a_deleted_figure_plans_that_figures_are_drawn_and_nothing_else(sandbox):
    (sandbox / "results/smoke/figures/influence.svg").unlink()
    assert plan(sandbox) == {"draw_figures": 1, "write_report": 1}


def test_a_deleted_metric_comes_back_from_the_state(sandbox):
    """The job runs again, for all seeds it trains, but from the state it had kept: no step is trained."""
    before = contents(sandbox)
    runs = sandbox / "results/smoke/runs/dp-p1-myopic"
    (runs / "seed0/metrics.json").unlink()
    done = snakemake(sandbox, "--", "results/smoke/runs/dp-p1-myopic/seed0/metrics.json")
    assert planned(done.output) == {"train_made_runs": 1}
    for seed in (0, 1):
        assert f"[dp-p1-myopic {seed}] resumed at step 20/20" in done.output
    assert not differing(before, contents(sandbox))
