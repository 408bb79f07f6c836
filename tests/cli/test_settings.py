"""Which log, which dataset, who acts: by flag, environment and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Errata


def used(errata: Errata, *arguments: str, **env: str) -> tuple[str, str]:
    """The log and the dataset that `status` speaks of."""
    status = errata(*arguments, "status", "--json", env=env).json
    return status["log"].removeprefix("sqlite:///"), status["dataset"]


@pytest.fixture
def four(errata: Errata) -> Errata:
    """Four logs, each with a dataset of the log's name."""
    for name in ("file", "named", "env", "flag"):
        errata("--log", f"sqlite:///{name}.db", "--dataset", name, "init")
    errata.write("errata.toml", 'log = "sqlite:///file.db"\ndataset = "file"\nactor = "filer"\n')
    errata.write("named.toml", 'log = "sqlite:///named.db"\ndataset = "named"\n')
    return errata


def test_flag_before_environment_before_file(four: Errata) -> None:
    """A flag wins over the environment, and that over the file."""
    env = {"ERRATA_LOG": "sqlite:///env.db", "ERRATA_DATASET": "env"}
    flags = ("--log", "sqlite:///flag.db", "--dataset", "flag")
    assert used(four) == ("file.db", "file")
    assert used(four, ERRATA_CONFIG="named.toml") == ("named.db", "named")
    assert used(four, **env) == ("env.db", "env")
    assert used(four, *flags, **env) == ("flag.db", "flag")
    assert four("status", *flags, "--json", env=env).json["dataset"] == "flag"
    assert four("status", "--json", *flags).json["dataset"] == "flag"


def test_a_flag_after_the_command_wins_over_one_before(four: Errata) -> None:
    """The flag that is closer to the command holds."""
    flag, env = ("--log", "sqlite:///flag.db"), ("--log", "sqlite:///env.db")
    assert four(*env, "status", *flag, "--dataset", "flag", "--json").json["dataset"] == "flag"


def test_an_empty_variable_is_not_set(four: Errata) -> None:
    """As in a compose file that passes on what is not there."""
    empty = {f"ERRATA_{name}": "" for name in ("LOG", "DATASET", "REGISTRY", "CONFIG", "KAFKA")}
    assert used(four, **empty) == ("file.db", "file")


def test_who_acts(four: Errata) -> None:
    """--as, else ERRATA_ACTOR, else the file."""

    def actor(*arguments: str, **env: str) -> str:
        four("init", "--class", f"c{len(four('log', '--json').lines)}", *arguments, env=env)
        return four("log", "-n", "1", "--json").json["actor"]

    assert actor(ERRATA_ACTOR="") == "filer"
    assert actor(ERRATA_ACTOR="env") == "env"
    assert actor("--as", "flag", ERRATA_ACTOR="env") == "flag"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"ERRATA_LOG": "errata.db"}, "log 'errata.db': an address is sqlite:///path/to/log.db or"),
        ({"ERRATA_LOG": "sqlite:///"}, "names no file: write sqlite:///path/to/log.db"),
        ({"ERRATA_LOG": "kafka://"}, "log 'kafka://' names no broker: write kafka://host:port"),
        ({"ERRATA_CONFIG": "nosuch.toml"}, "ERRATA_CONFIG names nosuch.toml, which is no file"),
        ({"ERRATA_CONFIG": "."}, "ERRATA_CONFIG names ., which is no file"),
        ({"ERRATA_TIMEOUT_S": "soon"}, "setting timeout_s is 'soon': "),
        ({"ERRATA_TIMEOUT_S": "nan"}, "setting timeout_s is 'nan': "),
        ({"ERRATA_TIMEOUT_S": "-1"}, "setting timeout_s is '-1': "),
        ({"ERRATA_KAFKA": "{"}, "a JSON object there, as in ERRATA_KAFKA='{"),
        ({"ERRATA_KAFKA": '{"sasl.password": [1]}'}, "setting kafka.sasl.password: Input should"),
        ({"ERRATA_REGISTRY": "localhost:8081"}, "registry 'localhost:8081': an address is http://"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_wrong_usage(errata: Errata, env: dict[str, str], told: str) -> None:
    """Exit code 2 and the setting's name, the rule and the value (but never a password)."""
    errata("--log", "sqlite:///errata.db", "init")
    said = errata("status", code=2, env=env).err
    assert told in said
    assert "123" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"log = ", "errata.toml is not TOML: "),
        (b"\xff", "errata.toml is not TOML: "),
        (b'lgo = "x"', "lgo is no setting; there are log, dataset, registry, actor"),
        (b"log = 5", "setting log is 5: Input should be a valid string"),
    ],
    ids=str,
)
def test_a_wrong_file_is_wrong_usage(errata: Errata, text: bytes, told: str) -> None:
    """The file is named, or the setting in it."""
    errata.write("errata.toml", text)
    assert told in errata("status", code=2).err


def test_files_that_are_no_log(errata: Errata, tmp_path: Path) -> None:
    """A folder, an empty file, another program's file: told apart, and left alone."""
    junk = errata.write("junk.db", "hello, this is no database at all\n" * 99)
    told = {
        "sqlite:///.": "is a folder",
        "sqlite:///junk.db": "junk.db is not what the ledger wrote",
        f"sqlite:///{errata.write('empty.db', '')}": "there is no dataset",
        "sqlite:///no/such/folder.db": "there is no dataset",
    }
    for log, why in told.items():
        assert why in errata.refused("--log", log, "status")
    assert junk.read_text().startswith("hello")
    assert not (tmp_path / "no").exists()


def test_several_datasets_in_one_file(errata: Errata) -> None:
    """Datasets share a log without meeting."""
    for name in ("one", "two"):
        errata.on("--dataset", name)("init", "--class", name)
    assert errata.on("--dataset", "one")("status", "--json").json["classes"] == ["one"]
