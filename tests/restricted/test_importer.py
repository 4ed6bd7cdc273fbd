"""Imports of tool code: its own modules, facades, native packages, and refusals that honest code can handle."""

from __future__ import annotations

import pytest

from tests.restricted.loading import load

PACKAGE = {
    "pack.": "from . import low\nfrom .low import value\nname = __name__, __package__, __file__\n",
    "pack.low": "from pack.sub import deep\nvalue = deep.value + 1\n",
    "pack.sub.": "",
    "pack.sub.deep": "from pack import sub\nfrom .. import sub as again\nvalue = 1\nsame = sub is again\n",
}


def test_packages_relative_imports_and_submodules_come_out_as_in_plain_python():
    tool = """
    import pack.sub.deep
    import pack.sub.deep as deep, pack as p
    from pack import low, value, name
    from pack.low import value as other
    def run():
        return pack.sub.deep is deep, p is pack, value, other, low.value, name, deep.same, deep.__package__
    """
    assert load({**PACKAGE, "tool": tool}) == (
        "ok",
        "(True, True, 2, 2, 2, ('pack', 'pack', '/tools/pack/__init__.py'), True, 'pack.sub')",
    )


def test_modules_that_import_each_other_see_each_other_half_made_as_in_plain_python():
    modules = {
        "tool": "import a, b\ndef run():\n    return a.value, b.value, b.seen\n",
        "a": "import b\nvalue = b.value + 1\n",
        "b": "import a\nseen = hasattr(a, 'value')\nvalue = 1\n",
    }
    assert load(modules) == ("ok", "(2, 1, False)")


def test_a_name_that_is_not_there_yet_in_a_circle_is_an_import_error():
    modules = {"tool": "from a import x\n", "a": "from tool import y\nx = 1\n"}
    status, said = load(modules)
    assert status == "ImportError"
    assert "cannot import name 'y' from 'tool'" in said


def test_a_folder_without_init_is_a_namespace_package():
    assert load(
        {"tool": "import space.part\ndef run():\n    return space.part.x\n", "space.part": "x = 1\n"}
    ) == (
        "ok",
        "1",
    )


def test_a_star_import_takes_the_public_names_or_those_of_all():
    modules = {
        "tool": "from a import *\nfrom b import *\nfrom math import *\ndef run():\n"
        "    return sorted(n for n in globals() if n[0] in 'xyz_' and n[:2] != '__'), pi > 3\n",
        "a": "x = 1\n_y = 2\n",
        "b": "__all__ = ['_z']\n_z = 3\nx2 = 4\n",
    }
    assert load(modules) == ("ok", "(['_z', 'x'], True)")


def test_the_module_is_registered_under_its_own_name_with_its_origin():
    tool = """
    import dataclasses, traceback
    @dataclasses.dataclass
    class Row:
        x: "list[int]"
    def run():
        try:
            raise ValueError("here")
        except ValueError:
            text = traceback.format_exc()
        return __name__, __spec__.name, __spec__.origin, __file__, Row.__module__, 'raise ValueError("here")' in text
    """
    assert load({"kit.tool": tool}, "kit.tool") == (
        "ok",
        "('kit.tool', 'kit.tool', '/tools/kit/tool.py', '/tools/kit/tool.py', 'kit.tool', True)",
    )


@pytest.mark.parametrize("name", ["__main__", "statistics", "json", "types"])
def test_a_tool_module_may_have_any_name_without_taking_the_librarys_place(name):
    tool = """
    import dataclasses, datetime
    @dataclasses.dataclass
    class Row:
        x: "int" = 1
    def run():
        return Row(), datetime.datetime.strptime("2020", "%Y").year
    """
    assert load({name: tool}, name) == ("ok", "(Row(x=1), 2020)")


def test_what_a_module_says_of_itself_is_said_as_in_plain_python_without_the_guards():
    tool = """
    import inspect, typing, sibling, chosen
    def run():
        public = [name for name in dir(sibling) if name[:2] != "__"]
        hints = repr(sibling.__annotations__), repr(typing.get_type_hints(sibling))
        members = [name for name, _ in inspect.getmembers(sibling, inspect.isfunction)]
        return public, dir(chosen), hints, members, hasattr(sibling, "nothing")
    """
    sibling = "x: int = 1\ndef f(): pass\n"
    chosen = "def __dir__(): return ['b', 'a']\n"
    hints = "{'x': <class 'int'>}"
    expected = (["f", "x"], ["a", "b"], (hints, hints), ["f"], False)
    assert load({"tool": tool, "sibling": sibling, "chosen": chosen}) == ("ok", repr(expected))


def test_a_sibling_is_checked_under_the_same_policy():
    status, said = load({"tool": "import helper\n", "helper": "def f():\n    return f.__globals__\n"})
    assert status == "denied"
    assert "/tools/helper.py:2:12: PSB201" in said


