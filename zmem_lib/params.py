"""The parameters of a run (sections.py) from files, by dotted name, described, compared, and hashed by chapter.

A file says only what differs from the defaults and from the files that it `extends`, which are merged in order; over it
comes `section.key=value` from the command line. What a section says counts from one chapter on (FIRST_CHAPTER);
`machine` changes what a run takes, not what it finds, and counts for none.
"""

import difflib
import hashlib
import json
import reprlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError

from zmem_lib.combinations import NO_LM, refuse_combinations
from zmem_lib.files import BadInput
from zmem_lib.packaged import PACKAGES
from zmem_lib.sections import MOST, Params

ALWAYS_PATHS = ("corpus.path", "corpus.new_path", "corpus.apart_from", "lm.adapter", "evaluate.human_labels")
HUB_IDS = ("lm.name", "answer.dense_model", "answer.rerank_model", "evaluate.judge_model")  # a path or a hub id
PATHS = (*ALWAYS_PATHS, *HUB_IDS)  # kept whole where there is such a file or folder, so that a run opens from anywhere
NO_PLACES = ("", "scratch", NO_LM, *PACKAGES)  # values of these that no folder of the same name takes the place of
FIRST_CHAPTER = {"corpus": 1, "lm": 3, "memory": 3, "train": 3, "write": 4, "answer": 5, "evaluate": 6, "report": 7}
SECTIONS = (*FIRST_CHAPTER, "machine")
LATE = ("answer.", "evaluate.", "report.", "machine.")  # may change in a run that has its memory
SHOWN = 36  # characters of a name and its value, so that meanings stand below each other
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def read_params(path: str | Path, overrides: Iterable[str] = ()) -> Params:
    """Read a parameter file with what it extends, put `section.key=value` over it; raises BadInput with the key."""
    return check_params(resolve(path, overrides)[0], str(path))


def check_params(values: Mapping[str, Any], where: str) -> Params:
    """Params of dotted names and values; refuse unknown, mistyped and out-of-range ones, and what cannot run."""
    params = _built(values, where)
    refuse_combinations(params, where)
    return params


def changed(params: Params, values: Mapping[str, Any]) -> Params:
    """The parameters with other values by dotted name, each checked by itself."""
    return _built(flat(params) | dict(values), "changed parameters")


def flat(params: Params) -> dict[str, Any]:
    """Values by dotted name, in order."""
    return _dotted(params.model_dump())


def dumped(params: Params) -> str:
    """The parameters as YAML, every value written out."""
    return yaml.safe_dump(params.model_dump(), sort_keys=False, allow_unicode=True)


def counted(values: Mapping[str, Any], chapter: int) -> dict[str, Any]:
    """Of values by dotted name those that decide what a run finds up to a chapter: the seed, and sections up to its."""
    sections = {"seed"} | {name for name, first in FIRST_CHAPTER.items() if first <= chapter}
    return {name: value for name, value in values.items() if name.partition(".")[0] in sections}


def params_hash(params: Params, chapter: int = 7) -> str:
    """A short hash of what decides what a run finds up to a chapter."""
    return hashlib.sha256(json.dumps(counted(flat(params), chapter), sort_keys=True).encode()).hexdigest()[:16]


def without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name, of every path its last name alone; a hub id, such as org/name, stays."""
    shown = {name: Path(values[name]).name for name in ALWAYS_PATHS if name in values}
    return {name: named(value) if name in PATHS else value for name, value in values.items()} | shown


def named(place: str) -> str:
    """The last name of a path; a hub id, such as org/name, and any other name stay."""
    path = Path(place)
    is_path = path.is_absolute() or path.parts[:1] in (("..",), ("~",)) or len(path.parts) > 2 or path.exists()
    return path.name if is_path else place


def resolve(path: str | Path, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """Values by dotted name from a file, what it extends, and overrides; and where each of them comes from."""
    values, origins = _layers(Path(path), ())
    for override in overrides:
        name, sign, text = (part.strip() for part in override.partition("="))
        if not sign:
            raise BadInput(f"override {override!r} has no '=': write section.key=value")
        field = _fields().get(name)
        is_text = field is not None and (field.annotation is str or get_origin(field.annotation) is Literal)
        if text and not (is_text and text[0] not in "'\""):  # else it is taken as it stands
            text = _parsed(f"value: {text}", f"override {f'{name}={text}'!r}").get("value")
        values[name], origins[name] = text, "the command line"
    for name in PATHS:
        value = values.get(name)
        if isinstance(value, str) and value not in NO_PLACES and (place := Path(value).expanduser()).exists():
            values[name] = str(place.resolve())
    return values, origins


def param_lines(path: str | Path, overrides: Iterable[str] = ()) -> list[str]:
    """A line for every parameter of a file: its value, what it means and may be, and where the value comes from."""
    values, origins = resolve(path, overrides)
    meanings, lines = described(), []
    for name, value in flat(check_params(values, str(path))).items():
        meaning, bounds = meanings[name]
        shown = f"{name} = {json.dumps(value, ensure_ascii=False)}"
        lines.append(f"{shown:{SHOWN}}  {meaning} ({bounds}); {origins.get(name, 'default')}")
    return lines


def described() -> dict[str, tuple[str, str]]:
    """What each parameter means, and what it may be, by dotted name."""
    found = {}
    for name, field in _fields().items():
        limits = [(sign, getattr(limit, key, MOST)) for limit in field.metadata for key, sign in BOUNDS.items()]
        bounds = [f"{sign} {limit}" for sign, limit in limits if limit != MOST]
        kind = " | ".join(get_args(field.annotation)) or field.annotation.__name__  # of a choice, or a type
        found[name] = (field.description, " ".join([kind, *bounds]))
    return found


def from_flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name from those of before there were sections; what there is no more is dropped."""
    names = flat_names()
    found = {names.get(name, name): value for name, value in _dotted(values).items() if names.get(name, name)}
    if "train.read_items" not in found and "answer.top_k" in found:
        found["train.read_items"] = max(found["answer.top_k"], 2)  # one number then
    if {"dense_steps", "answer.dense_steps"} & _dotted(values).keys():  # steps then
        found["answer.dense_epochs"] = min(found["answer.dense_epochs"], 1)
    return found


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as a run of now would have them: by their present names, what is missing by default."""
    return {name: field.default for name, field in _fields().items()} | from_flat(values)


@cache
def flat_names() -> dict[str, str]:
    """The dotted name of each parameter of the time before sections; empty for one that there is no more."""
    return yaml.safe_load(Path(__file__).with_name("flat_params.yaml").read_text(encoding="utf-8"))


@cache
def _fields() -> dict[str, Any]:
    """The model's fields by dotted name."""
    sections = {name: getattr(field.annotation, "model_fields", None) for name, field in Params.model_fields.items()}
    return _dotted({name: inner or Params.model_fields[name] for name, inner in sections.items()})


