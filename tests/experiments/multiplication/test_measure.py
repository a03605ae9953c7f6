"""Exact match and answer digits of tiny trained models, and of stand-ins whose answers are known."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.experiments.multiplication import CELLS, DIGITS
from myopia.experiments.multiplication import measure as measured
from myopia.experiments.multiplication.data import Multiplication, cell_problems, pair_keys, trained_pairs
from myopia.experiments.multiplication.formats import SYMBOLS, Format
from myopia.experiments.multiplication.measure import MultiplicationRun, answer, given_answer, greedy
from tiny_runs import place, text_spec

FORM = Format(digits=2, pad=3, after=1)


def spec(arm="vanilla", dropout=0.0, form=FORM):
    made = text_spec(arm, dropout, optim={"lr": 1e-4}, name=f"{form.name}-{arm}", data=form.data(None))
    # Large initial weights that hardly move: 20 usual steps end in one answer to everything, cache or not.
    made["model"]["config"].update(n_positions=form.T, initializer_range=0.5, tie_word_embeddings=False)
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{arm: run} of 20 steps, dropout on while training."""
    from myopia.train.trainer import train

    found = {}
    for arm in ("vanilla", "myopic"):
        where = place(tmp_path_factory.mktemp(arm))
        train(spec(arm, dropout=0.3), 0, where)
        found[arm] = MultiplicationRun(
            f"{FORM.name}-{arm}", arm, 0, where.folder, ("grid", "short"), FORM.data(None), 160
        )
    return found


def model_of(run):
    from myopia.model.build import load_trained

    return load_trained(run.folder, {"kind": run.arm})


def some_ids(count=96):
    made = Multiplication(FORM)
    return made.encode(*cell_problems(2, 2, count))


# --- trained folders are plain Hugging Face folders ---


