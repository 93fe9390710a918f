"""Every option of radar, declared once; the only reader of their values.

`env.example`, `radar config` and the messages about wrong values follow from this declaration.
Values come from the environment, then from a file `.env` in the working directory, then from the
defaults here, which suit local work. A secret may come from a file instead: the variable with the
suffix `_FILE` names it.
"""

import logging
import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from radar import exchanges as drivers
from radar import secret_file
from radar.datasets import DEPTH, TRADES
from radar.errors import ConfigurationError
from radar.text import without_password

# A person waits for Kafka and ClickHouse: with the start of Python this is less than three seconds.
ANSWER_WITHIN_S = 1.8
CLICKHOUSE_NATIVE_PORTS = {9000: 8123, 9440: 8443}
FILE_SUFFIX = "_file"
ENV_FILE = ".env"

# It says for each reading that a line cannot be read, without the file; `warnings` says it once.
logging.getLogger("dotenv").setLevel(logging.CRITICAL)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _http_port(port: int) -> int:
    if port in CLICKHOUSE_NATIVE_PORTS:
        raise ValueError(
            f"{port} is ClickHouse's native port; radar speaks HTTP: "
            f"use {CLICKHOUSE_NATIVE_PORTS[port]}"
        )
    return port


@dataclass(frozen=True)
class Allowed:
    """Describes the allowed values of a field whose type is not enough."""

    words: str


def _check_brokers(value: str) -> str:
    for server in value.split(","):
        host, _, port = server.rpartition(":")
        name = re.fullmatch(r"[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]", host)
        if not name or not port.isdecimal() or int(port) > MAX_PORT:
            raise ValueError(f"{server!r} is not host:port")
    return value


