"""Markers that skip with a reason, TVMAP_CI=1, which allows no skip but the GPU's, and a browser for who wants one."""

import os
import shutil

import hypothesis
import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton: its kernels run on the CPU then
hypothesis.settings.register_profile("tvmap", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tvmap")


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if item.get_closest_marker("chromium"):
        if not shutil.which("chromium"):
            pytest.skip("needs Chromium")
        pytest.importorskip("axe_playwright_python", reason="needs envs/requirements-browser.txt")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _fail_if_skipped((yield))


def _fail_if_skipped(report):
    """Turn a skip into a failure under TVMAP_CI=1, unless its reason starts with "needs a GPU"."""
    if os.environ.get("TVMAP_CI") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith("needs a GPU"):
            report.outcome = "failed"
            report.longrepr = f"skipped, which TVMAP_CI=1 does not allow: {reason}"
    return report


@pytest.fixture(scope="module")
def browser():
    """Chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()
