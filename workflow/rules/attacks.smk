# Attacks: one job each (data set, network, attack), or as many as it has shards and one that gathers them.


rule attack:
    input:
        data="results/data/{dataset}.safetensors",
        model="results/models/{dataset}/{model}.safetensors",
        like=liked_file,
        pretrained=attack_weights,
        reference=attack_reference,
        code=lambda wildcards: as_inputs(attack_code(wildcards.dataset, wildcards.model, wildcards.attack)),
    output:
        "results/attacks/{dataset}/{model}/{attack}.safetensors",
    log:
        "logs/attack/{dataset}/{model}/{attack}.log",
        # A log, here as in all rules, since the job itself writes it; no output, which would have to be there for ever.
        benchmark="results/benchmarks/attack/{dataset}/{model}/{attack}.tsv",
    wildcard_constraints:
        attack=UNSHARDED,
    # Attacks take longer than what follows them: begun first, none is left running alone at the end.
    priority: 1
    conda:
        "../../environment.yml"
    threads: cores(settings.threads["attack"])
    resources:
        gpu=gpus,
        mem_mb=larger(
            lambda wildcards: need.attack_memory(settings, wildcards.dataset, images_of_job(wildcards))
        ),
        runtime=larger(
            lambda wildcards: need.attack_minutes(
                settings, wildcards.dataset, wildcards.attack, images_of_job(wildcards)
            )
        ),
    params:
        spec=lambda wildcards: attack_specification(wildcards.dataset, wildcards.attack),
        images=lambda wildcards: settings.attacks[wildcards.attack].images,
        first_image=lambda wildcards: settings.first_images[wildcards.dataset],
        chunk=settings.chunk,
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads["attack"],
        like=lambda wildcards, input: ["--like", *input.like] if input.like else [],
        reference=lambda wildcards, input: ["--reference", *input.reference] if input.reference else [],
        # No output, because Snakemake deletes the outputs of a job that failed: after a kill, the attack goes on from here.
        resume="results/checkpoints/{dataset}/{model}/{attack}.safetensors",
        shard=[],
    shell:
        "python -m infoadv attack"
        " --data {input.data:q}"
        " --model {input.model:q}"
        " --spec {params.spec:q}"
        " --images {params.images}"
        " --first-image {params.first_image}"
        " --chunk {params.chunk}"
        " --seed {params.seed}"
        " --device {params.device}"
        " --threads {params.threads}"
        " {params.like:q}"
        " {params.reference:q}"
        " --resume {params.resume:q}"
        " {params.shard:q}"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " > {log[0]:q} 2>&1"


use rule attack as attack_shard with:
    input:
        data="results/data/{dataset}.safetensors",
        model="results/models/{dataset}/{model}.safetensors",
        like=liked_file,
        pretrained=attack_weights,
        reference=attack_reference,
    output:
        # Gone once they are gathered: they hold the same images as the attack, so keeping them would double its size. A
        # change of code, input or parameter makes them again all the same, because Snakemake remembers what made them.
        temp("results/shards/{dataset}/{model}/{attack}/{shard}.safetensors"),
    log:
        "logs/attack_shard/{dataset}/{model}/{attack}/{shard}.log",
        benchmark="results/benchmarks/attack_shard/{dataset}/{model}/{attack}/{shard}.tsv",
    wildcard_constraints:
        attack=SHARDED,
        shard=r"\d+",
    params:
        # In the place of twenty files among the inputs of each of what may be many thousand jobs.
        code=lambda wildcards: code_digest(wildcards.dataset, wildcards.model, wildcards.attack),
        resume="results/checkpoints/{dataset}/{model}/{attack}/{shard}.safetensors",
        shard=lambda wildcards: ["--shard", f"{wildcards.shard}/{settings.attacks[wildcards.attack].shards}"],


rule gather:
    input:
        shards=shard_files,
        # That of the shards too, which are gone by then and remember theirs as a parameter.
        code=lambda wildcards: as_inputs(
            sorted(
                {
                    *code_inputs.of_gathering(),
                    *attack_code(wildcards.dataset, wildcards.model, wildcards.attack),
                }
            )
        ),
    output:
        "results/attacks/{dataset}/{model}/{attack}.safetensors",
    log:
        "logs/gather/{dataset}/{model}/{attack}.log",
        benchmark="results/benchmarks/gather/{dataset}/{model}/{attack}.tsv",
    wildcard_constraints:
        attack=SHARDED,
    conda:
        "../../environment.yml"
    threads: cores(1)
    resources:
        mem_mb=larger(
            lambda wildcards: need.attack_memory(
                settings, wildcards.dataset, settings.attacks[wildcards.attack].images
            )
        ),
        runtime=larger(lambda wildcards: need.START),
    shell:
        "python -m infoadv gather"
        " --out {output:q}"
        " --benchmark {log.benchmark:q}"
        " {input.shards:q}"
        " > {log[0]:q} 2>&1"
