"""Total variation denoising with a learned regularisation parameter map.

The problem, for a noisy image z and a regularisation weight Λ ≥ 0 (a scalar λ or a map Λ of the image's size):

    x̂ = argmin_x ½‖x − z‖² + ‖Λ∘∇x‖₁                                                        (16)

Where to find what (equation numbers are the dissertation's):

    operators     ∇ (5)-(7), ∇ᵀ, the dual projection            network    NET_Θ and Λ_Θ, section 2.4 and 3
    pdhg          Algorithm 1, objective, primal-dual gap       training   the schedule, validation, resuming
    pdhg_numba    the same and its gradient, fast on a CPU      steps      one step: loss, gradient, Adam
    isotropic_numba    that for the isotropic norm              batches    what a step draws; graphs: CUDA graphs
    pdhg_triton   the same on a GPU                             noise      z = x + noise, keyed by image
    closed_form   the gradient at convergence, by regions       solver     picks one of these, or of the next two
    tgv           E, Eᵀ, PDHG and gap of second-order TGV       tgv_numba  the same and its gradient on a CPU
    philox        normal numbers by key, on any device          grid       the 81-point search for λ
    blind         λ by SURE or the discrepancy principle        oracle     Λ fitted to the clean image, the bound
    features      λ by regression from the noisy image          classical  isotropic TV, NLM, wavelets, BM3D
    comparison    paired differences of methods, shares         variants   a study beside its variants
    explain       the solver's course, Λ against detail     looks          who saw the test images, and when
    courses       how soon a training is good               findings       what the numbers say, in sentences

Modelling choices are named options; the first is the default, `config.yaml` says why: boundary periodic | neumann,
norm anisotropic | isotropic, noise relative | absolute, p₀ = 0 | z, L = 3 | √13, steps fixed | learned,
penalty TV | TGV.

This file imports nothing, so that Snakemake can read `config` and `fingerprint` without the numerical libraries.
"""
