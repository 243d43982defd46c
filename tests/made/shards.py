"""Tar archives as webdataset and img2dataset write them, and broken ones."""

import io
import tarfile


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
