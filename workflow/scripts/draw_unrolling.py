"""What unrolling gives and costs: gain and time of a training step against the number of iterations T."""

from tvmap import plotting, tabular
from tvmap.methods import protocol_label

APART = 0.16  # octaves between the points of two protocols, so that no interval hides another


def main(variants_path, png_path, pdf_path, protocols, training_iterations_of, test_iterations_of, steps_path=None):
    """Draw gain and time of a step against T of the training, and gain against T of the test, where there are variants.

    `training_iterations_of`, `test_iterations_of`: {variant: T}, the study, "", among them, whose points are hollow.
    """
    table = tabular.read_table(variants_path, tabular.VARIANTS, tabular.NO_INTERVAL)
    table = table[table["metric"] == "psnr"]
    drawn = [("gain", training_iterations_of), ("time", training_iterations_of)] if training_iterations_of else []
    drawn += [("gain", test_iterations_of)] if test_iterations_of else []
    figure, axes = plotting.panels(1, len(drawn), 2.9)
    for panel, (what, steps) in zip(axes[0], drawn, strict=True):
        if what == "time":
            times = tabular.read_table(steps_path, tabular.STEPS)
            draw_time(panel, times[times["variant"].isin(steps)].sort_values("iterations"), steps[""])
        else:
            part = table[table["variant"].isin(steps)]
            part = part.assign(steps=part["variant"].map(steps)).sort_values("steps")
            draw_gain(panel, part, plotting.protocol_styles(protocols), protocols)
        panel.set_xscale("log", base=2)
        values = sorted(set(steps.values()))
        panel.set_xticks(values, [str(value) for value in values], rotation=45 if len(values) > 5 else 0)
        panel.minorticks_off()
        panel.set_xlabel(f"iterations T in the {'training' if steps is training_iterations_of else 'test'}")
        panel.grid(color=plotting.LIGHT, linewidth=0.5)
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3)
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_gain(panel, part, styles, protocols):
    """Draw the mean gain and its interval over T, a curve for each protocol."""
    panel.axhline(0, color=plotting.GREY, linewidth=0.8)
    for k, (protocol, style) in enumerate(styles.items()):
        rows = part[part["protocol"] == protocol]
        rows = rows.assign(steps=rows["steps"] * 2 ** (APART * (k - (len(styles) - 1) / 2)))
        panel.plot(rows["steps"], rows["gain"], label=protocol_label(protocols[protocol]), **style)
        panel.vlines(rows["steps"], rows["gain_low"], rows["gain_high"], color=style["color"], linewidth=1.2)
        study = rows[rows["variant"] == ""]
        panel.plot(study["steps"], study["gain"], linestyle="", **style | {"markerfacecolor": "white"})
    panel.set_ylabel("map minus oracle λ, PSNR (dB)")


def draw_time(panel, table, of_study):
    """Draw median and middle half of the time of a training step over T, from 0; that of the study is hollow."""
    errors = (table["milliseconds"] - table["low"], table["high"] - table["milliseconds"])
    panel.errorbar(table["iterations"], table["milliseconds"], errors, fmt="o-", color=plotting.DARK, markersize=3.5)
    study = table[table["iterations"] == of_study]
    hollow = {"color": plotting.DARK, "markersize": 3.5, "markerfacecolor": "white", "zorder": 3}
    panel.plot(study["iterations"], study["milliseconds"], "o", **hollow)
    panel.set(ylabel=f"time of a step, batch of {table['size'].iloc[0]} (ms)", ylim=(0, 1.1 * table["high"].max()))
