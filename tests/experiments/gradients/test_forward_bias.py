"""The forward-bias quantity: products against written-out matrices and differences, Lanczos against eigh, limits."""

import numpy as np
import pytest
import torch

from myopia.common.errors import MyopiaError
from myopia.common.files import write_json
from myopia.experiments.gradients import POINTS, SPECTRA
from myopia.experiments.gradients import forward_bias as measure
from myopia.experiments.synthetic.data import DpTask
from myopia.model.attach import to_myopic, to_vanilla
from myopia.model.regression import RegressionModel

TASK = {"p": 0.5, "a": 2, "b": 2, "T": 5, "shift": 1}
SPEC = {"n_layers": 2, "n_heads": 1, "d_model": 3, "d_mlp": 4, "activation": "gelu_pytorch_tanh", "n_positions": 5}


def network(**changes):
    """Weights large enough for every term to matter."""
    model = RegressionModel.from_spec({**SPEC, **changes}, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.fixture(scope="module")
def pair():
    return measure.regression_pair(network(), DpTask.from_spec(TASK), 6)


@pytest.fixture(scope="module")
def jacobian(pair):
    return measure.jacobian(pair)


def myopic_gradient(pair, theta):
    return torch.func.grad(pair.loss, argnums=1)(theta, theta)


def test_the_myopic_gradient_is_that_of_the_operator(pair):
    model = network().double()
    task = DpTask.from_spec(TASK)
    inputs, target = pair.inputs["inputs_BTC"], measure.sample(task, 0, 0, 6, stream="test")[2]
    to_myopic(model)
    torch.nn.functional.huber_loss(model(inputs), torch.from_numpy(target).double()).backward()
    operator = torch.cat([p.grad.flatten() for p in model.parameters()])
    future, myopic = measure.gradients(pair)
    assert (operator - myopic).abs().max() <= 1e-12 and future.norm() > 0.01


def test_the_jacobian_is_the_change_of_the_myopic_gradient(pair, jacobian):
    """Past and present move together: differences of the field see H_xy, which a detached past would hide."""
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        v = torch.randn(len(pair.point), generator=generator, dtype=torch.float64)
        v /= v.norm()
        change = (myopic_gradient(pair, pair.point + 1e-5 * v) - myopic_gradient(pair, pair.point - 1e-5 * v)) / 2e-5
        assert (jacobian @ v - change).norm() <= 1e-6 * change.norm()
    present = measure.position_hessians(pair).mean(0)
    assert (jacobian - present).norm() > 0.05 * present.norm()
    assert (jacobian - jacobian.T).norm() > 0.01 * jacobian.norm()


def test_products_equal_the_written_out_matrix(pair, jacobian):
    v = torch.randn(len(pair.point), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    forth, back = measure.products(pair, v)
    assert (forth - jacobian @ v).abs().max() <= 1e-10
    assert (back - jacobian.T @ v).abs().max() <= 1e-10


def test_lanczos_finds_the_ends_that_eigh_finds(pair, jacobian):
    values = np.linalg.eigvalsh(((jacobian + jacobian.T) / 2).numpy())
    ends = measure.symmetric_ends(lambda v: sum(measure.products(pair, v)) / 2, len(pair.point), pair.point)
    for name, value in (("lowest", values[0]), ("highest", values[-1])):
        assert ends[name] == pytest.approx(value, rel=2 * measure.TOLERANCE)


def test_a_positions_block_is_the_hessian_of_its_own_loss(pair):
    blocks = measure.position_hessians(pair)
    assert blocks.shape == (5, len(pair.point), len(pair.point))
    v = torch.randn(len(pair.point), generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def gradient(position, y):
        return torch.func.grad(lambda present: pair.losses(pair.point, present)[position])(y)

    v /= v.norm()
    for position in (0, 3):
        up, down = (gradient(position, pair.point + sign * 1e-5 * v) for sign in (1, -1))
        assert (blocks[position] @ v - (up - down) / 2e-5).norm() <= 1e-6 * (blocks[position] @ v).norm()


def test_too_large_a_network_is_refused_with_the_limit(monkeypatch):
    big = measure.regression_pair(network(d_model=16, d_mlp=64, n_heads=2), DpTask.from_spec(TASK), 2)
    with pytest.raises(MyopiaError, match=r"at most 2,000 parameters and this network has \d,\d{3}"):
        measure.jacobian(big)
    monkeypatch.setattr(measure, "PRODUCT_LIMIT", 100)
    with pytest.raises(MyopiaError, match="Hessian products are made for at most 100 parameters"):
        measure.products(big, big.point)


def test_tables(tmp_path, runs):
    folder = tmp_path / "bias"
    network().save_pretrained(folder)
    write_json(folder / "metrics.json", {})
    small = measure.BiasRun("bias-dp", "bias-vanilla", "vanilla", 0, folder, data=TASK)
    text = runs[0]
    large = measure.BiasRun("tiny", text.run, text.arm, text.seed, text.folder, tokens=text.tokens)
    spectrum, points = measure.forward_bias([small, large], sequences=4, windows=2)
    assert tuple(spectrum.columns) == SPECTRA.columns and tuple(points.columns) == POINTS.columns
    p = int(points.set_index("task").loc["bias-dp", "parameters"])
    counts = spectrum[spectrum["task"] == "bias-dp"].groupby("matrix").size().to_dict()
    assert counts == {"jacobian": p, "symmetric": p, "present": p, "untied": 5 * p}
    ends = spectrum[spectrum["task"] == "tiny"]
    assert set(ends["method"]) == {"lanczos"} and set(ends["matrix"]) == {"symmetric"}
    assert ends["real"].iloc[-1] > 0 and points["gradient_myopic"].min() > 0
    # That Lanczos repeats, too, is seen where parts are compared with the whole: test_measure.py.
    again, _ = measure.forward_bias([small], sequences=4, windows=2)
    assert again.equals(spectrum[spectrum["task"] == "bias-dp"])
    assert not hasattr(to_vanilla(network()), "_myopia")
