"""A digest of a Keras model's architecture: sites that build the same model get the same digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fl_orchestrator.json_text import to_json

# Keys without influence on what the model computes, or that differ between processes, files or
# versions: the module of a class, how a layer is built and compiled, addresses, and initial values,
# which the federation's model replaces.
_LEFT_OUT: Final = frozenset(
    {
        *("module", "registered_name", "build_config", "compile_config", "shared_object_id"),
        *("seed", "trainable", "code"),
    }
)
_FIRST_VALUES: Final = "_initializer"
# Keys under which a config refers to layers by their names.
_REFERENCES: Final = frozenset({"keras_history", "input_layers", "output_layers"})


def architecture_of(model: Any) -> str:
    """The hex sha256 of a Keras model's configuration.

    It covers the classes of the layers, their order, connections and settings. It does not contain
    the layers' names, because Keras generates names that differ between processes. Settings that
    are None are left out, so that a newer Keras may add settings.

    The configuration of a class of the user's own does not say what it is made of. So with such a
    class in a model, the digest also covers every layer at any depth with the shapes of its
    weights. What the code of the class computes with them is not covered.
    """
    whole = {"class_name": type(model).__name__, "config": _config_of(model)}
    layers = list(model._flatten_layers())
    if not all(_is_keras(type(layer)) for layer in layers):
        whole["layers"] = [_description(layer) for layer in layers]
    numbers = {name: f"layer {number}" for number, name in enumerate(dict.fromkeys(_names(whole)))}
    config = _canonical(whole, numbers)
    return hashlib.sha256(to_json(config, sort_keys=True).encode()).hexdigest()


def _config_of(layer: Any) -> Any:
    """A layer's configuration; nothing if its class has arguments that Keras cannot describe."""
    try:
        return layer.get_config()
    except NotImplementedError:
        return {}


def _is_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "keras"


def _description(layer: Any) -> dict[str, Any]:
    return {
        "class_name": type(layer).__name__,
        "config": _config_of(layer),
        "shapes": [list(weight.shape) for weight in layer.weights],
    }


def _names(value: Any) -> Iterator[str]:
    """The names of all layers in a configuration, also in nested models, in their order."""
    if isinstance(value, Mapping):
        config = value.get("config")
        is_type = str(value.get("class_name", "")).endswith("DTypePolicy")  # its name is the type's
        if isinstance(config, Mapping) and isinstance(config.get("name"), str) and not is_type:
            yield config["name"]
        for item in value.values():
            yield from _names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names(item)


def _canonical(value: Any, numbers: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _renamed(item, numbers)
            if key in _REFERENCES
            else numbers.get(item, item)
            if key == "name" and isinstance(item, str)
            else _canonical(item, numbers)
            for key, item in value.items()
            if _counts(key, item)
        }
    if isinstance(value, list | tuple):
        return [_canonical(item, numbers) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return type(value).__name__


def _counts(key: Any, item: Any) -> bool:
    return item is not None and key not in _LEFT_OUT and not str(key).endswith(_FIRST_VALUES)


def _renamed(value: Any, numbers: Mapping[str, str]) -> Any:
    """Replace layer names by numbers in references, which may be nested lists of any depth."""
    if isinstance(value, list | tuple):
        return [_renamed(item, numbers) for item in value]
    return numbers.get(value, value) if isinstance(value, str) else _canonical(value, numbers)
