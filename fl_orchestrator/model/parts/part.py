"""What the parts of a manifest have in common, and the part that names its origin."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fl_orchestrator.printable import is_printable, printable

MAX_SAFE_INTEGER: Final = 2**53 - 1  # RFC 8785: JSON numbers are doubles


def on_one_line(text: str) -> str:
    if not is_printable(text):
        raise ValueError(
            f"{printable(text)!r} has control characters, line ends, or characters that reverse or "
            "hide text"
        )
    return text


def _in_lines(text: str) -> str:
    for line in text.split("\n"):
        on_one_line(line)
    return text


# Names are shown on terminals and in logs, so they have one line; free texts may have several.
Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(on_one_line)]
Text = Annotated[str, Field(max_length=65_536), AfterValidator(_in_lines)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Real = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    """An object of a canonical file: strict types, camel case, and no unknown keys."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Lineage(Part):
    """The federation that went before: its final model at ``height`` is this one's first model.

    ``root`` is that model's in the old federation. With momentum the new one starts from rest, so
    its genesis has another root.
    """

    chain_id: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]
    federation: Annotated[str, Field(pattern=r"\A0x[0-9a-f]{40}\z")]
    height: Annotated[int, Field(ge=0, le=2**32 - 1)]
    root: Digest

    def __str__(self) -> str:
        return (
            f"{self.federation} on chain {self.chain_id}, height {self.height}, root 0x{self.root}"
        )