def _check_processes(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        name, given, address = value.rpartition("=")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > MAX_PORT or (given and not name):
            raise ValueError(f"{value!r} is neither HOST:PORT nor NAME=HOST:PORT")
    return values


def _check_replicas(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        found = re.fullmatch(r"([^\s:\[\]/]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", value)
        if not found:
            raise ValueError(f"{value!r} is neither HOST nor HOST:PORT")
        if found[2] and not 0 < _http_port(int(found[2])) <= MAX_PORT:
            raise ValueError(f"{value!r} has no port")
    return values


def _check_file(value: str) -> str:
    if value and not Path(value).is_file():
        raise ValueError("there is no such file")
    return value


def _check_certificates(value: str) -> str:
    if _check_file(value):
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
        except (OSError, ValueError) as error:  # of which the library's own errors are some
            raise ValueError(_why(error, "it holds no certificates in PEM")) from error
    return value


def _check_key(value: str) -> str:
    if _check_file(value):
        try:
            with Path(value).open("rb") as file:
                content = file.read(MAX_KEY_BYTES)
        except OSError as error:
            raise ValueError(_why(error, "")) from error
        if not re.search(rb"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----", content):
            raise ValueError("it holds no private key in PEM")
    return value


def _why(error: Exception, otherwise: str) -> str:
    unread = isinstance(error, PermissionError | IsADirectoryError)
    return f"it cannot be read: {error.strerror}" if unread else otherwise  # type: ignore[attr-defined]


def _check_hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?", value):
            raise ValueError(f"{value!r} is no name: leave out schemes, ports and paths")
    return values


def _check_symbols(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not value.isprintable() or re.search(r"[\s;|'\"()\[\]{}<>\\]", value):
            raise ValueError(f"{value!r} is no name of a market")
    return values


def _check_exchange(value: str) -> str:
    if value and value not in drivers.names():
        raise ValueError(f"{value!r} is no exchange that radar knows")
    return value


def _check_exchanges(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        _check_exchange(value)
    if not values or len(set(values)) < len(values):
        raise ValueError("name each exchange once, and at least one")
    return values


def _check_token(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value()) < MIN_TOKEN_CHARACTERS:
        raise ValueError("it is too short, others could guess it")
    return value


def _check_alert_urls(value: SecretStr) -> SecretStr:
    urls = alert_urls(value)
    if len(urls) > MAX_ALERT_URLS:
        raise ValueError(f"it has {len(urls)} URLs")
    for number, url in enumerate(urls, 1):
        if not re.match(_SCHEME, url):
            raise ValueError(f"number {number} does not begin with the name of a service and ://")
    return value


def alert_urls(value: SecretStr) -> list[str]:
    """Return the single URLs of ALERT_URLS; a comma within a URL is part of it."""
    text = value.get_secret_value().strip(" \n\r\t,")
    return re.split(rf"[\s,]+(?={_SCHEME})", text) if text else []


def _check_url(schemes: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value and (urlsplit(value).scheme not in schemes or not urlsplit(value).hostname):
            raise ValueError("not such a URL")
        return value

    return AfterValidator(check)


MAX_PORT = 65535
MIN_TOKEN_CHARACTERS = 16
MAX_KEY_BYTES = 1_000_000
MAX_ALERT_URLS = 20
_SCHEME = r"[A-Za-z][A-Za-z0-9]{0,31}://"
_WS, _HTTP, _SOCKS = ("ws", "wss"), ("http", "https"), ("socks5", "socks5h")

Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Brokers = Annotated[
    str, AfterValidator(_check_brokers), Allowed("host:port or [IPv6]:port, separated by commas")
]
CertificatesPath = Annotated[
    str, AfterValidator(_check_certificates), Allowed("empty, or a file of certificates in PEM")
]
KeyPath = Annotated[str, AfterValidator(_check_key), Allowed("empty, or a private key in PEM")]
HostNames = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    AfterValidator(_check_hosts),
    Allowed("empty, or names or addresses without ports, separated by commas"),
]
# An IPv6 address with or without the brackets that URLs put around it.
Host = Annotated[
    str, Field(min_length=1), AfterValidator(lambda host: host.removeprefix("[").removesuffix("]"))
]
Identifier = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"),
    Allowed("letters, digits and _, not beginning with a digit, at most 64"),
]
WsUrl = Annotated[str, _check_url(_WS), Allowed("empty, or a URL with ws:// or wss://")]
HttpUrl = Annotated[str, _check_url(_HTTP), Allowed("empty, or a URL with http:// or https://")]
ObjectPlace = Annotated[str, _check_url(("s3",)), Allowed("empty, or s3://BUCKET/PREFIX")]
ProxyUrl = Annotated[
    str,
    _check_url(_HTTP + _SOCKS),
    Allowed("empty, or a URL with http://, https://, socks5:// or socks5h://"),
]


Symbols = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    AfterValidator(_check_symbols),
    Allowed("empty, or names of markets, separated by commas"),
]


def _addresses() -> type[BaseSettings]:
    """Return the options of each exchange: WALLEX_WS_URL, WALLEX_SYMBOLS and others."""
    fields: dict[str, Any] = {}
    for name in drivers.names():
        for protocol, url in (("ws", WsUrl), ("rest", HttpUrl)):
            words = {"ws": "WebSocket", "rest": "REST"}[protocol]
            description = f"{words} URL of {name}; empty: the exchange's own."
            fields[f"{name}_{protocol}_url"] = (url, Field("", description=description))
        fields[f"{name}_symbols"] = (
            Symbols,
            Field((), description=f"Markets of {name} to record; empty: as SYMBOLS."),
        )
    return create_model("Addresses", __base__=BaseSettings, **fields)


if TYPE_CHECKING:
    _Addresses = BaseSettings
else:
    _Addresses = _addresses()


class Settings(_Addresses):
    """All options. The environment variable of a field is its name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # Exchange
    exchanges: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split),
        AfterValidator(_check_exchanges),
        Allowed(f"names, separated by commas: {', '.join(drivers.names())}"),
    ] = Field(("wallex",), description="Exchanges to record.")
    exchange: Annotated[
        str,
        AfterValidator(_check_exchange),
        Allowed(f"empty, or one of {', '.join(drivers.names())}"),
    ] = Field("", description="The exchange of one producer; empty: the first of EXCHANGES.")
    exchange_ws_url: WsUrl = Field(
        "",
        description="WebSocket URL, if one exchange is configured; empty: the exchange's own. The"
        " option of an exchange, such as WALLEX_WS_URL, comes first.",
    )
    exchange_rest_url: HttpUrl = Field(
        "", description="REST URL, if one exchange is configured; empty: the exchange's own."
    )
    exchange_origin: Literal["", "real", "simulated"] = Field(
        "",
        description="Whether the data is real or simulated; empty: real at the exchange's own URLs,"
        " simulated at others. Real and simulated data never share a store.",
    )
    exchange_proxy: ProxyUrl = Field(
        "",
        description="Proxy to the exchange, e.g. socks5h://127.0.0.1:1080; empty: none.",
        repr=False,
    )
    symbols: Symbols = Field(
        (), description="Markets to record, separated by commas; empty: every spot market."
    )
    symbols_per_connection: int = Field(
        0,
        ge=0,
        le=200,
        description="Markets that share one WebSocket connection; 0: as many as suit the exchange.",
    )
    redundant_connections: int = Field(
        1, ge=1, le=5, description="Simultaneous connections that each deliver the same markets."
    )
    books: Literal["maintained", "whole"] = Field(
        "maintained",
        description="Where an exchange offers both: maintained keeps each book from proven updates;"
        " whole takes the channel of whole books, which have fewer levels and no proof.",
    )
    book_updates: bool = Field(
        False,
        description="Record each update of a maintained book as well, with all its levels, so that"
        " the book of any moment can be rebuilt.",
    )
    record_frames: Literal["none", "trades", "all"] = Field(
        "none",
        description="Record every frame of the exchange byte for byte: those of no connection, of"
        " connections for trades, or of all. `radar doctor` shows how much disk they take a day.",
    )
    depth_interval_seconds: float = Field(
        7,
        ge=0,
        le=86400,
        allow_inf_nan=False,
        description="Publish the newest snapshot of a book at most once in this many seconds; 0:"
        " publish every snapshot.",
    )
    connection_max_age_seconds: float = Field(
        0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Replace a connection at this age in seconds; 0: shortly before the exchange"
        " ends it.",
    )
    connection_overlap_seconds: Seconds = Field(
        5, description="Keep the old connection open beside its replacement for this many seconds."
    )
    silence_timeout_seconds: Seconds = Field(
        30, description="Reconnect when a busy connection has been silent for this many seconds."
    )
    reconnect_max_seconds: Seconds = Field(
        30, description="Wait at most this many seconds between two attempts to connect."
    )
    markets_refresh_seconds: Seconds = Field(
        600,
        description="Seconds between two readings of the exchange's market list. A reading also"
        " retries refused markets.",
    )
    max_markets: int = Field(
        2000,
        ge=1,
        le=100_000,
        description="Record at most this many markets. A list in SYMBOLS has no such limit.",
    )
    repair_requests_per_second: float = Field(
        20,
        gt=0,
        le=1000,
        description="Send at most this many REST requests per second, if the exchange takes them.",
    )
    reconcile_requests_per_second: float = Field(
        0.5,
        gt=0,
        le=100,
        description="Ask each exchange for at most this many candles per second when the recording"
        " is compared with them.",
    )
    reconcile_delay_seconds: Seconds = Field(
        300,
        description="Examine a time only when it is over for this many seconds: backfill needs"
        " some time, and exchanges correct their newest candles.",
    )
    reconcile_every_seconds: Seconds = Field(
        600,
        description="`radar reconcile --follow`, which is part of `radar up`, examines the newest"
        " recording once in this many seconds.",
    )
    freshness_seconds: Seconds = Field(
        60,
        description="Compare a market with REST when it has been silent for this many seconds."
        " Without that evidence it counts as not verified.",
    )
    max_frame_bytes: int = Field(
        1_048_576,
        ge=1024,
        le=67_108_864,
        description="Close a connection on a frame above this size in bytes.",
    )

    # Kafka
    kafka_broker: Brokers = Field("127.0.0.1:9092", description="Bootstrap servers.")
    kafka_num_partitions: int = Field(
        3, ge=1, le=1000, description="Partitions of topics that radar creates."
    )
    kafka_replication_factor: int = Field(
        1, ge=1, le=10, description="Replicas of topics that radar creates."
    )
    kafka_retention_hours: float = Field(
        168, gt=0, le=87600, description="Retention in hours of topics that radar creates."
    )
    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "lz4", description="Compression of produced batches."
    )
    kafka_linger_ms: int = Field(
        50,
        ge=0,
        le=10_000,
        description="Collect messages for a Kafka batch for this many milliseconds.",
    )
    kafka_buffer_bytes: int = Field(
        67_108_864,
        ge=1_048_576,
        le=1_073_741_824,
        description="Size in bytes of a producer's buffer. A producer with a full buffer stops"
        " reading from the exchange.",
    )
    kafka_retry_refused_seconds: Seconds = Field(
        60,
        description="Retry a message that Kafka refuses (missing right, too large, wrong clock) for"
        " this many seconds, then record a gap.",
    )
    kafka_session_timeout_seconds: float = Field(
        45,
        ge=1,
        le=1800,
        description="Remove a worker from its group after this many seconds without a heartbeat.",
    )
    kafka_join_timeout_seconds: Seconds = Field(
        20, description="Join the group again after this many seconds without an assignment."
    )
    kafka_group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="Rebalance protocol of the workers. consumer is KIP-848 (Apache Kafka 4): there"
        " the brokers set the session timeout.",
    )
    kafka_home: Annotated[str, Allowed("empty, or a path")] = Field(
        "",
        description="Run the Apache Kafka of this folder (its libs/) in `radar up`; empty: the"
        " embedded broker.",
    )
    kafka_security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="Security protocol of the connections to the brokers."
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "", description="SASL mechanism."
    )
    kafka_sasl_username: str = Field("", description="SASL user.")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="SASL password.")
    kafka_ssl_ca_file: CertificatesPath = Field(
        "", description="CA certificates that verify the brokers; empty: the system's."
    )
    kafka_ssl_certificate_file: CertificatesPath = Field(
        "", description="Client certificate for brokers that ask for one."
    )
    kafka_ssl_key_file: KeyPath = Field("", description="Private key of the client certificate.")
    kafka_ssl_key_password: SecretStr = Field(
        SecretStr(""), description="Password of the private key."
    )
    worker_id: Annotated[str, Allowed("letters, digits, '.', '_' and '-'")] = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,200}$",
        description="Static membership: fixed name of a worker in its group (classic protocol"
        " only); empty: none.",
    )

    # ClickHouse
    clickhouse_host: Host = Field("127.0.0.1", description="Host of ClickHouse.")
    clickhouse_port: Annotated[Port, AfterValidator(_http_port)] = Field(
        8123, description="HTTP port of ClickHouse (not the native port 9000)."
    )
    clickhouse_replicas: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split),
        AfterValidator(_check_replicas),
        Allowed("empty, or HOST or HOST:PORT, separated by commas"),
    ] = Field(
        (),
        description="Further servers of the cluster CLICKHOUSE_CLUSTER. Inserts and reads fail over"
        " between them and CLICKHOUSE_HOST; without a port: CLICKHOUSE_PORT.",
    )
    clickhouse_cluster: Annotated[str, Allowed("empty, or letters, digits, '.', '_' and '-'")] = (
        Field(
            "",
            pattern=r"^[A-Za-z0-9._-]{0,64}$",
            description="Name of the cluster in ClickHouse's remote_servers; empty: one server."
            " Migrations create replicated and distributed tables in it.",
        )
    )
    clickhouse_insert_quorum: Literal["0", "2", "3", "4", "5", "auto"] = Field(
        "0",
        description="Replicas of a shard that must have a block before its offsets are committed;"
        " 0: the one that takes the insert; auto: most of them. Only with CLICKHOUSE_CLUSTER.",
    )
    clickhouse_user: str = Field("default", min_length=1, description="User.")
    clickhouse_password: SecretStr = Field(
        SecretStr(""),
        description="Password; empty: that of the embedded ClickHouse, which `radar up` creates in"
        " RADAR_DATA_DIR/clickhouse.password.",
    )
    clickhouse_db: Identifier = Field("radar", description="Database.")
    clickhouse_secure: bool = Field(
        False, description="Use HTTPS and verify certificates, usually with CLICKHOUSE_PORT=8443."
    )
    clickhouse_ca_file: CertificatesPath = Field(
        "", description="CA certificates that verify ClickHouse; empty: the system's."
    )
    retention_days: int = Field(
        90, ge=1, le=25_000, description="Delete rows this many days after their receipt."
    )
    frames_retention_days: int = Field(
        7,
        ge=1,
        le=25_000,
        description="Delete recorded frames this many days after their receipt.",
    )
    cold_after_days: int = Field(
        0,
        ge=0,
        le=25_000,
        description="Move rows to object storage this many days after their receipt; 0: never. It"
        " needs a ClickHouse server with a volume `cold`.",
    )
    cold_storage_policy: Identifier = Field(
        "tiered", description="ClickHouse's storage policy with the volume `cold`."
    )

    # Workers
    batch_size: int = Field(
        5000,
        ge=1,
        le=1_000_000,
        description="Insert a batch when it has this many messages, or 8 MiB.",
    )
    batch_max_size: int = Field(
        50_000,
        ge=1,
        le=1_000_000,
        description="Let a due batch also take waiting messages, up to this many messages.",
    )
    batch_timeout_seconds: Seconds = Field(
        5,
        description="Insert a batch at this age in seconds, even if it is small; fractions are"
        " allowed.",
    )
    insert_interval_seconds: Seconds = Field(
        0.5,
        description="Also insert when this many seconds have passed since the previous insert; a"
        " batch of fewer than 100 messages waits twice as long.",
    )
    insert_timeout_seconds: Seconds = Field(
        30, description="Abandon an attempt to insert after this many seconds, and retry."
    )
    offset_check_seconds: Seconds = Field(
        5,
        description="Seconds between two comparisons of stored, committed and available offsets."
        " Each also checks the topic's ID.",
    )
    max_bad_share: float = Field(
        0.05,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Halt a partition when more than this share of its newest messages is bad; 1:"
        " never.",
    )
    max_consecutive_bad: int = Field(
        100,
        ge=0,
        le=1_000_000,
        description="Halt a partition after this many bad messages in a row; 0: never.",
    )

    # Backup
    backup_dir: Path = Field(
        Path(),
        description="Folder of the backups, best on another disk: that of ClickHouse's disk"
        " BACKUP_DISK, as this machine sees it; empty: RADAR_DATA_DIR/backups.",
    )
    backup_disk: Identifier = Field(
        "backups", description="ClickHouse's name of the disk that holds the backups."
    )
    backup_disk_url: ObjectPlace = Field(
        "",
        description="Place of ClickHouse's disk BACKUP_DISK in object storage, s3://BUCKET/PREFIX;"
        " empty: it is the folder BACKUP_DIR.",
    )
    backup_every_hours: float = Field(
        24,
        gt=0,
        le=8760,
        description="`radar backup follow` makes a backup when the newest is this many hours old.",
    )
    backup_full_days: float = Field(
        7,
        ge=0,
        le=3650,
        description="Base a backup on the one before, until the last full backup is this many days"
        " old; 0: every backup is full.",
    )
    backup_keep_days: float = Field(
        30,
        gt=0,
        le=3650,
        description="Delete backups that are this many days old, except the newest and its bases.",
    )
    backup_copy_to: ObjectPlace = Field(
        "",
        description="Place in object storage to which each backup is copied, s3://BUCKET/PREFIX;"
        " empty: none. Copies are kept for BACKUP_KEEP_DAYS, too.",
    )
    s3_endpoint_url: HttpUrl = Field(
        "",
        description="URL of the object storage for s3://BUCKET/PREFIX; empty: Amazon's. Credentials"
        " come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from AWS_PROFILE, or from the"
        " role of the machine.",
        repr=False,
    )

    # Alerts
    alert_urls: Annotated[
        SecretStr,
        AfterValidator(_check_alert_urls),
        Allowed(
            f"empty, or at most {MAX_ALERT_URLS} URLs of apprise, separated by commas or lines"
        ),
    ] = Field(
        SecretStr(""),
        description="Services that deliver alerts to people, e.g. mailto://, tgram:// or slack://;"
        " empty: none. docs/alerts.md explains them; `radar alerts test` tries them.",
    )
    alert_repeat_hours: float = Field(
        4,
        ge=0.25,
        le=720,
        description="Repeat the message about a condition that lasts once in this many hours.",
    )

    # Dashboard
    dashboard_host: Host = Field(
        "127.0.0.1",
        description="Address of this machine to serve the dashboard on. An address other than"
        " loopback needs DASHBOARD_TOKEN.",
    )
    dashboard_port: int = Field(
        8080,
        ge=0,
        le=65535,
        description="Port of the dashboard; if it is taken, `radar up` uses another one. 0: no"
        " dashboard in `radar up`, any free port in `radar dashboard`.",
    )
    dashboard_token: Annotated[
        SecretStr,
        AfterValidator(_check_token),
        Allowed("empty, or at least 16 characters"),
    ] = Field(
        SecretStr(""),
        description="Token that opens the dashboard; empty: a random one in"
        " RADAR_DATA_DIR/dashboard.token.",
    )
    dashboard_hosts: HostNames = Field(
        (),
        description="Further host names of the dashboard, e.g. radar.example behind a reverse proxy"
        " on this machine. Setting one trusts that proxy's X-Forwarded-For and -Proto.",
    )

    # Running
    trades_workers: int = Field(
        TRADES.workers, ge=1, le=64, description="Trades workers that `radar up` starts."
    )
    depth_workers: int = Field(
        DEPTH.workers, ge=1, le=64, description="Depth workers that `radar up` starts."
    )
    radar_data_dir: Path = Field(
        Path(".radar"), description="Folder of the embedded mode's data and logs."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level to log."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console in a terminal, JSON lines elsewhere."
    )
    log_file_bytes: int = Field(
        10_485_760,
        ge=4096,
        le=1_073_741_824,
        description="Rotate a log file of `radar up` at this size in bytes, and keep four older"
        " files.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port for health and Prometheus metrics; 0: do not serve them.",
    )
    metrics_host: Host = Field(
        "127.0.0.1",
        description="Address of this machine to serve health and metrics on; 0.0.0.0: all, as in a"
        " container.",
    )
    metrics_hosts: HostNames = Field(
        (),
        description="Further host names that requests for health and metrics may use, e.g."
        " radar.example. Addresses and names without a dot always work.",
    )
    monitor_processes: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split),
        AfterValidator(_check_processes),
        Allowed("empty, or HOST:PORT or NAME=HOST:PORT, separated by commas"),
    ] = Field(
        (),
        description="Health addresses (METRICS_PORT) for `radar monitor`, `status` and `health`"
        " without a running `radar up`.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give secrets from files priority over all sources but the caller's values."""
        # Both have read their variables already, so `.env` is read only once.
        given = {
            name: value
            for source in (dotenv_settings, env_settings)
            for name, value in getattr(source, "env_vars", {}).items()
        }
        return init_settings, _SecretFiles(settings_cls, given), env_settings, dotenv_settings

    @property
    def own_exchange(self) -> str:
        """The exchange of one producer."""
        return self.exchange or self.exchanges[0]

    def of_exchange(self, name: str) -> "Settings":
        """Return the options of the producers of one exchange."""
        own = getattr(self, f"{name}_symbols") or self.symbols
        return self.model_copy(update={"exchange": name, "symbols": own})

    def ws_url(self, exchange: str) -> str:
        """Return the WebSocket URL of an exchange; empty: its own."""
        return self._url(exchange, "ws")

    def rest_url(self, exchange: str) -> str:
        """Return the REST URL of an exchange; empty: its own."""
        return self._url(exchange, "rest")

    def _url(self, exchange: str, protocol: str) -> str:
        given: str = getattr(self, f"{exchange}_{protocol}_url")
        if not given and self.exchanges in ((), (exchange,)):
            given = getattr(self, f"exchange_{protocol}_url")
        return given


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from the files that variables like CLICKHOUSE_PASSWORD_FILE name."""

    def __init__(self, settings_cls: type[BaseSettings], given: dict[str, str | None]) -> None:
        """Prepare; `given` holds all variables by their names in small letters."""
        super().__init__(settings_cls)
        self._given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return one secret and its field's name; None if no file is named."""
        given = self._given
        path = given.get(field_name + FILE_SUFFIX)
        if not path or not is_secret(field_name):
            return None, field_name, False
        variable = file_variable(field_name)
        if given.get(field_name):
            raise ConfigurationError(
                f"{field_name.upper()} and {variable} are both set: unset one of them"
            )
        try:
            # Editors and `echo` end a file with a line break, which no password ends with.
            return Path(path).read_text("utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigurationError(
                f"{variable} is {path!r}: {reason} (allowed: a readable file that holds the secret)"
            ) from error

    def __call__(self) -> dict[str, Any]:
        """Return every secret that a file holds."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in Settings.model_fields.items()
        }
        return {name: secret for name, secret in found.items() if secret is not None}


def load(**overrides: Any) -> Settings:
    """Read the environment and `.env`.

    Args:
        overrides: Values that win over both, by field name.

    Raises:
        ConfigurationError: A value is not allowed; the message names the variable, the value
            (unless it is a secret) and the allowed values.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        given = _given() | overrides
        problems = [_problem(given, detail) for detail in error.errors(include_url=False)]
        raise ConfigurationError("; ".join(problems)) from None
    if settings.exchange and "exchanges" not in settings.model_fields_set:
        settings = settings.model_copy(update={"exchanges": (settings.exchange,)})
    _check_together(settings)
    return _with_embedded_password(settings)


def _check_together(settings: Settings) -> None:
    """Refuse options that do not go together, for every process and command alike.

    Raises:
        ConfigurationError: A process could not work with them.
    """
    if settings.batch_size > settings.batch_max_size:
        raise ConfigurationError(
            f"BATCH_SIZE={settings.batch_size} is above BATCH_MAX_SIZE={settings.batch_max_size}:"
            " lower BATCH_SIZE or raise BATCH_MAX_SIZE"
        )
    # Servers that do not replicate each other would each hold a part of the rows.
    if settings.clickhouse_replicas and not settings.clickhouse_cluster:
        raise ConfigurationError(
            "CLICKHOUSE_REPLICAS needs CLICKHOUSE_CLUSTER: set it to the name of the cluster whose"
            " servers replicate each other, or unset CLICKHOUSE_REPLICAS"
        )
    _check_sasl(settings)
    _check_pair(settings)
    host = settings.dashboard_host
    is_address = re.fullmatch(r"[0-9.]+|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?", host)
    # Whether a name is this machine is known to its resolver only: the dashboard asks it.
    if is_address and not settings.dashboard_token.get_secret_value() and not _is_loopback(host):
        raise ConfigurationError(
            f"DASHBOARD_HOST={host} is reached from other machines: set DASHBOARD_TOKEN, which"
            " every client then needs"
        )


def _check_sasl(settings: Settings) -> None:
    needed = {
        "KAFKA_SASL_MECHANISM": settings.kafka_sasl_mechanism,
        "KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
        "KAFKA_SASL_PASSWORD": settings.kafka_sasl_password.get_secret_value(),
    }
    protocol = settings.kafka_security_protocol
    if protocol.startswith("sasl"):
        wanted = f"KAFKA_SECURITY_PROTOCOL={protocol}"
    elif settings.kafka_sasl_mechanism:
        wanted = f"KAFKA_SASL_MECHANISM={settings.kafka_sasl_mechanism}"
    else:
        return
    if missing := [name for name, value in needed.items() if not value]:
        raise ConfigurationError(f"{wanted} needs {', '.join(missing)}: set them")


def _check_pair(settings: Settings) -> None:
    """Refuse a private key that cannot be used: the library would fail later, or ask for words."""
    certificate, key = settings.kafka_ssl_certificate_file, settings.kafka_ssl_key_file
    if not (certificate and key):
        return
    import ssl

    password = settings.kafka_ssl_key_password.get_secret_value()
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(certificate, key, password=lambda: password or " ")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"KAFKA_SSL_KEY_FILE={key} does not fit KAFKA_SSL_CERTIFICATE_FILE={certificate}, or"
            " KAFKA_SSL_KEY_PASSWORD is wrong: set the key that belongs to the certificate, and its"
            " password"
        ) from error


def clickhouse_password_file(settings: Settings) -> Path:
    """Return where `radar up` keeps the password of its embedded ClickHouse."""
    return settings.radar_data_dir.absolute() / "clickhouse.password"


def backup_folder(settings: Settings) -> Path:
    """Return the folder of the backups.

    Raises:
        ConfigurationError: ClickHouse is on another machine, and BACKUP_DIR names no folder.
    """
    if settings.backup_dir != Path():
        return settings.backup_dir.absolute()
    if not _is_loopback(settings.clickhouse_host):
        raise ConfigurationError(
            f"ClickHouse is at {settings.clickhouse_host}: set BACKUP_DIR to the folder of its disk"
            f" {settings.backup_disk}, mounted on this machine"
        )
    return settings.radar_data_dir.absolute() / "backups"


def _with_embedded_password(settings: Settings) -> Settings:
    """Add the password that `radar up` created, where the options name none and no other host."""
    path = clickhouse_password_file(settings)
    if (
        settings.clickhouse_password.get_secret_value()
        or not _is_loopback(settings.clickhouse_host)
        or not path.exists()
    ):
        return settings
    password = SecretStr(secret_file.read(path))
    return settings.model_copy(update={"clickhouse_password": password})


def _is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its name alone, without a DNS request."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _given() -> dict[str, Any]:
    """Return the variables of `.env` and the environment, by name in small letters."""
    variables = {**dotenv_values(".env"), **os.environ}
    return {name.lower(): value for name, value in variables.items()}


def _problem(given: dict[str, Any], detail: Any) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else "?"
    value = "a secret" if is_secret(name) else repr(without_password(str(given.get(name, ""))))
    reason = ""
    if detail["type"] == "value_error":  # in words of this module; the library's say less
        reason = str(detail["ctx"]["error"])
        reason = f": {reason[:1].lower()}{reason[1:]}"
    return f"{name.upper()} is {value}{reason} (allowed: {allowed(name)})"


def is_secret(name: str) -> bool:
    """Return whether a field's value must never be shown."""
    field = Settings.model_fields.get(name)
    return field is not None and field.annotation is SecretStr


def allowed(name: str) -> str:
    """Describe in words which values a field takes."""
    field = Settings.model_fields[name]
    for rule in field.metadata:
        if isinstance(rule, Allowed):
            return rule.words
    if choices := get_args(field.annotation):
        if all(isinstance(choice, str) for choice in choices):
            return ", ".join(choice or "empty" for choice in choices)
        return "text, separated by commas"
    return _TYPE_WORDS.get(field.annotation, "text") + _bounds(field)


_TYPE_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    SecretStr: "text",
}


def _bounds(field: FieldInfo) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    found = [
        f"{word} {getattr(rule, name)}"
        for rule in field.metadata
        for name, word in words.items()
        if getattr(rule, name, None) is not None
    ]
    return f" {' '.join(found)}" if found else ""


def default_text(name: str) -> str:
    """Return a field's default as it would stand in the environment."""
    default = Settings.model_fields[name].default
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)


def fields() -> dict[str, FieldInfo]:
    """Return every option by name, in the order of the documents."""
    last = set(_Addresses.model_fields)
    every = Settings.model_fields
    ordered = [*(name for name in every if name not in last), *_Addresses.model_fields]
    return {name: every[name] for name in ordered}


def variables() -> list[str]:
    """Return the names of all variables that are read, in order."""
    return [
        variable
        for name in fields()
        for variable in (name.upper(), *([file_variable(name)] if is_secret(name) else ()))
    ]


def file_variable(name: str) -> str:
    """Return the name of the variable that names the file with a secret."""
    return f"{name}{FILE_SUFFIX}".upper()
