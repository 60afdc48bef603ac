# Information profiles: one job a network, which follows all its inputs.


rule profiles:
    input:
        data="results/data/{dataset}.safetensors",
        model="results/models/{dataset}/{model}.safetensors",
        attacks=followed_attacks,
        code=lambda wildcards: as_inputs(code_inputs.of_flow(settings, wildcards.model)),
    output:
        "results/flow/{dataset}/{model}.parquet",
    log:
        "logs/flow/{dataset}/{model}.log",
        benchmark="results/benchmarks/flow/{dataset}/{model}.tsv",
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["metrics"])
    resources:
        gpu=gpus,
        mem_mb=larger(lambda wildcards: need.profiles_memory(settings, wildcards.model)),
        runtime=larger(lambda wildcards: need.profiles_minutes(settings, wildcards.model)),
    params:
        spec=lambda wildcards: canonical_json(settings.flow.specification(wildcards.model)),
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads["metrics"],
    shell:
        "python -m infoadv flow"
        " --data {input.data:q}"
        " --model {input.model:q}"
        " --spec {params.spec:q}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --threads {params.threads}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " {input.attacks:q}"
        " > {log[0]:q} 2>&1"
