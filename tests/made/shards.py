"""Archives of pictures as others write them: tar shards, zip files, Parquet files."""

import io
import tarfile
import zipfile


def write_shard(path, files, form=tarfile.USTAR_FORMAT):
    """A tar archive of (name, bytes), in this order; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def samples(pictures, captions=(), first=0, ending="jpg"):
    """The files of samples with a picture, and with a caption and metadata where there are some."""
    for number, data in enumerate(pictures, first):
        key = f"{number:09}"
        yield f"{key}.{ending}", data
        if captions:
            caption = captions[number - first]
            yield f"{key}.json", json_bytes({"key": key, "caption": caption, "status": "success"})
            yield f"{key}.txt", caption.encode()


def json_bytes(document):
    """A JSON document as it stands in a file."""
    import json

    return json.dumps(document).encode()


def write_zip(path, files, method=zipfile.ZIP_DEFLATED):
    """A zip archive of (name, bytes), in this order; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


def write_parquet(path, pictures, names=None, row_group_size=3, **columns):
    """A Parquet file in Hugging Face's layout, of the bytes of pictures; gives its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    names = names or [f"{number}.png" for number in range(len(pictures))]
    cells = [{"bytes": data, "path": name} for data, name in zip(pictures, names, strict=True)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(cells, kind), **columns})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path
