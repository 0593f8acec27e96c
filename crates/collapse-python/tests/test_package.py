"""What the package says of itself: stubs, docstrings, and the versions it is built of."""

import ast
import doctest
import inspect
from pathlib import Path

import pytest

import collapse
from collapse import _collapse

STUB = ast.parse((Path(collapse.__file__).parent / "_collapse.pyi").read_text())


def parameters(function):
    """Names and, where there are any, defaults of a stub's parameters."""
    arguments = function.args
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    pairs = [*zip(arguments.args, defaults), *zip(arguments.kwonlyargs, arguments.kw_defaults)]
    return [(argument.arg, default and ast.literal_eval(default)) for argument, default in pairs]


def check(stub, value):
    signature = inspect.signature(value)
    found = [
        (name, None if parameter.default is parameter.empty else parameter.default)
        for name, parameter in signature.parameters.items()
    ]
    assert found == parameters(stub), stub.name
    assert value.__doc__, stub.name


def test_stubs_tell_what_is_there():
    stubbed = {}
    for item in STUB.body:
        if isinstance(item, (ast.FunctionDef, ast.ClassDef)):
            stubbed[item.name] = item
    present = {name for name in vars(_collapse) if not name.startswith("_")}
    assert stubbed.keys() == present
    for name, item in stubbed.items():
        value = getattr(_collapse, name)
        if isinstance(item, ast.FunctionDef):
            check(item, value)
            continue
        methods = {method.name: method for method in item.body if isinstance(method, ast.FunctionDef)}
        assert methods.keys() == {method for method in vars(value) if not method.startswith("_")}, name
        for method, stub in methods.items():
            if stub.decorator_list and stub.decorator_list[0].id == "property":
                assert getattr(value, method).__doc__, method
            else:
                check(stub, getattr(value, method))


def test_every_name_is_offered():
    offered = {*collapse.__all__, *collapse.metrics.__all__, *collapse.density.__all__}
    assert {name for name in vars(_collapse) if not name.startswith("_")} <= offered
    assert (Path(collapse.__file__).parent / "py.typed").is_file()


def test_the_front_page_runs():
    assert doctest.testmod(collapse).failed == 0


def test_the_lock_has_the_versions_of_the_project():
    tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
    folder = Path(__file__).parents[1]

    def versions(path):
        packages = tomllib.loads(path.read_text())["package"]
        return {(package["name"], package["version"]) for package in packages}

    ours, project = versions(folder / "Cargo.lock"), versions(folder.parents[1] / "Cargo.lock")
    names = {name for name, _ in project}
    differ = sorted(name for name, _ in ours - project if name in names)
    assert not differ, f"copy the project's Cargo.lock here and run `cargo metadata`: {differ} differ"
