# make        run the laptop scale and print the verdicts     make test   set up and run the whole suite
# make smoke  every rule once, in a minute or so              make bench  operator against vanilla, tokenizing
# make tune   the learning-rate grid on the tuning seeds      make dag    a picture of the workflow
# make watch  the runs at work, live, from another terminal   make report the replication report
# make simulate   1,000 jobs on a simulated cluster that takes machines away
# make survey     on which of transformers' architectures the myopic twin is exact
# make pins       requirements.txt and the conda environments, from pyproject.toml (needs uv)
# SCALE=cpu make   another scale;   make ARGS="..."   further arguments to snakemake
# TORCH=cpu make   torch's CPU build on Linux (TORCH=cuda: PyPI's, with CUDA); remembered by .venv
# PIP_ARGS="..." make   further arguments to pip or uv, whichever installs
PYTHON ?= python3
SCALE ?= laptop
ARGS ?=
PIP_ARGS ?=
VENV := .venv
STAMP := $(VENV)/.requirements
CHOSEN := $(shell cat $(VENV)/.torch 2> /dev/null)
TORCH ?= $(CHOSEN)
export PATH := $(abspath $(VENV))/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

RUN = python -m myopia run $(ARGS) --config scale=$(SCALE)

.PHONY: all force pins test browser slurm lint smoke tune watch report bench survey simulate dag clean unlock
.DEFAULT_GOAL := all

all: $(STAMP) unlock
	@$(RUN)

smoke: override SCALE = smoke
smoke: $(STAMP) unlock
	@$(RUN)

tune: $(STAMP) unlock
	@$(RUN) -- tuned

watch: $(STAMP)
	@python -m myopia watch --results results/$(SCALE)

report: $(STAMP) unlock
	@$(RUN) -- report

# A killed snakemake leaves its lock behind. Remove it only if no living one works in this folder.
unlock: $(STAMP)
	@python -m myopia unlock

# A torch that is asked for is installed if it is another than the last one asked for.
$(STAMP): requirements.txt pyproject.toml $(if $(filter-out $(CHOSEN),$(TORCH)),force)
	TORCH="$(TORCH)" PIP_ARGS="$(PIP_ARGS)" sh envs/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@
force:

# Keeps the versions there are; ARGS="--upgrade-package NAME" (any options of uv pip compile) changes some.
pins:
	$(PYTHON) envs/generate.py $(ARGS)

# Three workers for two cores: the tests of Slurm, in one of them, mostly wait.
test: lint browser slurm
	OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Tests of the report need a browser. Nobody's machine is changed for it but that of continuous integration.
browser:
	@[ "$(CI)" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0; \
	for name in chromium chromium-browser google-chrome google-chrome-stable; do command -v $$name > /dev/null && exit 0; done; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null

# Tests of cluster jobs need a Slurm, which they start themselves; likewise. Where root is a word away it is asked.
slurm:
	@[ "$(CI)" = true ] && command -v apt-get > /dev/null || exit 0; \
	PATH=$$PATH:/usr/sbin; command -v slurmctld > /dev/null && command -v slurmd > /dev/null && command -v sbatch > /dev/null && exit 0; \
	[ "$$(id -u)" = 0 ] || SUDO="sudo -n"; \
	$$SUDO apt-get update -qq && \
	$$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client > /dev/null

lint: $(STAMP)
	ruff check .
	ruff format --check .
	PYTHONPATH=scripts lint-imports
	snakefmt --check workflow scripts/myopia/experiments
	snakemake --lint

bench: $(STAMP)
	python benchmarks/bench_attention.py --out results/bench/attention.csv
	python benchmarks/bench_tokenize.py --out results/bench/tokenize.csv

survey: $(STAMP)
	python benchmarks/survey_architectures.py --out results/bench/architectures.csv

simulate: $(STAMP)
	python benchmarks/simulate_schedule.py --out results/bench/schedule

dag: $(STAMP)
	@mkdir -p results
	snakemake --config scale=$(SCALE) --rulegraph mermaid-js > results/dag.mmd
	@if command -v dot > /dev/null; then \
	  snakemake --config scale=$(SCALE) --rulegraph dot | dot -Tsvg > results/dag.svg && echo results/dag.svg; fi
	@echo "results/dag.mmd (Mermaid: shown by GitHub, editors and mermaid.live)"

clean:
	rm -rf results/* .snakemake .venv
