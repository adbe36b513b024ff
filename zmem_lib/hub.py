"""Files of the Hugging Face hub: a repository at one revision becomes a local folder, or one sentence says why not.

Everything that comes from the hub passes through `fetch`; what reads the files afterwards sees a folder only. A token
is taken from the environment (HF_TOKEN) or from `hf auth login` by the hub's own client, and appears nowhere else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zmem_lib.files import BadInput
from zmem_lib.packaged import PACKAGES, find_packaged
from zmem_lib.schooled import find_schooled

MODELS = {  # parameters that name one
    "lm.name": "a language model", "answer.rerank_model": "a cross-encoder",
    "evaluate.judge_model": "a model of entailment",
}  # fmt: skip
PACKAGED = "packaged"  # of lm.adapter: what comes with the project
MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
NOT_NEEDED = ["original/*", "consolidated*", "onnx/*", "openvino/*"]  # the same weights in other formats


def fetch(repo: str, revision: str, *, kind: str, files: list[str] | None = None) -> Path:
    """The local snapshot of a repository (kind: model or dataset) at a revision, downloaded where it is not cached.

    `files` are patterns of the files wanted (default: a model's weights and tokenizer, all files of a data set).
    Raises BadInput where the hub cannot be reached or refuses, with what to download and where to put it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = files or (MODEL_FILES if kind == "model" else None)
    what = {"repo_type": kind, "revision": revision or None, "allow_patterns": wanted, "ignore_patterns": NOT_NEEDED}
    try:
        return Path(snapshot_download(repo, **what))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise BadInput(explained(error, repo, revision, kind)) from error


def find_lm(lm: str, revision: str) -> Path:
    """The folder of the language model that `lm.name` names: packaged, local, or at a revision of the hub."""
    if lm in PACKAGES:
        return find_packaged(lm)
    folder = find_model("lm.name", lm, revision)
    if not (folder / "config.json").is_file():
        raise BadInput(f"lm.name {lm!r}: the folder holds no config.json: give the one that holds the model")
    return folder


def find_adapter(adapter: str) -> Path:
    """The folder that `lm.adapter` names: the one that comes with the project, or a run's."""
    if adapter == PACKAGED:
        return find_schooled()
    folder = Path(adapter).expanduser()
    if not (folder / "adapter_config.json").is_file() or not (folder / "adapter_model.safetensors").is_file():
        raise BadInput(f"lm.adapter {adapter!r} holds no adapter: give a folder as a run leaves it (runs/NAME/lm)")
    return folder


def find_model(key: str, name: str, revision: str = "") -> Path:
    """The folder of the model `name` that a parameter of MODELS gives: a local one, or that of the hub's cache."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not name or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise BadInput(f"{key} {name!r} is not a folder: give the folder of {MODELS[key]}, or a hub id")
    return fetch(name, revision, kind="model")


def explained(error: Exception, repo: str, revision: str, kind: str) -> str:
    """One sentence for what the hub's client raised: what is missing and what to do."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    what = f"{'model' if kind == 'model' else 'data set'} {repo}"
    key = "lm.name (or answer.dense_model, answer.rerank_model)" if kind == "model" else "corpus.path"
    chain = [error, error.__cause__, error.__context__]
    if isinstance(error, HFValidationError):
        return f"{repo!r} is neither a folder that exists (seen from {Path.cwd()}) nor a name on the hub: correct {key}"
    if any(isinstance(one, GatedRepoError) for one in chain):
        return (
            f"{what} is gated: accept its licence on https://huggingface.co/{repo}, then set HF_TOKEN in the "
            "environment to a token of that account (or run `hf auth login`)"
        )
    if any(isinstance(one, RevisionNotFoundError) for one in chain):
        return f"{what} has no revision {revision!r} on the hub: give a commit or a branch that it has"
    if any(isinstance(one, RepositoryNotFoundError) for one in chain):
        return f"{what} is not on the hub, or is private and needs HF_TOKEN: correct its name"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return f"{what} could not be stored in the hub's cache ({error.strerror}): free some space or set HF_HOME"
    offline = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else "the hub cannot be reached"
    options = " --repo-type dataset" * (kind != "model") + f" --revision {revision}" * bool(revision)
    return (
        f"{what} is not in the hub's cache and {offline}: on a machine with a network run "
        f"`hf download {repo}{options} --local-dir DIR`, bring DIR here, and set {key} to it"
    )


def revision_of(folder: Path) -> str:
    """The commit that a snapshot folder of the hub's cache was resolved to; empty for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else ""


@contextmanager
def loading(key: str, name: str, *, give: str) -> Iterator[None]:
    """While a model is loaded: no progress bar, which would end up in the executed chapter, and BadInput on failure."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"{key} {name} cannot be loaded ({said}): give {give}") from error
