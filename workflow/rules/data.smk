rule harvest_text:
    output:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
    log:
        "<logs>/harvest_text/{corpus}.log",
    benchmark:
        "<benchmarks>/harvest_text/{corpus}.tsv"
    wildcard_constraints:
        corpus=one_of(c for c in SETTINGS["corpora"] if c not in HUB_TEXTS),
    priority: 20
    conda:
        "../../envs/fetch.yaml"
    params:
        source=lambda wildcards: as_json(SETTINGS["corpora"][wildcards.corpus]["source"]),
        splits=lambda wildcards: as_json(SETTINGS["corpora"][wildcards.corpus]["splits"]),
        recipe=RECIPE["data"],
    shell:
        "python scripts/harvest_text.py --source {params.source:q} --splits {params.splits:q}"
        " --out {output.docs} --manifest {output.manifest} 2> {log}"


# Downloads are rules of their own and run where Snakemake does: compute nodes rarely reach the hub. All other scripts
# run with the hub switched off (common/cli.py). What has arrived stays in <results>/.state, undeclared, so a fetch
# that is killed goes on where it was. The lock file is no input: writing it must not fetch everything again.


rule fetch_text:
    output:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
    log:
        "<logs>/fetch_text/{corpus}.log",
    benchmark:
        "<benchmarks>/fetch_text/{corpus}.tsv"
    wildcard_constraints:
        corpus=one_of(HUB_TEXTS),
    priority: 20
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        source=lambda wildcards: as_json(SETTINGS["corpora"][wildcards.corpus]["source"]),
        splits=lambda wildcards: as_json(SETTINGS["corpora"][wildcards.corpus]["splits"]),
        state=lambda wildcards: f"{SETTINGS['results']}/.state/hub/{wildcards.corpus}",
        lock=HUB_LOCK,
        recipe=RECIPE["data"],
    shell:
        "python scripts/fetch_text.py --source {params.source:q} --splits {params.splits:q}"
        " --state {params.state} --lock {params.lock} --out {output.docs} --manifest {output.manifest} 2> {log}"


rule fetch_tokenizer:
    output:
        tokenizer="<results>/data/{corpus}/tokenizer/tokenizer.json",
        config="<results>/data/{corpus}/tokenizer/tokenizer_config.json",
        manifest="<results>/data/{corpus}/tokenizer/tokenizer.manifest.json",
    log:
        "<logs>/fetch_tokenizer/{corpus}.log",
    benchmark:
        "<benchmarks>/fetch_tokenizer/{corpus}.tsv"
    wildcard_constraints:
        corpus=one_of(HUB_TOKENIZERS),
    priority: 20
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        spec=lambda wildcards: as_json(SETTINGS["corpora"][wildcards.corpus]["tokenizer"]),
        folder=subpath(output.tokenizer, parent=True),
        lock=HUB_LOCK,
        recipe=RECIPE["data"],
    shell:
        "python scripts/fetch_tokenizer.py --spec {params.spec:q} --lock {params.lock} --out {params.folder} 2> {log}"


rule lock_hub:
    """Write down what was fetched: commits, document counts, sha256. No output: runs whenever it is asked for."""
    input:
        texts=hub_files(HUB_TEXTS, "docs.manifest.json"),
        tokenizers=hub_files(HUB_TOKENIZERS, "tokenizer/tokenizer.manifest.json"),
        checkpoints=[
            *[f"{folder}/revision.json" for folder in revision_folders().values()],
            *collect("<results>/networks/{network}/revision.json", network=NETWORKS),
        ],
    log:
        "<logs>/lock_hub.log",
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        lock=HUB_LOCK,
    shell:
        "python scripts/lock_hub.py --lock {params.lock} --texts {input.texts} --tokenizers {input.tokenizers}"
        " --checkpoints {input.checkpoints} 2> {log}"


rule train_tokenizer:
    input:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
    output:
        tokenizer="<results>/data/{corpus}/tokenizer/tokenizer.json",
        config="<results>/data/{corpus}/tokenizer/tokenizer_config.json",
    log:
        "<logs>/train_tokenizer/{corpus}.log",
    benchmark:
        "<benchmarks>/train_tokenizer/{corpus}.tsv"
    wildcard_constraints:
        corpus=one_of(c for c in SETTINGS["corpora"] if c not in HUB_TOKENIZERS),
    priority: 20
    conda:
        "../../envs/tokenize.yaml"
    params:
        spec=lambda wildcards: as_json(SETTINGS["corpora"][wildcards.corpus]["tokenizer"]),
        folder=subpath(output.tokenizer, parent=True),
        recipe=RECIPE["data"],
    shell:
        "python scripts/train_tokenizer.py --docs {input.docs} --spec {params.spec:q}"
        " --out {params.folder} 2> {log}"


rule encode_corpus:
    input:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
        tokenizer="<results>/data/{corpus}/tokenizer/tokenizer.json",
    output:
        manifest="<results>/data/{corpus}/tokens/tokens.manifest.json",
        tokens=collect("<results>/data/{{corpus}}/tokens/{split}.bin", split=SPLITS),
        docs=collect("<results>/data/{{corpus}}/tokens/{split}.docs.csv", split=SPLITS),
    log:
        "<logs>/encode_corpus/{corpus}.log",
    benchmark:
        "<benchmarks>/encode_corpus/{corpus}.tsv"
    priority: 20
    conda:
        "../../envs/tokenize.yaml"
    params:
        spec=lambda wildcards: as_json(
            {**SETTINGS["corpora"][wildcards.corpus]["windows"], "T": SETTINGS["text"]["T"]}
        ),
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output.manifest, parent=True),
        recipe=RECIPE["data"],
    shell:
        "python scripts/encode_corpus.py --docs {input.docs} --tokenizer {params.tokenizer}"
        " --spec {params.spec:q} --out {params.folder} 2> {log}"


# A corpus that models are only measured on, in the tokenizer they were trained with.
use rule encode_corpus as encode_further with:
    input:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
        tokenizer="<results>/data/{trained}/tokenizer/tokenizer.json",
    output:
        manifest="<results>/data/{trained}/on/{corpus}/tokens.manifest.json",
        tokens=collect("<results>/data/{{trained}}/on/{{corpus}}/{split}.bin", split=SPLITS),
        docs=collect("<results>/data/{{trained}}/on/{{corpus}}/{split}.docs.csv", split=SPLITS),
    log:
        "<logs>/encode_further/{trained}-on-{corpus}.log",
    benchmark:
        "<benchmarks>/encode_further/{trained}-on-{corpus}.tsv"


# Early, so that a missing file or network is told before hours of training.
rule make_task:
    input:
        corpus=task_corpus,
    output:
        questions="<results>/data/tasks/{task}/items.jsonl",
        definition="<results>/data/tasks/{task}/task.yaml",
        manifest="<results>/data/tasks/{task}/task.json",
    log:
        "<logs>/make_task/{task}.log",
    benchmark:
        "<benchmarks>/make_task/{task}.tsv"
    priority: 20
    conda:
        "../../envs/fetch.yaml"
    params:
        spec=lambda wildcards: as_json(SETTINGS["zero_shot"]["tasks"][wildcards.task]),
        corpus=task_arguments,
        folder=subpath(output.manifest, parent=True),
        recipe=RECIPE["data"],
    shell:
        "python scripts/make_task.py --task {wildcards.task} --spec {params.spec:q}"
        " --out {params.folder} {params.corpus} 2> {log}"
