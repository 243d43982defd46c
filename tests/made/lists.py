"""Lists as they are published, in small: the columns, types and order of the real ones."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq


def url(number, host="images.example.org"):
    return f"https://{host}/photos/{number}.jpg"


def sha256(number):
    return hashlib.sha256(f"file {number}".encode()).hexdigest()


def md5(number):
    return hashlib.md5(f"file {number}".encode()).hexdigest()


def phash(number):
    return hashlib.blake2b(f"picture {number}".encode(), digest_size=8).hexdigest()


def write(path, columns, **how):
    """A Parquet file; a value that is no Arrow array becomes one."""
    pq.write_table(pa.table(columns), path, **how)
    return path


def datacomp(path, numbers, **how):
    numbers = list(numbers)
    columns = {
        "uid": [f"{number:032x}" for number in numbers],
        "url": [url(number) for number in numbers],
        "text": [f"caption {number}" for number in numbers],
        "original_width": [640 + number for number in numbers],
        "original_height": [480 for _ in numbers],
        "clip_b32_similarity_score": pa.array([0.3 for _ in numbers], pa.float32()),
        "face_bboxes": pa.array([[[0.1, 0.2]] for _ in numbers]),
        "sha256": [sha256(number) for number in numbers],
    }
    return write(path, columns, **how)


def laion400m(path, numbers):
    numbers = list(numbers)
    columns = {
        "SAMPLE_ID": pa.array([float(number) for number in numbers], pa.float64()),
        "URL": [url(number) for number in numbers],
        "TEXT": [f"caption {number}" for number in numbers],
        "HEIGHT": pa.array([480.0 for _ in numbers]),
        "WIDTH": pa.array([640.0 for _ in numbers]),
        "LICENSE": ["?" for _ in numbers],
        "NSFW": ["UNLIKELY" for _ in numbers],
        "similarity": [0.31 for _ in numbers],
    }
    return write(path, columns)


def laion2b(path, numbers):
    numbers = list(numbers)
    columns = {
        "URL": [url(number) for number in numbers],
        "TEXT": [f"caption {number}" for number in numbers],
        "WIDTH": pa.array([640 for _ in numbers], pa.int32()),
        "HEIGHT": pa.array([480 for _ in numbers], pa.int32()),
        "similarity": [0.31 for _ in numbers],
        "hash": pa.array([-(number + 1) for number in numbers], pa.int64()),
        "punsafe": [0.0 for _ in numbers],
        "pwatermark": [0.0 for _ in numbers],
    }
    return write(path, columns)


def coyo(path, numbers):
    numbers = list(numbers)
    columns = {
        "id": pa.array(numbers, pa.int64()),
        "url": [url(number) for number in numbers],
        "text": [f"caption {number}" for number in numbers],
        "width": pa.array([640 for _ in numbers], pa.int32()),
        "height": pa.array([480 for _ in numbers], pa.int32()),
        "image_phash": [phash(number) for number in numbers],
        "watermark_score": [0.1 for _ in numbers],
    }
    return write(path, columns)


def cc12m(path, numbers):
    """url, caption; captions may hold quotes that mean nothing."""
    lines = [f'{url(number)}\tcaption "{number}' for number in numbers]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def cc12m_hashes(path, numbers):
    lines = [f"{url(number)}\t{sha256(number)}\t{md5(number)}" for number in numbers]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def cc3m(path, numbers):
    lines = [f"caption {number}\t{url(number)}" for number in numbers]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def yfcc_subset(path, photo_ids):
    """line number, photo id, photo hash, as OpenAI published them."""
    lines = [f"{line}\t{photo}\t{md5(photo)}" for line, photo in enumerate(photo_ids)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
