# Metrics of every attack, the weights that LPIPS may need, and the calibration of MINE.
rule fetch_lpips:
    output:
        [lpips_weights(backbone) for backbone in LPIPS_FETCHED],
    log:
        "logs/fetch/lpips.log",
        benchmark="results/benchmarks/fetch/lpips.tsv",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        backbones=LPIPS_FETCHED,
    shell:
        "python -m infoadv fetch"
        " --source lpips"
        " --backbone {params.backbones:q}"
        " --benchmark {log.benchmark:q}"
        " > {log[0]:q} 2>&1"


rule metrics:
    input:
        data="results/data/{dataset}.safetensors",
        model="results/models/{dataset}/{model}.safetensors",
        attack="results/attacks/{dataset}/{model}/{attack}.safetensors",
        reference=reference_file,
        pretrained=pretrained_inputs,
        code=lambda wildcards: as_inputs(code_inputs.of_metrics(settings, wildcards.dataset, wildcards.model)),
    output:
        "results/metrics/{dataset}/{model}/{attack}.parquet",
    log:
        "logs/metrics/{dataset}/{model}/{attack}.log",
        benchmark="results/benchmarks/metrics/{dataset}/{model}/{attack}.tsv",
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["metrics"])
    resources:
        gpu=gpus,
        mem_mb=larger(lambda wildcards: need.metrics_memory(settings)),
        runtime=larger(lambda wildcards: need.metrics_minutes(settings)),
    params:
        spec=lambda wildcards: canonical_json(settings.metrics_of(wildcards.attack)),
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads["metrics"],
        reference=lambda wildcards, input: (["--reference", *input.reference] if input.reference else []),
    shell:
        "python -m infoadv metrics"
        " --data {input.data:q}"
        " --model {input.model:q}"
        " --attack {input.attack:q}"
        " --spec {params.spec:q}"
        " {params.reference:q}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --threads {params.threads}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " > {log[0]:q} 2>&1"


rule calibration:
    input:
        code=as_inputs(code_inputs.of_calibration()),
    output:
        "results/calibration/mine.parquet",
    log:
        "logs/calibration/mine.log",
        benchmark="results/benchmarks/calibration/mine.tsv",
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["metrics"])
    resources:
        mem_mb=larger(lambda wildcards: need.BASE),
        runtime=larger(lambda wildcards: need.calibration_minutes(settings)),
    params:
        spec=canonical_json(settings.calibration or {}),
        seed=settings.seed,
        threads=settings.threads["metrics"],
    shell:
        "python -m infoadv calibrate"
        " --spec {params.spec:q}"
        " --seed {params.seed}"
        " --threads {params.threads}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " > {log[0]:q} 2>&1"