def _dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
    return found


def _built(values: Mapping[str, Any], where: str) -> Params:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        if name in SECTIONS or (section and section not in SECTIONS):
            raise BadInput(f"{where}: {_unknown(name)}")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    try:
        return Params(**nested)
    except ValidationError as error:
        raise BadInput(f"{where}: {_sentence(error.errors()[0])}") from error


def _layers(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and origins of a file over those that it extends; `above` are the files that extend it."""
    if path.resolve() in above:
        raise BadInput(f"{path} extends itself, through {above[-1]}: remove one of the two lines")
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        shown = str(path) if str(path).isprintable() else repr(str(path))
        raise BadInput(f"parameter file {shown} {fault}: give the path of a YAML file such as params/tiny.yaml")
    try:
        own = _parsed(path.read_text(encoding="utf-8-sig"), str(path))
    except (UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8 text ({error}): correct it there") from error
    if not isinstance(own, dict):
        raise BadInput(f"{path} must hold `key: value` lines")
    bases = own.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise BadInput(f"{path}: extends must be the name of a file or a list of names, not {bases!r}")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for base in bases:
        more, whence = _layers(path.parent / base, (*above, path.resolve()))
        values, origins = values | more, origins | whence
    own = from_flat(own) if "n_documents" in own else _dotted(own)
    return values | own, origins | dict.fromkeys(own, str(path))


class _Loader(yaml.SafeLoader):
    """YAML in which no name stands twice in one mapping, and every name is one word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = []
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise BadInput(f"line {line}: a name must be one word")
            if key.value in names:
                raise BadInput(f"line {line}: {key.value!r} stands there twice: remove one line")
            names.append(key.value)
        return {str(name): value for name, value in super().construct_mapping(node, deep).items()}


def _parsed(text: str, where: str) -> Any:
    """The value of a YAML text; no tag of a type, no name twice."""
    try:
        return _Loader(text).get_single_data()
    except BadInput as error:
        raise BadInput(f"{where}, {error}") from error
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, ValueError, TypeError) as error:
        found = " ".join(str(error).split())
        raise BadInput(f"{where} is not valid YAML ({found[:300]!r}): correct it there") from error


def _sentence(error: Mapping[str, Any]) -> str:
    """What pydantic found, in one sentence with the parameter's name."""
    name, kind, value = ".".join(map(str, error["loc"])), error["type"], error["input"]
    if kind == "extra_forbidden":
        return _unknown(name)
    if kind == "missing":
        return f"parameter {name!r} is missing: add a line for it"
    if kind == "value_error":
        return f"parameter {name!r} {error['ctx']['error']}"
    wanted = error["msg"].replace("Input should be", "must be").replace("'", "")
    hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if kind == "float_type" and isinstance(value, str) else ""
    return f"parameter {name!r} {wanted}, not {reprlib.repr(value)}{hint}"


def _unknown(name: str) -> str:
    """The sentence on a name that is no parameter's: what it is called now, or the nearest one."""
    if name in SECTIONS:
        first = next(dotted for dotted in _fields() if dotted.startswith(f"{name}."))
        return f"{name!r} is a section, not a parameter: write for instance {first}"
    if name in flat_names():
        new = flat_names()[name]
        return f"unknown parameter {name!r}: " + (f"it is called {new!r} now" if new else "there is none any more")
    last = {dotted.rpartition(".")[2]: dotted for dotted in reversed(_fields())}
    near = difflib.get_close_matches(name, [*_fields(), *last], n=1, cutoff=0.0)[0]
    return f"unknown parameter {name!r}: did you mean {last.get(near, near)!r}?"
