"""What is installed: requirements.txt and the conda environments against pyproject.toml, and against what is imported."""

import ast
import functools
import importlib.util
import inspect
import itertools
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import myopia
from myopia.cli import build
from myopia.config.experiment import experiment, known
from myopia.data.docstrings import DEFAULT_PACKAGES

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
LIBRARY = SCRIPTS / "myopia"
ENVIRONMENTS = {path.stem: path for path in sorted((ROOT / "envs").glob("*.yaml"))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load(ROOT / "envs/generate.py")


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def library():
    """Requirements of the library alone."""
    return PROJECT["project"]["dependencies"]


def asked_for():
    """Every requirement that stands in pyproject.toml."""
    groups, extras = PROJECT["dependency-groups"], PROJECT["project"]["optional-dependencies"]
    return {*library(), *itertools.chain(*extras.values()), *(text for name in groups for text in group(name))}


def group(name):
    return generate.expanded(PROJECT["dependency-groups"], name)


def lines():
    """Requirements of requirements.txt, comments gone."""
    text = (ROOT / "requirements.txt").read_text()
    return [line.partition(" #")[0].strip() for line in text.splitlines() if not line.startswith("#")]


def pinned(requirements):
    """{name: version} of exact requirements, those for other platforms and Pythons left out."""
    found = [Requirement(text) for text in requirements]
    return {
        canonicalize_name(each.name): next(iter(each.specifier)).version
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def installed_by(environment):
    """What the pip part of a conda environment installs."""
    *_, last = yaml.safe_load(ENVIRONMENTS[environment].read_text())["dependencies"]
    return last["pip"]


# --- requirements.txt ---


def test_a_requirement_is_one_version_from_anywhere():
    """No hashes, no addresses, no options: it says what is installed, not where from."""
    for line in lines():
        found = Requirement(line)
        (specifier,) = found.specifier
        assert specifier.operator == "==" and re.fullmatch(r"[\w.]+", specifier.version) and found.url is None, line


def test_what_is_asked_for_is_pinned_within_its_bounds():
    versions = pinned(lines())
    for text in sorted(asked_for()):
        wanted = Requirement(text)
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), f"{text}: run make pins"


def test_nothing_is_pinned_that_nobody_asks_for():
    known = generate.pins()
    needed = names(asked_for()) | generate.closure(names(asked_for()), known)
    assert not {pin.name for pin in known} - needed, "run make pins"


def test_torch_brings_cuda_itself():
    """Or its CPU build would come with gigabytes that it does not use."""
    assert not [name for name in pinned(lines()) if generate.CUDA.match(name)]


def test_what_is_installed_is_what_is_pinned():
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("not run from this checkout's .venv: the installed versions are somebody else's choice")
    installed = {canonicalize_name(d.metadata["Name"]): d.version.partition("+")[0] for d in metadata.distributions()}
    wanted = pinned(lines())
    assert {name: installed.get(name) for name in wanted} == wanted, "pinned and installed differ: run make"


def test_the_library_is_found_from_anywhere(tmp_path):
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("not run from this checkout's .venv")
    done = subprocess.run(
        [sys.executable, "-c", "import myopia; print(myopia.__file__)"], cwd=tmp_path, text=True, capture_output=True
    )
    assert Path(done.stdout.strip()).is_relative_to(SCRIPTS), done.stderr


def test_whatever_an_installed_package_needs_is_pinned_beside_it():
    """As the packages themselves say, not uv; extras, which packages ask of each other, left out."""
    for environment in (None, *ENVIRONMENTS):
        versions = pinned(installed_by(environment) if environment else lines())
        for name, version in versions.items():
            try:
                found = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                continue
            if found.version.partition("+")[0] != version:
                continue
            for text in found.requires or []:
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    other = canonicalize_name(needed.name)
                    told = f"{environment or 'requirements.txt'}: {name} needs {text}"
                    assert other in versions or generate.CUDA.match(other), told


def test_continuous_integration_runs_the_oldest_and_the_newest_python():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    run = jobs["test"]["strategy"]["matrix"]["python-version"]
    minors = [int(version.removeprefix("3.")) for version in run]
    oldest, after = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["project"]["requires-python"]).groups()
    assert (min(minors), max(minors)) == (int(oldest), int(after) - 1)


# --- conda environments, one for each group that a rule names ---


def test_environments_are_what_the_generator_writes():
    found = {name: path.read_text() for name, path in ENVIRONMENTS.items()}
    assert found == generate.environments(PROJECT), "run make pins"


def test_conda_brings_python_alone():
    for name, path in ENVIRONMENTS.items():
        found = yaml.safe_load(path.read_text())
        assert found["channels"] == ["conda-forge", "nodefaults"], name
        python, pip, rest = found["dependencies"]
        assert pip == "pip" and set(rest) == {"pip"}, name
        assert PROJECT["project"]["requires-python"].startswith(python.replace("python =", ">=") + ","), name


