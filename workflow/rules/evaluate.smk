# Measurements, tables, figures, checks and the report.


rule measure_images:
    input:
        clean=f"{RESULTS}/clean/test.npz",
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
        manifest=rules.select_images.output[0],
        weights=expand(f"{RESULTS}/weights/test_{{{{protocol}}}}_{{{{draw}}}}_{{method}}.npz", method=SOLVED),
        denoised=expand(f"{RESULTS}/denoised/test_{{{{protocol}}}}_{{{{draw}}}}_{{method}}.npz", method=METHODS),
    output:
        f"{RESULTS}/metrics/test_{{protocol}}_{{draw}}.csv",
    log:
        f"{LOGS}/measure_images/{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_images/{{protocol}}_{{draw}}.tsv"
    localrule: is_short(0.01 * len(METHODS), "test")
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 7, "test"),
        runtime=minutes(30, 5, "test"),
    params:
        methods=METHODS,
        solved=SOLVED,
        measure=MEASURE,
        code=code_version("measure_images"),
    message:
        "Measure the denoised images: {wildcards.protocol}, draw {wildcards.draw}"
    script:
        "../scripts/measure_images.py"


# For a variant of a study that has its noise and its scalars: see compare.smk.
use rule measure_images as measure_maps with:
    input:
        clean=f"{RESULTS}/clean/test.npz",
        noisy=f"{RESULTS}/noisy/test_{{protocol}}_{{draw}}.npz",
        manifest=rules.select_images.output[0],
        weights=[f"{RESULTS}/weights/test_{{protocol}}_{{draw}}_map.npz"],
        denoised=[f"{RESULTS}/denoised/test_{{protocol}}_{{draw}}_map.npz"],
    output:
        f"{RESULTS}/metrics/map_{{protocol}}_{{draw}}.csv",
    log:
        f"{LOGS}/measure_maps/{{protocol}}_{{draw}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_maps/{{protocol}}_{{draw}}.tsv"
    params:
        methods=["map"],
        solved=["map"],
        measure=MEASURE,
        code=code_version("measure_images"),


rule collect_tables:
    input:
        metrics=expand(rules.measure_images.output[0], protocol=PROTOCOLS, draw=DRAWS),
        choices=expand(rules.choose_scalars.output.choice, protocol=PROTOCOLS, draw=DRAWS),
        grids=expand(f"{RESULTS}/grid/test_{{protocol}}_{{draw}}.csv", protocol=PROTOCOLS, draw=DRAWS),
        history=of_training("history.csv"),
    output:
        per_image=report(f"{RESULTS}/tables/per_image.csv", category="Tables", caption="../report/table_per_image.rst"),
        summary=report(f"{RESULTS}/tables/summary.csv", category="Tables", caption="../report/table_summary.rst"),
        gains=report(f"{RESULTS}/tables/gains.csv", category="Tables", caption="../report/table_gains.rst"),
        choice=report(
            f"{RESULTS}/tables/scalar_choice.csv", category="Tables", caption="../report/table_scalar_choice.rst"
        ),
        history=report(
            f"{RESULTS}/tables/training_history.csv", category="Tables", caption="../report/table_training_history.rst"
        ),
        by_level=f"{RESULTS}/tables/by_level.csv",
        grid=f"{RESULTS}/tables/grid.csv",
        gaps=report(f"{RESULTS}/tables/gaps.csv", category="Tables", caption="../report/table_gaps.rst"),
        markdown=expand(
            f"{RESULTS}/tables/{{table}}.md",
            table=["summary", "gains", "by_level", "scalar_choice", "gaps", "training_history"],
        ),
    log:
        f"{LOGS}/collect_tables.log",
    benchmark:
        f"{BENCHMARKS}/collect_tables.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        protocols=PROTOCOLS,
        draws=DRAWS,
        report=config["report"],
        seed=config["seed"],
        source=config["data"]["source"],
        size=config["data"]["size"],
        code=code_version("collect_tables"),
    message:
        "Collect the tables"
    script:
        "../scripts/collect_tables.py"


