"""Total variation denoising with a learned regularisation parameter map.

The problem, for a noisy image z and a regularisation weight Λ ≥ 0 (a scalar λ or a map Λ of the image's size):

    x̂ = argmin_x ½‖x − z‖² + ‖Λ∘∇x‖₁                                                        (16)

Where to find what (equation numbers are the dissertation's):

    operators        ∇ (5)-(7), ∇ᵀ, the dual projection         network     NET_Θ and Λ_Θ, sections 2.4 and 3
    pdhg             Algorithm 1, objective, primal-dual gap    training    the schedule, validation, resuming
    pdhg_numba       the same and its gradient on a CPU         steps       one step: loss, gradient, Adam
    pdhg_triton      the same on a GPU                          batches     what a step draws
    isotropic_numba  the isotropic norm on a CPU                graphs      CUDA graphs
    tgv              PDHG and gap of second-order TGV           grid        the 81-point search for λ
    tgv_numba        the same and its gradient on a CPU         oracle      Λ fitted to the clean image
    closed_form      the gradient at convergence                comparison  paired differences, shares
    solver           picks one of these                         variants    a study beside its variants
    philox           normal numbers by key, on any device       courses     how soon a training is good
    noise            z = x + noise, keyed; its estimate         explain     the solver's convergence, what Λ learned
    parameter_choice λ by SURE or the discrepancy principle     findings    what the numbers say, in sentences
    features         λ by regression from the noisy image       looks       who saw the test images, and when
    classical        isotropic TV, TGV, NLM, wavelets, BM3D     lanes       what compiled solvers are written in
    tracking         a training's course in Weights & Biases    denoising   one's own images: TV, network, SURE
    pictures         files of images, in and out                commands    the command `tvmap`
    sheet            a page on one image                        explorer    the page on which λ is moved

    images in        sources, archives, download, images, manifest, origins: where from, which are used in which split
    scores           metrics, intervals, significance: PSNR and SSIM, a mean's uncertainty, tests; methods: their names
    results out      tables, formats, checks, figures, plotting, model_card; dissertation: its published numbers
    the report       page, conclusions of the gains, rivals
    arrays and CSV   stacks, map_files; tabular, curve, history
    JSON and files   provenance, jobs, records; files: whole or not at all
    underneath       config, study, fingerprint, architecture, devices, machine, logs, errors

Modelling choices are named options; the first is the default, `config.yaml` says why: boundary periodic | neumann,
norm anisotropic | isotropic, noise relative | absolute, p₀ = 0 | z, L = 3 | √13, steps fixed | learned,
penalty TV | TGV, noise estimate none | input | unit, weights before training default | kaiming.

This file imports nothing, so that Snakemake can read `config` and `fingerprint` without the numerical libraries.
"""
