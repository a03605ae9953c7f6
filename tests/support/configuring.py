"""config.yaml as a mapping, and a way to lay changes over it."""

import copy

import pytest
import yaml

from myopia.config.load import ROOT

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture
def config():
    """config.yaml at the smoke scale, free to be changed."""
    return {**copy.deepcopy(CONFIG), "scale": "smoke"}


@pytest.fixture
def put(config):
    """`put("base.synthetic.steps", 3)` writes into `config` and returns it; `put("a.b")` removes a key."""

    def write(path, *value):
        *folders, key = path.split(".")
        node = config
        for folder in folders:
            node = node.setdefault(folder, {})
        if value:
            node[key] = value[0]
        else:
            del node[key]
        return config

    return write
