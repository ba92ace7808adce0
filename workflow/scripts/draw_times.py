"""Time and memory of each step of the workflow as horizontal bars, from the table of times."""

from tvmap import plotting, tabular


def main(times_path, png_path, pdf_path):
    """Draw the steps in the table's order: time summed over a step's jobs, peak memory of its largest job."""
    table = tabular.read_table(times_path, tabular.TIMES, may_be_empty=["max_rss_mib"])
    names = [
        f"{row.step.replace('_', ' ')}" + (f" ({row.jobs} jobs)" if row.jobs > 1 else "") for row in table.itertuples()
    ]
    figure, (axes,) = plotting.panels(1, 2, 0.55 + 0.19 * len(table), sharey=True)
    draw_bars(axes[0], table["seconds"], short_time, plotting.COLOUR_BLIND[0])
    axes[0].set(xlabel="time, sum of the jobs (s)", yticks=range(len(names)), yticklabels=names)
    draw_bars(
        axes[1],
        table["max_rss_mib"].fillna(0),
        lambda value: f"{value:,.0f} MiB" if value else "not measured",
        plotting.COLOUR_BLIND[1],
    )
    axes[1].set(xlabel="peak memory of the largest job (MiB)")
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_bars(panel, values, text, colour):
    """Draw one bar for each value with its text at the end; a logarithmic axis if they span more than a factor 50."""
    positive = values[values > 0]
    panel.barh(range(len(values)), values, height=0.65, color=colour, alpha=0.85)
    if len(positive) and positive.max() > 50 * positive.min():
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        panel.set_xlim(positive.min() / 2, positive.max() * (positive.max() / positive.min()) ** 0.25)
    else:
        panel.set_xlim(0, max(values.max(), 1e-9) * 1.3)
    for position, value in enumerate(values):
        panel.annotate(
            text(value),
            (max(value, panel.get_xlim()[0]), position),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=plotting.SMALL,
        )
    panel.tick_params(axis="y", length=0)


def short_time(seconds):
    """Return a time as text with two or three significant digits, in seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
