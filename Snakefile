# The whole benchmark: `snakemake --cores 8 all`. The rules are in workflow/.
include: "workflow/Snakefile"


# An included rule is never the default target by itself.
workflow.default_target = "all"
