"""pyproject.toml, constraints.txt and environment.yml say the same, and name no machine."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
PINS = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LINES}
PYTHON = {"python_full_version": "3.11.7", "python_version": "3.11"}


def test_constraints_are_complete_pins():
    for pin in map(Requirement, LINES):
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin} is no plain version"
        assert pin.url is None
    assert len(PINS) == len(LINES), "a package is pinned twice"


def test_every_dependency_is_pinned_within_its_bounds():
    wanted = PROJECT["dependencies"] + [item for extra in PROJECT["optional-dependencies"].values() for item in extra]
    for requirement in map(Requirement, wanted):
        pin = PINS.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} is not pinned in constraints.txt"
        (version,) = pin.specifier
        assert requirement.specifier.contains(version.version), f"{pin} is outside {requirement}"
        assert pin.marker is None or pin.marker.evaluate(PYTHON), f"{pin} does not hold on Python 3.11"


def test_conda_environment_is_the_same_one():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["name"] == PROJECT["name"]
    *packages, pip = conda["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[test]"]}
    assert packages == ["python=3.11", "pip"]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains("3.11")


def test_no_registry_and_no_machine_is_named():
    names = ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run"]
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|--find-links|--index-url|--extra-index-url|file:", text), name


def test_data_files_of_the_library_are_installed_with_it():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    files = {path for path in (ROOT / "zmem_lib").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    told = {path for pattern in setuptools["package-data"]["zmem_lib"] for path in (ROOT / "zmem_lib").glob(pattern)}
    assert files == told
