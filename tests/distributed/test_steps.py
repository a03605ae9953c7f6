"""Two real processes compute what one computes, to 1e-10 in fp64 at every step: each arm, each way to lay it out."""

import pytest
import steps
import torch

from fork_server import join, start_ranks
from myopia.train.process_group import ProcessGroup
from tiny_runs import T, dp_spec, text_spec

pytestmark = pytest.mark.slow

STEPS = 3
KV = {"kind": "myopic", "cut": "kv", "beta": 0.0}
NEOX = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": T,
}  # fmt: skip


def text(arm, **changes):
    """A batch of 8: without accumulation (micro-batch 8) unless it is changed."""
    spec = text_spec("vanilla" if arm == "myopic-kv" else arm, precision="fp64", **changes)
    return {**spec, "arm": KV} if arm == "myopic-kv" else spec


def neox(arm):
    return text(arm, model={"kind": "language", "model_type": "gpt_neox", "config": NEOX})


SPECS = {arm: text(arm) for arm in ("vanilla", "myopic", "myopic-kv", "local-hidden", "local-kv")}
SPECS["dropout"] = text("myopic", dropout=0.1, optim={"grad_clip": 0.05})
SPECS["neox"] = neox("myopic")  # rotary, and a head of its own
SPECS["regression"] = dp_spec("myopic", precision="fp64")
SPECS["bf16"] = {**text("myopic"), "precision": "bf16"}
LAYOUTS = {  # sharding, micro-batch asked for, what a process then takes of its share of 4
    "replicate": ("replicate", 8, 4),
    "replicate, accumulated": ("replicate", 2, 2),
    "shard": ("shard", 8, 4),
    "shard, accumulated": ("shard", 2, 2),
    "recompute, accumulated": ("shard-recompute", 2, 2),
}
# Every layout of the myopic arm; else what a layout could do to a spec that it does not do to that one.
PAIRS = {
    "vanilla": ("shard",),
    "myopic": tuple(LAYOUTS),
    "myopic-kv": ("recompute, accumulated",),
    "local-hidden": ("replicate, accumulated", "recompute, accumulated"),  # the teacher is laid out, too
    "local-kv": ("shard, accumulated",),
    "dropout": ("replicate, accumulated", "recompute, accumulated"),  # a mask by its samples, also when drawn again
    "neox": ("recompute, accumulated",),
    "regression": ("shard, accumulated",),
    "bf16": ("replicate, accumulated", "shard, accumulated", "recompute, accumulated"),
}
CASES = [(name, layout) for name, layouts in PAIRS.items() for layout in layouts]
EXACT = [(name, layout) for name, layout in CASES if name != "bf16"]


def case(name, layout, corpus, teacher, micro=None):
    spec = {**SPECS[name], "eval": {"every": 10, "sequences": 11}}  # 11 cannot be shared equally
    tokens = corpus[0] if spec["data"]["kind"] == "tokens" else None
    teacher = teacher if spec["arm"]["kind"] == "local" else None
    sharding = LAYOUTS[layout][0] if layout else "auto"
    spec |= {"micro_batch": LAYOUTS[layout][1] if layout else 8}
    return {
        "name": f"{name} | {layout}", "spec": spec, "sharding": sharding, "tokens": tokens, "teacher": teacher,
        "steps": STEPS,
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(corpus, teacher):
    """What one process computes on whole batches."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield {name: steps.observe(case(name, None, corpus, teacher), ProcessGroup()) for name in SPECS}
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="module")
def pair(context, corpus, teacher, tmp_path_factory):
    """What two processes compute."""
    folder = tmp_path_factory.mktemp("pair")
    cases = [case(name, layout, corpus, teacher) for name, layout in CASES]
    ranks = start_ranks(context, 2, folder / "log", steps.main, cases, folder / "seen.pt")
    assert join(ranks) == [0, 0], (folder / "log").read_text()
    return torch.load(folder / "seen.pt", weights_only=True)


def largest(a, b):
    """Largest difference between two dictionaries of tensors."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize(("name", "layout"), EXACT)
def test_two_processes_equal_one(name, layout, alone, pair):
    one, two = alone[name], pair[f"{name} | {layout}"]
    assert two["micro_batch"] == LAYOUTS[layout][2] and two["sharded"] == ("replicate" not in layout)
    assert len(two["gradients"]) == STEPS
    for step in range(STEPS):
        assert largest(one["gradients"][step], two["gradients"][step]) < 1e-10
        assert largest(one["weights"][step], two["weights"][step]) < 1e-10
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-10, rel=0)
    assert one["validation"] == pytest.approx(two["validation"], abs=1e-10, rel=0)
    # The bound means something: gradients are orders of magnitude above it, and the steps move the weights.
    assert max(float(g.abs().max()) for g in one["gradients"][0].values()) > 1e-3
    assert largest(one["weights"][0], one["weights"][-1]) > 1e-4


@pytest.mark.parametrize("layout", ["shard, accumulated", "recompute, accumulated"])
def test_a_sharded_model_rounds_as_a_replicated_one(layout, pair):
    """bf16: layers gathered in bf16 are what autocast makes of their matrices; all else stays fp32."""
    whole, sharded = pair["bf16 | replicate, accumulated"], pair[f"bf16 | {layout}"]
    assert whole["losses"] == pytest.approx(sharded["losses"], rel=1e-5)
    assert {g.dtype for g in sharded["gradients"][0].values()} == {torch.float32}
    # From the second step on AdamW has made steps of the rounding in gradients that are zero (keys' biases).
    first, *later = (largest(a, b) for a, b in zip(whole["gradients"], sharded["gradients"], strict=True))
    assert max(later) < 1e-3
    if layout == "shard, accumulated":  # recomputation takes two projections, which round apart
        assert first < 1e-8 and whole["losses"][0] == sharded["losses"][0]


def test_arms_differ(alone):
    """What is compared above is myopic: the arms' gradients are not each other's."""
    for a, b in (("vanilla", "myopic"), ("myopic", "myopic-kv"), ("myopic", "local-hidden")):
        assert largest(alone[a]["gradients"][0], alone[b]["gradients"][0]) > 1e-5
