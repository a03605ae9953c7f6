"""Gradient anatomy: parts add up, unbiased norms are unbiased, checkpoints are those of the run."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.experiments.gradients import ANATOMY
from myopia.experiments.gradients import anatomy as measure
from myopia.experiments.gradients.judge import Inner
from myopia.model.attach import to_vanilla
from myopia.model.build import build_language_model
from tiny_runs import make_tokens, place, text_spec

SETTINGS = {"blocks": 4, "block_windows": 2, "moment_blocks": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 8 steps that kept its weights on the way."""
    from myopia.train.trainer import train

    corpus = make_tokens(tmp_path_factory.mktemp("corpus"))
    where = place(tmp_path_factory.mktemp("run"), corpus)
    train(text_spec("vanilla", steps=8, snapshots=[0, 1, 4]), 0, where)
    steps = {step: where.folder / "snapshots" / f"step{step}" for step in (0, 1, 4)}
    tokens = measure.Path(corpus[0])
    return measure.AnatomyRun("text", "vanilla", 0, "tiny", where.folder, tokens, {**steps, 8: where.folder}, 1e-8, 8)


@pytest.fixture(scope="module")
def frame(run):
    return measure.gradient_anatomy([run], **SETTINGS)


def test_rows(frame):
    assert tuple(frame.columns) == ANATOMY.columns
    assert len(frame) == 4 * 2 * 2 * 4  # checkpoints, gradient and AdamW, groups of parameters, blocks
    assert frame["loss"].groupby(frame["step"]).mean().is_monotonic_decreasing
    own = frame[(frame["step"] == 8) & (frame["of"] == "gradient")]
    assert own["m_m"].gt(0).all() and own["f_f"].gt(0).all()


def test_products_are_those_of_the_gradients_themselves(run, frame):
    """Myopic and total gradients taken here by hand: m, f = total - m, their sums over blocks, in both groups."""
    text = measure.Text.draw(run.tokens, 4, 2, 2, 8)
    model = measure.open_model(run.folder)
    embed = measure.is_embedding(model)
    parts = []
    for ids in text.blocks:
        gradients = {}
        for cut in (False, True):
            measure.to_myopic(model) if cut else to_vanilla(model)
            model.zero_grad()
            measure.mean_loss(model, ids).backward()
            gradients[cut] = torch.cat([p.grad.flatten() for n, p in model.named_parameters() if not embed[n]]).double()
        parts.append((gradients[True], gradients[False] - gradients[True]))
    to_vanilla(model)
    m, f = (torch.stack(each) for each in zip(*parts, strict=True))
    rows = frame[(frame["step"] == 8) & (frame["of"] == "gradient") & (frame["group"] == "no-embeddings")]
    expected = {
        "m_m": (m * m).sum(1), "f_f": (f * f).sum(1), "m_f": (m * f).sum(1), "m_M": m @ m.sum(0), "f_F": f @ f.sum(0),
        "m_F": m @ f.sum(0), "f_M": f @ m.sum(0),
    }  # fmt: skip
    for name, values in expected.items():
        assert np.allclose(rows[name], values, rtol=1e-4, atol=1e-9), name


def test_adamw_is_the_gradient_over_the_root_of_its_mean_square(run, frame):
    text = measure.Text.draw(run.tokens, 4, 2, 2, 8)
    one = measure.Anatomy(measure.open_model(run.folder))
    scale = one.adamw_scale(text.moments, 1e-8)
    grads = torch.stack([one.gradients(one.plain, ids)[0] for ids in text.moments])
    assert torch.allclose(scale, 1 / ((grads**2).mean(0).sqrt() + 1e-8))
    myopic, _, _ = one.parts(text.blocks[0])
    rows = frame[(frame["step"] == 8) & (frame["of"] == "adamw") & (frame["block"] == 0)].set_index("group")["m_m"]
    assert rows.sum() == pytest.approx(float(((myopic * scale) ** 2).sum()), rel=1e-4)


def test_the_unbiased_norm_has_the_right_mean_and_the_raw_one_has_not():
    """Blocks are noise around a known vector: mean over 4,000 draws of both forms, within 4 standard errors."""
    rng = np.random.default_rng(0)
    truth, blocks, draws = np.array([0.3, -0.2, 0.1]), 4, 4000
    g = truth + rng.standard_normal((1, draws, blocks, 3))  # one seed, draws in the place of steps
    own, with_sum = (g**2).sum(-1), np.einsum("sdki,sdi->sdk", g, g.sum(2))
    inner = Inner.of(own, with_sum, with_sum)
    norm2 = truth @ truth
    error = inner.unbiased.std() / np.sqrt(draws)
    assert abs(inner.unbiased.mean() - norm2) < 4 * error
    assert inner.raw.mean() == pytest.approx(norm2 + 3 / blocks, rel=0.05) and inner.raw.mean() > norm2 + 20 * error
    # It is the mean inner product of half means over all ways to halve the blocks.
    halves = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    by_hand = np.mean(
        [(g[:, :, a].mean(2) * g[:, :, b].mean(2)).sum(-1) for a, b in map(lambda h: map(list, h), halves)], 0
    )
    assert np.allclose(inner.unbiased, by_hand)
    fewer = g[:, :, 1:]
    without = (fewer.sum(2) ** 2).sum(-1) - (fewer**2).sum((-1, -2))
    assert np.allclose(inner.unbiased_without[..., 0], without / 6)
    assert np.allclose(inner.raw_without[..., 0], (fewer.mean(2) ** 2).sum(-1))


def test_gradients_taken_twice_are_those_that_were_kept(run, frame, monkeypatch):
    monkeypatch.setattr(measure, "KEEP_BYTES", 0)
    again = measure.gradient_anatomy([run], **SETTINGS)
    pd.testing.assert_frame_equal(frame, again)


def test_embeddings_are_the_authors_and_gpt2s_tables():
    neox = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    for model_type, sizes, tables in (
        (
            "gpt2",
            {"n_embd": 8, "n_layer": 1, "n_head": 2, "attn_pdrop": 0.0},
            {"transformer.wte.weight", "transformer.wpe.weight"},
        ),
        ("gpt_neox", neox, {"gpt_neox.embed_in.weight", "lm_head.weight"}),
    ):
        model = build_language_model({"model_type": model_type, "config": sizes}, 0, 50)
        found = {name for name, table in measure.is_embedding(model).items() if table}
        assert found >= tables and not any("layers" in name or ".h." in name for name in found), model_type


def test_a_missing_snapshot_and_too_little_text_are_one_sentence(run, tmp_path):
    shutil.copytree(run.folder / "snapshots" / "step0", tmp_path / "step0")
    (tmp_path / "step0" / "model.safetensors").unlink()
    bad = measure.AnatomyRun(**{**vars(run), "checkpoints": {0: tmp_path / "step0"}})
    with pytest.raises(MyopiaError, match="trained without keeping its weights"):
        measure.gradient_anatomy([bad], **SETTINGS)
    with pytest.raises(MyopiaError, match="lower gradients.blocks"):
        measure.gradient_anatomy([run], **{**SETTINGS, "blocks": 10_000})


def test_a_revision_in_pytorch_form_is_read(run, tmp_path):
    """Public revisions hold pytorch_model.bin: tensors alone are read from it."""
    model = measure.open_model(run.folder)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    read = measure.open_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), read.state_dict().values(), strict=True))
