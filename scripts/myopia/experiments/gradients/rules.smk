# Public training revisions (the checkpoints of the paper's Fig 11), measured beside the runs trained here.
from myopia.experiments.gradients.units import revision_name


rule fetch_revision:
    output:
        record="<results>/revisions/{model}/step{step}/revision.json",
    log:
        "<logs>/fetch_revision/{model}-step{step}.log",
    benchmark:
        "<benchmarks>/fetch_revision/{model}-step{step}.tsv"
    wildcard_constraints:
        model=regex_any([revision_name(SETTINGS)]),
        step=r"\d+",
    localrule: True
    conda:
        "../../../../envs/fetch.yaml"
    params:
        repo=SETTINGS["gradients"]["revisions"]["repo"],
        revision=lambda wildcards: f"step{wildcards.step}",
        folder=subpath(output.record, parent=True),
        # Undeclared, so that Snakemake never wipes it: a download that was killed continues.
        state=lambda wildcards: f"{SETTINGS['results']}/.state/revisions/{wildcards.model}-{wildcards.step}",
        lock=HUB_LOCK,
        version=CODE_VERSION["data"],
    shell:
        "python -m myopia fetch-revision --repo {params.repo:q} --revision {params.revision:q}"
        " --state {params.state:q} --out {params.folder:q} --lock {params.lock:q} 2> {log:q}"
