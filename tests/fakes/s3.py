"""An S3 server on this machine: moto's, in a thread, with one bucket."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

BUCKET = "suites"
# For whoever talks to it: credentials, no other place where these or settings are looked for, one try.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
}  # fmt: skip


@dataclass
class Bucket:
    """The bucket, whose first folders are remotes of DVC."""

    url: str
    client: Any

    def objects(self, remote: str) -> dict[str, str]:
        """ETags of the objects of a remote, by DVC's names."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{remote}/")
        found = (item for page in pages for item in page.get("Contents", ()))
        return {"".join(item["Key"].split("/")[-2:]): item["ETag"].strip('"') for item in found}

    def copy(self, remote: str, to: str) -> None:
        """Fill a remote with what another one has."""
        for oid in self.objects(remote):
            source = {"Bucket": BUCKET, "Key": key(remote, oid)}
            self.client.copy_object(Bucket=BUCKET, Key=key(to, oid), CopySource=source)

    def delete(self, remote: str, oid: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key(remote, oid))

    def read(self, remote: str, oid: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key(remote, oid))["Body"].read())

    def flip(self, remote: str, oid: str) -> None:
        """Change one bit of an object."""
        content = bytearray(self.read(remote, oid))
        content[0] ^= 1
        self.client.put_object(Bucket=BUCKET, Key=key(remote, oid), Body=bytes(content))


def key(remote: str, oid: str) -> str:
    return f"{remote}/files/md5/{oid[:2]}/{oid[2:]}"


@contextmanager
def s3() -> Iterator[Bucket]:
    """A bucket until the end of the block, in an environment such as ENVIRONMENT."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    http = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}"
    client = boto3.client("s3", endpoint_url=url)
    try:
        client.create_bucket(Bucket=BUCKET)
        yield Bucket(url, client)
    finally:
        client.close()
        http.shutdown()
        thread.join()
        http.server_close()
