"""The shape of NET_Θ, without torch: for the network itself, the figures and the report."""

CHANNELS = (1, 32, 64, 128, 256, 128, 64, 32, 2)  # input to output
N_PARAMETERS = 1_796_034


def shape(config):
    """Channels of a study's network, input to output, and number of its parameters; noise is a second input."""
    if config["network"].get("noise_estimate") == "input":
        return (2, *CHANNELS[1:]), N_PARAMETERS + 9 * CHANNELS[1]
    return CHANNELS, N_PARAMETERS
