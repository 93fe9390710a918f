"""An object store with the interface of S3, as its own process: moto's server."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ports import free_port
from radar.addresses import answers
from support import Process, eventually

KEY, SECRET = "AKIARADARTEST", "a-secret-that-nothing-may-show"
# The library would ask the network of a cloud, and read files of whoever runs the tests.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Store(NamedTuple):
    """A running store, and a client that sees it without radar's module."""

    endpoint: str
    client: Any

    def bucket(self, name: str) -> str:
        """Make an empty bucket and return its name."""
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def read(self, bucket: str, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content


@contextmanager
def running(directory: Path) -> Iterator[Store]:
    import boto3

    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = Process(command, directory / "moto.log")
    try:
        eventually(lambda: answers("127.0.0.1", port), "the object store answers", 60)
        endpoint = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        yield Store(endpoint, client)
    finally:
        process.end()
