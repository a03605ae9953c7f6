# The authors' released checkpoints, measured without training: `snakemake released`, at any scale, never part of `all`.
# Downloads and files that others made are trusted by their sha256 only, and read as data (convert.py).
from myopia.experiments.released import EXPERIMENT as released_experiment
from myopia.experiments.released import settings as released_settings
from myopia.experiments.zero_shot.settings import task_files

RELEASED = released_settings.checkpoints(SETTINGS)


rule resolve_released:
    output:
        lock="<results>/released/released.lock.json",
        bases=collect(
            "<results>/released/base/pythia-{size}/config.json",
            size=SETTINGS["released"]["sizes"],
        ),
        tokenizer="<results>/released/tokenizer/tokenizer.json",
    log:
        "<logs>/resolve_released.log",
    benchmark:
        "<benchmarks>/resolve_released.tsv"
    conda:
        "../../../../envs/fetch.yaml"
    params:
        settings=dag.settings_file,
        digest=digest([RELEASED, CODE_VERSION["data"]]),
        folder=subpath(output.lock, parent=True),
        pins=HUB_LOCK,
    shell:
        "python -m myopia resolve-released --settings {params.settings:q} --out {params.folder:q}"
        " --pins {params.pins:q} 2> {log:q}"


rule fetch_released:
    input:
        lock="<results>/released/released.lock.json",
    output:
        checkpoint=temp("<results>/released/checkpoints/{run}/checkpoint.ckpt"),
        record="<results>/released/checkpoints/{run}/fetched.json",
    log:
        "<logs>/fetch_released/{run}.log",
    benchmark:
        "<benchmarks>/fetch_released/{run}.tsv"
    wildcard_constraints:
        run=regex_any(RELEASED),
    conda:
        "../../../../envs/fetch.yaml"
    resources:
        runtime=480,
    params:
        settings=dag.settings_file,
        # Undeclared, so that Snakemake never wipes it: a download that was killed continues.
        state=lambda wildcards: f"{SETTINGS['results']}/.state/released/{wildcards.run}",
    shell:
        "python -m myopia fetch-released {wildcards.run} --settings {params.settings:q} --lock {input.lock:q}"
        " --state {params.state:q} --out {output.checkpoint:q} --record {output.record:q} 2> {log:q}"


rule convert_released:
    input:
        checkpoint="<results>/released/checkpoints/{run}/checkpoint.ckpt",
        fetched="<results>/released/checkpoints/{run}/fetched.json",
        base=lambda wildcards: (
            f"{SETTINGS['results']}/released/base/pythia-{RELEASED[wildcards.run]['size']}/config.json"
        ),
        tokenizer="<results>/released/tokenizer/tokenizer.json",
    output:
        record="<results>/released/runs/{run}/checkpoint.json",
        weights="<results>/released/runs/{run}/model.safetensors",
        config="<results>/released/runs/{run}/config.json",
        tokenizer="<results>/released/runs/{run}/tokenizer.json",
    log:
        "<logs>/convert_released/{run}.log",
    benchmark:
        "<benchmarks>/convert_released/{run}.tsv"
    wildcard_constraints:
        run=regex_any(RELEASED),
    conda:
        "../../../../envs/evaluate.yaml"
    resources:
        mem_mb=lambda wildcards, input: 2000 + 2 * input.size_mb,
    params:
        settings=dag.settings_file,
        base=subpath(input.base, parent=True),
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output.record, parent=True),
        version=CODE_VERSION["measure"],
    shell:
        "python -m myopia convert-released {wildcards.run} --settings {params.settings:q}"
        " --checkpoint {input.checkpoint:q} --fetched {input.fetched:q} --base {params.base:q}"
        " --tokenizer {params.tokenizer:q} --out {params.folder:q} 2> {log:q}"


rule encode_released:
    input:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
        tokenizer="<results>/released/tokenizer/tokenizer.json",
    output:
        manifest="<results>/released/tokens/{corpus}/tokens.manifest.json",
        tokens=collect("<results>/released/tokens/{{corpus}}/{split}.bin", split=SPLITS),
        docs=collect("<results>/released/tokens/{{corpus}}/{split}.docs.csv", split=SPLITS),
    log:
        "<logs>/encode_released/{corpus}.log",
    benchmark:
        "<benchmarks>/encode_released/{corpus}.tsv"
    priority: 20
    conda:
        "../../../../envs/tokenize.yaml"
    params:
        settings=dag.settings_file,
        digest=dag.corpus_digest("windows", T=SETTINGS["released"]["T"]),
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python -m myopia encode-released {wildcards.corpus} --settings {params.settings:q} --docs {input.docs:q}"
        " --tokenizer {params.tokenizer:q} --out {params.folder:q} 2> {log:q}"