rule explain_study:
    input:
        clean=f"{RESULTS}/clean/test.npz",
        noisy=expand(f"{RESULTS}/noisy/test_{{protocol}}_0.npz", protocol=PROTOCOLS),
        scalar=expand(f"{RESULTS}/weights/test_{{protocol}}_0_scalar-fixed.npz", protocol=PROTOCOLS),
        map=expand(f"{RESULTS}/weights/test_{{protocol}}_0_map.npz", protocol=PROTOCOLS),
        by_oracle=expand(f"{RESULTS}/denoised/test_{{protocol}}_0_scalar-oracle-psnr.npz", protocol=PROTOCOLS),
        by_map=expand(f"{RESULTS}/denoised/test_{{protocol}}_0_map.npz", protocol=PROTOCOLS),
    output:
        convergence=f"{RESULTS}/tables/convergence.csv",
        learned=f"{RESULTS}/tables/learned.csv",
        failures=f"{RESULTS}/tables/failures.csv",
        contrasts=f"{RESULTS}/tables/contrasts.csv",
    log:
        f"{LOGS}/explain_study.log",
    benchmark:
        f"{BENCHMARKS}/explain_study.tsv"
    localrule: GPUS == 0 and is_short(TRACE, "test")
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=memory(2000, 20, "test"),
        runtime=minutes(30, 3 * TRACE, "test"),
        gpu=GPUS,
    params:
        protocols=PROTOCOLS,
        solver=config["solver"],
        traced=TRACED,
        device=config["device"],
        code=code_version("explain_study"),
    message:
        "Measure the solver's convergence, what the maps depend on and where they fail"
    script:
        "../scripts/explain_study.py"


CANDIDATES = {method: candidates_of(method) for method in ["scalar-fixed", *TUNED]}


rule collect_tuning:
    input:
        [paths for by_protocol in CANDIDATES.values() for paths in by_protocol.values()],
    output:
        f"{RESULTS}/tables/tuning.csv",
    log:
        f"{LOGS}/collect_tuning.log",
    benchmark:
        f"{BENCHMARKS}/collect_tuning.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        paths=CANDIDATES,
        code=code_version("collect_tuning"),
    message:
        "Collect how the rivals were tuned"
    script:
        "../scripts/collect_tuning.py"


rule pick_examples:
    input:
        per_image=rules.collect_tables.output.per_image,
        clean=f"{RESULTS}/clean/test.npz",
        noisy=expand(f"{RESULTS}/noisy/test_{{protocol}}_0.npz", protocol=PROTOCOLS),
        scalar=expand(f"{RESULTS}/denoised/test_{{protocol}}_0_scalar-oracle-psnr.npz", protocol=PROTOCOLS),
        map=expand(f"{RESULTS}/denoised/test_{{protocol}}_0_map.npz", protocol=PROTOCOLS),
        weights=expand(f"{RESULTS}/weights/test_{{protocol}}_0_map.npz", protocol=PROTOCOLS),
    output:
        table=report(f"{RESULTS}/tables/examples.csv", category="Tables", caption="../report/table_examples.rst"),
        markdown=f"{RESULTS}/tables/examples.md",
        pixels=expand(f"{RESULTS}/examples/{{protocol}}.npz", protocol=PROTOCOLS),
    log:
        f"{LOGS}/pick_examples.log",
    benchmark:
        f"{BENCHMARKS}/pick_examples.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 4, "test"),
        runtime=10,
    params:
        protocols=PROTOCOLS,
        code=code_version("pick_examples"),
    message:
        "Pick the images of median, best and worst gain"
    script:
        "../scripts/pick_examples.py"


rule collect_times:
    input:
        benchmarks=BENCHMARKED,
        after=expand(rules.measure_images.output[0], protocol=PROTOCOLS, draw=DRAWS),
        train=of_training("training.json"),
        train_direct=of_training("training.json", "weights_direct") if "unet-direct" in METHODS else [],
    output:
        report(f"{RESULTS}/tables/times.csv", category="Tables", caption="../report/table_times.rst"),
        f"{RESULTS}/tables/times.md",
    log:
        f"{LOGS}/collect_times.log",
    benchmark:
        f"{BENCHMARKS}/collect_times.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_version("collect_times"),
    message:
        "Collect time and memory of the steps"
    script:
        "../scripts/collect_times.py"


rule write_provenance:
    input:
        manifest=rules.select_images.output[0],
        training=of_training("training.json"),
        weights=config["network"]["weights"] or [],
        training_direct=of_training("training.json", "weights_direct") if "unet-direct" in METHODS else [],
        weights_direct=(config["network"]["weights_direct"] or []) if "unet-direct" in METHODS else [],
        variants=[TRAININGS[name] for name in TRAINED if name],
        times=rules.collect_times.output[0],
    output:
        f"{RESULTS}/provenance.json",
    log:
        f"{LOGS}/write_provenance.log",
    benchmark:
        f"{BENCHMARKS}/write_provenance.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=config,
        variants=[name for name in TRAINED if name],
        study_code=code_of_study,
        code=code_version("write_provenance"),
    message:
        "Write down configuration, code, versions, machines and times"
    script:
        "../scripts/write_provenance.py"


rule draw_figure:
    input:
        unpack(figure_inputs),
    output:
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            category="Figures",
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
    log:
        f"{LOGS}/draw_figure/{{figure}}.log",
    benchmark:
        f"{BENCHMARKS}/draw_figure/{{figure}}.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        script=figure_script,
        settings=figure_settings,
        code=figure_code,
    message:
        "Draw {wildcards.figure}"
    script:
        "../scripts/draw_figure.py"


