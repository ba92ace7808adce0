# Regularisation weights, scalars and maps alike, and the images they give.


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
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=GPUS,
    params:
        values={key: config["grid"][key] for key in ("minimum", "maximum", "values")},
        solver=config["solver"],
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
    conda:
        "../../envs/torch.yaml"
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
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=GPUS,
    params:
        factor=config["grid"]["refine"],
        solver=config["solver"],
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
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=1000,
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
        model=f"{RESULTS}/model/{config['training']['report']}.safetensors",
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
    output:
        f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_map.npz",
    log:
        f"{LOGS}/predict_maps/{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/predict_maps/{{protocol}}_{{draw}}.tsv"
    conda:
        TORCH
    threads: config["training"]["threads"]
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=GPUS,
    params:
        code=code_version("predict_maps"),
    message:
        "Predict the maps: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/predict_maps.py"


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
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=GPUS,
    params:
        solver=config["solver"],
        code=code_version("denoise_images"),
    message:
        "Denoise the test images: {wildcards.protocol}, draw {wildcards.draw}, {wildcards.method}"
    script:
        "../scripts/denoise_images.py"
