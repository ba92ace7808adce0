# Regularisation weights, scalars and maps alike, and the images they give; and the images of methods without one.


rule search_grid:
    input:
        clean=f"{RESULTS}/clean/{{split}}.npz",
        noisy=f"{RESULTS}/noisy/{{split}}_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/grid/shards/{{split}}_{{protocol}}_{{draw}}_{{scatteritem}}.csv",
    log:
        f"{LOGS}/search_grid/{{split}}_{{protocol}}_{{draw}}_{{scatteritem}}.log",
    benchmark:
        f"{BENCHMARKS}/search_grid/{{split}}_{{protocol}}_{{draw}}_{{scatteritem}}.tsv"
    localrule: GPUS == 0 and is_short(SOLVE * config["grid"]["values"], *SPLITS)
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=memory(2000, 6, *SPLITS),
        runtime=minutes_of_shard,
        gpu=GPUS,
    params:
        values=GRID,
        solver=config["solver"],
        measure=MEASURE,
        device=config["device"],
        code=code_version("search_grid"),
    message:
        "Search the grid of λ: {wildcards.split}, {wildcards.protocol}, draw {wildcards.draw}, {wildcards.scatteritem}"
    script:
        "../scripts/search_grid.py"


rule gather_grid:
    input:
        shards=shards_of_grid,
        noisy=f"{RESULTS}/noisy/{{split}}_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/grid/{{split}}_{{protocol}}_{{draw}}.csv",
    log:
        f"{LOGS}/gather_grid/{{split}}_{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/gather_grid/{{split}}_{{protocol}}_{{draw}}.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        n_values=config["grid"]["values"],
        code=code_version("gather_grid"),
    message:
        "Gather the grid: {wildcards.split}, {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/gather_grid.py"


rule refine_grid:
    input:
        clean=f"{RESULTS}/clean/test.npz",
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
        grid=f"{RESULTS}/grid/test_{{protocol}}_{{draw}}.csv",
    output:
        f"{RESULTS}/grid/fine_{{protocol}}_{{draw}}.csv",
    log:
        f"{LOGS}/refine_grid/{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/refine_grid/{{protocol}}_{{draw}}.tsv"
    localrule: GPUS == 0 and is_short(SOLVE * 4 * config["grid"]["refine"], "test")
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=memory(2000, 3, "test"),
        runtime=minutes(60, 4, "test"),
        gpu=GPUS,
    params:
        factor=config["grid"]["refine"],
        solver=config["solver"],
        measure=MEASURE,
        device=config["device"],
        code=code_version("refine_grid"),
    message:
        "Search a finer grid around each optimum: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/refine_grid.py"


rule choose_scalars:
    input:
        val_grids=expand(f"{RESULTS}/grid/val_{{{{protocol}}}}_{{draw}}.csv", draw=DRAWS),
        test_grid=f"{RESULTS}/grid/test_{{protocol}}_{{draw}}.csv",
        fine=rules.refine_grid.output[0],
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        expand(f"{RESULTS}/weights/test_{{{{protocol}}}}_{{{{draw}}}}_{{method}}.npz", method=SCALARS),
        choice=f"{RESULTS}/scalars/{{protocol}}_{{draw}}.csv",
    log:
        f"{LOGS}/choose_scalars/{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/choose_scalars/{{protocol}}_{{draw}}.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 2, "test"),
        runtime=10,
    params:
        methods=SCALARS,
        code=code_version("choose_scalars"),
    message:
        "Choose the scalar weights: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/choose_scalars.py"


rule predict_maps:
    input:
        model=WEIGHTS["weights"],
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_map.npz",
    log:
        f"{LOGS}/predict_maps/{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/predict_maps/{{protocol}}_{{draw}}.tsv"
    localrule: GPUS == 0 and is_short(0.2, "test")
    conda:
        TORCH
    threads: config["training"]["threads"]
    resources:
        mem_mb=memory(4000, 7, "test"),
        runtime=minutes(30, 1, "test"),
        gpu=GPUS,
    params:
        network=NETWORK,
        device=config["device"],
        threads=config["training"]["threads"],
        code=code_version("predict_maps"),
    message:
        "Predict the maps: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/predict_maps.py"


rule learn_scalars:
    input:
        train=f"{RESULTS}/noisy/train_{{protocol}}_0.npz",
        train_grid=f"{RESULTS}/grid/train_{{protocol}}_0.csv",
        manifest=rules.select_images.output[0],
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        weight=f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_{{method}}.npz",
        candidates=f"{RESULTS}/candidates/{{protocol}}_{{draw}}_{{method}}.csv",
    log:
        f"{LOGS}/learn_scalars/{{protocol}}_{{draw}}_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/learn_scalars/{{protocol}}_{{draw}}_{{method}}.tsv"
    wildcard_constraints:
        method="|".join(tvmap.methods.LEARNED),
    localrule: is_short(0.01, "train", "test")
    conda:
        "../../envs/baselines.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 4, "train", "test"),
        runtime=minutes(30, 1, "train", "test"),
    params:
        code=code_version("learn_scalars"),
    message:
        "Learn λ from the training images, {wildcards.method}: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/learn_scalars.py"