def commands():
    """{(environment, command)} of every rule; measurements, which share a rule, name their own environment."""
    paths = [*(ROOT / "workflow/rules").glob("*.smk"), *(LIBRARY / "experiments").glob("*/rules.smk")]
    for path in paths:
        for block in re.split(r"^(?=\s*(?:use )?rule\b)", path.read_text(), flags=re.M):
            environment = re.search(r'envs/(\{m\.env\}|\w+)\.yaml"', block)
            for command in re.findall(r"python -m myopia ([a-z-]+)", block):
                if environment.group(1) == "{m.env}":
                    yield from (
                        (m.env, f"{command} {m.name}") for one in map(experiment, known()) for m in one.measurements
                    )
                else:
                    yield environment.group(1), command


def roots(command):
    """Files that a command imports: what stands in its function, and what experiments declare by name."""
    command, _, measurement = command.partition(" ")
    callbacks = {
        each.name or each.callback.__name__.replace("_", "-"): each.callback for each in build().registered_commands
    }
    function = inspect.unwrap(callbacks[command])
    found = {*own_imports(function)}
    for one in map(experiment, known()):
        declared = {
            "measure": [m.run for m in one.measurements if m.name == measurement],
            "judge": ["judge:", *(figure.table for figure in one.figures)] if one.has_claims else [],
            "draw": [figure.draw for figure in one.drawn],
            "train": one.streams.values(),
        }
        found |= {f"myopia.experiments.{one.name}.{text.split(':')[0]}" for text in declared.get(command, ())}
    return found


def own_imports(function):
    """Modules that a command imports: at the head of its file, in its function, and in what that calls of its own file."""
    home = inspect.getmodule(function)
    for node in (*ast.parse(inspect.getsource(home)).body, *ast.walk(ast.parse(inspect.getsource(function)))):
        yield from named(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = home.__dict__.get(node.func.id)
            if node.func.id == "start":
                yield from ["torch"] if any(word.arg == "threads" for word in node.keywords) else []
            elif inspect.isfunction(called) and (called.__module__ == home.__name__ or called.__name__ == "open_dag"):
                yield from own_imports(called)


def named(node):
    """Modules that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "relative imports are not followed here"
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path):
    """Modules that a file imports, at once or late."""
    for node in ast.walk(ast.parse(path.read_text())):
        yield from named(node)


@functools.cache
def distributions():
    """{module: the packages that install it}, of whatever is installed here."""
    return metadata.packages_distributions()


def package(module):
    """The package to ask for if a module is to be imported."""
    top = module.split(".")[0]
    return canonicalize_name(distributions().get(top, [top])[0])


def files_of(module):
    """Files of our library that a module is."""
    base = SCRIPTS.joinpath(*module.split("."))
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


@functools.cache
def reached(*modules):
    """Packages of others that modules import, themselves or through our library."""
    waiting, seen, packages = [*modules], set(), set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        top = module.split(".")[0]
        if top != "myopia":
            packages |= set() if top in sys.stdlib_module_names else {package(top)}
        elif not module.startswith("myopia.cli"):  # what its functions import, commands import: `own_imports`
            waiting += [each for path in files_of(module) for each in imported(path)]
    return packages


def test_the_walk_reaches_through_the_library():
    assert {"torch", "transformers", "safetensors", "lm-eval"} <= reached(*roots("measure zero_shot"))
    walked = reached(*roots("encode"))
    assert "zstandard" in walked and "torch" not in walked
    assert "matplotlib" in reached(*roots("draw")) and "torch" not in reached(*roots("draw"))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_provides_what_its_commands_import_and_no_more(environment):
    """But for what all may import, and for what is installed to be read, not imported."""
    needed = {command: reached(*roots(command)) for found, command in set(commands()) if found == environment}
    assert needed
    provided = set(pinned(installed_by(environment)))
    for command, packages in needed.items():
        assert not packages - provided, (
            f"myopia {command}: put {sorted(packages - provided)} into the group `{environment}`"
        )
    spare = names(group("base")) | (names(group("corpus")) if environment == "fetch" else set())
    assert not names(group(environment)) - set().union(*needed.values()) - spare


def test_the_default_corpus_can_be_harvested():
    """Its text comes from installed packages: each must be pinned where it is harvested, and no other be asked for."""
    scales = [yaml.safe_load(path.read_text()) for path in (ROOT / "workflow/scales").glob("*.yaml")]
    corpora = [
        yaml.safe_load((ROOT / "workflow/corpora.yaml").read_text()),
        *(each.get("corpora", {}) for each in scales),
    ]
    named = {p for corpus in corpora for c in corpus.values() for p in c.get("source", {}).get("packages", [])}
    assert {package(name) for name in named | set(DEFAULT_PACKAGES)} == names(group("corpus"))


# --- everything else that is imported ---


@pytest.mark.parametrize("home", sorted(set(myopia._HOMES.values())))
def test_the_library_asks_for_all_that_it_imports(home):
    assert not reached(home) - names(library())


def test_whatever_is_imported_is_asked_for():
    """Not only a guest of something else that is."""
    files = [path for folder in ("scripts", "benchmarks", "tests", "envs") for path in (ROOT / folder).rglob("*.py")]
    ours = {name for path in files for name in (path.stem, path.parent.name)} | {"myopia"}
    for path in files:
        tops = {module.split(".")[0] for module in imported(path)} - ours - set(sys.stdlib_module_names)
        missing = {package(top) for top in tops} - names(asked_for())
        assert not missing, f"{path.relative_to(ROOT)} imports {missing}: name it in pyproject.toml, then make pins"
