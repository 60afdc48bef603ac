# Data sets: downloaded by local rules where no data root is given, then brought into one form.


for source in configuration.fetchable():

    rule:
        name:
            f"fetch_{source}"
        output:
            directory(raw_data.download_folder(source, "{dataset}")),
        log:
            raw_data.download_folder(source, "{dataset}").replace("results/downloads", "logs/fetch") + ".log",
            benchmark=raw_data.download_folder(source, "{dataset}").replace("downloads", "benchmarks/fetch")
            + ".tsv",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            source=source,
            options=lambda wildcards: canonical_json(
                raw_data.download_options(settings.datasets[wildcards.dataset]) if wildcards else {}
            ),
        shell:
            "python -m infoadv fetch"
            " --source {params.source:q}"
            " --options {params.options:q}"
            " --root {output:q}"
            " --benchmark {log.benchmark:q}"
            " > {log[0]:q} 2>&1"


rule dataset:
    input:
        raw=raw_inputs,
        code=lambda wildcards: as_inputs(code_inputs.of_data(settings, wildcards.dataset)),
    output:
        "results/data/{dataset}.safetensors",
    log:
        "logs/dataset/{dataset}.log",
        benchmark="results/benchmarks/dataset/{dataset}.tsv",
    conda:
        "../../environment.yml"
    threads: cores(1)
    resources:
        mem_mb=larger(lambda wildcards: need.BASE),
        runtime=larger(lambda wildcards: need.START),
    params:
        spec=lambda wildcards: canonical_json(settings.datasets[wildcards.dataset]),
        # Not handed over: another one makes the data set again.
        files=lambda wildcards: raw_data.digest(settings.datasets[wildcards.dataset]),
        root=root_arguments,
    shell:
        "python -m infoadv data"
        " --spec {params.spec:q}"
        " {params.root:q}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " > {log[0]:q} 2>&1"
