"""The options of noise on sums: all or none of them, only with --private, and what they promise."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.federation import consortium
from support.private_federation import packed_manifest

from fl_orchestrator.cli.options.noise import noise_sentences, noise_terms
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.manifest import NoiseSpec
from fl_orchestrator.privacy.accounting import epsilon_of_sums
from fl_orchestrator.roles.masked.terms import NotPrivate, PrivateTerms, private_params
from fl_orchestrator.roles.setup import ANY_GENESIS, federation_params

TERMS: dict[str, Any] = {"clip": 0.5, "multiplier": 4.0, "honest": 3, "rounds": 20}


def test_no_option_is_no_noise_and_all_are_the_manifests_terms() -> None:
    nothing = dict.fromkeys(TERMS)
    assert noise_terms(True, **nothing, delta=None) is None
    assert noise_terms(True, **TERMS, delta=None) == {**TERMS, "delta": 1e-5}
    assert noise_terms(True, **TERMS, delta=1e-7) == {**TERMS, "delta": 1e-7}


@pytest.mark.parametrize("missing", TERMS)
def test_an_option_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(InputError, match=f"--noise-{missing}"):
        noise_terms(True, **{**TERMS, missing: None}, delta=None)


def test_noise_without_private_is_refused() -> None:
    with pytest.raises(InputError, match="--private"):
        noise_terms(False, **TERMS, delta=None)


def test_the_sentences_have_the_epsilon_of_one_round_and_of_all() -> None:
    spec = NoiseSpec(**TERMS, delta=1e-5)
    manifest = packed_manifest(noise=spec)
    first, second = noise_sentences(manifest)
    shown = [
        float(number) for number in re.findall(r"is ([\d.]+) for one round and ([\d.]+)", first)[0]
    ]
    bits, size = manifest.update_fraction_bits, manifest.layout.parameters
    exact = [epsilon_of_sums(spec, bits, size, rounds) for rounds in (1, 20)]
    assert shown == pytest.approx(exact, rel=0.01)
    assert "3 parties" in second
    assert "not bounded" in noise_sentences(packed_manifest())[0]


def test_more_honest_parties_than_a_sum_must_have_are_refused() -> None:
    def check(min_updates: int) -> None:
        manifest = packed_manifest(noise=NoiseSpec(**TERMS, delta=1e-5))
        params = federation_params(manifest, ANY_GENESIS, consortium(5, min_updates=min_updates))
        private_params(manifest, params, PrivateTerms())

    check(3)
    with pytest.raises(NotPrivate, match="honest"):
        check(2)
