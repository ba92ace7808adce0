"""Speed as a result: gain on the validation images against the time of training, of a study and its variants."""

from tvmap import courses, dissertation, plotting
from tvmap.formats import number

LINE = 0.16  # inches of a line of the legend


def main(courses_path, png_path, pdf_path):
    """Draw a curve for each training, its end marked; the dotted line is the gain that the dissertation reports.

    The legend has all of them in the order of their ends, the best first, and says which ones lie below the figure.
    """
    table = courses.read(courses_path)
    n_trainings = table["variant"].nunique()
    figure, axes = plotting.panels(1, 1, max(3.2, 0.5 + LINE * n_trainings))
    panel = axes[0, 0]
    palette = list(dict.fromkeys(plotting.COLOURS.values()))
    for k, (name, course) in enumerate(table.groupby("variant", sort=False)):
        colour = palette[k % len(palette)] if name else plotting.DARK
        style = plotting.DASHES[k // len(palette) % len(plotting.DASHES)]
        panel.plot(course["minutes"], course["val_gain"], color=colour, linestyle=style, label=name or "the study")
        panel.plot(course["minutes"].iloc[-1:], course["val_gain"].iloc[-1:], "o", color=colour, markersize=3.5)
    published = f"published gain, {number(dissertation.GAIN, sign=True)} dB"
    panel.axhline(dissertation.GAIN, color=plotting.GREY, linewidth=1, linestyle=":", label=published)
    panel.set(xlabel="time of training (minutes)", ylabel="validation PSNR minus oracle λ (dB)", xlim=(0, None))
    # The first epochs would hide the differences that matter.
    low = min(table["val_gain"].quantile(0.1), dissertation.GAIN - 0.2)  # where a course crosses the line is to be seen
    high = max(table["val_gain"].max(), dissertation.GAIN)
    bottom = low - 0.05 * (high - low) - 0.01
    panel.set_ylim(bottom, high + 0.1 * (high - low) + 0.01)
    panel.grid(color=plotting.LIGHT, linewidth=0.5)
    handles = [line for line in panel.lines if not line.get_label().startswith("_")]
    handles.sort(key=lambda line: line.get_ydata()[-1], reverse=True)
    for line in handles:
        if max(line.get_ydata()) < bottom:
            line.set_label(f"{line.get_label()} (below: {number(line.get_ydata()[-1], sign=True)})")
    panel.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))
    plotting.save(figure, png_path, pdf_path)
    return figure