rule sweep_examples:
    input:
        f"{RESULTS}/examples/{{protocol}}.npz",
    output:
        temp(f"{RESULTS}/examples/sweep_{{protocol}}.npz"),  # 0.2 MB for each λ of each image of 256²
    log:
        f"{LOGS}/sweep_examples/{{protocol}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep_examples/{{protocol}}.tsv"
    localrule: GPUS == 0 and 0.05 * SWEEP < START
    conda:
        TORCH
    threads: 1
    resources:
        mem_mb=2000 + 3 * SWEEP,
        runtime=lambda wildcards, attempt: attempt * 30,
        gpu=GPUS,
    params:
        values=GRID,
        solver=config["solver"],
        device=config["device"],
        code=code_version("sweep_examples"),
    message:
        "Denoise the example images with every λ: {wildcards.protocol}"
    script:
        "../scripts/sweep_examples.py"


rule build_explorer:
    input:
        per_image=rules.collect_tables.output.per_image,
        grid=rules.collect_tables.output.grid,
        scalar_choice=rules.collect_tables.output.choice,
        examples=rules.pick_examples.output.pixels,
        sweeps=expand(rules.sweep_examples.output[0], protocol=PROTOCOLS),
        template=EXPLORER[0],
        parts=EXPLORER[1:],
    output:
        report(f"{RESULTS}/explorer.html", category="Report", caption="../report/explorer.rst"),
    log:
        f"{LOGS}/build_explorer.log",
    benchmark:
        f"{BENCHMARKS}/build_explorer.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000 + 2 * SWEEP * len(PROTOCOLS),
        runtime=10,
    params:
        study=config["study"],
        penalty=NETWORK["penalty"],
        protocols=config["noise"]["protocols"],
        code=code_version("build_explorer"),
    message:
        "Build the explorer {output}"
    script:
        "../scripts/build_explorer.py"


rule check_study:
    input:
        manifest=rules.select_images.output[0],
        per_image=rules.collect_tables.output.per_image,
        grid=rules.collect_tables.output.grid,
        choice=rules.collect_tables.output.choice,
        clean=expand(f"{RESULTS}/clean/{{split}}.npz", split=SPLITS),
        val_grids=expand(f"{RESULTS}/grid/val_{{protocol}}_{{draw}}.csv", protocol=PROTOCOLS, draw=DRAWS),
        train_grids=expand(f"{RESULTS}/grid/{{stem}}.csv", stem=_OF_TRAIN),
        maps=[path for name in MAPS_ONLY if MAPS_ONLY[name] for path in measurements(name, VARIANTS[name])],
        tuning=rules.collect_tuning.output if TUNED else [],
    output:
        f"{RESULTS}/checks/checks.csv",
    log:
        f"{LOGS}/check_study.log",
    benchmark:
        f"{BENCHMARKS}/check_study.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        expected={
            "n_values": config["grid"]["values"],
            "n_protocols": len(PROTOCOLS),
            "n_draws": len(DRAWS),
            "n_methods": len(METHODS) + sum(MAPS_ONLY.values()),
            "iterations": config["solver"]["iterations"],
            "size": config["data"]["size"],
            "x_rays": tvmap.origins.origin(config["data"]["source"]).x_rays,
        },
        splits=SPLITS,
        code=code_version("check_study"),
    message:
        "Check the study from inside"
    script:
        "../scripts/check_study.py"


rule build_report:
    input:
        tables=[
            rules.collect_tables.output.per_image,
            rules.collect_tables.output.summary,
            rules.collect_tables.output.gains,
            rules.collect_tables.output.by_level,
            rules.collect_tables.output.choice,
            rules.collect_tables.output.history,
            rules.collect_tables.output.gaps,
            rules.pick_examples.output.table,
            rules.collect_times.output[0],
            rules.explain_study.output.learned,
            rules.explain_study.output.failures,
            rules.explain_study.output.contrasts,
            *([f"{RESULTS}/tables/courses.csv", f"{RESULTS}/tables/steps.csv"] if TRAINED else []),
            *([f"{RESULTS}/tables/variants.csv"] if config["variants"] else []),
            rules.check_study.output[0],
        ],
        figures=expand(f"{RESULTS}/figures/{{figure}}.png", figure=FIGURES_OF_STUDY),
        provenance=rules.write_provenance.output[0],
        template=TEMPLATE,
        checklists=CHECKLISTS,
        style=STYLE,
        looks=LOOKS,
    output:
        report(f"{RESULTS}/report.html", category="Report", caption="../report/report.rst"),
    log:
        f"{LOGS}/build_report.log",
    benchmark:
        f"{BENCHMARKS}/build_report.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_version("build_report"),
    message:
        "Build the report page {output}"
    script:
        "../scripts/build_report.py"
