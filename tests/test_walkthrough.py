"""Every line of the walk-through runs and prints what it says."""

import doctest

import torch
from smoke import ROOT


def test_the_walk_through_runs_as_printed():
    threads = torch.get_num_threads()
    try:
        path = str(ROOT / "workflow/walkthrough.md")
        found = doctest.testfile(path, module_relative=False, encoding="utf-8", optionflags=doctest.ELLIPSIS)
    finally:
        torch.set_num_threads(threads)
        torch.set_printoptions(profile="default")
    assert found.attempted > 50 and found.failed == 0