rule measure_released:
    input:
        record="<results>/released/runs/{run}/checkpoint.json",
        weights="<results>/released/runs/{run}/model.safetensors",
        tokens=collect(
            "<results>/released/tokens/{corpus}/tokens.manifest.json",
            corpus=SETTINGS["corpora"],
        ),
    output:
        loss="<results>/released/measure/{run}/text_loss.csv.gz",
    log:
        "<logs>/measure_released/{run}.log",
    benchmark:
        "<benchmarks>/measure_released/{run}.tsv"
    wildcard_constraints:
        run=regex_any(RELEASED),
    conda:
        "../../../../envs/evaluate.yaml"
    resources:
        gpu=measure_gpus,
        mem_mb=lambda wildcards, attempt: released_settings.memory(
            [RELEASED[wildcards.run]["size"]], attempt
        ),
        runtime=measure_runtime,
    params:
        settings=dag.settings_file,
        digest=digest([SETTINGS["released"]["test_windows"], CODE_VERSION["measure"]]),
    shell:
        "python -m myopia measure-released {wildcards.run} --settings {params.settings:q} --threads {threads}"
        " --out {output.loss:q} 2> {log:q}"


rule score_released:
    input:
        released_settings.converted_files(SETTINGS, "checkpoint.json"),
        released_settings.converted_files(SETTINGS, "model.safetensors"),
        tasks=task_files(dag),
    output:
        scores="<results>/released/measure/zero_shot.csv.gz",
    log:
        "<logs>/score_released.log",
    benchmark:
        "<benchmarks>/score_released.tsv"
    conda:
        "../../../../envs/zeroshot.yaml"
    resources:
        gpu=measure_gpus,
        mem_mb=lambda wildcards, attempt: released_settings.memory(
            SETTINGS["released"]["sizes"], attempt
        ),
        runtime=measure_runtime,
    params:
        settings=dag.settings_file,
        digest=digest([released_settings.scored(SETTINGS), CODE_VERSION["measure"]]),
    shell:
        "python -m myopia score-released --settings {params.settings:q} --threads {threads} --out {output.scores:q}"
        " 2> {log:q}"


rule tabulate_released:
    input:
        records=released_settings.converted_files(SETTINGS, "checkpoint.json"),
        losses=collect("<results>/released/measure/{run}/text_loss.csv.gz", run=RELEASED),
        scores="<results>/released/measure/zero_shot.csv.gz",
        paper="workflow/reference/paper_values.csv",
    output:
        audit=report(
            "<results>/released/tables/released_audit.csv",
            category=released_experiment.title,
            labels={"figure": "released_audit"},
        ),
        tables=[
            f"<results>/released/tables/{figure.name}.csv" for figure in released_experiment.drawn
        ],
    log:
        "<logs>/tabulate_released.log",
    benchmark:
        "<benchmarks>/tabulate_released.tsv"
    conda:
        "../../../../envs/report.yaml"
    params:
        settings=dag.settings_file,
        folder=subpath(output.audit, parent=True),
    shell:
        "python -m myopia tabulate-released --settings {params.settings:q} --paper {input.paper:q}"
        " --out {params.folder:q} 2> {log:q}"


rule draw_released:
    input:
        [f"<results>/released/tables/{figure.name}.csv" for figure in released_experiment.drawn],
    output:
        svg=[
            report(
                f"<results>/released/figures/{figure.name}.svg",
                category=released_experiment.title,
                labels={"figure": figure.name},
            )
            for figure in released_experiment.drawn
        ],
        png=[
            f"<results>/released/figures/{figure.name}.png" for figure in released_experiment.drawn
        ],
    log:
        "<logs>/draw_released.log",
    benchmark:
        "<benchmarks>/draw_released.tsv"
    conda:
        "../../../../envs/draw.yaml"
    params:
        settings=dag.settings_file,
        digest=digest(dag.captions(released_experiment)),
    shell:
        "python -m myopia draw released --settings {params.settings:q} 2> {log:q}"


rule released:
    """Tables and figures of the authors' released checkpoints; downloads them, but trains nothing."""
    input:
        "<results>/released/tables/released_audit.csv",
        [f"<results>/released/figures/{figure.name}.svg" for figure in released_experiment.drawn],