def test_honest_code_can_try_an_import_and_go_on():
    tool = """
    try:
        import ujson as json
    except ImportError:
        import json
    def run():
        try:
            import os
        except ImportError:
            os = None
        return json.dumps([1]), os, hasattr(json, "codecs")
    """
    assert load(tool) == ("ok", "('[1]', None, False)")


def test_a_native_package_is_had_when_it_is_allowed_and_works_with_the_policy_around_it():
    tool = """
    import numpy as np
    from numpy import linalg
    def run():
        a = np.array([[2.0, 0.0], [0.0, 3.0]])
        return repr(a.sum(axis=0)), float(linalg.det(a)), str(np.arange(3).mean()), "{:.1f}".format(a.max())
    """
    assert load(tool, allowed_imports=["numpy"]) == ("ok", "('array([2., 3.])', 6.0, '1.0', '3.0')")
    status, said = load(tool)
    assert status == "denied"
    assert said.startswith("PSB302 PSB302")


@pytest.mark.parametrize("attribute", ["ctypeslib.ctypes", "arange(3).ctypes._ctypes"])
def test_a_module_that_an_allowed_native_package_holds_in_an_attribute_is_not_had_there(attribute):
    tool = f"""
    import numpy as np
    def run():
        return np.arange(3).ctypes.data > 0, np.{attribute}
    """
    status, said = load(tool, allowed_imports=["numpy"])
    assert status == "denied"
    assert said.startswith("PSB205 ")


def test_pandas_works_when_it_is_allowed():
    tool = """
    import pandas as pd
    def run():
        frame = pd.DataFrame({"a": [1, 2, 2], "b": [1.0, 2.0, 4.0]})
        return frame.groupby("a").b.mean().to_dict(), frame.describe().shape, str(frame)[:6]
    """
    assert load(tool, allowed_imports=["pandas"]) == ("ok", "({1: 1.0, 2: 3.0}, (8, 2), '   a  ')")


def test_c_code_imports_what_it_needs_through_the_tools_frame():
    tool = """
    import datetime, decimal, time
    def run():
        when = datetime.datetime.strptime("2020-02-03", "%Y-%m-%d")
        return when.isoformat(), time.strptime("3", "%d").tm_mday, decimal.Decimal("1.5").as_integer_ratio()
    """
    assert load(tool) == ("ok", "('2020-02-03T00:00:00', 3, (3, 2))")


@pytest.mark.parametrize(("module", "withheld"), [("wsgiref.util", "handlers"), ("numpy.fft", "array")])
def test_an_allowed_submodule_brings_its_package_along_with_nothing_else_in_it(module, withheld):
    package = module.partition(".")[0]
    tool = f"import {module}\ndef run():\n    return [n for n in dir({package}) if n[0] != '_']\n"
    assert load(tool, allowed_imports=[module]) == ("ok", f"['{module.partition('.')[2]}']")
    status, said = load(f"from {package} import {withheld}\n", allowed_imports=[module])
    assert status in ("denied", "ImportError"), said
    status, said = load(f"import {module}\n")
    assert status == "denied"
    assert "PSB302" in said


def test_an_allowed_module_of_the_standard_library_comes_as_a_facade():
    tool = "import sqlite3\ndef run():\n    return hasattr(sqlite3, 'connect'), hasattr(sqlite3, 'sys'), sqlite3.os\n"
    status, _ = load(tool, allowed_imports=["sqlite3"])
    assert status in ("AttributeError", "denied")
    assert load(tool.replace(", sqlite3.os", ""), allowed_imports=["sqlite3"]) == ("ok", "(True, False)")


@pytest.mark.parametrize("name", ["os", "sys", "subprocess", "importlib", "pickle", "ctypes", "_io"])
def test_a_forbidden_module_is_refused_although_it_is_listed(name):
    status, said = load(f"import {name}\n", allowed_imports=[name])
    assert (status, said[:6]) == ("denied", "PSB301")


def test_all_findings_of_a_module_are_told_at_once_before_anything_runs():
    status, said = load("import os\nimport sys\nprint('never')\nx = ().__class__.__subclasses__\n")
    assert status == "denied"
    assert said.startswith("PSB301 PSB301 PSB201 ")


def test_a_module_that_fails_can_be_imported_again_and_leaves_nothing_behind():
    modules = {
        "tool": "try:\n    import bad\nexcept ValueError:\n    pass\ntry:\n    import bad\n"
        "except ValueError as error:\n    said = str(error)\ndef run():\n    return said\n",
        "bad": "raise ValueError('again')\n",
    }
    assert load(modules) == ("ok", "'again'")


def test_values_and_unknown_entries():
    status, said = load({"other": "x = 1\n"}, "tool")
    assert status == "ImportError"
    assert "no module 'tool'" in said
