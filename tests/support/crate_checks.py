"""What the profile of a Provenance Run Crate demands, checked on a crate as the library reads it from disk.

The official validator (PyPI: roc-validator) says the same of a whole results folder; it needs the network and other versions of
libraries than the pinned ones, so it is no part of the tests.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from rocrate.rocrate import ROCrate

PROVENANCE = "https://w3id.org/ro/wfrun/provenance/0.5"


def listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def of_type(crate: ROCrate, kind: str) -> list[Any]:
    return [entity for entity in crate.get_entities() if kind in listed(entity.type)]


def check(folder: Path) -> ROCrate:
    """The crate in `folder`, which is whole and true to the profile."""
    crate = ROCrate(folder)
    known = {entity.id for entity in crate.get_entities()}
    for entity in crate.get_entities():
        for key, value in entity.properties().items():
            for one in listed(value):
                if isinstance(one, dict) and set(one) == {"@id"}:
                    assert one["@id"] in known or one["@id"].startswith("https://"), (entity.id, key, one["@id"])
    for entity in of_type(crate, "File"):
        path = folder / entity.id
        assert path.is_file(), entity.id
        if entity.get("sha256"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == entity["sha256"], entity.id
    assert all((folder / entity.id).is_dir() for entity in of_type(crate, "Dataset"))

    root, workflow = crate.root_dataset, crate.mainEntity
    assert PROVENANCE in {profile.id for profile in root["conformsTo"]}
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} <= set(workflow.type)
    assert root["name"] and root["description"] and root["license"].id.startswith("https://spdx.org/")
    tools, steps = listed(workflow["hasPart"]), listed(workflow["step"])
    assert {step["workExample"].id for step in steps} == {tool.id for tool in tools}
    assert sorted(int(step["position"]) for step in steps) == list(range(len(steps)))

    actions = of_type(crate, "CreateAction")
    assert {action["instrument"].id for action in actions} == {workflow.id} | {tool.id for tool in tools}
    (run,) = [action for action in actions if action["instrument"] == workflow]
    (organize,) = of_type(crate, "OrganizeAction")
    assert organize["result"] == run and organize["instrument"]["name"] == "Snakemake"
    controls = of_type(crate, "ControlAction")
    assert set(map(id, listed(organize["object"]))) == set(map(id, controls))
    orchestrated = [action for control in controls for action in listed(control["object"])]
    assert {action.id for action in orchestrated} == {action.id for action in actions} - {run.id}
    for control in controls:
        for action in listed(control["object"]):
            assert control["instrument"]["workExample"] == action["instrument"]
    assert {entity.id for entity in listed(root["mentions"])} == {run.id, organize.id, *(a.id for a in orchestrated)}
    for action in actions:
        if action.get("startTime"):
            assert datetime.fromisoformat(action["startTime"]) <= datetime.fromisoformat(action["endTime"]), action.id
        assert action.get("result"), action.id
    return crate


def usage(action: Any) -> dict[str, str]:
    """What an action says that it took."""
    return {entity["name"]: entity["value"] for entity in listed(action.get("resourceUsage"))}
