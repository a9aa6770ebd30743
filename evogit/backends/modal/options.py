"""`[backend.modal]` of evogit.toml. It knows names and types; what Modal has is for Modal to say."""

from __future__ import annotations

from typing import Annotated

import msgspec

from evogit.errors import UserError


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may say of where and how their trials run on Modal."""

    slots: Annotated[int, msgspec.Meta(ge=1)] = 8  # jobs at once
    python: str = ""  # "3.12"; "" for what the project asks for
    apt: list[str] | str = []  # further Debian packages of the image, as a list or with commas
    region: str = ""  # "" for anywhere
    cloud: str = ""

    @property
    def packages(self) -> tuple[str, ...]:
        """The further Debian packages."""
        return tuple(name for name in (self.apt.split(",") if isinstance(self.apt, str) else self.apt) if name)

    @property
    def where(self) -> dict[str, str]:
        """Region and cloud, where they matter."""
        return {name: value for name, value in (("region", self.region), ("cloud", self.cloud)) if value}


def read(told: dict[str, object]) -> Options:
    """The options. Raises UserError that names the one that is wrong."""
    try:
        return msgspec.convert(told, Options)
    except msgspec.ValidationError as error:
        raise UserError(
            f"[backend.modal] in evogit.toml: {error}", hint='as in `slots = 8`, `python = "3.12"`, `apt = ["ffmpeg"]`'
        ) from error
