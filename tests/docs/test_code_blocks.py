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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/training.md"])
def test_python_runs_as_printed(name, tmp_path):
    wanted = [one for one in blocks((ROOT / name).read_text()) if "from peft" not in one[0] or peft_is_here()]
    assert wanted and any(output for _, output in wanted)
    printed = run([code for code, _ in wanted], tmp_path)
    for (code, output), said in zip(wanted, printed, strict=True):
        assert output is None or said == output, code


@pytest.mark.slow
@pytest.mark.skipif(not peft_is_here(), reason="no peft here: pip install peft")
def test_adapters_added_after_the_cut_undo_it_and_influence_does_not_show_it(tmp_path):
    """What the page on training warns of. If this fails because it is refused by now, mend the page."""
    first, *_, adapters = [code for code, _ in blocks((ROOT / "docs/training.md").read_text())]
    check = """
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
    said = run([first, adapters, check], tmp_path)[-1].split("\n")
    assert said[:2] == ["0.0", "True [0.0, 0.0]"]
