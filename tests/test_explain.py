"""What the report explains: the convergence of the solver against its own calls, Λ against detail by hand."""

import numpy as np
import pytest
import torch

from tvmap import explain, metrics, pdhg, solver, tgv

SOLVER = {"iterations": 4, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}


def test_powers_of_two():
    assert solver.powers_of_two(1) == [1] and solver.powers_of_two(16) == [1, 2, 4, 8, 16]
    assert solver.powers_of_two(20) == [1, 2, 4, 8, 16]


def test_course_is_that_of_separate_solves():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 1, 16, 12, generator=generator)
    z = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    weight = torch.tensor([0.05, 0.1, 0.2])
    found = explain.trace(z, clean, weight, SOLVER).set_index(["dual_start", "iterations"])
    assert list(found.index) == [(start, 2**k) for start in ("zero", "image") for k in range(5)]
    for (start, iterations), row in found.iterrows():
        options = SOLVER | {"iterations": iterations, "dual_start": start}
        x, q = pdhg.pdhg(z, weight, **options)
        gap = pdhg.primal_dual_gap(x, q, z, weight) / pdhg.objective(x, z, weight)
        assert row.psnr == pytest.approx(metrics.psnr(clean, x, data_range=1).mean().item(), abs=1e-3)
        assert row.relative_gap == pytest.approx(gap.median().item(), abs=1e-4)
    assert found.loc[("image", 1), "psnr"] < found.loc[("zero", 1), "psnr"] - 1


def test_course_of_tgv_has_one_start():
    z = torch.rand(2, 1, 8, 9, generator=torch.Generator().manual_seed(0))
    weight = torch.full((2, 2, 8, 9), 0.1)
    found = explain.trace(z, z, weight, {**SOLVER, "penalty": "tgv"})
    assert found["dual_start"].tolist() == ["zero"] * 5 and found["iterations"].tolist() == [1, 2, 4, 8, 16]
    expected = [metrics.psnr(z, tgv.tgv(z, weight, n)[0], data_range=1).mean().item() for n in found["iterations"]]
    assert found["psnr"].tolist() == pytest.approx(expected, abs=1e-3)


def test_weights_by_detail_by_hand(monkeypatch):
    """Four blocks an image, of known detail; the weight of a block is that detail times the noise of its image."""
    monkeypatch.setattr(explain, "BINS", 2)
    detail = np.array([[0.1, 0.2], [0.3, 0.4]])
    checkerboard = np.indices((8, 8)).sum(axis=0) % 2 * 2 - 1.0
    clean = np.stack([np.kron(detail, checkerboard)] * 3) + 0.5
    noise_std = np.array([0.3, 0.1, 0.2])
    weight = np.kron(detail, np.ones((8, 8)))[None, None] * noise_std[:, None, None, None] * np.ones((3, 2, 1, 1))
    weight[:, 0] += 0.01
    weight[:, 1] -= 0.01
    found = explain.by_detail(weight, clean, noise_std)
    assert found["noise_std"].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert found["detail"].tolist() == pytest.approx([0.15, 0.35] * 3)
    assert found["weight"].tolist() == pytest.approx(found["noise_std"] * found["detail"])
    assert found["weight_low"].tolist() == pytest.approx(found["noise_std"] * (found["detail"] - 0.025))
    assert (found["n"] == 2).all()
    assert len(explain.by_detail(weight, clean, np.full(3, 0.2))) == 2


def test_errors_by_detail_by_hand(monkeypatch):
    """Four blocks of known detail; the error of a block is its detail for the map, a constant for the oracle."""
    monkeypatch.setattr(explain, "BINS", 2)
    detail = np.array([[0.1, 0.2], [0.3, 0.4]])
    checkerboard = np.indices((8, 8)).sum(axis=0) % 2 * 2 - 1.0
    clean = np.stack([np.kron(detail, checkerboard)] * 3) + 0.5
    denoised = {"scalar-oracle-psnr": clean + 0.2, "map": clean + np.kron(detail, np.ones((8, 8)))}
    found = explain.error_by_detail(clean, denoised).set_index(["method", "bin"])
    assert found["detail"].tolist() == pytest.approx([0.15, 0.35] * 2)
    assert found.loc["scalar-oracle-psnr", "mse"].tolist() == pytest.approx([0.04, 0.04])
    assert found.loc["map", "mse"].tolist() == pytest.approx([0.025, 0.125])
    assert (found["n"] == 6).all()


def test_errors_by_detail_add_up_to_the_error_of_the_images():
    random = np.random.default_rng(0)
    clean, denoised = random.random((2, 3, 32, 24))
    found = explain.error_by_detail(clean, {"map": denoised})
    assert len(found) == explain.BINS and found["n"].sum() == 3 * 4 * 3
    assert np.average(found["mse"], weights=found["n"]) == pytest.approx(np.mean((clean - denoised) ** 2))