rule choose_by_noise:
    input:
        f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_{{method}}.npz",
    log:
        f"{LOGS}/choose_by_noise/{{protocol}}_{{draw}}_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/choose_by_noise/{{protocol}}_{{draw}}_{{method}}.tsv"
    wildcard_constraints:
        method="|".join(methods_of(tvmap.methods.BY_NOISE, tvmap.methods.LABELS)),
    conda:
        "../../envs/baselines.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 4, "test"),
        runtime=minutes(60, 15, "test"),
    params:
        low=config["grid"]["minimum"] or LOW,
        high=config["grid"]["maximum"],
        boundary=config["solver"]["boundary"],
        code=code_version("choose_by_noise"),
    message:
        "Choose λ without the clean image, {wildcards.method}: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/choose_by_noise.py"


rule fit_oracle_numbers:
    input:
        clean=f"{RESULTS}/clean/test.npz",
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_tgv-oracle.npz",
    log:
        f"{LOGS}/fit_oracle_numbers/{{protocol}}_{{draw}}_tgv-oracle.log",
    benchmark:
        f"{BENCHMARKS}/fit_oracle_numbers/{{protocol}}_{{draw}}_tgv-oracle.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=memory(2000, 4, "test"),
        runtime=minutes(60, 15, "test"),
    params:
        solver=config["solver"],
        code=code_version("fit_oracle_numbers"),
    message:
        "Find the best two weights of TGV for each clean image: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/fit_oracle_numbers.py"


rule fit_oracle_maps:
    input:
        clean=f"{RESULTS}/clean/test.npz",
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
        scalar=f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_scalar-oracle-psnr.npz",
    output:
        f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_map-oracle.npz",
    log:
        f"{LOGS}/fit_oracle_maps/{{protocol}}_{{draw}}_map-oracle.log",
    benchmark:
        f"{BENCHMARKS}/fit_oracle_maps/{{protocol}}_{{draw}}_map-oracle.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=memory(4000, 12, "test"),
        runtime=minutes(60, 60, "test"),
    params:
        solver=config["solver"],
        maps=NETWORK["maps"],
        penalty=NETWORK["penalty"],
        code=code_version("fit_oracle_maps"),
    message:
        "Fit a map to each clean image, the bound: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/fit_oracle_maps.py"


rule denoise_images:
    input:
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
        weight=f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_{{method}}.npz",
    output:
        f"{RESULTS}/denoised/test_{{protocol}}_{{draw}}_{{method}}.npz",
    log:
        f"{LOGS}/denoise_images/{{protocol}}_{{draw}}_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/denoise_images/{{protocol}}_{{draw}}_{{method}}.tsv"
    wildcard_constraints:
        method="|".join(SOLVED),
    localrule: GPUS == 0 and is_short(3 * SOLVE_MAP, "test")
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=memory(2000, 12, "test"),
        runtime=minutes(30, 2, "test"),
        gpu=GPUS,
    params:
        solver=config["solver"],
        device=config["device"],
        code=code_version("denoise_images"),
    message:
        "Denoise the test images: {wildcards.protocol}, draw {wildcards.draw}, {wildcards.method}"
    script:
        "../scripts/denoise_images.py"


rule tune_classical:
    input:
        clean=f"{RESULTS}/clean/val.npz",
        noisy=expand(f"{RESULTS}/noisy/val_{{{{protocol}}}}_{{draw}}.npz", draw=DRAWS),
    output:
        f"{RESULTS}/classical/{{protocol}}_{{method}}.csv",
    log:
        f"{LOGS}/tune_classical/{{protocol}}_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/tune_classical/{{protocol}}_{{method}}.tsv"
    wildcard_constraints:
        method="|".join(methods_of(tvmap.methods.CLASSICAL, tvmap.methods.LABELS)),
    conda:
        "../../envs/baselines.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 4, "val"),
        runtime=minutes(60, 600, "val"),
    params:
        solver=config["solver"],
        code=code_version("tune_classical"),
    message:
        "Tune {wildcards.method} on validation: {wildcards.protocol}"
    script:
        "../scripts/tune_classical.py"


rule denoise_classical:
    input:
        tuning=rules.tune_classical.output[0],
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/denoised/test_{{protocol}}_{{draw}}_{{method}}.npz",
    log:
        f"{LOGS}/denoise_classical/{{protocol}}_{{draw}}_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/denoise_classical/{{protocol}}_{{draw}}_{{method}}.tsv"
    wildcard_constraints:
        method="|".join(methods_of(tvmap.methods.CLASSICAL, tvmap.methods.LABELS)),
    conda:
        "../../envs/baselines.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 6, "test"),
        runtime=minutes(60, 25, "test"),
    params:
        solver=config["solver"],
        code=code_version("denoise_classical"),
    message:
        "Denoise the test images: {wildcards.protocol}, draw {wildcards.draw}, {wildcards.method}"
    script:
        "../scripts/denoise_classical.py"


rule denoise_direct:
    input:
        model=WEIGHTS["weights_direct"],
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/denoised/test_{{protocol}}_{{draw}}_{{method}}.npz",
    log:
        f"{LOGS}/denoise_direct/{{protocol}}_{{draw}}_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/denoise_direct/{{protocol}}_{{draw}}_{{method}}.tsv"
    wildcard_constraints:
        method="unet-direct",
    localrule: GPUS == 0 and is_short(0.2, "test")
    conda:
        TORCH
    threads: config["training"]["threads"]
    resources:
        mem_mb=memory(4000, 7, "test"),
        runtime=minutes(30, 1, "test"),
        gpu=GPUS,
    params:
        device=config["device"],
        threads=config["training"]["threads"],
        code=code_version("denoise_direct"),
    message:
        "Denoise the test images with the U-Net alone: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/denoise_direct.py"
