# Transfer: one job a data set, which shows the images of every attack to the networks that they were not made for.


rule transfer:
    input:
        data="results/data/{dataset}.safetensors",
        models=lambda wildcards: [
            model_file(wildcards.dataset, name) for name in layout.transfers(settings)[wildcards.dataset]
        ],
        attacks=lambda wildcards: [
            attack_file(run) for run in settings.runs if run.dataset == wildcards.dataset
        ],
        code=lambda wildcards: as_inputs(code_inputs.of_transfer(settings, wildcards.dataset)),
    output:
        "results/transfer/{dataset}.parquet",
    log:
        "logs/transfer/{dataset}.log",
        benchmark="results/benchmarks/transfer/{dataset}.tsv",
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["metrics"])
    resources:
        gpu=gpus,
        mem_mb=larger(lambda wildcards: need.transfer_memory(settings, wildcards.dataset)),
        runtime=larger(lambda wildcards: need.transfer_minutes(settings, wildcards.dataset)),
    params:
        spec=lambda wildcards: canonical_json({"networks": layout.transfers(settings)[wildcards.dataset]}),
        models=lambda wildcards, input: [argument for file in input.models for argument in ("--model", file)],
        device=settings.device,
        threads=settings.threads["metrics"],
    shell:
        "python -m infoadv transfer"
        " --data {input.data:q}"
        " {params.models:q}"
        " --spec {params.spec:q}"
        " --device {params.device}"
        " --threads {params.threads}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " {input.attacks:q}"
        " > {log[0]:q} 2>&1"
