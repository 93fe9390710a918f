"""Options: declared once, checked at once, secrets hidden."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from radar import settings, settings_reference
from radar.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
DOCUMENTED_NAMES = (
    *("KAFKA_BROKER", "KAFKA_NUM_PARTITIONS", "CLICKHOUSE_HOST", "CLICKHOUSE_PORT"),
    *("CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DB", "BATCH_SIZE"),
    *("BATCH_TIMEOUT_SECONDS", "LOG_LEVEL", "SYMBOLS", "DEPTH_INTERVAL_SECONDS"),
    *("RETENTION_DAYS", "RADAR_DATA_DIR", "EXCHANGE_WS_URL", "EXCHANGE_REST_URL"),
)


def test_env_example_equals_the_declaration() -> None:
    assert (ROOT / "env.example").read_text() == settings_reference.env_example()


def test_reference_equals_the_declaration() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == settings_reference.reference()


def test_reference_has_every_variable_once() -> None:
    text = settings_reference.reference()
    for variable in settings.variables():
        assert len(re.findall(rf"^\|.*`{variable}`.* \|", text, re.MULTILINE)) == 1


def test_env_example_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in settings_reference.env_example().splitlines()[1:]]
    text = "\n".join(line for line in lines if line.partition("=")[0].isupper())
    defaults = settings_reference.effective(settings.load())
    (tmp_path / ".env").write_text(text)
    assert settings_reference.effective(settings.load()) == defaults


@pytest.mark.parametrize("name", DOCUMENTED_NAMES)
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
        ("SYMBOLS_PER_CONNECTION", "201", "a whole number from 0 to"),
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
    shown = str(settings_reference.effective(loaded)) + repr(loaded) + str(loaded)
    assert "canary" not in shown
    assert settings_reference.effective(loaded)["CLICKHOUSE_PASSWORD"] == "********"
    assert "proxy.example" in settings_reference.effective(loaded)["EXCHANGE_PROXY"]


def test_settings_symbols_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "USDTTMN, BTCUSDT,")
    assert settings.load().symbols == ("USDTTMN", "BTCUSDT")


SECRETS = [name for name in settings.Settings.model_fields if settings.is_secret(name)]


@pytest.mark.parametrize("name", SECRETS)
def test_settings_secret_from_a_file_is_read_without_its_line_break(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(" json://a canary that is long \n")
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    loaded = settings.load()
    assert getattr(loaded, name).get_secret_value() == " json://a canary that is long "
    assert "canary" not in str(settings_reference.effective(loaded)) + repr(loaded)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        (" \n", []),
        ("json://a", ["json://a"]),
        ("json://a, mailto://b@c\n\nntfys://d ,", ["json://a", "mailto://b@c", "ntfys://d"]),
        ("mailto://a@b?to=c@d,e@f,json://g", ["mailto://a@b?to=c@d,e@f", "json://g"]),
    ],
)
def test_settings_urls_of_alerts_are_split_where_a_url_begins(text: str, urls: list[str]) -> None:
    assert settings.alert_urls(SecretStr(text)) == urls


@pytest.mark.parametrize("text", ["canary", "canary,json://x", ",".join(["json://canary"] * 21)])
def test_settings_wrong_urls_of_alerts_are_refused_without_being_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URLS", text)
    with pytest.raises(ConfigurationError, match="at most 20 URLs of apprise") as caught:
        settings.load()
    assert "canary" not in str(caught.value)


def test_settings_secret_file_may_be_named_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    (tmp_path / ".env").write_text("CLICKHOUSE_PASSWORD_FILE=secret\n")
    assert settings.load().clickhouse_password.get_secret_value() == "canary"


def test_settings_secret_given_twice_says_to_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "canary")
    monkeypatch.setenv("CLICKHOUSE_PASSWORD_FILE", "/run/secrets/password")
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    assert str(caught.value) == (
        "CLICKHOUSE_PASSWORD and CLICKHOUSE_PASSWORD_FILE are both set: unset one of them"
    )


def test_settings_secret_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", "/nowhere/password")
    with pytest.raises(ConfigurationError, match=r"KAFKA_SASL_PASSWORD_FILE is '/nowhere/pass.*No"):
        settings.load()


def test_settings_secret_file_that_is_not_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        settings.load()


def test_settings_no_file_for_what_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_USER_FILE", "/nowhere")
    assert settings.load().clickhouse_user == "default"


@pytest.mark.parametrize("name", ["KAFKA_SSL_CA_FILE", "KAFKA_SSL_KEY_FILE", "CLICKHOUSE_CA_FILE"])
def test_settings_certificate_file_that_is_missing_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/nowhere/ca.pem")
    with pytest.raises(ConfigurationError, match=f"{name} is '/nowhere/ca.pem': there is no such"):
        settings.load()


CERTIFICATE_FILES = (
    *("KAFKA_SSL_CA_FILE", "KAFKA_SSL_CERTIFICATE_FILE", "KAFKA_SSL_KEY_FILE"),
    "CLICKHOUSE_CA_FILE",
)


@pytest.mark.parametrize("name", CERTIFICATE_FILES)
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"not a certificate\n", b"\x30\x82\x00", b"\xff" * 5000),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_settings_file_without_a_certificate_is_named_in_one_line(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.pem"
    path.write_bytes(content)
    monkeypatch.setenv(name, str(path))
    with pytest.raises(
        ConfigurationError, match=rf"^{name} is '.*file.pem': it holds no"
    ) as raised:
        settings.load()
    assert "\n" not in str(raised.value)


def test_settings_key_that_does_not_fit_its_certificate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ),
                *("-days", "2", "-subj", "/CN=localhost", "-passout", "pass:words"),
                *("-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")),
            ],
            check=True,
            capture_output=True,
        )
    monkeypatch.setenv("KAFKA_SSL_CERTIFICATE_FILE", str(tmp_path / "one.pem"))
    monkeypatch.setenv("KAFKA_SSL_CA_FILE", str(tmp_path / "one.pem"))
    for key, password in (("one", ""), ("one", "wrong"), ("other", "words")):
        monkeypatch.setenv("KAFKA_SSL_KEY_FILE", str(tmp_path / f"{key}.key"))
        monkeypatch.setenv("KAFKA_SSL_KEY_PASSWORD", password)
        with pytest.raises(ConfigurationError, match=r"^KAFKA_SSL_KEY_FILE=.*does not fit"):
            settings.load()
    monkeypatch.setenv("KAFKA_SSL_KEY_FILE", str(tmp_path / "one.key"))
    assert settings.load().kafka_ssl_key_file


@pytest.mark.parametrize(
    "value", ["http://radar.example", "radar.example:8080", "*", "*.example", "a/b", "a b", "a\x1b"]
)
@pytest.mark.parametrize("name", ["DASHBOARD_HOSTS", "METRICS_HOSTS"])
def test_settings_host_that_is_no_name_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"radar.example,{value}")
    with pytest.raises(ConfigurationError, match=f"^{name} is "):
        settings.load()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_size": "60000"}, ["BATCH_SIZE=60000", "BATCH_MAX_SIZE=50000"]),
        ({"kafka_security_protocol": "sasl_ssl"}, ["sasl_ssl", "KAFKA_SASL_MECHANISM"]),
        ({"kafka_sasl_mechanism": "PLAIN"}, ["KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"]),
        ({"dashboard_host": "0.0.0.0"}, ["DASHBOARD_HOST", "DASHBOARD_TOKEN"]),
        ({"symbols": "USDTTMN;BTCTMN"}, ["SYMBOLS", "separated by commas"]),
        ({"symbols": '["USDTTMN"]'}, ["SYMBOLS", "separated by commas"]),
        ({"symbols": "USDTTMN BTCTMN"}, ["SYMBOLS", "separated by commas"]),
    ],
)
def test_options_that_do_not_go_together_are_refused_everywhere(
    given: dict[str, str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name.upper(), value)
    with pytest.raises(ConfigurationError) as refused:
        settings.load()
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_symbols_may_be_names_in_any_script() -> None:
    assert settings.load(symbols="USDTTMN, تترتومان,1INCH_TMN").symbols == (
        *("USDTTMN", "تترتومان", "1INCH_TMN"),
    )


def test_errors_about_values_hold_no_words_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "many")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    monkeypatch.setenv("CLICKHOUSE_PORT", "9000")
    with pytest.raises(ConfigurationError) as refused:
        settings.load()
    text = str(refused.value)
    assert "BATCH_SIZE is 'many' (allowed: a whole number from 1 to 1000000)" in text
    assert "radar speaks HTTP: use 8123" in text
    assert not re.search(r"[Ii]nput should|[Vv]alue error|valid", text)


def test_misspelt_names_and_unreadable_lines_are_told_once_with_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "# mine",
        "",
        "KAFKA_BROKR=127.0.0.1:1",
        "this line says nothing",
        'LOG_LEVEL="INFO"',
        "export BATCH_SIZES=5",
        "COMPOSE_PROJECT_NAME=radar",
        "KAFKA_HEAP_OPTS=-Xmx1g",
        "MY_OWN_NAME=1",
    ]
    (tmp_path / ".env").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("CLICKHOUSE_PROT", "8124")
    monkeypatch.setenv("HOMEBREW_PREFIX", "/opt")
    settings.load()
    assert settings_reference.warnings() == [
        ".env line 3: KAFKA_BROKR is no option of radar: set KAFKA_BROKER instead",
        ".env line 4 cannot be read: write NAME=value",
        ".env line 6: BATCH_SIZES is no option of radar: set BATCH_SIZE instead",
        ".env line 9: MY_OWN_NAME is no option of radar",
        "environment: CLICKHOUSE_PROT is no option of radar: set CLICKHOUSE_PORT instead",
    ]
    assert capfd.readouterr().err == ""


def test_names_that_only_the_compose_files_read_are_known() -> None:
    texts = [path.read_text() for path in ROOT.glob("docker-compose*.yml")]
    names = set(re.findall(r"\$\{([A-Z_]+)", "\n".join(texts)))
    assert names - set(settings.variables()) == settings_reference.COMPOSE_VARIABLES


def test_sources_of_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("BATCH_SIZE=10\nLOG_LEVEL=ERROR\n")
    (tmp_path / "secret").write_text("a secret\n")
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path / "secret"))
    (tmp_path / ".radar").mkdir()
    (tmp_path / ".radar/clickhouse.password").write_text("another")
    (tmp_path / ".radar/clickhouse.password").chmod(0o600)
    found = settings_reference.sources(settings.load())
    assert {name: source for name, source in found.items() if source != "default"} == {
        "BATCH_SIZE": ".env",
        "LOG_LEVEL": "environment",
        "KAFKA_SASL_PASSWORD": "KAFKA_SASL_PASSWORD_FILE",
        "CLICKHOUSE_PASSWORD": str(tmp_path / ".radar/clickhouse.password"),
    }


COUNT_READINGS = """
import os, sys
opened = []
sys.addaudithook(
    lambda event, args: event == "open" and os.path.basename(str(args[0])) == ".env"
    and opened.append(args[0])
)
from radar.settings import load
load()
print(len(opened))
"""


def test_env_file_is_read_once(tmp_path: Path) -> None:
    """Not once per option: reading is most of the time of a short command."""
    (tmp_path / ".env").write_text("BATCH_SIZE=7\n")
    command = [sys.executable, "-c", COUNT_READINGS]
    read = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert read.stdout.strip() == "1"
