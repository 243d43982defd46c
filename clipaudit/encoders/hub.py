"""Weights from model hubs: downloads, resumes, caches, and what to say when that fails.

Hugging Face's library does the work (retries, locks, checks of size, atomic renames), so
HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE mean what they mean everywhere.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from clipaudit.encoders.model_files import look_at
from clipaudit.encoders.third_party import quiet
from clipaudit.errors import EncoderError
from clipaudit.files import NoHomeError

_LOG = logging.getLogger(__name__)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Disk full, quota reached, file larger than the file system or `ulimit -f` allows."""


def download(repo: str, names: Sequence[str], by_path: str, *, offline: bool) -> Path:
    """The first of several files that a repository on the Hugging Face hub has.

    Args:
        repo: Such as `timm/vit_base_patch32_clip_224.openai`.
        names: File names, best first.
        by_path: How the user passes a file that they have already; ends the hint.
        offline: Open no socket; HF_HUB_OFFLINE means the same.

    Raises:
        EncoderError: No such file, no network, no space; says what to fetch, and from where.
    """
    from huggingface_hub import constants

    for name in names:
        path = _find(repo, name, names[0], by_path, offline=offline)
        if path is not None:
            _look_at_snapshot(path, name, names)
            return path
    endpoint = constants.ENDPOINT
    if offline or constants.HF_HUB_OFFLINE:
        raise EncoderError(
            f"{' or '.join(names)} of {repo} is not in the cache {constants.HF_HUB_CACHE}, "
            "and offline nothing is downloaded (--offline, or HF_HUB_OFFLINE is set)",
            f"Run it once with a network; HF_HOME moves the cache. Or "
            f"{_fetch_by_hand(repo, names[0], by_path)}.",
        )
    raise EncoderError(
        f"{repo} has no {' nor '.join(names)}",
        f"See which files it has at {endpoint}/{repo}; {by_path}.",
    )


def download_all(repo: str, names: Sequence[str], by_path: str, *, offline: bool) -> list[Path]:
    """All of several files that a repository has; see `download`.

    Raises:
        EncoderError: No network, no space; says what to fetch, and from where.
    """
    found = [_find(repo, name, name, by_path, offline=offline) for name in names]
    return [path for path in found if path is not None]


def _look_at_snapshot(path: Path, name: str, names: Sequence[str]) -> None:
    """Look at what decides which file it is: better ones that may come, and the newest commit."""
    snapshot = path.parents[len(Path(name).parts) - 1]
    for better in names[: names.index(name) + 1]:
        look_at(snapshot / better)
    look_at(snapshot.parents[1] / "refs" / "main")


def _find(repo: str, name: str, best: str, by_path: str, *, offline: bool) -> Path | None:
    """A file of a repository; None where it has none or, offline, where the cache has none.

    Raises:
        EncoderError: See `download`.
    """
    from huggingface_hub import constants, errors, hf_hub_download

    _refuse_without_home(constants.HF_HUB_CACHE, "HF_HOME")
    offline = offline or constants.HF_HUB_OFFLINE
    endpoint = constants.ENDPOINT
    fetch = _fetch_by_hand(repo, best, by_path)
    try:
        with quiet():
            path = hf_hub_download(repo, name, local_files_only=offline)
        return Path(path)
    except errors.GatedRepoError as error:
        raise EncoderError(
            f"{repo} gives its weights only to people who accepted its terms",
            f"Accept them at {endpoint}/{repo}, then run `hf auth login`.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise EncoderError(
            f"{endpoint} has no repository {repo}, or only for people who are logged in",
            f"Check the name; for a private one run `hf auth login`. Or {by_path}.",
        ) from error
    except errors.LocalEntryNotFoundError as error:
        if offline:
            return None
        _refuse_if_disk_is_full(error, constants.HF_HUB_CACHE)
        raise EncoderError(
            f"cannot download {name} of {repo}: {_reason(error, endpoint)}",
            f"Check the network (HF_ENDPOINT is {endpoint}) and run it again. Or {fetch}.",
        ) from error
    except errors.EntryNotFoundError:
        _LOG.debug("%s has no %s", repo, name)
        return None
    except errors.HFValidationError as error:
        raise EncoderError(
            f"{repo!r} is no name of a repository on the hub", "Write hf-hub:ORGANISATION/NAME."
        ) from error
    except Exception as error:
        # The library lets through what its HTTP client, its cache and the disk raise.
        _refuse_if_disk_is_full(error, constants.HF_HUB_CACHE)
        raise EncoderError(
            f"the download of {name} from {repo} broke off: {_reason(error, endpoint)}",
            f"Run it again. Or {fetch}.",
        ) from error


def _fetch_by_hand(repo: str, name: str, by_path: str) -> str:
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/{repo}/resolve/main/{name}"
    return f"fetch {url} where there is a network and {by_path}"


def download_url(url: str, by_path: str, *, offline: bool, sha256_prefix: str | None) -> Path:
    """A file by its address, kept where `torch.hub` keeps its own.

    Raises:
        EncoderError: As for `download`.
    """
    import torch.hub
    from huggingface_hub import constants

    _refuse_without_home(torch.hub.get_dir(), "TORCH_HOME")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target = folder / Path(urlsplit(url).path).name
    if target.is_file():
        return target
    fetch = f"Fetch {url}, put it at {target} or {by_path}."
    if offline or constants.HF_HUB_OFFLINE:
        raise EncoderError(
            f"{target} is not there, and offline nothing is downloaded "
            "(--offline, or HF_HUB_OFFLINE is set)",
            fetch,
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            torch.hub.download_url_to_file(
                url, str(target), hash_prefix=sha256_prefix, progress=_stderr_is_terminal()
            )
    except Exception as error:
        _refuse_if_disk_is_full(error, str(folder))
        raise EncoderError(
            f"cannot download {url}: {_reason(error, urlsplit(url).netloc)}",
            f"Check the network and run it again. {fetch}",
        ) from error
    return target


def _refuse_without_home(folder: str, variable: str) -> None:
    """Raise where a folder of a library is below `~`, which it would make where we are.

    Raises:
        NoHomeError: The user has no home folder.
    """
    if Path(folder).parts[:1] == ("~",):
        raise NoHomeError(
            hint=f"Set {variable} to the folder that holds the weights, or shall hold them."
        )


def _refuse_if_disk_is_full(error: BaseException, folder: str) -> None:
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
            raise EncoderError(
                f"no space is left on the disk of {folder}",
                "Make room, or move the cache to another disk with HF_HOME (TORCH_HOME for "
                "torchvision).",
            ) from error
        if isinstance(cause, PermissionError):
            raise EncoderError(
                f"the cache {folder} cannot be written: {cause}",
                "Give yourself the right to write there, or move the cache with HF_HOME.",
            ) from error


def _reason(error: BaseException, where: str) -> str:
    """The innermost cause, which names the trouble; the outer ones say "check your connection"."""
    innermost = list(_chain(error))[-1]
    text = " ".join(str(innermost).split())
    if isinstance(innermost, ConnectionRefusedError) or "refused" in text.lower():
        return f"{where} refused the connection"
    return (text or type(innermost).__name__)[:300]


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _stderr_is_terminal() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
