"""Options: declared once, checked at once, secrets hidden."""

from pathlib import Path

import pytest

from radar import settings
from radar.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
NAMES_OF_THE_ISSUE = (
    *("KAFKA_BROKER", "KAFKA_NUM_PARTITIONS", "CLICKHOUSE_HOST", "CLICKHOUSE_PORT"),
    *("CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DB", "BATCH_SIZE"),
    *("BATCH_TIMEOUT_SECONDS", "LOG_LEVEL", "SYMBOLS", "DEPTH_INTERVAL_SECONDS"),
    *("RETENTION_DAYS", "RADAR_DATA_DIR", "EXCHANGE_WS_URL", "EXCHANGE_REST_URL"),
)


def test_env_example_equals_the_declaration() -> None:
    assert (ROOT / "env.example").read_text() == settings.env_example()


def test_env_example_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in settings.env_example().splitlines()[1:]]
    text = "\n".join(line for line in lines if line.partition("=")[0].isupper())
    defaults = settings.effective(settings.load())
    (tmp_path / ".env").write_text(text)
    assert settings.effective(settings.load()) == defaults


@pytest.mark.parametrize("name", NAMES_OF_THE_ISSUE)
def test_settings_have_the_documented_names(name: str) -> None:
    assert name.lower() in settings.Settings.model_fields


def test_settings_environment_wins_over_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("BATCH_SIZE=10\nKAFKA_NUM_PARTITIONS=4\n")
    monkeypatch.setenv("BATCH_SIZE", "20")
    loaded = settings.load()
    assert (loaded.batch_size, loaded.kafka_num_partitions) == (20, 4)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("BATCH_SIZE", "many", "a whole number from 1"),
        ("BATCH_SIZE", "0", "a whole number from 1"),
        ("BATCH_TIMEOUT_SECONDS", "nan", "a number above 0"),
        ("BATCH_TIMEOUT_SECONDS", "-1", "a number above 0"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR"),
        ("KAFKA_BROKER", "localhost", "host:port"),
        ("KAFKA_BROKER", "localhost:99999", "host:port"),
        ("CLICKHOUSE_DB", "a-b", "letters, digits and _"),
        ("CLICKHOUSE_DB", "a`; DROP DATABASE x", "letters, digits and _"),
        ("CLICKHOUSE_PORT", "http", "a whole number from 1 to 65535"),
        ("EXCHANGE_WS_URL", "http://example.org", "ws:// or wss://"),
        ("EXCHANGE_PROXY", "ftp://x", "socks5h://"),
        ("SYMBOLS_PER_CONNECTION", "0", "a whole number from 1 to"),
    ],
)
def test_settings_wrong_value_names_variable_value_and_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    message = str(caught.value)
    assert name in message
    assert repr(value) in message
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize(("port", "http_port"), [("9000", "8123"), ("9440", "8443")])
def test_settings_native_port_names_the_http_port(
    port: str, http_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_PORT", port)
    with pytest.raises(ConfigurationError, match=f"radar speaks HTTP: use {http_port}"):
        settings.load()


def test_settings_several_wrong_values_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "x")
    monkeypatch.setenv("LOG_LEVEL", "x")
    with pytest.raises(ConfigurationError, match=r"BATCH_SIZE.*LOG_LEVEL"):
        settings.load()


def test_settings_secrets_are_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "canary-1")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "canary-2")
    monkeypatch.setenv("EXCHANGE_PROXY", "http://user:canary-3@proxy.example:8080")
    loaded = settings.load()
    shown = str(settings.effective(loaded)) + repr(loaded) + str(loaded)
    assert "canary" not in shown
    assert settings.effective(loaded)["CLICKHOUSE_PASSWORD"] == "********"
    assert "proxy.example" in settings.effective(loaded)["EXCHANGE_PROXY"]


def test_settings_symbols_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "USDTTMN, BTCUSDT,")
    assert settings.load().symbols == ("USDTTMN", "BTCUSDT")
