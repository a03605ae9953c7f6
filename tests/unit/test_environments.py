"""What is installed: requirements.txt and the conda environments against pyproject.toml, and against what is imported."""

import ast
import functools
import importlib.util
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
from myopia.data.docstrings import DEFAULT_PACKAGES

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
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


@pytest.mark.parametrize("environment", [None, *ENVIRONMENTS])
def test_whatever_an_installed_package_needs_is_pinned_beside_it(environment):
    """As the packages themselves say, not uv; extras, which packages ask of each other, left out."""
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
                assert other in versions or generate.CUDA.match(other), f"{name} needs {text}"


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


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_brings_python_alone(name):
    found = yaml.safe_load(ENVIRONMENTS[name].read_text())
    assert found["channels"] == ["conda-forge", "nodefaults"]
    python, pip, rest = found["dependencies"]
    assert pip == "pip" and set(rest) == {"pip"}
    assert PROJECT["project"]["requires-python"].startswith(python.replace("python =", ">=") + ",")


def rules():
    """(environment, script) of every rule; the figures share one environment."""
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^(?=\s*(?:use )?rule\b)", path.read_text(), flags=re.M):
            environment = re.search(r'"\.\./\.\./envs/(\w+)\.yaml"', block)
            if environment is None:
                continue
            scripts = re.findall(r"python scripts/(\w+)\.py", block)
            if not scripts:
                scripts = [found.stem for found in sorted(SCRIPTS.glob("plot_*.py"))]
            for script in scripts:
                yield environment.group(1), script


def imported(path):
    """Modules that a file imports, at once or late."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not followed here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def distributions():
    """{module: the packages that install it}, of whatever is installed here."""
    return metadata.packages_distributions()


def package(module):
    """The package to ask for if a module is to be imported."""
    top = module.split(".")[0]
    return canonicalize_name(distributions().get(top, [top])[0])


@functools.cache
def reached(path):
    """Packages of others that a file imports, itself or through our library."""
    waiting, seen, packages = [path], set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in imported(path):
            top = module.split(".")[0]
            if top == "myopia":
                base = SCRIPTS.joinpath(*module.split("."))
                waiting += [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]
            elif top not in sys.stdlib_module_names:
                packages.add(package(module))
    return packages


def test_the_walk_reaches_through_the_library():
    assert {"torch", "transformers", "safetensors", "pyyaml"} <= reached(SCRIPTS / "evaluate_zero_shot.py")
    walked = reached(SCRIPTS / "encode_corpus.py")
    assert "zstandard" in walked and "torch" not in walked


@pytest.mark.parametrize(("environment", "script"), sorted(set(rules())))
def test_an_environment_provides_what_its_script_imports(environment, script):
    missing = reached(SCRIPTS / f"{script}.py") - set(pinned(installed_by(environment)))
    assert not missing, f"scripts/{script}.py: put {', '.join(sorted(missing))} into the group `{environment}`"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_group_holds_what_its_scripts_import_and_no_more(environment):
    """But for what all may import, and for what is installed to be read, not imported."""
    needed = set().union(*(reached(SCRIPTS / f"{script}.py") for found, script in rules() if found == environment))
    spare = names(group("base")) | (names(group("corpus")) if environment == "fetch" else set())
    assert not names(group(environment)) - needed - spare


def test_the_default_corpus_can_be_harvested():
    """Its text comes from installed packages: each must be pinned where it is harvested, and no other be asked for."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    corpora = [part["corpora"] for part in (config["base"], *config["scales"].values()) if "corpora" in part]
    named = {p for corpus in corpora for c in corpus.values() for p in c.get("source", {}).get("packages", [])}
    assert {package(name) for name in named | set(DEFAULT_PACKAGES)} == names(group("corpus"))


# --- everything else that is imported ---


@pytest.mark.parametrize("home", sorted(set(myopia._HOMES.values())))
def test_the_library_asks_for_all_that_it_imports(home):
    assert not reached(SCRIPTS.joinpath(*home.split(".")).with_suffix(".py")) - names(library())


def test_whatever_is_imported_is_asked_for():
    """Not only a guest of something else that is."""
    files = [path for folder in ("scripts", "benchmarks", "tests", "envs") for path in (ROOT / folder).rglob("*.py")]
    ours = {path.stem for path in files} | {"myopia"}
    for path in files:
        tops = {module.split(".")[0] for module in imported(path)} - ours - set(sys.stdlib_module_names)
        missing = {package(top) for top in tops} - names(asked_for())
        assert not missing, f"{path.relative_to(ROOT)} imports {missing}: name it in pyproject.toml, then make pins"
