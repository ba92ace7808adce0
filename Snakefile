# Total variation denoising with a regularisation parameter map predicted by a U-Net: the whole study.
#
#     snakemake --cores all --use-conda                                                      the dissertation's study
#     snakemake --cores all --use-conda --configfile workflow/studies/quickstart.yaml        another one, see workflow/studies/


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/denoise.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/files.smk"


# What is asked of this study where it is a variant of another one.
rule measured:
    input:
        MEASURED,


rule map_measured:
    input:
        MAP_MEASURED,


rule all:
    default_target: True
    input:
        rules.build_report.output,
        rules.build_explorer.output,
        rules.check_study.output,
        rules.collect_tables.output,
        rules.compare_variants.output if VARIANTS else [],
        FIGURES,
        FILES,
