"""Fixtures of the tests of checkpoints."""

import warnings

import pytest

from tests.any_width import DECODERS


@pytest.fixture
def quiet():
    """Without what torch and the Trainer say about each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """What a Trainer saved."""
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from tests.unit.hf.trained import STEPS, trainer, transformers

    folder = tmp_path_factory.mktemp("run")
    model = DECODERS["gpt2"].model().float()
    model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(transformers.GPT2LMHeadModel(model.config), folder, STEPS).train()
    return folder / f"checkpoint-{STEPS}"
