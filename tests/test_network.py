"""NET_Θ: the published structure, the output function, any size, safe weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tvmap import architecture, network, study
from tvmap.errors import StudyError
from tvmap.noise import estimate_noise_std
from tvmap.solver import solve
from tvmap.tgv import tgv


def test_two_maps_are_those_of_both_channels():
    z = torch.rand(1, 1, 24, 16)
    one, two = (network.build(maps=n, seed=0)(z) for n in (1, 2))
    assert two.shape == (1, 2, 24, 16)
    torch.testing.assert_close(two[:, :1], one)
    assert not torch.allclose(two[:, 1:], one)
    assert network.build(maps=2, predicts="image", seed=0)(z).shape == z.shape


def test_tgv_takes_two_maps_and_is_solved_with_them(tmp_path):
    z = torch.rand(2, 1, 16, 12)
    settings = {"maps": 2, "penalty": "tgv"}
    model = network.build(**settings, seed=0).eval()
    maps = network.predict(model, z)
    assert maps.shape == (2, 2, 16, 12) and (maps > 0).all()
    assert torch.equal(maps, network.predict(network.build(maps=2, seed=0), z))
    denoised = network.denoise(model, z, {"iterations": 8})
    torch.testing.assert_close(denoised, tgv(z, maps, 8)[0], rtol=0, atol=1e-6)
    assert not torch.allclose(denoised, network.denoise(network.build(maps=2, seed=0), z, {"iterations": 8}), atol=1e-4)
    F.mse_loss(denoised, z).backward()
    assert all(weight.abs().max() > 0 for weight in model.unet.last.weight.grad)
    network.save_weights(tmp_path / "w.safetensors", model.unet.state_dict(), settings)
    assert network.load_network(tmp_path / "w.safetensors").penalty == "tgv"
    network.save_weights(tmp_path / "older.safetensors", model.unet.state_dict(), {"maps": 2})
    assert network.load_network(tmp_path / "older.safetensors").penalty == "tv"
    for wrong in ({"penalty": "tgv"}, {"penalty": "huber"}):
        with pytest.raises(ValueError, match="tgv takes 2 maps"):
            network.build(**wrong)


def test_the_published_number_of_parameters():
    model = network.build()
    assert sum(p.numel() for p in model.parameters()) == 1_796_034 == architecture.N_PARAMETERS


def test_learned_steps_are_one_number_beside_the_unet():
    model = network.build(steps="learned", seed=0)
    assert sum(p.numel() for p in model.unet.parameters()) == architecture.N_PARAMETERS
    assert sum(p.numel() for p in model.parameters()) == architecture.N_PARAMETERS + 1
    assert model.log_ratio.item() == 0 and model.weights()["log_ratio"].item() == 0
    fixed = network.build(seed=0)
    assert set(model.weights()) == {*fixed.weights(), "log_ratio"} and set(fixed.weights()) == set(
        fixed.unet.state_dict()
    )
    assert set(network.build(steps="learned", predicts="image").weights()) == set(fixed.weights())  # it has no solver


def test_the_solver_takes_the_steps_of_the_network():
    z, solver = torch.rand(2, 1, 16, 16), {"iterations": 8}
    model = network.build(steps="learned", seed=0)
    torch.testing.assert_close(network.denoise(model, z, solver), solve(z, model(z), **solver)[0])
    model.log_ratio.data.fill_(0.4)
    found = network.denoise(model, z, solver)
    torch.testing.assert_close(found, solve(z, model(z), **solver, log_ratio=0.4)[0])
    assert (found - solve(z, model(z), **solver)[0]).abs().max() > 1e-4
    found.square().sum().backward()
    assert model.log_ratio.grad != 0
    with torch.no_grad():
        torch.testing.assert_close(network.denoise(model, z, solver), found)


def test_learned_steps_come_back_with_the_weights(tmp_path):
    model, path = network.build(steps="learned", seed=0), tmp_path / "w.safetensors"
    model.log_ratio.data.fill_(0.25)
    network.save_weights(path, model.weights(), {"steps": "learned"})
    assert network.load_network(path).log_ratio.item() == 0.25
    network.save_weights(path, model.unet.state_dict(), {"up_bound": 0})  # a file from before there was a choice
    assert network.load_network(path).log_ratio == 0
    for state, settings in ((model.unet.state_dict(), {"steps": "learned"}), (model.weights(), {})):
        network.save_weights(path, state, settings)
        with pytest.raises(StudyError, match="not the weights of this network"):
            network.load_network(path)


def test_structure_layer_by_layer():
    """The U-Net written out a second time, upsampling before the 1×1 convolution as in the text."""
    model = network.build(seed=0).double()
    u, z = model.unet, torch.rand(1, 1, 32, 48, dtype=torch.float64)

    def double(block, x):
        for convolution in (block[0], block[2]):
            x = F.leaky_relu(F.conv2d(x, convolution.weight, convolution.bias, padding=1), 0.01)
        return x

    skips = [double(u.first, z)]
    for encoder in u.encoders:
        skips.append(double(encoder, F.max_pool2d(skips[-1], 2, 2)))
    y = skips.pop()
    assert y.shape == (1, 256, 4, 6)
    for reduction, decoder in zip(u.reductions, u.decoders, strict=True):
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        y = F.conv2d(y, reduction.weight, reduction.bias)
        y = double(decoder, torch.cat([skips.pop(), y], 1))
    y = F.conv2d(y, u.last.weight, u.last.bias)
    torch.testing.assert_close(model(z), 0.1 * F.softplus(y[:, :1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 9), (33, 65), (64, 48)])
def test_any_size(size):
    weight = network.build(seed=0)(torch.rand(2, 1, *size))
    assert weight.shape == (2, 1, *size) and (weight >= 0).all()


def test_up_bound_and_padding():
    z = torch.rand(1, 1, 24, 24)
    bounded = network.build(up_bound=0.3, seed=0)(z)
    assert 0 < bounded.min() and bounded.max() < 0.3
    plain, padded = (network.build(padding=p, seed=0)(z) for p in (0, 4))
    assert padded.shape == plain.shape and not torch.allclose(plain, padded)
    model = network.build(seed=0)
    torch.testing.assert_close(padded, model(F.pad(z, (4, 4, 4, 4), mode="reflect"))[..., 4:-4, 4:-4])


def test_initial_weights_belong_to_the_seed():
    first, again, other = (network.build(seed=s).unet.last.weight for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    before = torch.random.get_rng_state()
    network.build(seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_bfloat16_stays_inside_the_network(monkeypatch):
    monkeypatch.setattr(network, "has_bfloat16", lambda device: True)  # a CPU without it computes it too, slowly
    z = torch.rand(1, 1, 32, 32)
    exact, rounded = (network.build(precision=p, seed=0)(z) for p in ("float32", "bfloat16"))
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.05, atol=1e-3)


def test_without_fast_bfloat16_the_network_computes_in_float32_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(network, "has_bfloat16", lambda device: False)
    z = torch.rand(1, 1, 32, 32)
    exact, model = network.build(seed=0)(z), network.build(precision="bfloat16", seed=0)
    with caplog.at_level("WARNING", logger="tvmap"):
        assert torch.equal(model(z), exact) and torch.equal(model(z), exact)
    assert caplog.text.count("no fast bfloat16 on this cpu") == 1


def test_tf32_is_allowed_by_its_name_alone():
    for precision in ("float32", "tf32", "bfloat16"):
        network.build(precision=precision)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")


def test_weights_come_back_with_their_settings(tmp_path):
    settings = {"up_bound": 0.2, "padding": 4, "precision": "bfloat16"}
    model = network.build(**settings, seed=5)
    network.save_weights(tmp_path / "w.safetensors", model.unet.state_dict(), settings)
    loaded = network.load_network(tmp_path / "w.safetensors")
    z = torch.rand(1, 1, 16, 16)
    assert torch.equal(model.eval()(z), loaded(z)) and not loaded.training
    content = (tmp_path / "w.safetensors").read_bytes()
    network.save_weights(tmp_path / "again.safetensors", model.unet.state_dict(), settings)
    assert (tmp_path / "again.safetensors").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x04\x95pickle" * 50])
def test_what_is_not_weights_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(StudyError, match="w.safetensors: not the weights of this network") as error:
        network.load_network(path)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(tmp_path):
    settings = {"up_bound": 0, "padding": 0, "precision": "float32"}
    network.save_weights(tmp_path / "w.safetensors", {"first.weight": torch.ones(3)}, settings)
    with pytest.raises(StudyError, match="not the weights"):
        network.load_network(tmp_path / "w.safetensors")


def test_maps_are_predicted_image_by_image():
    model, z = network.build(seed=0), torch.rand(3, 1, 16, 16)
    maps = network.predict(model, z)
    assert torch.equal(maps[1:2], network.predict(model, z[1:2])) and not maps.requires_grad


@pytest.mark.parametrize("shape", [(400, 24), (403, 17), (17, 403), (201, 40), (40, 9), (65, 65)])
@pytest.mark.parametrize("thickness", [8, 64])
def test_strips_give_what_the_whole_image_gives(shape, thickness):
    unet = network.build(seed=0, start="kaiming").double().unet
    z = torch.rand(1, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(unet.by_strips(z, thickness), unet(z), rtol=0, atol=1e-12)


def test_the_halo_of_a_strip_is_what_a_pixel_depends_on():
    unet = network.build(seed=0, start="kaiming").double().unet
    z = torch.rand(1, 1, 400, 8, dtype=torch.float64).requires_grad_()
    reach = 0
    for row in range(192, 209):
        (gradient,) = torch.autograd.grad(unet(z)[0, :, row].sum(), z)
        rows = gradient.abs().amax((0, 1, 3)).nonzero().flatten()
        reach = max(reach, row - rows.min().item(), rows.max().item() - row)
    assert reach <= 58 < network.HALO


def test_strips_in_bfloat16_round_as_the_whole_image_does():
    unet, z = network.build(seed=0, start="kaiming").unet, torch.rand(1, 1, 201, 40).bfloat16()
    with torch.inference_mode():
        whole, strips = unet.bfloat16()(z).float(), unet.by_strips(z, 64).float()
    assert (strips - whole).abs().max() < 0.03 * whole.abs().max()


def test_a_large_image_is_predicted_strip_by_strip(monkeypatch):
    model, z = network.build(maps=2, noise_estimate="unit", seed=0), torch.rand(1, 1, 300, 16)
    whole, seen = network.predict(model, z), []
    model.unet.register_forward_hook(lambda unet, inputs, output: seen.append(output.shape[-2]))
    monkeypatch.setattr(network, "STRIP", 64 * 16)
    monkeypatch.setattr(network, "THINNEST", 8)
    torch.testing.assert_close(network.predict(model, z), whole)
    assert seen == [64 + 64, 64 + 2 * 64, 64 + 2 * 64, 300 - 192 + 64, 300 - 256 + 64]
    assert network.pixels_at_once(300, 16) == max(seen) * 16 and network.pixels_at_once(50, 16) == 50 * 16
    torch.testing.assert_close(network.predict(model, z.mT), network.predict(model, z.mT.contiguous()))
    model(z).sum().backward()  # with gradients the image stays whole
    assert seen[-1] == 300


def test_direct_network_subtracts_what_the_unet_predicts():
    z = torch.rand(2, 1, 24, 17)
    direct = network.build(predicts="image", seed=3).eval()
    with torch.no_grad():
        expected = z - direct.unet(z)[:, :1]
        assert torch.allclose(network.denoise(direct, z, {}), expected, atol=1e-6)
        ours = network.build(seed=3).eval()
        solver = {"iterations": 8}
        solved = solve(z, network.predict(ours, z), **solver)[0]
        assert torch.equal(network.denoise(ours, z, solver), solved)


def test_direct_network_is_kept_as_such(tmp_path):
    direct = network.build(predicts="image", seed=3)
    network.save_weights(tmp_path / "a.safetensors", direct.unet.state_dict(), {"predicts": "image"})
    assert network.load_network(tmp_path / "a.safetensors").predicts == "image"


def test_the_noise_estimate_is_that_of_numpy():
    z = (
        0.3
        * torch.randn(3, 1, 40, 41, generator=torch.Generator().manual_seed(0))
        * torch.tensor([0.1, 1, 3])[:, None, None, None]
    )
    expected = [estimate_noise_std(image) for image in z[:, 0].numpy()]
    np.testing.assert_allclose(network.estimate_noise_std(z).flatten(), expected, rtol=2e-3)  # median of an even number
    np.testing.assert_allclose(
        network.estimate_noise_std(z[..., 1:]).flatten(),
        [estimate_noise_std(i) for i in z[:, 0, :, 1:].numpy()],
        rtol=2e-3,
    )
    assert (network.estimate_noise_std(torch.rand(2, 1, 1, 9)) == 0).all()


@pytest.mark.parametrize("options", [{}, {"up_bound": 2.0}, {"padding": 4}, {"maps": 2, "penalty": "tgv"}])
def test_in_units_of_the_noise_the_map_follows_the_scale_whatever_the_brightness(options):
    z = torch.from_numpy(np.random.default_rng(0).normal(0.5, 0.2, (2, 1, 32, 24)).astype(np.float32))
    z[1] = 0.3 * z[1] + 0.4
    model = network.build(noise_estimate="unit", start="kaiming", seed=0, **options)
    torch.testing.assert_close(model(0.5 * z + 0.25), 0.5 * model(z), rtol=1e-3, atol=1e-5)
    one_by_one = torch.cat([model(image[None]) for image in z])
    torch.testing.assert_close(model(z), one_by_one, rtol=1e-4, atol=1e-6)
    assert model(z).std() > 0.1 * model(z).mean()
    direct = network.build(noise_estimate="unit", predicts="image", seed=0)
    torch.testing.assert_close(direct(0.5 * z + 0.25), 0.5 * direct(z) + 0.25, rtol=1e-4, atol=1e-5)


def test_units_of_the_noise_by_hand_and_without_noise():
    z = torch.rand(1, 1, 16, 16)
    model = network.build(noise_estimate="unit", seed=0)
    unit = network.estimate_noise_std(z)
    expected = unit * torch.nn.functional.softplus(model.unet((z - z.mean()) / unit)[:, :1])
    torch.testing.assert_close(model(z), expected)
    flat = torch.full((1, 1, 16, 16), 0.3)
    assert torch.isfinite(model(flat)).all() and model(flat).max() < 10 * network.NOISE_FLOOR
    with pytest.raises(ValueError, match="noise_estimate"):
        network.build(noise_estimate="known")


def test_a_start_that_keeps_the_size_of_activations():
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 1, 64, 64), dtype=np.float32))
    sizes = {}
    for start in ("default", "kaiming"):
        unet, sizes[start] = network.build(start=start, seed=0).unet, []
        for block in [unet.first, *unet.encoders, *unet.decoders]:
            block.register_forward_hook(lambda _, __, y, found=sizes[start]: found.append(y.square().mean().sqrt()))
        unet(z)
    assert all(0.5 < size < 2.5 for size in sizes["kaiming"])
    assert min(sizes["default"]) < 0.1
    again = network.build(start="kaiming", seed=0)
    assert torch.equal(again.unet.first[0].weight, network.build(start="kaiming", seed=0).unet.first[0].weight)
    assert torch.equal(again.unet.last.weight.abs() <= 32**-0.5, torch.ones(2, 32, 1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="start must be"):
        network.build(start="zero")


@pytest.mark.parametrize("options", [{}, {"noise_estimate": "input"}, {"steps": "learned"}, {"maps": 2}])
def test_parameters_are_counted(options):
    n = sum(parameter.numel() for parameter in network.build(**options).parameters())
    assert study.shape({"network": options})[1] == n


def test_noise_as_an_input(tmp_path):
    model = network.build(noise_estimate="input", padding=4, seed=0)
    _, parameters = study.shape({"network": {"noise_estimate": "input"}})
    n_weights = architecture.N_PARAMETERS + 9 * architecture.CHANNELS[1]
    assert sum(p.numel() for p in model.parameters()) == n_weights == parameters
    z = torch.rand(2, 1, 24, 16)
    given = []
    model.unet.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    weight = model(z)
    assert given[0].shape == (2, 2, 32, 24)
    for image, channel in zip(z, given[0][:, 1], strict=True):
        assert (channel == network.NOISE_SCALE * network.estimate_noise_std(image[None])).all()
    path = tmp_path / "w.safetensors"
    network.save_weights(path, model.unet.state_dict(), {"noise_estimate": "input", "padding": 4})
    torch.testing.assert_close(network.load_network(path)(z), weight)