def check_plain_folder(run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run.folder
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    made = Multiplication(FORM)
    x, y = cell_problems(2, 2, 16)
    texts = [made.text(int(a), int(b)) for a, b in zip(x, y)]
    questions = tokenizer([text[: text.index("=")] + "= ." for text in texts], return_tensors="pt")
    said = model.generate(**questions, max_new_tokens=4, do_sample=False, pad_token_id=0)[:, FORM.prompt :]
    ids = torch.from_numpy(made.encode(x, y))
    ours, _ = greedy(model_of(run), ids[:, : FORM.prompt], FORM.answer)
    assert torch.equal(said, ours)
    assert all(symbol in SYMBOLS for symbol in tokenizer.decode(said[0]).split())


def test_transformers_alone_gives_our_greedy_answers(trained):
    for run in trained.values():
        check_plain_folder(run)


# --- with and without a cache ---


def test_answers_with_and_without_a_cache_agree(trained):
    for arm, run in trained.items():
        model, ids = model_of(run), torch.from_numpy(some_ids())
        cached, margin = greedy(model, ids[:, : FORM.prompt], FORM.answer)
        plain, margin_plain = greedy(model, ids[:, : FORM.prompt], FORM.answer, use_cache=False)
        assert torch.equal(cached, plain), arm
        assert torch.allclose(margin, margin_plain, atol=1e-4), arm
        given, _, _ = given_answer(model, ids, FORM.prompt)
        assert torch.equal(given[:, 0], cached[:, 0]), arm
        assert len(torch.unique(cached)) > 1, arm  # it does not say one thing to everything


class Forgetful(torch.nn.Module):
    """A model whose cache is broken: it answers from the last token alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, past_key_values=None, **more):
        return self.model(input_ids=input_ids, past_key_values=None, **more)


def test_a_broken_cache_is_noticed(trained):
    with pytest.raises(MyopiaError, match="answers differ with and without a key/value cache") as caught:
        answer(Forgetful(model_of(trained["vanilla"])), some_ids(), FORM.prompt, "run 0")
    assert "\n" not in str(caught.value)


def test_a_broken_cache_is_noticed_where_every_answer_is_wrong(trained):
    """After a wrong digit only the pass that really generates without a cache can tell."""
    ids = some_ids()
    model = model_of(trained["vanilla"])
    said, _ = greedy(model, torch.from_numpy(ids)[:, : FORM.prompt], FORM.answer)
    ids[:, FORM.prompt] = (said[:, 0].numpy() + 1) % 10  # no model could be right in the first digit
    answer(model, ids, FORM.prompt, "run 0")
    with pytest.raises(MyopiaError, match="key/value cache"):
        answer(Forgetful(model), ids, FORM.prompt, "run 0")


# --- what is counted ---


def both(runs, count):
    """(cells, digits) of some runs."""
    found = measured.exact_match(runs, count)
    return found[CELLS.name], found[DIGITS.name]


class Oracle(torch.nn.Module):
    """Answers rightly but for chosen problems; its cache is the tokens it has read."""

    def __init__(self, form, wrong=lambda x, y, position: False):
        super().__init__()
        self.made, self.wrong = Multiplication(form), wrong
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, past_key_values=None, use_cache=False, logits_to_keep=0):
        ids = input_ids if past_key_values is None else torch.cat([past_key_values, input_ids], 1)
        form = self.made.form
        logits = torch.zeros(len(ids), ids.shape[1], 13)
        for row, tokens in enumerate(ids.tolist()):
            text = "".join(SYMBOLS[i] for i in tokens[: form.prompt]).strip(".=")
            x, y = (int(part.strip(".=")[::-1]) for part in text.split("*"))
            truth = self.made.encode(np.array([x]), np.array([y]))[0]
            for position in range(form.prompt - 1, ids.shape[1]):
                if position < form.T - 1:
                    k = position + 1 - form.prompt
                    right = int(truth[position + 1])
                    logits[row, position, (right + 1) % 10 if self.wrong(x, y, k) else right] = 5.0
        keep = slice(-1, None) if isinstance(logits_to_keep, int) else logits_to_keep
        kept = logits[:, keep] if past_key_values is None else logits[:, -1:]
        return SimpleNamespace(logits=kept, past_key_values=ids if use_cache else None)


@pytest.fixture
def oracle(trained, monkeypatch):
    """`oracle(wrong)` -> (cells, digits) of a model that errs where `wrong` says."""

    def run(wrong, count=40, **change):
        monkeypatch.setattr(measured, "load_trained", lambda folder, arm: Oracle(FORM, wrong))
        base = trained["vanilla"]
        return both([MultiplicationRun(**{**base.__dict__, **change})], count)

    return run


def test_exact_match_counts_the_digits_a_product_can_have(oracle):
    """One wrong digit is enough, but zeros beyond x + y digits are not asked for (the authors' score)."""
    cells, digits = oracle(lambda x, y, k: (x % 3 == 0 and k == 0) or k == 3)
    assert set(cells["role"]) == {"grid", "short"}
    cells, digits = (frame[frame["role"] == "grid"] for frame in (cells, digits))
    for (a, b), rows in cells.groupby(["x_digits", "y_digits"]):
        x, _ = cell_problems(a, b, 40)
        wanted = 0 if a + b == 4 else int((x % 3 != 0).sum())
        assert rows["correct"].sum() == wanted and rows["n"].tolist() == [32, 8]
        here = digits[(digits["x_digits"] == a) & (digits["y_digits"] == b)].set_index("position")
        assert here["right_greedy"].tolist() == pytest.approx([(x % 3 != 0).mean(), 1, 1, 0])
        assert here["right_given"].tolist() == here["right_greedy"].tolist()
        right, wrong = (-np.log(np.exp(v) / (np.exp(5) + 12)) for v in (5, 0))
        share = (x % 3 != 0).mean()
        assert here["loss"].tolist() == pytest.approx([share * right + (1 - share) * wrong, right, right, wrong])


def test_problems_that_training_never_showed_are_counted_apart(oracle):
    cells, _ = oracle(lambda x, y, k: x >= 50, count=64, examples=2000)
    cells = cells[cells["role"] == "grid"]
    shown = trained_pairs(2, 0, 2000)
    for (a, b), rows in cells.groupby(["x_digits", "y_digits"]):
        x, y = cell_problems(a, b, 64)
        new = ~np.isin(pair_keys(2, x, y), shown)
        assert rows["n_new"].sum() == new.sum()
        assert rows["correct_new"].sum() == (new & (x < 50)).sum()
    by_cell = cells.groupby(["x_digits", "y_digits"])["n_new"].sum()
    assert by_cell[1, 1] < 5 and by_cell[2, 2] > 30


def test_measures_of_a_trained_model(trained, monkeypatch):
    runs = [trained["vanilla"], trained["myopic"]]
    cells, digits = both(runs, 40)
    assert tuple(cells.columns) == CELLS.columns and tuple(digits.columns) == DIGITS.columns
    assert len(cells) == 2 * 2 * 4 * 2 and len(digits) == 2 * 2 * 4 * 4
    ids = torch.from_numpy(Multiplication(FORM).encode(*cell_problems(2, 2, 40)))
    with torch.no_grad():
        logp = model_of(runs[0])(ids).logits.log_softmax(-1)
    nats = -logp[:, FORM.prompt - 1 : -1].gather(2, ids[:, FORM.prompt :, None])[..., 0].mean(0)
    here = digits[(digits["run"] == runs[0].run) & (digits["role"] == "grid")]
    here = here[(here["x_digits"] == 2) & (here["y_digits"] == 2)]
    assert here["loss"].to_numpy() == pytest.approx(nats.numpy(), rel=1e-5)
    # Dropout is off, and nothing depends on how problems are batched.
    monkeypatch.setattr(measured, "BATCH", 7)
    again = both(runs, 40)
    pd.testing.assert_frame_equal(again[0], cells)
    pd.testing.assert_frame_equal(again[1], digits, rtol=1e-5)


def test_a_folder_with_another_tokenizer_is_refused(trained, tmp_path):
    import shutil

    run = trained["vanilla"]
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    file = folder / "tokenizer.json"
    held = json.loads(file.read_text())
    words = held["model"]["vocab"]
    words["3"], words["4"] = words["4"], words["3"]
    file.write_text(json.dumps(held))
    with pytest.raises(MyopiaError, match="numbers the symbols otherwise than training did"):
        both([MultiplicationRun(**{**run.__dict__, "folder": folder})], 32)


def test_runs_measured_apart_are_the_rows_of_all_together(trained):
    """A unit is what the workflow hands over: plain mappings, one run and seed."""
    units = [{**run.__dict__, "folder": str(run.folder), "roles": [*run.roles]} for run in trained.values()]
    together = measured.measure(units, {"problems": 32}, "cpu")
    apart = [measured.measure([unit], {"problems": 32}, "cpu") for unit in units]
    for name, frame in together.items():
        joined = pd.concat([tables[name] for tables in apart]).sort_values(list(frame.columns), kind="stable")
        expected = frame.sort_values(list(frame.columns), kind="stable")
        pd.testing.assert_frame_equal(joined.reset_index(drop=True), expected.reset_index(drop=True))
    assert set(together) == {CELLS.name, DIGITS.name}
