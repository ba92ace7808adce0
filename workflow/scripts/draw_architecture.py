"""Figure 1: the whole method as one drawing, from the clean image to the loss and the gradient back to the network."""

from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from tvmap import plotting

DATA, LEARNED, FIXED, BACK = "#f2f2f2", "#cfe9df", "#d5e5f2", "#c1272d"


def main(png_path, pdf_path, noise_kind, iterations, training_iterations, steps, gradient):
    """Draw x_true → noise → z → NET_Θ → Λ_Θ → PDHG (which also takes z) → x̂ → loss, and the gradient's way back.

    `noise_kind` is `relative` (level times the image's standard deviation) or `absolute`; the two numbers are the
    iterations of the solver when images are denoised and during training. `steps`: of the solver, fixed or learned;
    `gradient`: of its result, unrolled or closed_form.
    """
    figure, axes = plotting.canvas(plotting.FULL, 2.75, 140)
    middle, top = 26, 48
    places = {"x": 10, "z": 33, "network": 57, "map": 81, "solver": 106, "result": 130}
    count = f"T = {iterations} iterations"
    if training_iterations != iterations:
        count = f"T = {iterations} (training {training_iterations})"
    box(axes, places["x"], top, r"$x_{\mathrm{true}}$", "clean image", DATA)
    box(axes, places["z"], middle, "$z$", "noisy image", DATA)
    box(axes, places["network"], middle, r"$\mathrm{NET}_\Theta$", "U-Net", LEARNED)
    box(axes, places["map"], middle, r"$\Lambda_\Theta$", "map of weights", DATA)
    box(axes, places["solver"], middle, "PDHG", count, LEARNED if steps == "learned" else FIXED, width=22)
    box(axes, places["result"], middle, r"$\hat{x}$", "denoised image", DATA)
    box(axes, places["result"], top, "MSE", "loss", FIXED)
    axes.add_patch(Circle((places["x"], middle), 2.2, facecolor="white", edgecolor=plotting.DARK, linewidth=0.8))
    axes.text(places["x"], middle - 0.2, "+", ha="center", va="center", fontsize=plotting.TEXT + 2)
    scale = r"$s\,\mathrm{std}(x_{\mathrm{true}})\,n$" if noise_kind == "relative" else r"$s\,n$"
    axes.text(places["x"], 12, f"noise {scale}\n$n$ standard normal", ha="center", va="top", fontsize=plotting.SMALL)
    plotting.arrow(axes, (places["x"], 13), (places["x"], middle - 2.2))
    plotting.arrow(axes, (places["x"], top - 5), (places["x"], middle + 2.2))
    for left, right in ((12.2, 24.5), (41.5, 48.5), (65.5, 72.5), (89.5, 95), (117, 121.5)):
        plotting.arrow(
            axes, (left, middle - 1.3 if left > 60 else middle), (right, middle - 1.3 if left > 60 else middle)
        )
    plotting.arrow(axes, (131.5, middle + 5), (131.5, top - 5))
    plotting.arrow(axes, (18.5, top), (121.5, top))
    plotting.arrow(
        axes, (places["z"], middle - 5), (places["z"], 13), (places["solver"], 13), (places["solver"], middle - 5)
    )
    axes.text(69.5, 14, r"$z$ enters the data term $\frac{1}{2}\|x-z\|_2^2$", ha="center", va="bottom")
    back = {"colour": BACK, "linestyle": (0, (3, 1.5))}
    plotting.arrow(axes, (128.5, top - 5), (128.5, middle + 5), **back)
    for right, left in ((121.5, 117), (95, 89.5), (72.5, 65.5)):
        plotting.arrow(axes, (right, middle + 1.8), (left, middle + 1.8), **back)
    way = (
        "through the solution, in closed form,"
        if gradient == "closed_form"
        else "through every iteration of the solver"
    )
    text = f"gradient of the loss, back {way} to Θ"
    axes.text(126.5, (middle + top) / 2, text, color=BACK, ha="right", va="center")
    for place, (name, colour) in zip(
        (42, 58, 77), (("data", DATA), ("trained", LEARNED), ("fixed", FIXED)), strict=True
    ):
        axes.add_patch(Rectangle((place, 3.5), 3.6, 2.4, facecolor=colour, edgecolor=plotting.DARK, linewidth=0.6))
        axes.text(place + 4.8, 4.6, name, va="center", fontsize=plotting.SMALL)
    plotting.save(figure, png_path, pdf_path)
    return figure


def box(axes, x, y, name, description, colour, width=17):
    """Draw a box centred at (x, y) that holds a large name above a small description."""
    corner = (x - width / 2, y - 5)
    look = {"boxstyle": "round,pad=0,rounding_size=1.2", "edgecolor": plotting.DARK, "linewidth": 0.8}
    axes.add_patch(FancyBboxPatch(corner, width, 10, facecolor=colour, **look))
    axes.text(x, y + 1.9, name, ha="center", va="center", fontsize=plotting.TEXT + 2)
    axes.text(x, y - 2.5, description, ha="center", va="center", fontsize=plotting.SMALL)
