# Text, from where it comes to windows of tokens. Downloads are rules of their own and run where Snakemake does: compute
# nodes rarely reach the hub. All other commands run with the hub switched off. What has arrived stays in
# <results>/.state, undeclared, so that Snakemake never wipes it: a fetch that is killed goes on where it was. The lock
# file is no input: writing it must not fetch everything again.


rule harvest_text:
    output:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
    log:
        "<logs>/harvest_text/{corpus}.log",
    benchmark:
        "<benchmarks>/harvest_text/{corpus}.tsv"
    wildcard_constraints:
        corpus=regex_any(c for c in SETTINGS["corpora"] if c not in dag.hub_texts()),
    priority: 20
    conda:
        "../../envs/fetch.yaml"
    params:
        settings=dag.settings_file,
        digest=dag.corpus_digest("source", "splits"),
    shell:
        "python -m myopia harvest-text {wildcards.corpus} --settings {params.settings:q} --out {output.docs:q}"
        " --manifest {output.manifest:q} 2> {log:q}"


rule fetch_text:
    output:
        docs="<results>/data/{corpus}/docs.jsonl.zst",
        manifest="<results>/data/{corpus}/docs.manifest.json",
    log:
        "<logs>/fetch_text/{corpus}.log",
    benchmark:
        "<benchmarks>/fetch_text/{corpus}.tsv"
    wildcard_constraints:
        corpus=regex_any(dag.hub_texts()),
    priority: 20
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        settings=dag.settings_file,
        digest=dag.corpus_digest("source", "splits"),
        state=lambda wildcards: f"{SETTINGS['results']}/.state/hub/{wildcards.corpus}",
        lock=HUB_LOCK,
    shell:
        "python -m myopia fetch-text {wildcards.corpus} --settings {params.settings:q} --state {params.state:q}"
        " --lock {params.lock:q} --out {output.docs:q} --manifest {output.manifest:q} 2> {log:q}"


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
        corpus=regex_any(dag.hub_tokenizers()),
    priority: 20
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        settings=dag.settings_file,
        digest=dag.corpus_digest("tokenizer"),
        folder=subpath(output.tokenizer, parent=True),
        lock=HUB_LOCK,
    shell:
        "python -m myopia fetch-tokenizer {wildcards.corpus} --settings {params.settings:q} --lock {params.lock:q}"
        " --out {params.folder:q} 2> {log:q}"


# Released weights that training starts from.
rule fetch_network:
    output:
        record="<results>/networks/{network}/revision.json",
    log:
        "<logs>/fetch_network/{network}.log",
    benchmark:
        "<benchmarks>/fetch_network/{network}.tsv"
    wildcard_constraints:
        network=regex_any(dag.networks()),
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        repo=lambda wildcards: dag.networks()[wildcards.network]["id"],
        revision=lambda wildcards: dag.networks()[wildcards.network]["revision"],
        folder=subpath(output.record, parent=True),
        state=lambda wildcards: f"{SETTINGS['results']}/.state/networks/{wildcards.network}",
        lock=HUB_LOCK,
        version=CODE_VERSION["data"],
    shell:
        "python -m myopia fetch-revision --repo {params.repo:q} --revision {params.revision:q}"
        " --state {params.state:q} --out {params.folder:q} --lock {params.lock:q} 2> {log:q}"


rule lock_hub:
    """Write down what was fetched: commits, document counts, sha256. No output: runs whenever it is asked for."""
    input:
        texts=dag.text_files(dag.hub_texts(), "docs.manifest.json"),
        tokenizers=dag.text_files(dag.hub_tokenizers(), "tokenizer/tokenizer.manifest.json"),
        checkpoints=dag.fetched_checkpoints(),
    log:
        "<logs>/lock_hub.log",
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        texts=lambda wildcards, input: [f"--texts={path}" for path in input.texts],
        tokenizers=lambda wildcards, input: [f"--tokenizers={path}" for path in input.tokenizers],
        checkpoints=lambda wildcards, input: [f"--checkpoints={path}" for path in input.checkpoints],
        lock=HUB_LOCK,
    shell:
        "python -m myopia lock-hub --lock {params.lock:q} {params.texts:q} {params.tokenizers:q}"
        " {params.checkpoints:q} 2> {log:q}"


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
        corpus=regex_any(c for c in SETTINGS["corpora"] if c not in dag.hub_tokenizers()),
    priority: 20
    conda:
        "../../envs/tokenize.yaml"
    params:
        settings=dag.settings_file,
        digest=dag.corpus_digest("tokenizer"),
        folder=subpath(output.tokenizer, parent=True),
    shell:
        "python -m myopia train-tokenizer {wildcards.corpus} --settings {params.settings:q} --docs {input.docs:q}"
        " --out {params.folder:q} 2> {log:q}"


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
        settings=dag.settings_file,
        digest=dag.corpus_digest("windows", context_length=SETTINGS["context_length"]),
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python -m myopia encode {wildcards.corpus} --settings {params.settings:q} --docs {input.docs:q}"
        " --tokenizer {params.tokenizer:q} --out {params.folder:q} 2> {log:q}"


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
