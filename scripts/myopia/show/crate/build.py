"""A results folder as a Provenance Run Crate: what was made, from what, by which job and software, in what time.

The folder itself is the crate: its files are described where they lie. What lies outside it and is needed to understand
it (workflow, scripts, settings, licence) is copied to `source/`. https://w3id.org/ro/wfrun/provenance/0.5
"""

from __future__ import annotations

import json
import mimetypes
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pandas as pd
import yaml
from rocrate.model import ComputationalWorkflow, ContextEntity
from rocrate.rocrate import ROCrate

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file, write_json
from myopia.show.crate.records import Job
from myopia.show.report.results import Results

SOURCE = "source"
SOURCES = ("workflow", "scripts", "envs", "config.yaml", "requirements.txt", "pyproject.toml", "CITATION.cff", "LICENSE",
           "README.md")  # fmt: skip
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
TERMS = {"resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage"}
ENDINGS = {".csv": "text/csv", ".gz": "application/gzip", ".jsonl": "application/jsonl", ".smk": "text/x-python",
           ".safetensors": "application/octet-stream", ".yaml": "application/yaml", ".zst": "application/zstd"}  # fmt: skip
UNIT = "https://qudt.org/vocab/unit/"
USAGE = {"seconds": "SEC", "device_seconds": "SEC", "peak_memory_bytes": "BYTE", "attempts": "NUM", "devices": "NUM",
         "tokens": "NUM", "flops": "NUM"}  # fmt: skip
HASHED = 100_000_000  # bytes; larger files are described without a checksum
COMPLETED = "http://schema.org/CompletedActionStatus"


def copy_sources(root: Path, results: Path, settings: Mapping[str, Any]) -> None:
    """`root`'s workflow, scripts and terms into `results`/source, with the settings this run resolved to."""
    target = results / SOURCE
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copyfile(root / name, target / name)
    write_json(target / "settings.json", dict(settings))


def build(results: Path, jobs: Sequence[Job], scale: str) -> dict[str, Any]:
    """The crate's metadata (RO-Crate 1.1), for a folder that `copy_sources` has been at.

    Raises:
        MyopiaError: CITATION.cff or the folder is not what it should be.
    """
    return _Crate(results, jobs, scale).metadata()


class _Workflow(ComputationalWorkflow):
    """A workflow that tells its steps."""

    TYPES: ClassVar[list[str]] = [*ComputationalWorkflow.TYPES, "HowTo"]


