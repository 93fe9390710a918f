"""One prefix of a bucket of Amazon S3, or of another store with the same interface.

Credentials come from the places where Amazon's own programs look for them: the environment
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), a profile (AWS_PROFILE) or the role of the machine.
Neither logs nor errors hold them.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from radar.errors import ConfigurationError, ObjectChanged, ObjectStorageFailed
from radar.text import without_password

SCHEME = "s3://"
MIB = 1 << 20
# The memory of one transfer: a part for each connection.
PART_BYTES = 8 * MIB
CONNECTIONS = 4
MAX_POOL = 16
ATTEMPTS = 5
CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 60
MAX_DELETED_AT_ONCE = 1000
MAX_COMPARED_BYTES = 1024 * MIB

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_EMPTY = frozenset({"416", "InvalidRange"})
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
# At their lowest levels these write the headers of requests, which sign with the secret.
_TALKATIVE = ("boto3", "botocore", "s3transfer", "urllib3")


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket; the prefix is empty or ends with a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def __truediv__(self, name: str) -> "Place":
        return Place(self.bucket, f"{self.prefix}{name}/")


class Object(NamedTuple):
    """A stored object: its key behind the prefix, and its size."""

    key: str
    size_bytes: int


def parse(url: str) -> Place:
    """Return the place of s3://BUCKET/PREFIX.

    Raises:
        ConfigurationError: It has another form.
    """
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    prefix = prefix.strip("/")
    strange = any(part in ("", ".", "..") for part in prefix.split("/")) and prefix
    if not url.startswith(SCHEME) or not _BUCKET.fullmatch(bucket) or strange:
        raise ConfigurationError(f"{url!r} is no place in object storage: use s3://BUCKET/PREFIX")
    return Place(bucket, f"{prefix}/" if prefix else "")


class ObjectStorage:
    """Reads and writes the objects below a place. All methods block.

    Each raises ObjectStorageFailed if the store does not answer or refuses. An object appears, or
    is replaced, when all of its bytes are stored: an upload that ends early leaves none.
    """

    def __init__(self, place: Place, endpoint: str = "") -> None:
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self.place = place
        # Stores with an endpoint of their own often know neither bucket names in host names nor
        # the newer checksums.
        own: dict[str, Any] = (
            {
                "s3": {"addressing_style": "path"},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
            if endpoint
            else {}
        )
        with self._errors():
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint or None,
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=ANSWER_TIMEOUT_S,
                    retries={"mode": "standard", "max_attempts": ATTEMPTS},
                    max_pool_connections=MAX_POOL,
                    **own,
                ),
            )
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_concurrency=CONNECTIONS,
            max_io_queue=CONNECTIONS,
        )

    def objects(self, below: str = "") -> Iterator[Object]:
        """Yield all objects whose key begins with the place and `below`, by key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.place.bucket, Prefix=f"{self.place.prefix}{below}"
        )
        with self._errors():
            for page in pages:
                for each in page.get("Contents", ()):
                    yield Object(each["Key"].removeprefix(self.place.prefix), each["Size"])

    def folders(self) -> list[str]:
        """Return the next part of all keys below the place, up to a slash."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.place.bucket, Prefix=self.place.prefix, Delimiter="/"
        )
        with self._errors():
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
        return [each.removeprefix(self.place.prefix).removesuffix("/") for each in found]

    def head(self, key: str, most_bytes: int) -> bytes | None:
        """Return the beginning of an object; None if it is missing."""
        with self._errors():
            try:
                answer = self._client.get_object(
                    Bucket=self.place.bucket,
                    Key=self._full(key),
                    Range=f"bytes=0-{most_bytes - 1}",
                )
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                if _code(error) in _EMPTY:
                    return b""
                raise
            with answer["Body"] as body:
                content: bytes = body.read(most_bytes)
        return content

    def read(self, key: str, most_bytes: int) -> tuple[bytes, str] | None:
        """Return an object and its version; None if it is missing.

        Raises:
            ObjectStorageFailed: It is larger than `most_bytes`.
        """
        with self._errors():
            try:
                answer = self._client.get_object(Bucket=self.place.bucket, Key=self._full(key))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            with answer["Body"] as body:
                content: bytes = body.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise ObjectStorageFailed(f"{self.place}/{key} is larger than {most_bytes:,} bytes")
        return content, answer["ETag"]

    def replace(self, key: str, content: bytes, version: str | None) -> str:
        """Write an object and return its new version.

        Args:
            key: Its key behind the prefix.
            content: Its bytes.
            version: The version that `read` or `replace` returned; None: it must be missing.

        Raises:
            ObjectChanged: The store holds another version.
        """
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._errors():
            try:
                answer = self._client.put_object(
                    Bucket=self.place.bucket, Key=self._full(key), Body=content, **condition
                )
            except ClientError as error:
                # A missing object fails the second condition.
                if _code(error) not in _CHANGED | _MISSING:
                    raise
                # The answer to an earlier attempt may have been lost.
                found = self.read(key, MAX_COMPARED_BYTES)
                if found is not None and found[0] == content:
                    return found[1]
                raise ObjectChanged(f"{self.place}/{key} was written by another process") from error
        return str(answer["ETag"])

    def upload(self, path: Path, key: str) -> None:
        """Store a file, in parts if it is large."""
        with self._errors():
            self._client.upload_file(
                f"{path}", self.place.bucket, self._full(key), Config=self._transfer
            )

    def download(self, key: str, path: Path) -> None:
        """Write an object to a file, which appears when it is complete."""
        with self._errors():
            self._client.download_file(
                self.place.bucket, self._full(key), f"{path}", Config=self._transfer
            )

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are missing do not matter."""
        names = [self._full(key) for key in keys]
        for n in range(0, len(names), MAX_DELETED_AT_ONCE):
            wanted = [{"Key": name} for name in names[n : n + MAX_DELETED_AT_ONCE]]
            with self._errors():
                answer = self._client.delete_objects(
                    Bucket=self.place.bucket, Delete={"Objects": wanted, "Quiet": True}
                )
            if refused := answer.get("Errors"):
                raise ObjectStorageFailed(
                    f"{self.place}: an object cannot be deleted: {refused[0].get('Code')}"
                )

    def _full(self, key: str) -> str:
        return f"{self.place.prefix}{key}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise ObjectStorageFailed(f"{self.place}: {_words(error)}") from error
        except NoCredentialsError as error:
            raise ObjectStorageFailed(
                f"{self.place}: there are no credentials: set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            raise ObjectStorageFailed(f"{self.place}: {_first_line(error)}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _words(error: ClientError) -> str:
    code = _code(error)
    hints = {
        "NoSuchBucket": "there is no such bucket: create it",
        "AccessDenied": "access denied: allow s3:ListBucket, GetObject, PutObject, DeleteObject",
        "403": "access denied: allow s3:ListBucket, GetObject, PutObject, DeleteObject",
    }
    return hints.get(code) or f"{code}: {error.response.get('Error', {}).get('Message', '')}"


def _first_line(error: Exception) -> str:
    # An endpoint is a URL, which may hold a password.
    return without_password(str(error).partition("\n")[0])
