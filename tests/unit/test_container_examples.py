"""The Compose file and the Helm chart: they fit their schemas, and `flo` has what they call."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.commands import command_at

import fl_orchestrator

ROLES = ("keeper", "aggregator", "watcher")


def options_of(role: str, arguments: list[str]) -> set[str]:
    """The names of the options in `--config=FILE ROLE run --name=value …`; checks all but these."""
    config, noun, verb, *options = arguments
    assert config.startswith("--config=")
    assert (noun, verb) == (role, "run")
    names = {option.partition("=")[0] for option in options}
    known = {name for parameter in command_at((role, "run")).params for name in parameter.opts}
    assert names <= known
    return names


# ------------------------------------------------------------------ Compose


@pytest.fixture(scope="module")
def compose(checkout: Path) -> Any:
    return yaml.safe_load((checkout / "examples/operation/compose.yml").read_text())


def test_the_compose_file_fits_the_schema_of_the_specification(
    compose: Any, checkout: Path
) -> None:
    schema = json.loads((checkout / "tests/vectors/schemas/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(compose)
    compose["services"]["keeper"]["restarts"] = "always"
    with pytest.raises(jsonschema.ValidationError, match="restarts"):
        jsonschema.Draft7Validator(schema).validate(compose)
    del compose["services"]["keeper"]["restarts"]


@pytest.mark.parametrize("role", ROLES)
def test_a_service_runs_its_role_with_its_own_key_and_volume(compose: Any, role: str) -> None:
    service = compose["services"][role]
    assert {"--home", "--key", "--password-file", "--metrics"} == options_of(
        role, service["command"]
    )
    assert service["volumes"] == [f"{role}:/home/flo"]
    assert service["secrets"] == [f"{role}.json", f"{role}.password"]
    for secret in service["secrets"]:
        assert any(argument.endswith(f"=/run/secrets/{secret}") for argument in service["command"])
        assert compose["secrets"][secret] == {"file": f"./{secret}"}
    assert role in compose["volumes"]
    assert "deploy" not in service
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


# ------------------------------------------------------------------ Helm

VALUES = {
    "image": "registry.example/flo@sha256:" + "ab" * 32,
    "secret": "keys-of-flo",
    "settings": 'rpc = ["http://node.example:8545"]\nstore = "file:store"\n',
}


@pytest.fixture(scope="module")
def helm(checkout: Path) -> str:
    """The program; it is built once, which takes minutes."""
    built = subprocess.run(
        [checkout / "scripts/build_helm.sh"], capture_output=True, text=True, timeout=3000
    )
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()


def rendered(helm: str, checkout: Path, directory: Path, **values: Any) -> Any:
    file = directory / "values.json"
    file.write_text(json.dumps(values))
    chart = checkout / "examples/helm"
    return subprocess.run(
        [helm, "template", "bank", chart, "--values", file, "--kube-version", "1.31.0"],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("role", [*ROLES, "party"])
def test_the_chart_renders_what_kubernetes_takes(
    helm: str, checkout: Path, tmp_path: Path, role: str
) -> None:
    party = {
        "arguments": ["--trainer=/site/trainer.py:make_trainer"],
        "volumes": [{"name": "site", "configMap": {"name": "trainer"}}],
        "volumeMounts": [{"name": "site", "mountPath": "/site", "readOnly": True}],
    }
    more = party if role == "party" else {}
    result = rendered(helm, checkout, tmp_path, **VALUES, **more, role=role)
    assert result.returncode == 0, result.stderr
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(result.stdout)
    validate = checkout / ".tools/release/bin/kubernetes-validate"
    checked = subprocess.run(
        [validate, "-k", "1.31", "--strict", manifest], capture_output=True, text=True, timeout=300
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr

    kinds = {found["kind"]: found for found in yaml.safe_load_all(result.stdout)}
    assert set(kinds) == {"ConfigMap", "Service", "StatefulSet"}
    assert kinds["ConfigMap"]["data"]["flo.toml"] == VALUES["settings"]
    assert kinds["StatefulSet"]["spec"]["replicas"] == 1
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = options_of(role, container["args"])
    assert {"--home", "--key", "--password-file", "--metrics", "--log-format"} <= options
    assert ("--trainer" in options) == (role == "party")
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    claimed = {
        claim["metadata"]["name"] for claim in kinds["StatefulSet"]["spec"]["volumeClaimTemplates"]
    }
    assert mounted == {volume["name"] for volume in pod["volumes"]} | claimed


def test_the_validator_refuses_what_kubernetes_does_not_take(
    helm: str, checkout: Path, tmp_path: Path
) -> None:
    text = rendered(helm, checkout, tmp_path, **VALUES).stdout
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(text.replace("replicas: 1", "replicas: one"))
    validate = checkout / ".tools/release/bin/kubernetes-validate"
    assert subprocess.run([validate, "-k", "1.31", "--strict", manifest]).returncode != 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": ""}, "image"),
        ({"secret": ""}, "secret"),
        ({"role": "owner"}, "role"),
        ({"replicas": 2}, "replicas"),
        ({"arguments": ["run"]}, "arguments"),
    ],
)
def test_values_that_make_no_role_are_refused(
    helm: str, checkout: Path, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    result = rendered(helm, checkout, tmp_path, **{**VALUES, **values})
    assert result.returncode != 0
    assert words in result.stderr


def test_the_chart_is_of_this_release_and_helm_finds_no_fault(helm: str, checkout: Path) -> None:
    chart = yaml.safe_load((checkout / "examples/helm/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == fl_orchestrator.__version__
    values = [f"--set={name}=x" for name in VALUES]
    linted = subprocess.run(
        [helm, "lint", "--strict", *values, checkout / "examples/helm"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert linted.returncode == 0, linted.stdout
