"""The regression network: pure function of its seed, honest hidden states, and the same cut as language models."""

import pytest
import torch

from myopia import MyopiaError, to_myopic
from myopia.model.regression import RegressionModel, load_regression_model

SPEC = dict(d_model=16, n_layers=2, n_heads=2, activation="relu", n_positions=12)


def test_initialisation_is_a_pure_function_of_the_seed():
    before = torch.random.get_rng_state()
    one, two, three = (RegressionModel.from_spec(SPEC, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.embed.weight, three.embed.weight)


def test_run_from_continues_the_forward_pass():
    model, x = RegressionModel.from_spec(SPEC, 0), torch.randn(3, 12, 2)
    with torch.no_grad():
        y, hidden = model(x, hidden_states=True)
        assert len(hidden) == 3
        for layer in range(3):
            torch.testing.assert_close(model.run_from(hidden[layer], layer), y, msg=f"from layer {layer}")


def test_round_trip_and_clear_errors(tmp_path):
    model, x = RegressionModel.from_spec(SPEC, 0), torch.randn(3, 12, 2)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(load_regression_model(tmp_path)(x), model(x))
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(MyopiaError, match="does not fit"):
        load_regression_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MyopiaError, match="model.safetensors is missing"):
        load_regression_model(tmp_path)


def test_myopic_cut_reaches_the_wrapped_decoder():
    model = RegressionModel.from_spec(SPEC, 0).double()
    x = torch.randn(1, 12, 2, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        expected = model(x)
    (vanilla,) = torch.autograd.grad(model(x)[0, 9], x)
    to_myopic(model)
    y = model(x)
    torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)
    (myopic,) = torch.autograd.grad(y[0, 9], x)
    assert vanilla[0, :9].abs().min() > 0 and myopic[0, :9].count_nonzero() == 0
    torch.testing.assert_close(myopic[0, 9], vanilla[0, 9])  # the own path is the same; only the past is cut