class _Crate:
    """The crate while it is put together."""

    def __init__(self, results: Path, jobs: Sequence[Job], scale: str) -> None:
        self.results, self.jobs, self.scale = results, jobs, scale
        self.read = Results(results)
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms |= TERMS
        self.files: dict[str, Any] = {}

    def metadata(self) -> dict[str, Any]:
        """JSON-LD, in an order that equal folders share."""
        workflow = self._workflow()
        tools, steps = self._tools(workflow)
        actions = [self._job(job, tools[job.rule]) for job in self.jobs]
        trained = self._training(tools)
        run = self._run(workflow)
        self._organize(run, steps, actions, trained)
        self._root(workflow)
        self._undeclared()
        document = self.crate.metadata.generate()
        document["@graph"].sort(key=lambda entity: entity["@id"])
        return document

    # --- entities ---

    def _entity(self, id_: str, kind: str, /, **properties: Any) -> Any:
        properties = {"@type": kind} | {
            key: _single(value) for key, value in properties.items() if value not in (None, [], "")
        }
        return self.crate.add(ContextEntity(self.crate, id_, properties=properties))

    def _file(self, path: str | Path) -> Any:
        """The entity of a file by its path in the crate, made when it is first asked for."""
        name = Path(path).as_posix()
        if name not in self.files:
            here = self.results / name
            if here.is_dir():
                self.files[name] = self.crate.add_dataset(dest_path=name + "/", properties={"name": name})
                return self.files[name]
            properties: dict[str, Any] = {"name": name, "contentSize": str(here.stat().st_size)}
            kind = ENDINGS.get(here.suffix) or mimetypes.guess_type(here.name)[0]
            if kind:
                properties["encodingFormat"] = kind
            if here.stat().st_size <= HASHED:
                properties["sha256"] = sha256_file(here)
            self.files[name] = self.crate.add_file(dest_path=name, properties=properties)
        return self.files[name]

    def _input(self, path: str) -> Any:
        """What a job read: a file of the folder, of the sources, or of the world, which is named and not described."""
        if Path(path).is_relative_to(self.results):
            inside = Path(path).relative_to(self.results)
            if (self.results / inside).exists():
                return self._file(inside)
        elif not Path(path).is_absolute() and (self.results / SOURCE / path).exists():
            return self._file(Path(SOURCE) / path)
        name = f"#outside/{quote(Path(path).name)}"
        return self.crate.dereference(name) or self._entity(name, "CreativeWork", name=Path(path).name)

    def _workflow(self) -> Any:
        citation = self._citation()
        provenance = self.read.provenance
        path = f"{SOURCE}/workflow/Snakefile"
        workflow = self.crate.add_workflow(
            dest_path=path,
            main=True,
            lang="snakemake",
            lang_version=provenance["versions"].get("snakemake"),
            cls=_Workflow,
        )
        workflow["name"], workflow["version"] = (
            citation["title"],
            ", ".join(provenance["commits"]) or citation["version"],
        )
        workflow["author"] = _single(self._authors(citation))
        workflow["license"] = self._licence(citation)
        workflow["conformsTo"] = {"@id": BIOSCHEMAS}
        workflow["sha256"], workflow["encodingFormat"] = sha256_file(self.results / path), ENDINGS[".smk"]
        workflow["softwareRequirements"] = [
            self._entity(f"#software/{name}", "SoftwareApplication", name=name, softwareVersion=version)
            for name, version in provenance["versions"].items()
        ]
        settings = self._parameter("settings", "every setting of this scale, defaults filled in")
        self._file(f"{SOURCE}/settings.json")["exampleOfWork"] = settings
        report = self._parameter("report", "the replication report")
        workflow["input"], workflow["output"] = settings, report
        if (self.results / "report.html").is_file():
            self._file("report.html")["exampleOfWork"] = report
        self.files[path] = workflow
        return workflow

    def _parameter(self, name: str, description: str) -> Any:
        return self.crate.add_formal_parameter(
            name, "File", identifier=f"#parameter/{name}", valueRequired=True, properties={"description": description}
        )

    def _citation(self) -> dict[str, Any]:
        path = self.results / SOURCE / "CITATION.cff"
        try:
            citation = yaml.safe_load(path.read_text())
            assert citation["title"] and citation["authors"] and citation["license"] and citation["version"]
        except (OSError, yaml.YAMLError, AssertionError, KeyError, TypeError):
            raise MyopiaError(f"{path} must name title, version, license and authors; restore it.") from None
        return citation

    def _authors(self, citation: Mapping[str, Any]) -> list[Any]:
        made = []
        for author in citation["authors"]:
            name = author.get("name") or f"{author.get('given-names', '')} {author['family-names']}".strip()
            found = author.get("orcid") or f"#author/{quote(name)}"
            kind = "Organization" if "name" in author else "Person"
            made.append(self.crate.dereference(found) or self._entity(found, kind, name=name))
        return made

    def _licence(self, citation: Mapping[str, Any]) -> Any:
        name = f"https://spdx.org/licenses/{citation['license']}"
        return self.crate.dereference(name) or self._entity(
            name,
            "CreativeWork",
            name=f"{citation['license']} licence",
            description="Text corpora keep their owners' terms.",
        )

    def _tools(self, workflow: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Rules as tools of the workflow, in the order in which they first ran, and the steps they are."""
        tools, steps = {}, {}
        for position, rule in enumerate(dict.fromkeys(job.rule for job in self.jobs)):
            command = next(job.command for job in self.jobs if job.rule == rule)
            tools[rule] = self._entity(f"#rule/{rule}", "SoftwareApplication", name=rule, description=command)
            steps[rule] = self._entity(
                f"#step/{rule}", "HowToStep", name=rule, position=str(position), workExample=tools[rule]
            )
        workflow["hasPart"], workflow["step"] = list(tools.values()), list(steps.values())
        return tools, steps

    # --- actions ---

    def _job(self, job: Job, tool: Any) -> Any:
        inside = [Path(path).relative_to(self.results) for path in job.outputs]
        return self._entity(
            f"#job/{quote(job.name)}",
            "CreateAction",
            name=f"{job.rule}: {job.name}",
            description=job.command,
            instrument=tool,
            object=[self._input(path) for path in job.inputs],
            result=[self._file(path) for path in inside],
            startTime=_time(job.start),
            endTime=_time(job.end),
            actionStatus=COMPLETED,
            resourceUsage=self._usage(f"job/{job.name}", self._benchmark(job)),
        )

    def _benchmark(self, job: Job) -> dict[str, Any]:
        """Seconds and peak memory as Snakemake measured them."""
        path = self.results / "benchmarks" / f"{job.name}.tsv"
        if not path.is_file():
            return {}
        row = pd.read_csv(path, sep="\t").iloc[-1]
        properties = {"seconds": float(row["s"])}
        peak = pd.to_numeric(row.get("max_rss"), errors="coerce")
        return properties if pd.isna(peak) else properties | {"peak_memory_bytes": int(peak * 2**20)}

    def _usage(self, name: str, record: Mapping[str, Any]) -> list[Any]:
        return [
            self._entity(
                f"#usage/{quote(name)}/{key}",
                "PropertyValue",
                name=key.replace("_", " "),
                propertyID=f"#{key}",
                value=str(record[key]),
                unitCode=UNIT + unit,
            )
            for key, unit in USAGE.items()
            if record.get(key) is not None
        ]

    def _training(self, tools: Mapping[str, Any]) -> dict[str, list[Any]]:
        """An action for every trained run with its seconds and attempts; by the job that trained it."""
        made: dict[str, list[Any]] = {}
        trained_by = {path: job for job in self.jobs for path in job.outputs}
        for (run, seed), record in sorted(self.read.records.items()):
            folder = next(
                place
                for place in (f"runs/{run}/seed{seed}", f"arms/{run}/seed{seed}")
                if (self.results / place).is_dir()
            )
            job = trained_by.get(str(self.results / folder / "metrics.json"))
            if job is None:
                continue  # trained by hand, or under records that are gone: its files are described all the same
            start, end = self._attempts(run, seed, record)
            action = self._entity(
                f"#training/{run}/seed{seed}",
                "CreateAction",
                name=f"train {run}, seed {seed}",
                description=f"{record.get('arm')}, {record.get('steps')} steps, {record.get('attempts', 1)} attempts",
                instrument=tools[job.rule],
                object=[self._input(path) for path in job.inputs],
                result=[self._file(folder)],
                startTime=start,
                endTime=end,
                actionStatus=COMPLETED,
                resourceUsage=self._usage(f"training/{run}/seed{seed}", record),
            )
            made.setdefault(job.name, []).append(action)
        return made

    def _attempts(self, run: str, seed: int, record: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """When the first attempt began and the last one ended, while the state folder is there."""
        path = self.results / ".state" / run / f"seed{seed}" / str(record.get("fingerprint")) / "attempts.jsonl"
        try:
            times = [json.loads(line)["time"] for line in path.read_text().splitlines()]
        except (OSError, ValueError, KeyError):
            return None, None
        return (_time(times[0]), _time(times[-1])) if times else (None, None)

    def _run(self, workflow: Any) -> Any:
        """The whole run: from settings and reference files to what a reader looks at."""
        made = {path for job in self.jobs for path in job.outputs}
        read = sorted({path for job in self.jobs for path in job.inputs} - made)
        shown = ("tables", "figures", "report.html", "released")
        results = [Path(path).relative_to(self.results) for path in sorted(made)]
        return self._entity(
            "#run",
            "CreateAction",
            name=f"scale {self.scale}",
            description="Jobs whose results were there already did not run again; each job tells its own time.",
            instrument=workflow,
            object=[self._file(f"{SOURCE}/settings.json"), *(self._input(path) for path in read)],
            result=[self._file(path) for path in results if path.parts[0] in shown],
            startTime=_time(min(job.start for job in self.jobs)),
            endTime=_time(max(job.end for job in self.jobs)),
            actionStatus=COMPLETED,
        )

    def _organize(
        self, run: Any, steps: Mapping[str, Any], actions: Sequence[Any], trained: Mapping[str, Sequence[Any]]
    ) -> None:
        controls = [
            self._entity(
                f"#control/{quote(job.name)}",
                "ControlAction",
                name=f"orchestrate {job.name}",
                instrument=steps[job.rule],
                object=[action, *trained.get(job.name, ())],
            )
            for job, action in zip(self.jobs, actions, strict=True)
        ]
        version = self.read.provenance["versions"].get("snakemake")
        engine = self._entity("#engine", "SoftwareApplication", name="Snakemake", softwareVersion=version)
        organize = self._entity(
            "#organize",
            "OrganizeAction",
            name="run of Snakemake",
            instrument=engine,
            object=controls,
            result=run,
            startTime=run["startTime"],
            endTime=run["endTime"],
        )
        others = [action for found in trained.values() for action in found]
        self.crate.root_dataset["mentions"] = [run, organize, *actions, *others]

    # --- the folder ---

    def _root(self, workflow: Any) -> None:
        root, citation = self.crate.root_dataset, self._citation()
        root["name"] = f"Do language models plan ahead for future tokens? Replication at scale {self.scale}"
        root["description"] = (
            "Results of one run of the myopia workflow: trained networks, measurements, verdicts, figures and the report, "
            "with every job that made them. Replicates arXiv 2404.00859."
        )
        root["license"], root["author"] = self._licence(citation), _single(self._authors(citation))
        root["datePublished"] = _time(max(job.end for job in self.jobs))
        root["conformsTo"] = [
            self._entity(address, "CreativeWork", name=name, version=version)
            for address, (name, version) in PROFILES.items()
        ]
        for index, paper in enumerate(citation.get("references", [])):
            root["citation"] = self._entity(
                paper.get("url", f"#paper/{index}"),
                "ScholarlyArticle",
                name=paper["title"],
                datePublished=str(paper["year"]),
            )

    def _undeclared(self) -> None:
        """Files that no rule declares: those of run folders, logs, benchmarks, copied sources."""
        for folder in sorted({*self.results.glob("runs/*/seed*"), *self.results.glob("arms/*/seed*")}):
            dataset = self._file(folder.relative_to(self.results))
            parts = [path.relative_to(self.results) for path in sorted(folder.iterdir()) if path.is_file()]
            dataset["hasPart"] = _single([self._file(path) for path in parts])
        for name in (SOURCE, "logs", "benchmarks"):
            if (self.results / name).is_dir():
                self._file(name)
        source = self.files[SOURCE]
        source["hasPart"] = [entity for name, entity in self.files.items() if name.startswith(f"{SOURCE}/")]


def _single(value: Any) -> Any:
    """RO-Crate writes one value without a list around it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
