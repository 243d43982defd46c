"""S3 by moto and Google's store by its emulator, on the loopback.

Each gives its client, and the environment that leads there.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager


@contextmanager
def object_store():
    """A client of a store that runs until the end, and the variables that lead to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "not-so-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
        )
        yield client, environment
        client.close()
    finally:
        server.stop()


def upload(client, bucket, folder):
    """Put all files of a folder into a bucket, under the folder's name; gives their address."""
    client.create_bucket(Bucket=bucket)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = path.relative_to(folder.parent).as_posix()
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    return f"s3://{bucket}/{folder.name}"


@contextmanager
def google_store(bucket):
    """A file system with this bucket, and the variables that lead to it."""
    import gcsfs
    from gcp_storage_emulator.server import create_server

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=bucket)
    server.start()
    try:
        address = f"http://127.0.0.1:{port}"
        yield (
            gcsfs.core.GCSFileSystem(endpoint_url=address, token="anon"),
            {"STORAGE_EMULATOR_HOST": address},
        )
    finally:
        server.stop()


def upload_to_google(files, bucket, folder):
    """Put all files of a folder into a bucket, under the folder's name; gives their address."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = path.relative_to(folder.parent).as_posix()
            files.pipe_file(f"{bucket}/{key}", path.read_bytes())
    return f"gs://{bucket}/{folder.name}"
