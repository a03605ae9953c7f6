# The authors' released checkpoints, measured without training: `snakemake released`, at any scale, never part of `all`.
# Downloads and files that others made are trusted by their sha256 only, and read as data (model/released.py).


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
        "../../envs/fetch.yaml"
    params:
        specs=as_json(list(RELEASED.values())),
        folder=subpath(output.lock, parent=True),
        pins="workflow/reference/hub.lock.json",
        recipe=RECIPE["data"],
    shell:
        "python scripts/resolve_released.py --specs {params.specs:q} --out {params.folder}"
        " --pins {params.pins} 2> {log}"


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
        run=one_of(RELEASED),
    conda:
        "../../envs/fetch.yaml"
    resources:
        runtime=480,
    params:
        repo=lambda wildcards: RELEASED[wildcards.run]["repo"],
        revision=lambda wildcards: RELEASED[wildcards.run]["revision"],
        # Undeclared, so that Snakemake never wipes it: a download that was killed continues.
        state=lambda wildcards: f"{SETTINGS['results']}/.state/released/{wildcards.run}",
    shell:
        "python scripts/fetch_released.py --lock {input.lock} --repo {params.repo:q}"
        " --revision {params.revision:q} --state {params.state} --out {output.checkpoint} --record {output.record} 2> {log}"


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
        run=one_of(RELEASED),
    conda:
        "../../envs/evaluate.yaml"
    resources:
        mem_mb=lambda wildcards, input: 2000 + 2 * input.size_mb,
    params:
        size=lambda wildcards: RELEASED[wildcards.run]["size"],
        arm=lambda wildcards: RELEASED[wildcards.run]["arm"],
        base=subpath(input.base, parent=True),
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output.record, parent=True),
        recipe=RECIPE["measure"],
    shell:
        "python scripts/convert_released.py --checkpoint {input.checkpoint} --fetched {input.fetched}"
        " --size {params.size} --arm {params.arm} --base {params.base} --tokenizer {params.tokenizer}"
        " --out {params.folder} 2> {log}"


use rule encode_corpus as encode_released with:
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
    params:
        spec=lambda wildcards: as_json(
            {**SETTINGS["corpora"][wildcards.corpus]["windows"], "T": SETTINGS["released"]["T"]}
        ),
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output.manifest, parent=True),
        recipe=RECIPE["data"],


rule evaluate_released:
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
        "<logs>/evaluate_released/{run}.log",
    benchmark:
        "<benchmarks>/evaluate_released/{run}.tsv"
    wildcard_constraints:
        run=one_of(RELEASED),
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        gpu=gpus_needed,
        mem_mb=lambda wildcards, input: 3000 + 2 * input.size_mb,
        runtime=measure_runtime,
    params:
        spec=released_measure_spec,
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/evaluate_released.py --spec {params.spec:q} --device {params.device}"
        " --threads {threads} --out {output.loss} 2> {log}"


use rule evaluate_zero_shot as score_released with:
    input:
        released_files("checkpoint.json"),
        released_files("model.safetensors"),
        tasks=task_files(),
    output:
        scores="<results>/released/measure/zero_shot.csv.gz",
    log:
        "<logs>/score_released.log",
    benchmark:
        "<benchmarks>/score_released.tsv"
    params:
        spec=released_zero_shot_spec(),
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],


rule tabulate_released:
    input:
        records=released_files("checkpoint.json"),
        losses=collect("<results>/released/measure/{run}/text_loss.csv.gz", run=RELEASED),
        scores="<results>/released/measure/zero_shot.csv.gz",
        paper="workflow/reference/paper_values.csv",
    output:
        audit=report(
            "<results>/released/tables/released_audit.csv",
            caption="../report/released_audit.rst",
            category=category("fig7_released"),
            labels={"figure": "Recorded learning rates", "file": "released_audit"},
        ),
        tables=collect("<results>/released/tables/{figure}.csv", figure=RELEASED_FIGURES),
    log:
        "<logs>/tabulate_released.log",
    benchmark:
        "<benchmarks>/tabulate_released.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        runs=released_folders(),
        measured=lambda wildcards, input: [os.path.dirname(path) for path in input.losses],
        scored=subpath(input.scores, parent=True),
        tables=subpath(output.audit, parent=True),
    shell:
        "python scripts/tabulate_released.py --runs {params.runs} --measured {params.measured} --scored {params.scored}"
        " --paper {input.paper} --tables {params.tables} 2> {log}"


use rule draw_figures as draw_released with:
    input:
        tables=collect("<results>/released/tables/{figure}.csv", figure=RELEASED_FIGURES),
    output:
        svg=[
            report(
                f"<results>/released/figures/{figure}.svg",
                caption=f"../report/{figure}.rst",
                category=category(figure),
                labels=labels(figure),
            )
            for figure in RELEASED_FIGURES
        ],
        png=collect("<results>/released/figures/{figure}.png", figure=RELEASED_FIGURES),
    log:
        "<logs>/draw_released.log",
    benchmark:
        "<benchmarks>/draw_released.tsv"
    params:
        captions=as_json({figure: caption(figure) for figure in RELEASED_FIGURES}),
        tables=lambda wildcards, input: os.path.dirname(input.tables[0]),
        figures=lambda wildcards, output: os.path.dirname(output.svg[0]),
