# Data sets: downloaded by local rules where no data root is given, then brought into one form.


for source in configuration.fetchable():

    rule:
        name:
            f"fetch_{source}"
        output:
            directory(f"results/downloads/{source}"),
        log:
            f"logs/fetch/{source}.log",
        benchmark:
            f"results/benchmarks/fetch/{source}.tsv"
        localrule: True
        conda:
            "../../environment.yml"
        params:
            source=source,
        shell:
            "python -m infoadv fetch" " --source {params.source:q}" " --root {output:q}" " > {log:q} 2>&1"


rule dataset:
    input:
        raw=raw_inputs,
        code=lambda wildcards: as_inputs(code_inputs.of_data(settings, wildcards.dataset)),
    output:
        "results/data/{dataset}.safetensors",
    log:
        "logs/dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/dataset/{dataset}.tsv"
    conda:
        "../../environment.yml"
    threads: cores(1)
    resources:
        mem_mb=larger(lambda wildcards: need.BASE),
        runtime=larger(lambda wildcards: need.START),
    params:
        spec=lambda wildcards: canonical_json(settings.datasets[wildcards.dataset]),
        root=root_arguments,
    shell:
        "python -m infoadv data"
        " --spec {params.spec:q}"
        " {params.root:q}"
        " --out {output:q}"
        " > {log:q} 2>&1"
