"""config.yaml as a mapping, and a way to lay changes over it."""

import copy

import pytest
import yaml

from myopia.config.load import ROOT

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
SCALES = ("smoke", "laptop", "cpu", "gpu", "paper")


@pytest.fixture
def config():
    """config.yaml at the smoke scale, free to be changed."""
    return {**copy.deepcopy(CONFIG), "scale": "smoke"}


@pytest.fixture
def put(config):
    """`put("synthetic.steps", 3)` writes into `config` and returns it."""

    def write(path, value):
        *folders, key = path.split(".")
        node = config
        for folder in folders:
            node = node.setdefault(folder, {})
        node[key] = value
        return config

    return write
