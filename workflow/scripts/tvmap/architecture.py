"""The shape of NET_Θ, without torch: for the network itself, the figures and the report."""

CHANNELS = (1, 32, 64, 128, 256, 128, 64, 32, 2)  # input to output
N_PARAMETERS = 1_796_034
