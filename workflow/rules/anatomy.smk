# Gradient anatomy, forward bias and the theory's toys: one job, because starting torch takes longer than most of it.


rule fetch_revision:
    output:
        record="<results>/revisions/{model}/step{step}/revision.json",
    log:
        "<logs>/fetch_revision/{model}-step{step}.log",
    benchmark:
        "<benchmarks>/fetch_revision/{model}-step{step}.tsv"
    wildcard_constraints:
        model=re.escape(revision_name()),
        step=r"\d+",
    localrule: True
    conda:
        "../../envs/fetch.yaml"
    params:
        repo=SETTINGS["anatomy"]["revisions"]["repo"],
        revision=lambda wildcards: f"step{wildcards.step}",
        folder=subpath(output.record, parent=True),
        # Undeclared, so that Snakemake never wipes it: a download that was killed continues.
        state=lambda wildcards: f"{SETTINGS['results']}/.state/revisions/{wildcards.model}-{wildcards.step}",
        lock=HUB_LOCK,
        recipe=RECIPE["data"],
    shell:
        "python scripts/fetch_revision.py --repo {params.repo:q} --revision {params.revision:q}"
        " --state {params.state} --out {params.folder} --lock {params.lock} 2> {log}"


# The family's released networks, which training reads from here.
use rule fetch_revision as fetch_network with:
    output:
        record="<results>/networks/{network}/revision.json",
    log:
        "<logs>/fetch_network/{network}.log",
    benchmark:
        "<benchmarks>/fetch_network/{network}.tsv"
    wildcard_constraints:
        network=one_of(NETWORKS),
    params:
        repo=lambda wildcards: NETWORKS[wildcards.network]["pretrained"],
        revision=lambda wildcards: NETWORKS[wildcards.network]["revision"],
        folder=subpath(output.record, parent=True),
        state=lambda wildcards: f"{SETTINGS['results']}/.state/networks/{wildcards.network}",
        lock=HUB_LOCK,
        recipe=RECIPE["data"],


rule measure_anatomy:
    input:
        run_files([*followed_names(), *bias_names()], "model.safetensors"),
        revision_inputs(),
    output:
        gradients="<results>/measure/gradient_anatomy.csv.gz",
        spectra="<results>/measure/forward_bias.csv.gz",
        points="<results>/measure/forward_bias_points.csv",
        theory="<results>/measure/theory.csv.gz",
    log:
        "<logs>/measure_anatomy.log",
    benchmark:
        "<benchmarks>/measure_anatomy.tsv"
    priority: 5  # the longest of those that measure: not last and alone
    conda:
        "../../envs/evaluate.yaml"
    resources:
        gpu=gpus_needed,
        mem_mb=measure_memory,
        runtime=measure_runtime,
    params:
        spec=anatomy_spec(),
        device=SETTINGS["device"],
        recipe=RECIPE["measure"],
    shell:
        "python scripts/measure_anatomy.py --spec {params.spec:q} --device {params.device}"
        " --out-gradients {output.gradients} --out-spectra {output.spectra} --out-points {output.points}"
        " --out-theory {output.theory} 2> {log}"
