"""Speed as a result: validation PSNR against the time of training, of a study and its variants."""

from tvmap import plotting, tabular

STYLES = ("-", "--", ":", "-.")


def main(courses_path, png_path, pdf_path):
    """Draw a curve for each training; its end is marked."""
    columns = ("variant", "epoch", "minutes", "val_psnr")
    table = tabular.read_table(courses_path, columns, ("variant",)).fillna({"variant": ""})
    figure, axes = plotting.panels(1, 1, 3.2)
    panel = axes[0, 0]
    palette = list(dict.fromkeys(plotting.COLOURS.values()))
    for k, (name, course) in enumerate(table.groupby("variant", sort=False)):
        colour = palette[k % len(palette)] if name else plotting.DARK
        style = STYLES[k // len(palette) % len(STYLES)]
        panel.plot(course["minutes"], course["val_psnr"], color=colour, linestyle=style, label=name or "the study")
        panel.plot(course["minutes"].iloc[-1:], course["val_psnr"].iloc[-1:], "o", color=colour, markersize=3.5)
    panel.set(xlabel="time of training (minutes)", ylabel="validation PSNR (dB)", xlim=(0, None))
    # The first epochs would hide the differences that matter.
    low, high = table["val_psnr"].quantile(0.1), table["val_psnr"].max()
    panel.set_ylim(low - 0.05 * (high - low) - 0.01, high + 0.05 * (high - low) + 0.01)
    panel.grid(color=plotting.LIGHT, linewidth=0.5)
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    plotting.save(figure, png_path, pdf_path)
    return figure
