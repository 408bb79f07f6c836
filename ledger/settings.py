"""Settings, the only place that reads the environment and the configuration file.

Each may stand in `errata.toml` in the working directory (or the file that `ERRATA_CONFIG` names),
in the environment as `ERRATA_<NAME>`, or be given by a flag; the later of these wins. A variable
that is empty counts as not set.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ledger.errors import InvalidSetting

FILE = "errata.toml"


class Settings(BaseSettings):
    """Where the log is, which dataset, and who acts."""

    model_config = SettingsConfigDict(env_prefix="ERRATA_", extra="forbid", env_ignore_empty=True)

    log: str = "sqlite:///errata.db"
    """`sqlite:///path/to/log.db` or `kafka://host:port[,host:port]`."""
    dataset: str = "default"
    """The dataset: the part of each topic's name before the dot."""
    registry: str | None = None
    """A Confluent-compatible schema registry's address; without, schemas stand in the log."""
    actor: str | None = None
    """Who acts, where `--as` is not given."""
    views: str | None = None
    """The SQLite file of the materialized views; beside the log, or here, by default."""
    checkpoints: str | None = None
    """The folder of the checkpoints, or `s3://bucket/path`; beside the log, or here, by default."""
    timeout_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """How long to wait for a broker, a registry or a lock."""
    kafka: dict[str, str] = {}
    """Client properties for the brokers, such as security.protocol (in the environment: JSON)."""
    registry_client: dict[str, str] = {}
    """Client properties for the registry, such as basic.auth.user.info (JSON likewise)."""

    @field_validator("kafka", "registry_client", mode="before")
    @classmethod
    def _properties(cls, value: Any) -> Any:
        """In TOML `security.protocol = "SSL"` is a table in a table, and a number is no text."""
        return dict(_flat(cast("dict[str, Any]", value))) if isinstance(value, dict) else value

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
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _file()))


def environment(**more: str) -> dict[str, str]:
    """The environment for a program that is started: this one's, and more."""
    return {**os.environ, **more}


def _file() -> Path:
    return Path(os.environ.get("ERRATA_CONFIG") or FILE)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(cast("dict[str, Any]", value), f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield prefix + name, str(value).lower()
        else:
            yield prefix + name, str(value) if isinstance(value, int | float) else value


def load(**flags: Any) -> Settings:
    """The settings; a flag that is None was not given.

    Raises:
        InvalidSetting: names the setting and the rule.
    """
    file = _file()
    if os.environ.get("ERRATA_CONFIG") and not file.is_file():
        raise InvalidSetting(f"ERRATA_CONFIG names {file}, which is no file")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise InvalidSetting(_words(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{file} is not TOML: {error}") from error
    except SettingsError as error:
        raise InvalidSetting(
            f"the environment: {error}; such a setting is a JSON object there, as in "
            """ERRATA_KAFKA='{"security.protocol": "SSL"}'"""
        ) from error
    except OSError as error:
        raise InvalidSetting(f"{file}: {error.strerror}") from error


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{name} is no setting; there are {', '.join(Settings.model_fields)}"
    # A client's property may be a password; the rest may be shown.
    value = f" is {first['input']!r}" if len(first["loc"]) == 1 else ""
    return f"setting {name}{value}: {first['msg']}"
