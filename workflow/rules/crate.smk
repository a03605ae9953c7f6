# The results folder as a research object that other programs read: an optional target, which nothing else needs.
rule write_crate:
    input:
        report="<results>/report.html",
    output:
        metadata="<results>/ro-crate-metadata.json",
    log:
        "<logs>/write_crate.log",
    benchmark:
        "<benchmarks>/write_crate.tsv"
    conda:
        "../../envs/crate.yaml"
    params:
        scale=SETTINGS["scale"],
        settings=lambda wildcards: as_json(SETTINGS),
        results=subpath(output.metadata, parent=True),
        records=os.path.join(".snakemake", "metadata"),
    shell:
        "python scripts/write_crate.py --results {params.results} --records {params.records}"
        " --scale {params.scale} --settings {params.settings:q} --out {output.metadata} 2> {log}"
