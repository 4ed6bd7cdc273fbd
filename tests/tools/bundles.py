"""Runs a tool's bundle in a fresh plain process: what a template does with it, without confinement."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from elf_pysandbox._tools.tool import Tool

_LOADER = r"""
import importlib.abc, importlib.util, json, sys
from elf_pysandbox_worker.wire.messages import Bundle
import msgspec
bundle = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Bundle)
files = {file.name: file for file in bundle.files}

class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(self, name, path=None, target=None):
        file = files.get(name)
        if file is None:
            return None
        spec = importlib.util.spec_from_loader(name, self, origin=file.path, is_package=file.is_package)
        spec.has_location = True
        return spec
    def get_source(self, name):
        return importlib.util.decode_source(files[name].source)
    def get_code(self, name):
        return compile(files[name].source, files[name].path, "exec", dont_inherit=True)
    def is_package(self, name):
        return files[name].is_package
    def exec_module(self, module):
        if bundle.values and module.__name__ == bundle.entry:
            from elf_pysandbox_worker.wire import values
            module.__dict__.update(values.unpack(bundle.values, []))
        super().exec_module(module)

sys.meta_path.insert(0, Finder())
module = importlib.import_module(bundle.entry)
value = module
for part in sys.argv[1].split("."):
    value = getattr(value, part)
args = json.loads(sys.argv[2])
result = value(*args)
print(json.dumps(result, default=str))
"""


def run_tool(tool: Tool, *args: Any) -> Any:
    """Load the bundle of `tool` in a new interpreter outside any project folder, call it, return its JSON
    result."""
    from elf_pysandbox_worker.wire.messages import encode

    done = subprocess.run(
        [sys.executable, "-c", _LOADER, tool.path, json.dumps(args)],
        input=encode(tool.context.bundle()),
        capture_output=True,
        check=False,
        cwd="/",
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)
