"""`[backend.modal]` of evogit.toml. It knows names and types; what Modal has is for Modal to say."""

from __future__ import annotations

import msgspec

from evogit.backends.options import Slots


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may say of where and how their trials run on Modal."""

    slots: Slots = 8  # jobs at once
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
