"""The Python that README and the page on training show runs as printed, and prints what they show."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
END = "# --- the block ends here ---"


def blocks(page):
    """(code, what the page shows it prints, or None) of every Python block; a `text` block right after it is its output."""
    found = [(match[1], match[2], match.start(), match.end()) for match in FENCE.finditer(page)]
    for (what, code, _, end), (after, output, start, _) in zip(found, [*found[1:], ("", "", 0, 0)], strict=True):
        if what == "python":
            yield code, output if after == "text" and not page[end:start].strip() else None


def run(codes, folder):
    """What each of the blocks prints, run one after another in one new interpreter."""
    script = folder / "page.py"
    script.write_text("\n".join(f"{code}\nprint({END!r})" for code in codes))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split(END + "\n")[:-1]


def peft_is_here():
    return importlib.util.find_spec("peft") is not None


def as_printed(name):
    """The blocks of a page that can run here."""
    return [one for one in blocks((ROOT / name).read_text()) if "from peft" not in one[0] or peft_is_here()]


def check(wanted, printed):
    assert wanted and any(output for _, output in wanted)
    for (code, output), said in zip(wanted, printed, strict=True):
        assert output is None or said == output, code


# After all blocks of the page on training: what it warns of.
LEAK = """
def leak(model):
    seen = []
    embeddings = model.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda *args: seen.append(args[2].detach().requires_grad_()) or seen[-1])
    loss = torch.nn.functional.cross_entropy(model(input_ids=windows[:1, :4]).logits[0, 2:3], windows[0, 3:4])
    hook.remove()
    return torch.autograd.grad(loss, seen[-1])[0][0, :2].abs().max().item()

lora.init_lora_weights = False
print(leak(to_myopic(get_peft_model(build(), lora)).train()))
wrong = get_peft_model(to_myopic(build()), lora).train()
print(leak(wrong) > 1e-3, influence(wrong, windows[0, :4])[2, :2].tolist())
"""


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """What the blocks of the page on training print, and then LEAK, in one process: torch and peft take seconds."""
    codes = [code for code, _ in as_printed("docs/training.md")]
    return run(codes + [LEAK] * peft_is_here(), tmp_path_factory.mktemp("training"))


@pytest.mark.slow
def test_python_of_readme_runs_as_printed(tmp_path):
    wanted = as_printed("README.md")
    check(wanted, run([code for code, _ in wanted], tmp_path))


@pytest.mark.slow
def test_python_of_the_page_on_training_runs_as_printed(training):
    wanted = as_printed("docs/training.md")
    check(wanted, training[: len(wanted)])


@pytest.mark.slow
@pytest.mark.skipif(not peft_is_here(), reason="no peft here: pip install peft")
def test_adapters_added_after_the_cut_undo_it_and_influence_does_not_show_it(training):
    """What the page on training warns of. If this fails because it is refused by now, mend the page."""
    assert training[-1].split("\n")[:2] == ["0.0", "True [0.0, 0.0]"]
