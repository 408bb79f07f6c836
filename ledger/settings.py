"""Settings, the only place that reads the environment and the configuration file.

Each may stand in `errata.toml` in the working directory (or the file that `ERRATA_CONFIG` names),
in the environment as `ERRATA_<NAME>`, or be given by a flag; the later of these wins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ledger.errors import InvalidSetting

FILE = "errata.toml"


class Settings(BaseSettings):
    """Where the log is, which dataset, and who acts."""

    model_config = SettingsConfigDict(env_prefix="ERRATA_", extra="forbid")

    log: str = "sqlite:///errata.db"
    """`sqlite:///path/to/log.db` or `kafka://host:port[,host:port]`."""
    dataset: str = "default"
    """The dataset: the part of each topic's name before the dot."""
    registry: str | None = None
    """A Confluent-compatible schema registry's address; without, schemas stand in the log."""
    actor: str | None = None
    """Who acts, where `--as` is not given."""
    timeout_s: float = 30.0
    """How long to wait for a broker, a registry or a lock."""
    kafka: dict[str, str] = {}
    """Client properties for the brokers, such as security.protocol (in the environment: JSON)."""
    registry_client: dict[str, str] = {}
    """Client properties for the registry, such as basic.auth.user.info (JSON likewise)."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file."""
        del dotenv_settings, file_secret_settings
        file = Path(os.environ.get("ERRATA_CONFIG", FILE))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file))


def load(**flags: Any) -> Settings:
    """The settings; a flag that is None was not given.

    Raises:
        InvalidSetting: names the setting and the rule.
    """
    file = os.environ.get("ERRATA_CONFIG")
    if file is not None and not Path(file).is_file():
        raise InvalidSetting(f"ERRATA_CONFIG names {file}, which is no file")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidSetting(f"setting {name}: {first['msg']}") from error
    except ValueError as error:  # bad TOML, or bad JSON in the environment
        raise InvalidSetting(f"settings: {error}") from error
