# The variants of a study: each is a study of its own, which shares these rules and is compared with this one.
for variant, config_of_variant in VARIANTS.items():
    prefix = f"{variant}_"

    module:
        name: variant
        snakefile:
            "../../Snakefile"
        config:
            config_of_variant

    use rule * from variant exclude retrieve_archive as prefix*


rule collect_courses:
    input:
        trainings=TRAININGS.values(),
        histories=HISTORIES.values(),
        grids=[validation_grid(name) for name in TRAINED],
        steps=rules.time_steps.output[0],
    output:
        f"{RESULTS}/tables/courses.csv",
    log:
        f"{LOGS}/collect_courses.log",
    benchmark:
        f"{BENCHMARKS}/collect_courses.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        trainings=TRAININGS,
        histories=HISTORIES,
        grids={name: validation_grid(name) for name in TRAINED},
        code=code_version("collect_courses"),
    message:
        "Collect the courses of the trainings"
    script:
        "../scripts/collect_courses.py"


rule compare_variants:
    input:
        metrics=[path for name, settings in STUDIES.items() for path in measurements(name, settings)],
        trainings=TRAININGS.values(),
        times=[rules.time_steps.output[0], rules.collect_courses.output[0]] if TRAINED else [],
        checks=[f"results/{v['study']}/checks/checks.csv" for name, v in VARIANTS.items() if not MAPS_ONLY[name]],
    output:
        table=report(f"{RESULTS}/tables/variants.csv", category="Tables", caption="../report/table_variants.rst"),
        markdown=f"{RESULTS}/tables/variants.md",
    log:
        f"{LOGS}/compare_variants.log",
    benchmark:
        f"{BENCHMARKS}/compare_variants.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        metrics={name: measurements(name, settings) for name, settings in STUDIES.items()},
        trainings=TRAININGS,
        overlays=config["variants"],
        comparable={name: tvmap.study.comparable(config, settings) for name, settings in STUDIES.items()},
        report=config["report"],
        seed=config["seed"],
        source=config["data"]["source"],
        code=code_version("compare_variants"),
    message:
        "Compare the study with its variants"
    script:
        "../scripts/compare_variants.py"
